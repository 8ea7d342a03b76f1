"""Sealing and opening: what was sealed comes back, and nothing else opens in its place."""

import itertools
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelvault.crypto import aead
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.hpke import seal as hpke_seal
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope import seal
from labelvault.envelope.digest import item_digest, payload_leaves
from labelvault.envelope.metadata import MAX_METADATA_BYTES, Label, Metadata
from labelvault.envelope.padding import padded_size
from labelvault.envelope.seal import SealedItem, check_digest, open_item, seal_item
from labelvault.errors import DecryptionError, FormatError, LabelVaultError, TamperedError
from labelvault.keys.kek import Kek, unwrap_dek, wrap_context, wrap_dek
from labelvault.wire.items import ItemHeader, parse_header
from labelvault.wire.schema import encode_record
from tests.vectors import world

HEADER = world.header()
METADATA = Metadata("task", "t-1", "text/plain", 0, (Label("area", "law"),), (world.GUIDELINE,))
CHUNK = aead.CHUNK_BYTES + aead.CHUNK_TAG_BYTES


def digest_of(header: bytes, payload: bytes) -> bytes:
    """What someone would certify who never saw the true bytes."""
    return item_digest(header, len(payload), payload_leaves(payload))


def opened(sealed: SealedItem, dek: SecretBytes, **changes: Any) -> Any:
    """Open a sealed item, with other parts in place of its own."""
    expected = changes.pop("expected", parse_header(sealed.header))
    parts = {"header": sealed.header, "payload": sealed.payload, "digest": sealed.digest} | changes
    return open_item(parts["header"], parts["payload"], dek, expected=expected, digest=parts["digest"])


def refused(kind: type[LabelVaultError], sealed: SealedItem, dek: SecretBytes, **changes: Any) -> str:
    """Assert that exactly this error is raised; return its text."""
    with pytest.raises(LabelVaultError) as caught:
        opened(sealed, dek, **changes)
    assert type(caught.value) is kind
    return str(caught.value)


def refused_at_both_layers(sealed: SealedItem, dek: SecretBytes, payload: bytes) -> None:
    """Refused under the true digest; and, where someone certified the altered bytes, by the encryption."""
    refused(TamperedError, sealed, dek, payload=payload)
    refused(DecryptionError, sealed, dek, payload=payload, digest=digest_of(sealed.header, payload))


@pytest.fixture(scope="module")
def small() -> tuple[SealedItem, SecretBytes]:
    """An item of some 200 bytes."""
    return seal_item(HEADER, METADATA, b"weigh it", floor_bytes=1)


@pytest.fixture(scope="module")
def long() -> tuple[SealedItem, SecretBytes]:
    """An item of three whole chunks and a shorter one."""
    sealed, dek = seal_item(HEADER, METADATA, bytes(range(256)) * 200, floor_bytes=4096)
    assert 3 * CHUNK < len(sealed.payload) - aead.PAYLOAD_PREFIX_BYTES < 4 * CHUNK
    return sealed, dek


@settings(max_examples=50)
@given(
    st.binary(max_size=3000) | st.integers(0, 70_000).map(bytes),
    st.sampled_from([0, 1, 256, 4096]),
    st.sampled_from(["guideline", "rubric", "gold", "task", "attachment"]),
    st.integers(1, 2**32),
)
def test_items_round_trip(content: bytes, floor: int, kind: str, version: int) -> None:
    """Content and metadata come back, the true size is recorded, and the stated size is what is stored."""
    header, metadata = replace(HEADER, version=version), replace(METADATA, kind=kind, size=7)
    sealed, dek = seal_item(header, metadata, content, floor_bytes=floor)
    result = opened(sealed, dek)
    assert (result.header, result.content) == (header, content)
    assert result.metadata == replace(metadata, size=len(content))
    assert sealed.leaves == payload_leaves(sealed.payload)
    assert sealed.digest == digest_of(sealed.header, sealed.payload)
    inside = 4 + len(encode_record(result.metadata)) + len(content)
    assert len(sealed.payload) == aead.sealed_size(padded_size(inside, floor))


def test_F11_sealed_size_tells_only_the_padded_size() -> None:
    """Items of other names, kinds, labels and sizes below the floor are of one size, and show none of it."""
    long_metadata = Metadata("gold", "n" * 300, "text/markdown", 0, (Label("area", "v" * 300),), ())
    sizes = set()
    for metadata, content in ((METADATA, b""), (long_metadata, b"x" * 3000)):
        sealed, _ = seal_item(HEADER, metadata, content, floor_bytes=4096)
        sizes.add(len(sealed.payload))
        for secret in (b"gold", b"text/", metadata.name.encode() * 3, b"x" * 12, b"area"):
            assert secret not in sealed.payload
    assert len(sizes) == 1


def test_F10_every_sealing_has_a_key_and_salt_of_its_own() -> None:
    """The same item twice: no bytes in common, and neither key opens the other."""
    (one, dek), (two, other) = (seal_item(HEADER, METADATA, b"same", floor_bytes=1) for _ in range(2))
    assert one.payload[:24] != two.payload[:24]
    assert not dek.matches(other.reveal())
    refused(DecryptionError, one, other)
    refused(DecryptionError, two, dek)


def test_F1_any_flipped_bit_of_payload_is_refused(small: tuple[SealedItem, SecretBytes]) -> None:
    """Salt, commitment, ciphertext, padding and tag: every bit, at both layers."""
    sealed, dek = small
    payload = sealed.payload
    for at in range(8 * len(payload)):
        flipped = (int.from_bytes(payload, "big") ^ 1 << at).to_bytes(len(payload), "big")
        refused_at_both_layers(sealed, dek, flipped)


def test_F1_any_flipped_bit_of_header_or_digest_is_refused(small: tuple[SealedItem, SecretBytes]) -> None:
    """Under the true digest it is tampering; certified anew, it is malformed or does not decrypt."""
    sealed, dek = small
    for at in range(8 * len(sealed.header)):
        flipped = (int.from_bytes(sealed.header, "big") ^ 1 << at).to_bytes(len(sealed.header), "big")
        refused(TamperedError, sealed, dek, header=flipped)
        try:
            expected = parse_header(flipped)
        except FormatError:
            continue
        refused(TamperedError, sealed, dek, header=flipped, expected=expected)
        certified = digest_of(flipped, sealed.payload)
        refused(DecryptionError, sealed, dek, header=flipped, expected=expected, digest=certified)
    for at in range(8 * 32):
        flipped = (int.from_bytes(sealed.digest, "big") ^ 1 << at).to_bytes(32, "big")
        refused(TamperedError, sealed, dek, digest=flipped)


def test_F1_any_flipped_bit_of_the_DEK_is_refused(small: tuple[SealedItem, SecretBytes]) -> None:
    """No bit of a key is idle."""
    sealed, dek = small
    for at in range(8 * 32):
        flipped = (int.from_bytes(dek.reveal(), "big") ^ 1 << at).to_bytes(32, "big")
        refused(DecryptionError, sealed, SecretBytes(flipped))


def test_F2_truncated_or_extended_payload_is_refused(small: tuple[SealedItem, SecretBytes]) -> None:
    """Every shorter length, and 1 to 64 bytes more, at both layers."""
    sealed, dek = small
    for size in range(len(sealed.payload)):
        refused_at_both_layers(sealed, dek, sealed.payload[:size])
    for more in range(1, 65):
        refused_at_both_layers(sealed, dek, sealed.payload + bytes(more))
        refused_at_both_layers(sealed, dek, sealed.payload + sealed.payload[-more:])


def chunks_of(payload: bytes) -> tuple[bytes, list[bytes]]:
    """Prefix and chunks."""
    prefix, body = payload[: aead.PAYLOAD_PREFIX_BYTES], payload[aead.PAYLOAD_PREFIX_BYTES :]
    return prefix, [body[at : at + CHUNK] for at in range(0, len(body), CHUNK)]


def test_F2_chunks_swapped_doubled_or_dropped_are_refused(long: tuple[SealedItem, SecretBytes]) -> None:
    """Every order, every gap, every repetition of the chunks, and every end at a chunk's end."""
    sealed, dek = long
    prefix, chunks = chunks_of(sealed.payload)
    assert opened(sealed, dek).content == bytes(range(256)) * 200
    altered = {prefix + b"".join(order) for order in itertools.permutations(chunks)}
    for at in range(len(chunks)):
        altered.add(prefix + b"".join(chunks[:at] + chunks[at + 1 :]))
        altered.add(prefix + b"".join(chunks[: at + 1] + chunks[at:]))
        altered.add(prefix + b"".join(chunks[:at]))
        altered.add(prefix + b"".join([*chunks, chunks[at]]))
    altered.discard(sealed.payload)
    assert len(altered) > 30
    for payload in altered:
        refused_at_both_layers(sealed, dek, payload)


def test_F2_chunks_of_two_items_are_not_spliced(long: tuple[SealedItem, SecretBytes]) -> None:
    """Any chunk, or the prefix, of another item's payload in the same place, whichever key is tried."""
    sealed, dek = long
    other, other_dek = seal_item(replace(HEADER, item=world.OTHER_ITEM), METADATA, bytes(51_200), floor_bytes=4096)
    prefix, chunks = chunks_of(sealed.payload)
    other_prefix, other_chunks = chunks_of(other.payload)
    assert len(chunks) == len(other_chunks)
    spliced = [other_prefix + b"".join(chunks), prefix + b"".join(other_chunks)]
    for at in range(len(chunks)):
        spliced.append(prefix + b"".join([*chunks[:at], other_chunks[at], *chunks[at + 1 :]]))
    for payload in spliced:
        for key in (dek, other_dek):
            refused_at_both_layers(sealed, key, payload)


def test_F2_truncation_inside_a_long_payload_is_refused(long: tuple[SealedItem, SecretBytes]) -> None:
    """A byte to either side of every border between prefix, chunks and tags."""
    sealed, dek = long
    borders = {at for start in range(56, len(sealed.payload), CHUNK) for at in (start, start + aead.CHUNK_BYTES)}
    cuts = {border + shift for border in borders for shift in (-1, 0, 1)}
    for size in sorted(cut for cut in cuts if cut < len(sealed.payload)):
        refused_at_both_layers(sealed, dek, sealed.payload[:size])


@dataclass(frozen=True)
class Stored:
    """An item of the matrix, with its wrap."""

    sealed: SealedItem
    dek: SecretBytes
    wrapped: bytes
    kind: str

    @property
    def header(self) -> ItemHeader:
        return parse_header(self.sealed.header)


KEKS: dict[tuple[bytes, bytes], Kek] = {
    (client, project): Kek(world.fixed("kek id", 16), 1, SecretBytes(world.fixed(f"kek {client.hex()}{project.hex()}")))
    for client in (world.CLIENT, world.OTHER_CLIENT)
    for project in (world.PROJECT, world.OTHER_PROJECT)
}


def make_matrix() -> list[Stored]:
    """Two clients with two equally named projects of two equally named items in three versions, of several kinds."""
    made = []
    items = (world.TASK, world.OTHER_ITEM)
    kinds = itertools.cycle(("task", "guideline", "gold", "rubric", "attachment"))
    for (client, project), item, version in itertools.product(KEKS, items, (1, 2, 3)):
        header, kind = ItemHeader(1, client, project, item, version), next(kinds)
        sealed, dek = seal_item(header, replace(METADATA, kind=kind), b"same content", floor_bytes=256)
        kek = KEKS[client, project]
        context = wrap_context(sealed.header, sealed.digest, kek.kek_id, kek.generation)
        made.append(Stored(sealed, dek, wrap_dek(kek, dek, context), kind))
    return made


@pytest.fixture(scope="module")
def matrix() -> list[Stored]:
    """The items of `make_matrix`."""
    return make_matrix()


def keeps_out(here: Stored, there: Stored) -> None:
    """Header, payload, both, and the same under a digest that someone certified wrongly, of one item for another."""
    expected, ours, theirs = here.header, here.sealed, there.sealed
    refused(TamperedError, ours, here.dek, header=theirs.header, expected=expected)
    refused(TamperedError, ours, here.dek, payload=theirs.payload)
    refused(TamperedError, theirs, there.dek, expected=expected)
    refused(TamperedError, ours, here.dek, digest=theirs.digest)
    # The payload's own binding to its header, with a digest and a DEK that fit the wrong payload.
    wrong = digest_of(ours.header, theirs.payload)
    refused(DecryptionError, ours, there.dek, payload=theirs.payload, digest=wrong)
    refused(DecryptionError, ours, here.dek, payload=theirs.payload, digest=wrong)
    refused(DecryptionError, ours, there.dek)


def keeps_wrap_out(here: Stored, there: Stored) -> None:
    """A wrap in another's row of the catalog, header and digest swapped alone or together."""
    kek = KEKS[here.header.client, here.header.project]
    right = wrap_context(here.sealed.header, here.sealed.digest, kek.kek_id, kek.generation)
    assert unwrap_dek(kek, here.wrapped, right).matches(here.dek.reveal())
    with pytest.raises(DecryptionError):
        unwrap_dek(kek, there.wrapped, right)
    for header, digest in (
        (there.sealed.header, here.sealed.digest),
        (here.sealed.header, there.sealed.digest),
        (there.sealed.header, there.sealed.digest),
    ):
        with pytest.raises(DecryptionError):
            unwrap_dek(kek, here.wrapped, wrap_context(header, digest, kek.kek_id, kek.generation))


def test_F3_nothing_of_one_item_passes_in_anothers_place(matrix: list[Stored]) -> None:
    """Every ordered pair."""
    pairs = list(itertools.permutations(matrix, 2))
    assert len(pairs) == 24 * 23
    for here, there in pairs:
        keeps_out(here, there)


def test_F3_F13_wrap_opens_in_its_own_place_only(matrix: list[Stored]) -> None:
    """Every ordered pair."""
    for here, there in itertools.permutations(matrix, 2):
        keeps_wrap_out(here, there)


def test_F3_kind_can_not_be_exchanged() -> None:
    """A gold answer sealed under the header of a task is other bytes, found before any decryption."""
    task, dek = seal_item(HEADER, METADATA, b"same", floor_bytes=256)
    gold, gold_dek = seal_item(HEADER, replace(METADATA, kind="gold"), b"same", floor_bytes=256)
    assert task.header == gold.header
    assert len(task.payload) == len(gold.payload)
    for key in (dek, gold_dek):
        refused(TamperedError, task, key, payload=gold.payload)


def test_G6_forgery_under_a_known_DEK_is_refused(small: tuple[SealedItem, SecretBytes]) -> None:
    """Who knows the DEK seals another body that decrypts, and is found out by the digest."""
    sealed, dek = small
    forged = craft(dek, METADATA, b"forged")
    assert opened(sealed, dek, payload=forged, digest=digest_of(sealed.header, forged)).content == b"forged"
    refused(TamperedError, sealed, dek, payload=forged)


def test_F6_every_failed_opening_looks_the_same(small: tuple[SealedItem, SecretBytes]) -> None:
    """Wrong key, tag, commitment, salt, size, context, padding or metadata, and a bad wrap: one class, one text."""
    sealed, dek = small
    payload = sealed.payload
    altered = [
        payload[:-1] + bytes([payload[-1] ^ 1]),
        payload[:30] + bytes([payload[30] ^ 1]) + payload[31:],
        bytes([payload[0] ^ 1]) + payload[1:],
        payload[:-1],
        payload[:56],
        b"",
        craft(dek, METADATA, b"x", padding=b"\1"),
        craft(dek, METADATA, b"x", metadata=b"\xc1"),
    ]
    texts = {refused(DecryptionError, sealed, dek, payload=p, digest=digest_of(sealed.header, p)) for p in altered}
    texts.add(refused(DecryptionError, sealed, SecretBytes(bytes(32))))
    kek = next(iter(KEKS.values()))
    context = wrap_context(sealed.header, sealed.digest, kek.kek_id, 1)
    wrapped = wrap_dek(kek, dek, context)
    for bad in (wrapped[:-1], wrapped[:-1] + bytes([wrapped[-1] ^ 1]), b"", bytes(72)):
        with pytest.raises(DecryptionError) as caught:
            unwrap_dek(kek, bad, context)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
        texts.add(str(caught.value))
    key = OneTimeKey.generate()
    with pytest.raises(DecryptionError) as caught:
        key.open(hpke_seal(OneTimeKey.generate().public_key, b"m", b""), b"")
    texts.add(str(caught.value))
    assert texts == {"decryption failed"}


def test_F6_tampering_is_told_before_any_key_is_used(
    small: tuple[SealedItem, SecretBytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs no key, so it gives away nothing about one: the decryptor is never reached."""
    sealed, dek = small

    def never(*_: object) -> bytes:
        raise AssertionError("decrypted bytes that no digest vouches for")

    monkeypatch.setattr(aead, "open_payload", never)
    for changes in ({"payload": b""}, {"header": b""}, {"digest": bytes(32)}, {"expected": replace(HEADER, version=2)}):
        refused(TamperedError, sealed, dek, **changes)
    check_digest(sealed.header, sealed.payload, expected=HEADER, digest=sealed.digest)


@pytest.mark.parametrize("form", [0, 2, 65535])
def test_F7_item_of_another_format_is_refused(form: int, small: tuple[SealedItem, SecretBytes]) -> None:
    """Its header neither parses nor can be made."""
    sealed, dek = small
    other = sealed.header.replace(b"\xa6format\x01", b"\xa6format" + (bytes([form]) if form < 128 else b"\xcd\xff\xff"))
    refused(TamperedError, sealed, dek, header=other)
    with pytest.raises(FormatError):
        seal_item(replace(HEADER, format=form), METADATA, b"", floor_bytes=1)


def test_F7_lease_key_without_its_post_quantum_half_is_refused() -> None:
    """Nothing is sealed to a bare X25519 or ML-KEM key."""
    for half in (world.ONE_TIME.public_key[1184:], world.ONE_TIME.public_key[:1184]):
        with pytest.raises(FormatError):
            hpke_seal(half, b"lease", b"")
        with pytest.raises(FormatError):
            encode_record(world.request(one_time_key=half))


def craft(
    dek: SecretBytes,
    described: Metadata,
    content: bytes,
    *,
    metadata: bytes | None = None,
    prefix: bytes | None = None,
    padding: bytes = b"",
) -> bytes:
    """A payload that decrypts under `dek`, with whatever inside."""
    encoded = encode_record(replace(described, size=len(content))) if metadata is None else metadata
    prefix = len(encoded).to_bytes(4, "big") if prefix is None else prefix
    context = b"labelvault/v1/payload\0" + HEADER.encode()
    return aead.seal_payload(dek, prefix + encoded + content + padding, context)


FIT = encode_record(replace(METADATA, size=5))
MALFORMED: dict[str, dict[str, Any]] = {
    "padding of a one": {"padding": b"\1"},
    "padding that ends in a one": {"padding": bytes(100) + b"\1"},
    "padding that begins with a one": {"padding": b"\1" + bytes(100)},
    "metadata of nothing": {"metadata": b""},
    "metadata that is no map": {"metadata": b"\x90"},
    "metadata with a trailing byte": {"metadata": FIT + b"\0"},
    "metadata of another kind": {"metadata": FIT.replace(b"\xa4task", b"\xa4tusk")},
    "size of metadata beyond the end": {"prefix": b"\xff\xff\xff\xff"},
    "size of metadata one more": {"prefix": (len(FIT) + 1).to_bytes(4, "big")},
    "size of metadata one less": {"prefix": (len(FIT) - 1).to_bytes(4, "big")},
    "size of content beyond the end": {"metadata": encode_record(replace(METADATA, size=6))},
    "size of content far beyond the end": {"metadata": encode_record(replace(METADATA, size=2**52))},
    "size of content too small": {"metadata": encode_record(replace(METADATA, size=4))},
    "well-formed metadata over its bound": {
        "metadata": encode_record(replace(METADATA, labels=(Label("n" * 200, "v" * 1000),) * 30, size=5)),
    },
    "metadata over its bound": {
        "prefix": (MAX_METADATA_BYTES + 1).to_bytes(4, "big"),
        "padding": bytes(2 * MAX_METADATA_BYTES),
    },
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_F11_malformed_plaintext_is_refused_with_a_valid_DEK(fault: str, small: tuple[SealedItem, SecretBytes]) -> None:
    """Sealed by someone who held the DEK and certified: refused like any failed opening, with nothing handed out."""
    sealed, dek = small
    twin = craft(dek, METADATA, b"12345", padding=bytes(len(MALFORMED[fault].get("padding", b""))))
    assert opened(sealed, dek, payload=twin, digest=digest_of(sealed.header, twin)).content == b"12345"
    payload = craft(dek, METADATA, b"12345", **MALFORMED[fault])
    text = refused(DecryptionError, sealed, dek, payload=payload, digest=digest_of(sealed.header, payload))
    assert text == "decryption failed"


@pytest.mark.parametrize("plaintext", [b"", b"\0", b"\0\0\0", b"\0\0\0\0"], ids=len)
def test_F11_plaintext_without_room_for_metadata_is_refused(
    plaintext: bytes, small: tuple[SealedItem, SecretBytes]
) -> None:
    """Less than its own size field, or none of what that announces."""
    sealed, dek = small
    payload = aead.seal_payload(dek, plaintext, b"labelvault/v1/payload\0" + sealed.header)
    refused(DecryptionError, sealed, dek, payload=payload, digest=digest_of(sealed.header, payload))


def test_content_over_its_bound_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is encrypted; the largest that is allowed is sealed."""
    monkeypatch.setattr(seal, "MAX_CONTENT_BYTES", 100)
    sealed, dek = seal_item(HEADER, METADATA, bytes(100), floor_bytes=1)
    assert opened(sealed, dek).content == bytes(100)
    monkeypatch.setattr(aead, "seal_payload", None)
    with pytest.raises(FormatError, match="101 bytes; an item holds at most 100"):
        seal_item(HEADER, METADATA, bytes(101), floor_bytes=1)


def test_metadata_over_its_bound_is_refused() -> None:
    """Each field within its bound, all of them together over theirs: refused when sealing, not first when opening."""
    labels = tuple(Label("n" * 200, "v" * 1000) for _ in range(30))
    with pytest.raises(FormatError, match=f"metadata of .* at most {MAX_METADATA_BYTES}"):
        seal_item(HEADER, replace(METADATA, labels=labels), b"", floor_bytes=1)
    room = MAX_METADATA_BYTES - len(
        encode_record(replace(METADATA, labels=(*labels[:26], Label("n" * 200, "v" * 256))))
    )
    exact = (*labels[:26], Label("n" * 200, "v" * (256 + room)))
    assert len(encode_record(replace(METADATA, labels=exact))) == MAX_METADATA_BYTES
    sealed, dek = seal_item(HEADER, replace(METADATA, labels=exact), b"", floor_bytes=1)
    assert opened(sealed, dek).metadata.labels == exact
    with pytest.raises(FormatError, match=f"at most {MAX_METADATA_BYTES}"):
        seal_item(HEADER, replace(METADATA, labels=exact, name="t-10"), b"", floor_bytes=1)


def test_X2_plaintext_and_payload_stay_out_of_repr(small: tuple[SealedItem, SecretBytes]) -> None:
    """A logged item shows header and digest, and nothing that was sealed."""
    sealed, dek = small
    result = opened(sealed, dek)
    for shown in (repr(sealed), repr(result)):
        for secret in ("weigh", "t-1", "law", repr(sealed.payload[:8])[2:-1]):
            assert secret not in shown
