"""Sealing as a stream: the bytes of `seal_item`, in constant memory, from sources that keep their word and others."""

import io
import pickle
import traceback
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelvault.crypto import aead
from labelvault.crypto.merkle import leaf_hash
from labelvault.envelope.digest import payload_leaves
from labelvault.envelope.metadata import MAX_STREAM_BYTES, Metadata
from labelvault.envelope.padding import padded_size
from labelvault.envelope.seal import open_item, seal_item, sealed_head
from labelvault.envelope.stream import SealedStream, seal_stream
from labelvault.errors import FormatError, ProjectError
from labelvault.wire.items import LEAF_BYTES, ItemHeader

HEADER = ItemHeader(1, b"c" * 32, b"p" * 16, b"i" * 16, 3)
METADATA = Metadata("attachment", "film.mp4", "video/mp4", 0, (), ())
HEAD_BYTES = len(sealed_head(METADATA, 0))
CANARY = b"canary-plaintext-0123456789"


def stream_of(content: bytes, size: int | None = None, floor_bytes: int = 4096) -> SealedStream:
    """A stream over bytes."""
    size = len(content) if size is None else size
    return seal_stream(HEADER, METADATA, io.BytesIO(content), size, floor_bytes=floor_bytes)


class Dribble(io.BytesIO):
    """A source that gives less than it is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 1, 700))


@pytest.mark.parametrize(
    "size", [0, 1, 4096, 16384 - HEAD_BYTES, LEAF_BYTES - 1, LEAF_BYTES, LEAF_BYTES + 1, 3 * LEAF_BYTES + 7]
)
def test_a_stream_is_opened_as_any_item(size: int) -> None:
    """What was sealed as a stream opens in one piece, with size, leaves and digest as stated."""
    content = bytes(index % 251 for index in range(size))
    sealed = stream_of(content)
    pieces = list(sealed)
    payload = b"".join(pieces)
    assert (
        len(payload) == sealed.payload_bytes == len(seal_item(HEADER, METADATA, content, floor_bytes=4096)[0].payload)
    )
    assert all(len(piece) == LEAF_BYTES for piece in pieces[:-1])
    assert 0 < len(pieces[-1]) <= LEAF_BYTES
    assert sealed.leaves == payload_leaves(payload) == tuple(map(leaf_hash, pieces))
    opened = open_item(sealed.header, payload, sealed.dek, expected=HEADER, digest=sealed.digest)
    assert opened.content == content
    assert opened.metadata.size == size
    assert opened.metadata.name == METADATA.name


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 3 * LEAF_BYTES), st.sampled_from([256, 4096, LEAF_BYTES]))
def test_F11_the_size_is_the_padded_size(size: int, floor_bytes: int) -> None:
    """A stream's payload is as large as the padded size says, before anything is read."""
    sealed = stream_of(b"", size, floor_bytes)
    plaintext_bytes = padded_size(len(sealed_head(METADATA, size)) + size, floor_bytes)
    assert sealed.payload_bytes == aead.sealed_size(plaintext_bytes)
    assert aead.opened_size(sealed.payload_bytes) == plaintext_bytes


def test_a_source_may_give_less_than_it_is_asked_for() -> None:
    """Short reads, as pipes give them, change nothing."""
    content = bytes(range(256)) * 300
    sealed = seal_stream(HEADER, METADATA, Dribble(content), len(content), floor_bytes=256)
    payload = b"".join(sealed)
    assert open_item(sealed.header, payload, sealed.dek, expected=HEADER, digest=sealed.digest).content == content


@pytest.mark.parametrize("held", [0, 1, LEAF_BYTES, 2 * LEAF_BYTES - 1, 2 * LEAF_BYTES + 1, 4 * LEAF_BYTES])
@pytest.mark.parametrize("source", [io.BytesIO, Dribble])
def test_F2_a_source_of_another_size_never_gives_the_last_piece(held: int, source: type[io.BytesIO]) -> None:
    """Fewer or more bytes than announced end in an error, and what came before is no whole payload."""
    if source is Dribble and held > LEAF_BYTES:
        held = 2 * LEAF_BYTES + 1
    sealed = seal_stream(HEADER, METADATA, source(bytes(held)), 2 * LEAF_BYTES, floor_bytes=256)
    received: list[bytes] = []
    with pytest.raises(FormatError, match=str(2 * LEAF_BYTES)):
        received.extend(piece for piece in sealed)
    assert sum(map(len, received)) < sealed.payload_bytes
    with pytest.raises(FormatError):
        _ = sealed.digest


def test_what_the_source_raises_goes_through() -> None:
    """A source's own error ends the stream, and nothing of the content is in the error's frames."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise ProjectError("changed while it was read")
            return super().read(size)

    sealed = seal_stream(HEADER, METADATA, Failing(CANARY * 60_000), 1_500_000, floor_bytes=256)
    with pytest.raises(ProjectError) as caught:
        list(sealed)
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert CANARY.decode() not in shown


def test_X2_a_short_source_shows_nothing_of_its_content() -> None:
    """The error of a source that ends early has frames without content."""
    sealed = seal_stream(HEADER, METADATA, Dribble(CANARY * 100), 5000, floor_bytes=256)
    with pytest.raises(FormatError) as caught:
        list(sealed)
    shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert CANARY.decode() not in shown


def test_F10_a_stream_seals_once_under_a_key_of_its_own() -> None:
    """No DEK and no salt comes twice, and a stream is not iterated twice, copied or pickled."""
    streams = [stream_of(b"same") for _ in range(20)]
    payloads = [b"".join(sealed) for sealed in streams]
    assert len({sealed.dek.reveal() for sealed in streams}) == 20
    assert len({payload[:24] for payload in payloads}) == 20
    with pytest.raises(FormatError):
        list(streams[0])
    with pytest.raises(TypeError):
        pickle.dumps(streams[0])


@pytest.mark.parametrize("size", [-1, MAX_STREAM_BYTES + 1])
def test_sizes_out_of_bounds_are_refused(size: int) -> None:
    """64 GiB is the bound, and nothing is read for more."""
    source = io.BytesIO(b"content")
    with pytest.raises(FormatError):
        seal_stream(HEADER, METADATA, source, size, floor_bytes=256)
    assert source.tell() == 0


def test_memory_does_not_grow_with_the_size() -> None:
    """32 MiB pass through in less than 8 MiB, padding included."""

    class Zeros:
        def __init__(self, size: int) -> None:
            self.left = size

        def read(self, size: int, /) -> bytes:
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    size = 32 * 1024 * 1024 + 1
    sealed = seal_stream(HEADER, METADATA, Zeros(size), size, floor_bytes=256)
    tracemalloc.start()
    try:
        total = sum(len(piece) for piece in sealed)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == sealed.payload_bytes
    assert peak < 8 * 1024 * 1024
