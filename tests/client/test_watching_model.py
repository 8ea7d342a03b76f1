"""An event log, whatever happens between a ledger and it: no event is missing, and doubles come in order."""

import errno
import json
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelvault.client import Watch, event_file, watching
from labelvault.client.following import write_mark
from labelvault.crypto.sign import SigningKey
from labelvault.database import Database
from labelvault.errors import OutputError
from labelvault.issuer.log import Log
from labelvault.issuer.schema import CLIENT_SCHEMA
from labelvault.keys.files import write_all
from labelvault.ledger.checkpoint import issuer_key_name
from labelvault.ledger.entries import Frozen, Junk

NOW = datetime(2026, 7, 1, 9, tzinfo=UTC)
CLIENT, EPOCH = b"\xc1" * 32, b"\xe0" * 16
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("entries"), st.integers(1, 5)),
        st.tuples(st.sampled_from(["turn", "restart", "rotate", "full", "torn", "no mark", "heal"]), st.just(0)),
    ),
    max_size=25,
)


class Scene:
    """A ledger, and a watcher of it that comes and goes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = Database(folder / "client.db", CLIENT_SCHEMA, create=True)
        self.signer = SigningKey.generate()
        self.log = Log(self.database, CLIENT, EPOCH)
        self.name = issuer_key_name(CLIENT)
        self.fault = ""
        self.appended: list[int] = []
        self.entries(1)
        self.appended.clear()
        self.watch = self.start()

    def start(self) -> Watch:
        certificate = SimpleNamespace(epoch=EPOCH, issuer=self.signer.public_key, expires_at=NOW + timedelta(days=1))
        client: Any = SimpleNamespace(
            database=self.database,
            client_id=CLIENT,
            certificate=SimpleNamespace(message=certificate),
            issuer_identity=SimpleNamespace(name=self.name),
            home=self.folder,
        )
        issuer: Any = SimpleNamespace(ahead=SimpleNamespace(posted=None))
        return Watch(client, issuer, events=self.folder / "events", clock=lambda: NOW)

    def entries(self, count: int) -> None:
        """Append some that are events, and some that are none."""
        with self.database.transaction():
            for _ in range(count):
                self.log.append(Junk(NOW, NOW, 1))
                self.appended.append(self.log.append(Frozen(NOW, b"\xb1" * 16, True)).index)
            self.log.sign(self.name, self.signer)

    def told(self) -> list[int]:
        """The entries' numbers in all files, in the order of writing; what is no whole line is passed over."""
        files = sorted(self.folder.glob("events.*[0-9]"), key=lambda path: int(path.suffix[1:]))
        found = []
        for path in [*files, self.folder / "events"]:
            for line in path.read_bytes().splitlines() if path.exists() else ():
                try:
                    found.append(json.loads(line)["entry"])
                except ValueError:
                    assert line
        return found


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_no_event_is_missing_whatever_fails_on_the_way(steps: list[tuple[str, int]]) -> None:
    """Full disks, torn lines, marks that can't be kept, restarts and rotations, in any order."""
    marks_failed = False
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        scene = Scene(Path(folder))

        def write(descriptor: int, data: bytes) -> None:
            if scene.fault in ("full", "torn"):
                write_all(descriptor, data[: len(data) // 2] if scene.fault == "torn" else b"")
                raise OSError(errno.ENOSPC, "No space left on device")
            write_all(descriptor, data)

        def mark(*arguments: Any) -> None:
            if scene.fault == "no mark":
                raise OutputError("no room for it")
            write_mark(*arguments)

        patched.setattr(event_file, "write_all", write)
        patched.setattr(watching, "write_mark", mark)
        try:
            for number, (step, count) in enumerate([*steps, ("heal", 0), ("turn", 0)]):
                if step == "entries":
                    scene.entries(count)
                elif step == "turn":
                    scene.watch.turn()
                elif step == "restart":
                    scene.watch = scene.start()
                elif step == "rotate":
                    if (scene.folder / "events").exists():
                        (scene.folder / "events").rename(scene.folder / f"events.{number}")
                elif step == "heal":
                    scene.fault = ""
                else:
                    scene.fault = step
                    marks_failed |= step in ("no mark", "torn")
            told = scene.told()
            assert list(dict.fromkeys(told)) == scene.appended
            assert marks_failed or told == scene.appended
        finally:
            scene.database.close()
