"""Files of frames: what is packed comes back, and everything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.errors import FormatError
from labelvault.wire.codec import MAX_BYTES
from labelvault.wire.framefile import FRAMES_MARK, pack_frames, unpack_frames


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=20))
def test_frames_come_back_in_order(frames: list[bytes]) -> None:
    """Any frames, as they were."""
    assert list(unpack_frames(pack_frames(frames))) == frames


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=4), st.data())
def test_F2_a_file_cut_short_never_passes_for_another(frames: list[bytes], data: st.DataObject) -> None:
    """A cut is refused, unless it falls between two frames: then the frames before it are there, and no others."""
    packed = pack_frames(frames)
    cut = packed[: data.draw(st.integers(0, len(packed) - 1))]
    try:
        found = list(unpack_frames(cut))
    except FormatError:
        return
    assert pack_frames(found) == cut
    assert found == frames[: len(found)]


@given(st.binary(max_size=400))
def test_P1_arbitrary_bytes_raise_FormatError_only(data: bytes) -> None:
    """Nothing but a FormatError leaves, with or without the mark; what is taken packs to the same bytes."""
    for file in (data, FRAMES_MARK + data):
        try:
            assert pack_frames(unpack_frames(file)) == file
        except FormatError:
            continue


@pytest.mark.parametrize(
    "frames", [[], [b""], [bytes(MAX_BYTES + 1)]], ids=["nothing", "an empty frame", "one that is too long"]
)
def test_what_is_no_frame_is_not_packed(frames: list[bytes]) -> None:
    """Bounds hold on the way out too; the longest frame is taken."""
    with pytest.raises(FormatError):
        pack_frames(frames)
    assert unpack_frames(pack_frames([bytes(MAX_BYTES)])) == (bytes(MAX_BYTES),)


def test_P2_a_length_that_claims_gigabytes_is_refused_before_anything_is_held() -> None:
    """The length is checked against the bound and against what is there."""
    with pytest.raises(FormatError):
        unpack_frames(FRAMES_MARK + b"\xff\xff\xff\xff" + b"x")
