"""Content of unknown size: whole in a file without a name, or not at all."""

import io
import os
import stat
import tempfile
from pathlib import Path

import pytest

from labelvault.client.spool import spooled
from labelvault.envelope.metadata import Metadata
from labelvault.envelope.seal import open_item
from labelvault.envelope.stream import seal_stream
from labelvault.errors import FormatError, ProjectError, StoreError
from labelvault.wire.items import ItemHeader


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_what_a_pipe_gives_is_sealed(place: Path) -> None:
    """A pipe has no size: spooled, it is sealed and opens; the file has no name, and is this user's only."""
    reader, writer = os.pipe()
    os.write(writer, b"content of a pipe" * 1000)
    os.close(writer)
    header = ItemHeader(1, b"c" * 32, b"p" * 16, b"i" * 16, 1)
    with os.fdopen(reader, "rb") as pipe, spooled(pipe) as (stream, size):
        assert size == 17_000
        info = os.fstat(stream.fileno())
        assert (stat.S_IMODE(info.st_mode), info.st_nlink) == (0o600, 0)
        assert list(place.iterdir()) == []
        sealed = seal_stream(header, Metadata("task", "n", "text/plain", 0, (), ()), stream, size, floor_bytes=256)
        payload = b"".join(sealed)
    opened = open_item(sealed.header, payload, sealed.dek, expected=header, digest=sealed.digest)
    assert opened.content == b"content of a pipe" * 1000


def test_more_than_the_bound_is_refused(place: Path) -> None:
    """The bound itself is taken, one byte more is not."""
    with spooled(io.BytesIO(bytes(100)), max_bytes=100) as (_, size):
        assert size == 100
    with pytest.raises(FormatError, match="100"), spooled(io.BytesIO(bytes(101)), max_bytes=100):
        pass
    assert list(place.iterdir()) == []


def test_a_failing_source_and_a_full_disk_leave_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source's own error goes through; the disk's is a StoreError; no file is left."""

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise ProjectError("gone")
            return super().read(size)

    with pytest.raises(ProjectError), spooled(Failing(bytes(3_000_000))):
        pass
    with monkeypatch.context() as patched:
        patched.setattr(tempfile, "tempdir", str(place / "absent"))
        with pytest.raises(StoreError), spooled(io.BytesIO(b"x")):
            pass
    if Path("/dev/full").exists():
        patched_file = open("/dev/full", "wb", buffering=0)  # noqa: SIM115 - closed by what is tested
        monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: patched_file)
        with pytest.raises(StoreError), spooled(io.BytesIO(b"x")):
            pass
    assert list(place.iterdir()) == []
