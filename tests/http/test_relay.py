"""The relay against servers that are no vault: addresses, tokens, sizes, time, TLS, and nothing followed or kept."""

import datetime as dt
import ipaddress
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from labelvault.errors import FormatError, KeystoreError, KeystoreForeignError, RelayError, StoreError
from labelvault.keys.token import read_token
from labelvault.relay import http_send, http_wire, open_relay
from labelvault.relay.http import HttpRelay
from labelvault.relay.http_address import parse_address
from labelvault.vendor.http import HttpService
from labelvault.wire.schema import encode_record
from tests.http.serving import QUICK, TOKEN, TOKENS, raw_server, serving
from tests.stores.samples import BOX, item, key_of


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    monkeypatch.setattr(http_send, "_PAUSE_S", 0.001)


# --- addresses and tokens ---


@pytest.mark.parametrize(
    "address",
    [
        "https://vault.example",
        "https://vault.example/",
        "https://vault.example:8443/lv/one",
        "https://[2001:db8::1]:443/",
        "http://127.0.0.1:8000",
        "http://127.9.9.9",
        "http://localhost:8000/lv",
        "http://[::1]:8000",
        "HTTPS://Vault.Example",
    ],
)
def test_addresses_of_vaults(address):
    """Host, port and path; plain HTTP on this machine."""
    assert parse_address(address) == address.rstrip("/")


@pytest.mark.parametrize(
    "address",
    [
        "http://vault.example",
        "http://192.0.2.1:80",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "https://user:word@vault.example",
        "https://vault.example@evil.example",
        "https://vault.example?x=1",
        "https://vault.example/#x",
        "https://vault.example/../x",
        "https://vault.example/./x",
        "https://vault.example//x",
        "https://vault.example/a b",
        "https://vault.example/%2e",
        "https://vault.example\\@evil.example",
        "https://vault.example:99999",
        "https://vault.example:x",
        "https://",
        "https:///x",
        "https://[::1",
        "https://vault.example\n.evil.example",
        "ftp://vault.example",
        "//vault.example",
    ],
)
def test_what_is_no_address_is_refused(address):
    """RelayError before anything is sent; the token goes nowhere in the clear."""
    with pytest.raises(RelayError):
        HttpRelay(address, token=TOKEN)


def test_plain_http_elsewhere_says_what_to_do():
    """The most common mistake names its mend."""
    with pytest.raises(RelayError, match="use https://"):
        open_relay("http://vault.example")


def test_a_malformed_token_is_refused():
    """A token can't smuggle headers."""
    for token in ("", "a b", "a\r\nx: y", "ä", "x" * 1025):
        with pytest.raises(RelayError):
            HttpRelay("https://vault.example", token=token)


def test_the_token_comes_from_a_private_file(tmp_path):
    """One line, 0600, no symlink; none is none."""
    assert read_token(tmp_path) is None
    path = tmp_path / "vault.token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    assert read_token(tmp_path) == TOKEN
    path.chmod(0o640)
    with pytest.raises(KeystoreError, match="read by others"):
        read_token(tmp_path)
    path.chmod(0o600)
    for content in (b"", b"\n", b"two words", b"\xff"):
        path.write_bytes(content)
        with pytest.raises(KeystoreForeignError):
            read_token(tmp_path)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeystoreForeignError):
        read_token(tmp_path)
    (tmp_path / "elsewhere").unlink()
    with pytest.raises(KeystoreError):
        read_token(tmp_path)


def test_X2_the_token_shows_nowhere(address):
    """Not in a relay's repr, nor in an error's text or that of its causes."""
    relay = HttpRelay(address, token="wrong-token-wrong-token")
    with pytest.raises(RelayError, match="refuses our token") as raised:
        relay.fetch(BOX)
    seen = [repr(relay), repr(vars(relay))]
    error: BaseException | None = raised.value
    while error is not None:
        seen += [repr(error), str(error)]
        error = error.__cause__ or error.__context__
    assert not any("wrong-token" in text for text in seen)
    relay.close()


# --- what no vault sends ---

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n"


def test_an_endless_body_is_cut_off():
    """A body without end costs its bound at most; a declared one too long is not read at all."""
    for answer in (
        HEAD + b"transfer-encoding: chunked\r\n\r\n" + 10 * (b"100000\r\n" + bytes(1 << 20) + b"\r\n"),
        HEAD + b"content-length: 99999999999\r\n\r\n",
    ):
        with raw_server(answer) as (address, requests), closing(HttpRelay(address)) as relay:
            with pytest.raises(RelayError, match="longer than"):
                relay.fetch(BOX)
            assert len(requests) == 1


def test_redirects_are_not_followed():
    """Neither the request nor the token goes where a server points."""
    with raw_server(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as (elsewhere, seen):
        for status in (301, 302, 303, 307, 308):
            answer = f"HTTP/1.1 {status} Go\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n".encode()
            with (
                raw_server(answer) as (address, _),
                closing(HttpRelay(address, token=TOKEN)) as relay,
                pytest.raises(RelayError, match="redirect"),
            ):
                relay.post(BOX, b"one")
        assert seen == []


def test_no_cookie_is_kept_and_no_proxy_is_used(monkeypatch):
    """The environment says nothing, and the server can't mark us."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.9:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.9:9")
    answer = b"HTTP/1.1 204 Done\r\nset-cookie: mark=1; path=/\r\nconnection: close\r\n\r\n"
    with raw_server(answer) as (address, requests), closing(HttpRelay(address, token=TOKEN)) as relay:
        relay.post(BOX, b"one")
        relay.post(BOX, b"two")
    assert len(requests) == 2
    for request in requests:
        head = request.partition(b"\r\n\r\n")[0].lower()
        assert b"cookie" not in head
        assert b"labelvault-version: 1" in head
        assert b"accept-encoding: identity" in head


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x00" * 100,
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x-filler: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: 1\r\n" % n for n in range(500)) + b"\r\n",
        HEAD + b"content-encoding: gzip\r\ncontent-length: 2\r\n\r\n\x1f\x8b",
        HEAD + b"content-length: 10\r\n\r\nshort",
        HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Go\r\nlocation: http://[::1\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 404 No\r\ncontent-length: 70000\r\n\r\n" + b"x" * 70000,
        b"HTTP/1.1 507 No\r\ncontent-length: 40000\r\n\r\n" + b"[" * 40000,
        HEAD + b"content-length: 1\r\n\r\n\xc1",
    ],
)
def test_nonsense_is_a_relay_error(answer):
    """Whatever a server sends, the caller sees one kind of error."""
    with raw_server(answer) as (address, _), closing(HttpRelay(address)) as relay:
        for call in (lambda: relay.fetch(BOX), lambda: relay.read_leaves(*key_of(item()))):
            with pytest.raises(RelayError) as raised:
                call()
            assert type(raised.value) is RelayError


@pytest.mark.parametrize("answer", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nx-drip: ", HEAD[:1]])
def test_a_server_that_drips_is_given_up(monkeypatch, answer):
    """Read timeouts start anew with each byte; an exchange ends all the same."""
    monkeypatch.setattr(http_send, "GRACE_S", 0.2)
    monkeypatch.setattr(http_send, "ATTEMPTS", 2)
    dripping = _Dripping(answer)
    with dripping as address, closing(HttpRelay(address)) as relay:
        started = time.monotonic()
        with pytest.raises(RelayError, match="tried 2 times"):
            relay.fetch(BOX)
        assert time.monotonic() - started < 5


class _Dripping:
    """Sends the same bytes again and again, as long as anyone listens."""

    def __init__(self, piece):
        self._piece = piece

    def __enter__(self):
        import socket

        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(0.05)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def _serve(self):
        while not self._over.is_set():
            try:
                connection, _ = self._listening.accept()
            except TimeoutError:
                continue
            with connection:
                try:
                    connection.recv(65536)
                    while not self._over.is_set():
                        connection.sendall(self._piece)
                        time.sleep(0.02)
                except OSError:
                    continue

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self._listening.close()


def test_a_slow_body_is_given_up(monkeypatch):
    """A body that comes slower than the slowest allowed is not waited for."""
    monkeypatch.setattr(http_send, "GRACE_S", 0.1)
    monkeypatch.setattr(http_send, "SLOWEST_BYTES_PER_S", 10**6)
    monkeypatch.setattr(http_send, "ATTEMPTS", 1)
    piece = HEAD + b"content-length: 1000\r\n\r\n"
    with (
        _Dripping(piece) as address,
        closing(HttpRelay(address)) as relay,
        pytest.raises(RelayError, match="too slowly"),
    ):
        relay.fetch(BOX)


def test_nobody_there_is_a_relay_error():
    """A port that nobody listens on, a name that is none."""
    with raw_server(b"") as (address, _):
        pass
    for each in (address, "https://no-such-host.invalid"):
        with closing(HttpRelay(each)) as relay, pytest.raises(RelayError, match="can't be reached"):
            relay.fetch(BOX)


def test_a_closed_relay_does_nothing(address):
    """As every relay; closing again is fine."""
    relay = HttpRelay(address, token=TOKEN)
    relay.close()
    relay.close()
    with pytest.raises(StoreError):
        relay.fetch(BOX)


def test_retry_after_is_heeded_and_bounded():
    """A server may ask for patience, and not for an hour of it."""
    pauses: list[float] = []
    busy = b"HTTP/1.1 429 Slow\r\nretry-after: %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    done = b"HTTP/1.1 204 Done\r\nconnection: close\r\n\r\n"
    answers = (busy % b"3", busy % b"3600", busy % b"soon", done)
    with raw_server(*answers) as (address, _), closing(HttpRelay(address, sleep=pauses.append)) as relay:
        relay.post(BOX, b"one")
    assert pauses[0] == 3.0
    assert pauses[1] == http_send._PAUSE_MAX_S
    assert pauses[2] < 1


# --- pages ---


@pytest.mark.parametrize(
    "page",
    [
        http_wire.encode_page([(2, b"two"), (1, b"one")], more=False),
        http_wire.encode_page([(1, b"one"), (1, b"two")], more=False),
        http_wire.encode_page([(number, b"x") for number in range(1, 4)], more=False),
        http_wire.encode_page([], more=True),
    ],
)
def test_a_page_that_is_not_what_was_asked_for_is_refused(page):
    """Numbers rise above the cursor, no more come than were asked for, and a page that goes on holds something."""
    answer = HEAD + b"content-length: %d\r\nconnection: close\r\n\r\n" % len(page) + page
    with raw_server(answer) as (address, _), closing(HttpRelay(address)) as relay, pytest.raises(RelayError):
        relay.fetch(BOX, limit=2)


# --- TLS ---


def certificate(folder, name):
    """Make a certificate that is its own authority; give what a server needs of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "vault")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([name]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    (folder / "key.pem").chmod(0o600)
    return {"ssl_certfile": folder / "cert.pem", "ssl_keyfile": folder / "key.pem"}


@pytest.mark.parametrize(
    ("name", "trusted"),
    [
        (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), True),
        (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), False),
        (x509.IPAddress(ipaddress.ip_address("127.0.0.2")), True),
        (x509.DNSName("vault.example"), True),
    ],
    ids=["right", "untrusted", "other-address", "other-name"],
)
def test_certificates_are_always_checked(vault, tmp_path, monkeypatch, name, trusted):
    """A trusted authority and the right name, or nothing is sent; what the system trusts counts."""
    options = certificate(tmp_path, name)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(options["ssl_certfile"]))
    with serving(HttpService(vault, TOKENS, limits=QUICK).app, **options) as address:
        assert address.startswith("https://")
        with closing(HttpRelay(address, token=TOKEN)) as relay:
            if trusted and str(name.value) == "127.0.0.1":
                relay.post(BOX, b"one")
            else:
                with pytest.raises(RelayError, match="can't be reached"):
                    relay.post(BOX, b"one")
    assert vault.status().pending_messages == (1 if trusted and str(name.value) == "127.0.0.1" else 0)


# --- bounds of a batch ---


def test_a_batch_too_large_for_http_is_not_sent(monkeypatch):
    """FormatError before anything goes out, so that nothing is half stored."""
    monkeypatch.setattr("labelvault.relay.http.MAX_BATCH_BYTES", 10_000)
    with raw_server(b"") as (address, requests), closing(HttpRelay(address)) as relay:
        with pytest.raises(FormatError, match="at most 10000"):
            relay.put_items([item(1), item(2)])
        assert requests == []


def test_a_vault_that_takes_less_says_so(vault):
    """A server with smaller limits than ours: a relay error, and nothing is stored."""
    service = HttpService(vault, TOKENS, limits=replace(QUICK, batch_bytes=1000))
    with (
        serving(service.app) as address,
        closing(HttpRelay(address, token=TOKEN)) as relay,
        pytest.raises(RelayError, match="HTTP 413"),
    ):
        relay.put_items([item()])
    assert vault.status().items == 0


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (lambda relay: relay.put_items([item()]), (200, encode_record(http_wire.Stored(2)), "")),
        (lambda relay: relay.post(BOX, b"one"), (201, b"", "")),
        (lambda relay: relay.read_item(*key_of(item())), (200, b"x", "labelvault-item: 8")),
        (lambda relay: relay.read_item(*key_of(item())), (200, b"x", "labelvault-item: " + "80" * 257)),
        (lambda relay: relay.read_item(*key_of(item())), (200, b"", "labelvault-item: 80")),
        (lambda relay: relay.read_item(*key_of(item()), 5), (200, b"x", "labelvault-item: 80")),
        (lambda relay: relay.read_item(*key_of(item()), 5), (206, b"x", "content-range: bytes 4-4/9")),
        (lambda relay: relay.read_item(*key_of(item()), 5), (206, b"x", "content-range: bytes 5-5/9")),
        (lambda relay: relay.read_item(*key_of(item()), 5), (206, b"x", "content-range: bytes 5-8/9")),
        (lambda relay: relay.read_item(*key_of(item()), 5), (206, b"x", "content-range: bytes 5-4/9")),
        (lambda relay: relay.read_item(*key_of(item()), 5), (206, b"x", "content-range: bytes 5-5/99999999999")),
        (lambda relay: relay.read_item(*key_of(item()), 5), (416, b"", "content-range: bytes */9")),
        (lambda relay: relay.read_item(*key_of(item()), 5), (416, b"", "content-range: bytes 0-0/4")),
        (lambda relay: relay.read_item(*key_of(item()), 5), (416, b"", "x: y")),
        (lambda relay: relay.read_leaves(*key_of(item())), (200, b"", "")),
        (lambda relay: relay.read_leaves(*key_of(item())), (200, b"l" * 33, "")),
    ],
)
def test_answers_that_fit_no_question(call, answer):
    """Sizes, ranges and counts must be those that were asked for."""
    status, body, line = answer
    size = "" if status == 204 else f"content-length: {len(body)}\r\n"
    head = f"HTTP/1.1 {status} X\r\n{size}connection: close\r\n{line + chr(13) + chr(10) if line else ''}\r\n"
    with (
        raw_server(head.encode() + body) as (address, _),
        closing(HttpRelay(address)) as relay,
        pytest.raises(RelayError),
    ):
        call(relay)
