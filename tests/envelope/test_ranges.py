"""Opening ranges: equal to the source, touching what is needed and no more, and never a byte that was not sealed."""

import copy
import io
import pickle
import random
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelvault.crypto import aead
from labelvault.crypto.chunks import ChunkOpener
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.digest import item_digest, payload_leaves
from labelvault.envelope.metadata import Label, Metadata
from labelvault.envelope.ranges import SealedReader
from labelvault.envelope.seal import payload_context, seal_item, sealed_head
from labelvault.errors import (
    DecryptionError,
    FormatError,
    LabelVaultError,
    LeaseClosedError,
    LeaseError,
    RelayError,
    TamperedError,
)
from labelvault.pipeline import ahead
from labelvault.wire.items import LEAF_BYTES, ItemHeader

HEADER = ItemHeader(1, b"c" * 32, b"p" * 16, b"i" * 16, 3)
METADATA = Metadata("attachment", "film.mp4", "video/mp4", 0, (Label("a", "b"),), (b"r" * 16,))
CANARY = b"canary-plaintext-0123456789"


@dataclass
class Served:
    """An item as a vault serves it, counting what is fetched."""

    header: bytes
    payload: bytes
    leaves: tuple[bytes, ...]
    digest: bytes
    dek: SecretBytes
    size: int
    expected: ItemHeader = HEADER
    fetched: list[tuple[int, int]] = field(default_factory=list)

    def read(self, offset: int, length: int) -> bytes:
        self.fetched.append((offset, length))
        return self.payload[offset : offset + length]

    def open(self) -> SealedReader:
        return SealedReader(self.header, self.expected, self.digest, self.dek, self.size, self.leaves, self.read)

    def put(self, at: int, data: bytes) -> None:
        self.payload = self.payload[:at] + data + self.payload[at + len(data) :]

    def certify(self) -> None:
        """Let the digest be that of the altered bytes, as someone who knows the DEK could have it."""
        self.size, self.leaves = len(self.payload), payload_leaves(self.payload)
        self.digest = item_digest(self.header, self.size, self.leaves)


def served(content: bytes, floor_bytes: int = 256) -> Served:
    """A sealed item, served as it is."""
    sealed, dek = seal_item(HEADER, METADATA, content, floor_bytes=floor_bytes)
    return Served(sealed.header, sealed.payload, sealed.leaves, sealed.digest, dek, len(sealed.payload))


def forged(plaintext: bytes) -> Served:
    """Plaintext of any form, sealed by someone who knows a DEK, and certified."""
    dek = SecretBytes(random_bytes(32))
    made = Served(HEADER.encode(), aead.seal_payload(dek, plaintext, payload_context(HEADER.encode())), (), b"", dek, 0)
    made.certify()
    return made


def content_of(size: int) -> bytes:
    """Bytes that differ from place to place."""
    return random.Random(size).randbytes(size)


@pytest.fixture(scope="module")
def large() -> tuple[bytes, Served]:
    """5 MiB and a bit; not to be altered."""
    content = content_of(5 * LEAF_BYTES + 12345)
    return content, served(content)


def test_a_thousand_random_ranges_equal_the_source(large: tuple[bytes, Served]) -> None:
    """Any range is what slicing gives, and the end is like the middle."""
    content, item = large
    reader, choose = item.open(), random.Random(7)
    assert reader.size == len(content)
    assert (reader.metadata.name, reader.metadata.requires) == ("film.mp4", (b"r" * 16,))
    for _ in range(1000):
        offset = choose.randrange(len(content) + 10)
        length = choose.choice([0, 1, 100, 16384, 50_000, choose.randrange(2 * LEAF_BYTES)])
        assert reader.read_range(offset, length) == content[offset : offset + length]
    assert b"".join(reader.pieces()) == content


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 70_000), st.integers(0, 80_000), st.integers(0, 80_000))
def test_any_range_of_any_size_equals_the_source(size: int, offset: int, length: int) -> None:
    """Small items, around chunk borders, empty ones too."""
    content = content_of(size)
    reader = served(content).open()
    assert reader.read_range(offset, length) == content[offset : offset + length]
    assert b"".join(reader.pieces()) == content


@pytest.mark.parametrize("offset", [0, 1, 16384, LEAF_BYTES - 1, LEAF_BYTES, 3 * LEAF_BYTES + 5])
@pytest.mark.parametrize("length", [1, 16384, 16385, LEAF_BYTES, 2 * LEAF_BYTES + 1])
def test_a_range_touches_only_its_leaves_and_chunks(
    large: tuple[bytes, Served], offset: int, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is fetched are the leaves over the range's chunks, once; what is opened are these chunks, once."""
    content, item = large
    if offset + length >= len(content):
        length = len(content) - offset - 1
    reader = item.open()
    reader._held.clear()
    item.fetched.clear()
    opened: list[int] = []
    monkeypatch.setattr(ChunkOpener, "open", _counting(opened))
    assert reader.read_range(offset, length) == content[offset : offset + length]
    start = len(sealed_head(METADATA, len(content))) + offset
    first, last = start // aead.CHUNK_BYTES, (start + length - 1) // aead.CHUNK_BYTES
    assert opened == list(range(first, last + 1))
    first_leaf = (56 + first * 16400) // LEAF_BYTES
    last_leaf = (56 + (last + 1) * 16400 - 1) // LEAF_BYTES
    assert [at // LEAF_BYTES for at, _ in item.fetched] == list(range(first_leaf, last_leaf + 1))
    assert all(size <= LEAF_BYTES for _, size in item.fetched)


def _counting(opened: list[int]) -> Callable[[ChunkOpener, int, bytes], bytes]:
    true = ChunkOpener.open

    def counted(self: ChunkOpener, number: int, chunk: bytes) -> bytes:
        opened.append(number)
        return true(self, number, chunk)

    return counted


def test_opening_fetches_the_first_leaf_only_and_reading_through_fetches_each_leaf_once() -> None:
    """The metadata costs one leaf; the whole costs all of them, and the end's once more for the padding."""
    content = content_of(5 * LEAF_BYTES + 12345)
    item = served(content)
    reader = item.open()
    assert item.fetched == [(0, LEAF_BYTES)]
    assert b"".join(reader.pieces()) == content
    touched = [at // LEAF_BYTES for at, _ in item.fetched]
    assert set(touched) == set(range(len(item.leaves)))
    assert len(touched) <= len(item.leaves) + 2


# --- leaves that another thread fetches ---


def alive() -> int:
    """How many threads of ours there are."""
    return sum(1 for thread in threading.enumerate() if thread.name.startswith("labelvault-ahead"))


@pytest.mark.parametrize("size", [0, 1, 16384, LEAF_BYTES, 3 * LEAF_BYTES - 100, 5 * LEAF_BYTES + 12345])
@pytest.mark.parametrize("floor_bytes", [256, 4 * LEAF_BYTES])
def test_leaves_fetched_ahead_give_the_same_content(size: int, floor_bytes: int) -> None:
    """Each leaf comes once and in order, and after the padding the content's last ones at most once more."""
    content = content_of(size)
    item = served(content, floor_bytes)
    reader = item.open()
    item.fetched.clear()
    assert b"".join(reader.pieces(ahead)) == content
    touched = [at // LEAF_BYTES for at, _ in item.fetched]
    assert touched[: len(item.leaves)] == list(range(len(item.leaves)))
    assert len(touched) <= len(item.leaves) + 2
    assert alive() == 0


def test_F2_a_bad_leaf_ahead_ends_the_pieces_after_the_true_prefix() -> None:
    """What was checked before it is given; then its fault, nothing after it, and no thread is left."""
    content = content_of(6 * LEAF_BYTES)
    item = served(content)
    item.put(3 * LEAF_BYTES + 5000, b"\0\0\0\0")
    given, pieces = list[bytes](), item.open().pieces(ahead)
    with pytest.raises(TamperedError):
        given.extend(pieces)
    assert content.startswith(b"".join(given))
    assert len(given) == 2
    assert next(pieces, None) is None
    assert alive() == 0


def test_G12_a_chunk_that_does_not_open_ends_the_pieces() -> None:
    """A leaf that gives its hash, certified by someone who knows the DEK, and does not open: refused, nothing of it."""
    content = content_of(4 * LEAF_BYTES)
    item = served(content)
    item.put(2 * LEAF_BYTES + 5000, b"\0\0\0\0")
    item.certify()
    given, pieces = list[bytes](), item.open().pieces(ahead)
    with pytest.raises(DecryptionError):
        given.extend(pieces)
    assert content.startswith(b"".join(given))
    assert sum(map(len, given)) <= 2 * LEAF_BYTES + 5000
    assert alive() == 0


def test_F11_bad_padding_costs_the_last_piece_with_leaves_ahead_too() -> None:
    """All but the last piece comes, however much padding stands behind it."""
    content = content_of(2 * LEAF_BYTES)
    padding = bytearray(4 * LEAF_BYTES)
    padding[-1] = 1
    given, pieces = list[bytes](), forged(sealed_head(METADATA, len(content)) + content + padding).open().pieces(ahead)
    with pytest.raises(DecryptionError):
        given.extend(pieces)
    assert b"".join(given) == content[:LEAF_BYTES]


def test_closing_the_reader_ends_pieces_that_are_on_their_way() -> None:
    """The key is gone at once: whoever still iterates gets no further piece, and whoever stops leaves no thread."""
    item = served(content_of(6 * LEAF_BYTES))
    reader = item.open()
    pieces = reader.pieces(ahead)
    next(pieces)
    reader.close()
    with pytest.raises(LeaseClosedError):
        next(pieces)
    stopped = item.open().pieces(ahead)
    next(stopped)
    del stopped
    assert alive() == 0


# --- what a hostile vault may serve ---


def refused(kind: type[LabelVaultError], item: Served, read: Callable[[SealedReader], object] | None = None) -> str:
    """Assert that exactly this error is raised, on opening or on reading; return its text."""
    with pytest.raises(LabelVaultError) as caught:
        (read or (lambda reader: list(reader.pieces())))(item.open())
    assert type(caught.value) is kind
    return str(caught.value)


def test_F1_a_flipped_bit_anywhere_is_refused() -> None:
    """Found by the leaf's hash; and where someone certified the altered bytes, by commitment or tag."""
    content = content_of(40_000)
    choose = random.Random(1)
    places = [*range(60), *(choose.randrange(len(served(content).payload)) for _ in range(60))]
    texts = set()
    for at in places:
        item = served(content)
        item.put(at, bytes([item.payload[at] ^ 1 << choose.randrange(8)]))
        refused(TamperedError, item)
        item.certify()
        texts.add(refused(DecryptionError, item))
    assert texts == {"decryption failed"}


def test_F1_a_bad_leaf_costs_only_itself() -> None:
    """Ranges that don't touch the altered leaf are handed out, those that do never are."""
    content = content_of(4 * LEAF_BYTES)
    item = served(content)
    item.put(2 * LEAF_BYTES + 5000, b"\0\0\0\0")
    reader = item.open()
    assert reader.read_range(0, LEAF_BYTES) == content[:LEAF_BYTES]
    for offset, length in ((2 * LEAF_BYTES, 1), (0, len(content)), (LEAF_BYTES, 2 * LEAF_BYTES)):
        with pytest.raises(TamperedError):
            reader.read_range(offset, length)
    assert reader.read_range(3 * LEAF_BYTES + 70_000, 10) == content[3 * LEAF_BYTES + 70_000 :][:10]


@pytest.mark.parametrize("change", [-(10**6), -LEAF_BYTES, -1, 1, 64, LEAF_BYTES, 2**62])
@pytest.mark.parametrize("with_leaves", [False, True])
def test_F2_a_truncated_or_extended_size_is_refused_by_the_digest(change: int, with_leaves: bool) -> None:
    """Another size is refused before any payload byte is fetched, also with leaf hashes that would fit it."""
    item = served(content_of(3 * LEAF_BYTES + 9))
    item.size += change
    if with_leaves and change < 2**60:
        item.payload = (item.payload + bytes(LEAF_BYTES))[: item.size]
        item.leaves = payload_leaves(item.payload)
    refused(TamperedError, item)
    assert item.fetched == []


def test_F2_leaves_of_another_number_order_or_size_are_refused() -> None:
    """Dropped, doubled, swapped, cut or no leaf hashes give no digest; nothing is fetched."""
    true = served(content_of(3 * LEAF_BYTES + 9)).leaves
    a, b, c, d = true
    for leaves in ((a, b, c), (a, b, c, d, d), (b, a, c, d), (a, a, c, d), (a, b, c, d[:31]), (a, b, c, d + b"\0"), ()):
        item = served(content_of(3 * LEAF_BYTES + 9))
        item.leaves = leaves
        refused(TamperedError, item)
        assert item.fetched == []


@pytest.mark.parametrize("delta", [-1, 1, -100_000])
def test_F2_an_answer_of_another_size_is_refused(delta: int) -> None:
    """A read that gives fewer or more bytes than were asked for is no leaf."""
    item = served(content_of(2 * LEAF_BYTES))
    reader = item.open()
    true = item.read
    reader._read = lambda offset, length: true(offset, length + delta)
    reader._held.clear()
    with pytest.raises(TamperedError):
        reader.read_range(5, 5)


def test_F3_another_items_header_digest_or_key_is_refused() -> None:
    """Every part of another item in this one's place."""
    other = served(content_of(500))
    for name, kind in (("digest", TamperedError), ("dek", DecryptionError), ("leaves", TamperedError)):
        item = served(content_of(50_000))
        setattr(item, name, getattr(other, name))
        refused(kind, item)
    for header in (b"", b"\x80", ItemHeader(1, b"c" * 32, b"p" * 16, b"i" * 16, 2).encode()):
        item = served(content_of(50_000))
        item.header = header
        refused(TamperedError, item)
        assert item.fetched == []


def test_F5_the_commitment_is_checked_before_any_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another payload's prefix, certified, no chunk is opened at all."""
    item, other = served(content_of(50_000)), served(content_of(50_000))
    item.put(0, other.payload[:56])
    item.certify()
    opened: list[int] = []
    monkeypatch.setattr(ChunkOpener, "open", _counting(opened))
    refused(DecryptionError, item)
    assert opened == []


def test_malformed_plaintext_is_refused_as_any_failed_decryption() -> None:
    """Sealed by someone who knows a DEK: each malformed head says what a wrong key says."""
    head = sealed_head(METADATA, 10)
    plaintexts = [b"", b"\0\0\0", b"\0\0\0\5abc", b"\xff\xff\xff\xff" + head[4:], b"\0\0\x80\1" + bytes(40_000)]
    plaintexts += [head + b"only 9 by", head[:-1] + b"\xff" + bytes(10), bytes(40_000)]
    assert {refused(DecryptionError, forged(each)) for each in plaintexts} == {"decryption failed"}
    assert b"".join(forged(head + b"ten bytes.").open().pieces()) == b"ten bytes."


def test_F11_padding_that_is_not_zeros_is_refused_when_the_end_is_read() -> None:
    """Hidden data anywhere in the padding costs the end; what stands before it is handed out."""
    content = content_of(LEAF_BYTES)
    for at in (0, 1, 20_000, 2 * LEAF_BYTES - 1):
        padding = bytearray(2 * LEAF_BYTES)
        padding[at] = 1
        item = forged(sealed_head(METADATA, len(content)) + content + padding)
        reader = item.open()
        assert reader.read_range(0, len(content) - 1) == content[:-1]
        for _ in range(2):
            for offset, length in ((len(content) - 1, 1), (0, len(content) + 5), (len(content), 0)):
                with pytest.raises(DecryptionError):
                    reader.read_range(offset, length)


@pytest.mark.parametrize(("offset", "length"), [(-1, 5), (0, -1), (-5, -5)])
def test_a_negative_range_is_refused(offset: int, length: int) -> None:
    """It is no range, and touches nothing."""
    item = served(b"content")
    reader = item.open()
    item.fetched.clear()
    with pytest.raises(FormatError):
        reader.read_range(offset, length)
    assert item.fetched == []


# --- as a file ---


def test_a_file_reads_seeks_and_tells_like_any_other(large: tuple[bytes, Served]) -> None:
    """A random walk of reads and seeks, beside a file in memory."""
    content, item = large
    ours, plain, choose = item.open().file(), io.BytesIO(content), random.Random(3)
    assert ours.readable()
    assert ours.seekable()
    assert not ours.writable()
    for _ in range(400):
        action = choose.randrange(4)
        if action == 0:
            at = choose.randrange(len(content) + 100)
            assert ours.seek(at) == plain.seek(at)
        elif action == 1:
            back = choose.randrange(len(content))
            assert ours.seek(-back, io.SEEK_END) == plain.seek(-back, io.SEEK_END)
        elif action == 2:
            size = choose.choice([0, 1, 50, 20_000, 300_000])
            assert ours.read(size) == plain.read(size)
        else:
            assert ours.seek(10, io.SEEK_CUR) == plain.seek(10, io.SEEK_CUR)
        assert ours.tell() == plain.tell()
    ours.seek(0)
    assert ours.read() == content
    assert ours.read(1) == b""
    for offset, whence in ((-1, io.SEEK_SET), (-len(content) - 1, io.SEEK_END), (0, 9)):
        with pytest.raises(ValueError, match=r"place|whence"):
            ours.raw.seek(offset, whence)


def test_a_parser_takes_it() -> None:
    """A text wrapper reads lines out of it."""
    lines = "".join(f"line {number}\n" for number in range(30_000))
    with io.TextIOWrapper(served(lines.encode()).open().file(), encoding="utf-8") as text:
        assert "".join(text) == lines


def test_F2_a_file_yields_the_true_prefix_and_then_keeps_failing() -> None:
    """After a bad leaf every further read fails in the same way, until it is sought to a good place."""
    content = content_of(4 * LEAF_BYTES)
    item = served(content)
    item.put(2 * LEAF_BYTES + 5000, b"\0\0\0\0")
    stream = item.open().file()
    received = stream.read(LEAF_BYTES)
    with pytest.raises(TamperedError):
        stream.read(2 * LEAF_BYTES)
    assert content.startswith(received)
    assert len(received) == LEAF_BYTES
    for _ in range(3):
        with pytest.raises(TamperedError):
            stream.read(1)
    stream.seek(3 * LEAF_BYTES + 70_000)
    assert stream.read(50) == content[3 * LEAF_BYTES + 70_000 :][:50]


def test_after_a_failed_fetch_nothing_is_read_past_the_gap() -> None:
    """A relay that fails once, in the middle of a long read: reading on without seeking fails, and loses nothing."""
    content = content_of(4 * LEAF_BYTES)
    item = served(content)
    reader = item.open()
    true, failures = item.read, [RelayError("away"), KeyboardInterrupt()]

    def failing(offset: int, length: int) -> bytes:
        if offset >= 2 * LEAF_BYTES and failures:
            raise failures.pop(0)
        return true(offset, length)

    reader._read = failing
    stream = reader.file()
    for first, then in ((RelayError, RelayError), (KeyboardInterrupt, LeaseError)):
        stream.seek(0)
        with pytest.raises(first):
            stream.read()
        with pytest.raises(then):
            stream.read(10)
    stream.seek(0)
    assert stream.read() == content


def test_closing_ends_reader_and_files() -> None:
    """Nothing is handed out after the close, and no key is held; closing twice is fine."""
    reader = served(content_of(100_000)).open()
    first, second = reader.file(), reader.file()
    first.read(5)
    reader.close()
    reader.close()
    assert reader._opener is None
    assert not reader._held
    for each in (first, second):
        for use in (lambda f: f.read(1), lambda f: f.seek(0), lambda f: f.tell()):
            with pytest.raises(ValueError, match="closed"):
                use(each)
    with pytest.raises(LeaseClosedError):
        reader.read_range(0, 1)
    with pytest.raises(LeaseClosedError):
        reader.file()


def test_X2_readers_are_not_copied_and_errors_show_no_content() -> None:
    """No pickle, no copy, no content or key in repr or in a traceback with locals."""
    item = served(CANARY * 100_000)
    item.put(2 * LEAF_BYTES + 5000, b"\0\0\0\0")
    reader = item.open()
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(reader)
    with pytest.raises(TamperedError) as caught:
        reader.file().read()
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    shown += repr(reader) + repr(reader.file())
    assert CANARY.decode() not in shown
    assert repr(reader._opener) in shown or "ChunkOpener" in shown
