"""X2: a canary key never shows, whatever is done to the objects that hold it and whatever fails."""

import base64
import contextlib
import copy
import dataclasses
import logging
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labelvault.crypto import aead, hpke
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.kdf import Argon2idParameters, derive_key
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.errors import LabelVaultError
from labelvault.keys.identity import create_identity, load_signing_key, open_identity, store_signing_key
from labelvault.keys.kek import Kek, KekFiles, unwrap_dek, wrap_dek
from labelvault.keys.keystore import open_keystore, seal_keystore
from labelvault.keys.root import LocalRootKey, PassphraseRoot

# Globals, not locals: what a traceback shows of the test's own frame must not count.
CANARY = b"canary-key-canary-key-canary-key"
WORD = CANARY.decode()
CHEAP = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)
ROOT = LocalRootKey(SecretBytes(CANARY))
HOLDERS: list[Any] = [
    SecretBytes(CANARY),
    SigningKey(SecretBytes(CANARY)),
    OneTimeKey(SecretBytes(CANARY)),
    PassphraseRoot(WORD, parameters=CHEAP),
    ROOT,
    Kek(bytes(16), 1, SecretBytes(CANARY)),
]
FORMS = [
    WORD,
    CANARY.hex(),
    base64.b64encode(CANARY).decode().rstrip("="),
    base64.urlsafe_b64encode(CANARY).decode().rstrip("="),
    base64.b32encode(CANARY).decode().rstrip("="),
    str(list(CANARY))[1:-1],
    str(int.from_bytes(CANARY, "big")),
    str(int.from_bytes(CANARY, "little")),
]


def _assert_hidden(shown: str) -> None:
    folded = shown.lower()
    assert not [form for form in FORMS if form.lower() in folded or form[:16].lower() in folded]


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_the_canary_would_be_seen(form: str) -> None:
    """The check that the tests below rest on finds what it must."""
    with pytest.raises(AssertionError):
        _assert_hidden(f"before {form.upper()} after")


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_X2_no_text_form_shows_the_secret(holder: Any) -> None:
    """Repr, str, format with and without a width, and containers of the holder."""
    _assert_hidden(repr(holder))
    _assert_hidden(str(holder))
    _assert_hidden(f"{holder} {holder!r} {holder!s} {holder!a} {holder!r:>80}")
    _assert_hidden("%s %r" % (holder, holder))  # noqa: UP031 - the old form is a way of its own
    _assert_hidden(str([holder, {"key": holder}, (holder,)]))
    with contextlib.suppress(TypeError):
        _assert_hidden(f"{holder:>80}")


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_X2_no_copy_leaves_the_holder(holder: Any) -> None:
    """Neither vars, pickle of any protocol, copy, deepcopy nor asdict gives the secret away."""
    with pytest.raises(TypeError):
        vars(holder)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError):
            pickle.dumps(holder, protocol)
    for duplicate in (copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            duplicate(holder)
    if dataclasses.is_dataclass(holder) and not isinstance(holder, type):
        with pytest.raises(TypeError):
            dataclasses.asdict(holder)


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda holder: type(holder).__name__)
def test_X2_public_attributes_show_no_secret(holder: Any) -> None:
    """What `dir` lists without an underscore, and is no method, is public or hidden itself."""
    for name in dir(holder):
        if not name.startswith("_") and not callable(getattr(holder, name)):
            _assert_hidden(repr(getattr(holder, name)))


def test_X7_secrets_are_compared_in_constant_time_only() -> None:
    """Equality and hashing of a secret raise; `matches` compares."""
    secret = SecretBytes(CANARY)
    for compare in (lambda: secret == CANARY, lambda: secret != secret, lambda: secret in [CANARY]):
        with pytest.raises(TypeError, match="matches"):
            compare()
    with pytest.raises(TypeError):
        hash(secret)
    with pytest.raises(TypeError):
        {secret}  # noqa: B018 - building the set is the test
    assert secret.matches(CANARY)
    assert not secret.matches(CANARY[:-1])


def _failures(folder: Path) -> list[Callable[[], object]]:
    """Calls that fail while the canary is in their hands."""
    secret, kek = SecretBytes(CANARY), Kek(bytes(16), 1, SecretBytes(CANARY))
    sealed = seal_keystore("root", secret, "another passphrase", CHEAP)
    sealed_payload = bytearray(aead.seal_payload(secret, CANARY * 2000, b""))
    sealed_payload[-1] ^= 1
    payload = bytes(sealed_payload)
    (folder / "identity").write_bytes(sealed)
    (folder / "root.keystore").write_bytes(sealed)
    (folder / "issuer").write_bytes(b"")
    files = KekFiles(folder / "identity" / "no-folder", ROOT, bytes(32))
    return [
        lambda: aead.unwrap(secret, bytes(72), b""),
        lambda: aead.open_payload(secret, payload, b""),
        lambda: OneTimeKey(secret).open(bytes(1200), b""),
        lambda: hpke.check_public_key(bytes(5)),
        lambda: unwrap_dek(kek, bytes(72), b""),
        lambda: wrap_dek(kek, SecretBytes(CANARY + b"x"), b""),
        lambda: ROOT.unwrap(bytes(72), b""),
        lambda: LocalRootKey(SecretBytes(CANARY + b"x")),
        lambda: SigningKey(SecretBytes(CANARY + b"x")),
        lambda: OneTimeKey(SecretBytes(CANARY + b"x")),
        lambda: open_keystore("root", sealed, WORD),
        lambda: open_keystore("identity", sealed, WORD),
        lambda: open_keystore("root", sealed[:-1], WORD),
        lambda: open_keystore("root", sealed, WORD + "\udcff"),
        lambda: seal_keystore("root", SecretBytes(b""), WORD, CHEAP),
        lambda: seal_keystore("root", SecretBytes(CANARY * 40), WORD, CHEAP),
        lambda: seal_keystore("other", secret, WORD, CHEAP),  # type: ignore[arg-type]
        lambda: PassphraseRoot(WORD, parameters=CHEAP).open(folder),
        lambda: PassphraseRoot(WORD, parameters=CHEAP).create(folder),
        lambda: create_identity(folder / "identity", WORD, CHEAP),
        lambda: open_identity(folder / "identity", WORD),
        lambda: open_identity(folder / "missing", WORD),
        lambda: store_signing_key(folder / "issuer", SigningKey(secret), ROOT, "issuer", bytes(32)),
        lambda: load_signing_key(folder / "issuer", ROOT, "issuer", bytes(32)),
        lambda: files.create(bytes(16)),
        lambda: files.load(bytes(16), bytes(16), 1),
    ]


def test_X2_no_error_shows_the_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Messages, chains and tracebacks with locals of every failing call, and the DEBUG log meanwhile."""
    caplog.set_level(logging.DEBUG)
    for call in _failures(tmp_path):
        with pytest.raises((LabelVaultError, ValueError)) as caught:
            call()
        # Without the test's frame and the lambda's, whose locals are the canary's first home.
        error: BaseException = caught.value
        tb = error.__traceback__
        while tb is not None and tb.tb_frame.f_code.co_filename == __file__:
            tb = tb.tb_next
        error.__traceback__ = tb
        full = traceback.TracebackException.from_exception(error, capture_locals=True)
        _assert_hidden("".join(full.format()))
        _assert_hidden(repr(error) + repr(error.args))
        logging.getLogger("labelvault").exception("failed", exc_info=error)
    _assert_hidden(caplog.text)


def test_X2_no_success_logs_or_warns_the_secret(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A whole life of keys at DEBUG level writes the secret nowhere but encrypted."""
    caplog.set_level(logging.DEBUG)
    secret = SecretBytes(CANARY)
    root = PassphraseRoot(WORD, parameters=CHEAP).create(tmp_path)
    store_signing_key(tmp_path / "issuer", SigningKey(secret), root, "issuer", bytes(32))
    files = KekFiles(tmp_path / "keks", root, bytes(32))
    wrap_dek(files.create(bytes(16)), secret, b"context")
    (tmp_path / "keystore").write_bytes(seal_keystore("root", secret, WORD, CHEAP))
    derive_key(SecretBytes(CANARY), bytes(16), CHEAP)
    OneTimeKey(secret).open(hpke.seal(OneTimeKey(secret).public_key, CANARY, b""), b"")
    _assert_hidden(caplog.text + "".join(capfd.readouterr()) + str(list(recwarn)))
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert CANARY not in path.read_bytes()
            _assert_hidden(path.read_bytes().decode("latin-1") + str(path))
