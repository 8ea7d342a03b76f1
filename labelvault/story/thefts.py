"""Thefts: copies of folders and captures of live processes, handed to a drill that gets nothing else."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeAlias

from labelvault.client import StatedItem
from labelvault.drill.capture import capture_process, capture_tree
from labelvault.errors import DrillError
from labelvault.story.findings import Theft
from labelvault.story.known import ItemName, Known, Told
from labelvault.story.world import PASSPHRASE_FILE, Actor, StoryError
from labelvault.wire.times import truncate

Tamper: TypeAlias = Callable[[str, Path], None]
"""Called with a theft's name and the folder of its copies, before the drill gets them: tests plant leaks there."""

_DRILL_TIMEOUT_S: Final = 300
_FOUND_MORE: Final = 9


def present() -> datetime:
    """Return the time in whole milliseconds, as the ledger counts."""
    return truncate(datetime.now(UTC))


@dataclass(slots=True)
class Loot:
    """What one thief carries away.

    Attributes:
        name: of the theft, for folders.
        folder: holds the copies: `vendor/`, `contractor/`, `desk/`.
        start: just before the first copy.
        end: just after the last one.
        unmeasured: why memory could not be captured, if it could not.
    """

    name: str
    folder: Path
    start: datetime
    end: datetime = field(init=False)
    unmeasured: str = ""

    def __post_init__(self) -> None:
        self.end = self.start


def steal(
    name: str,
    folder: Path,
    homes: dict[str, Actor],
    *,
    live: int | None = None,
    tamper: Tamper | None = None,
) -> Loot:
    """Copy homes, and capture a live process and its children.

    Args:
        name: of the theft.
        folder: made; the copies go there.
        homes: by role: `vendor`, `contractor`, `desk`.
        live: a process of the desk, whose memory is stolen with that of its children.
        tamper: see `Tamper`.
    """
    folder.mkdir(mode=0o700, parents=True)
    loot = Loot(name, folder, present())
    for role, actor in homes.items():
        shutil.copytree(actor.home, folder / role, symlinks=True)
    if live is not None:
        try:
            capture_tree(live, folder / "desk" / "captures")
        except DrillError as error:
            loot.unmeasured = str(error)
    loot.end = present()
    if tamper is not None:
        tamper(name, folder)
    return loot


def capture_before(pid: int, file: Path) -> Path | None:
    """Capture a process that has opened nothing yet; None where memory can't be captured."""
    try:
        capture_process(pid, file)
    except DrillError:
        return None
    return file


def drill(loot: Loot, told: Told, report: Path, baseline: Path | None = None) -> dict[str, Any]:
    """Run the drill in a process of its own, and keep its report.

    Args:
        loot: what it gets.
        told: the texts that it looks for.
        report: the file for its report.
        baseline: memory that never held any of them: phrases that stand there too are the interpreter's own.

    Raises:
        StoryError: it failed.
    """
    command = [sys.executable, "-m", "labelvault", "drill", "--vault", str(loot.folder / "vendor")]
    for role in ("contractor", "desk"):
        if (loot.folder / role).is_dir():
            command += [f"--{role}", str(loot.folder / role)]
            # The worst case: whoever took the device also read the passphrase.
            command += ["--passphrase-file", str(loot.folder / role / PASSPHRASE_FILE)]
    if baseline is not None:
        command += ["--baseline", str(baseline)]
    command += ["--known", str(told.folder), "--json"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_DRILL_TIMEOUT_S, check=False
    )
    if done.returncode not in (0, _FOUND_MORE):
        raise StoryError(f"the drill failed with {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    report.write_text(done.stdout, encoding="utf-8")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def compare(surface: str, found: dict[str, Any], stated: Sequence[StatedItem], told: Told, note: str = "") -> Theft:
    """Hold what the drill found against what the ledger states."""
    versions = {(each.item.hex(), each.version) for each in stated}
    more = [
        f"{each['name']} ({each['kind']}) was opened"
        for each in found["opened"]
        if (each["item"], each["version"]) not in versions
    ]
    more += [
        f"text of {told.describe(each['known'])} was found ({each['runs']})"
        for each in found["plaintext"]
        if not told.explained(each["known"], item_names(stated))
    ]
    return Theft(
        surface=surface,
        stated=_names(stated),
        opened=tuple(dict.fromkeys(each["name"] for each in found["opened"])),
        plaintext_hits=found["plaintext_hits"],
        more=tuple(more),
        note=note,
    )


def item_names(stated: Sequence[StatedItem]) -> set[ItemName]:
    """Return kind and name of each."""
    return {(each.kind, each.name) for each in stated}


def not_measured(surface: str, stated: Sequence[StatedItem], loot: Loot) -> Theft:
    """Say that this system's memory can't be captured, and claim nothing."""
    note = f"not measured here: {loot.unmeasured}"
    return Theft(surface, _names(stated), (), 0, measured=False, note=note)


def carried_off(theft: Theft, home: Path, known: Known, stated: Sequence[StatedItem]) -> Theft:
    """Add what a thief got by asking: files that he kept, recognised by their content.

    Args:
        theft: what the drill found in all that he has.
        home: his copy of the device, with what he kept in `kept-*/`.
        known: the project's texts.
        stated: what the ledger states.
    """
    got = [known.owner_of(file.read_bytes()) for file in sorted(home.glob("kept-*/*"))]
    more = [f"{owner[1]} ({owner[0]}) was handed out" for owner in got if owner and owner not in item_names(stated)]
    more += ["a file that is no item of the project was handed out"] * got.count(None)
    opened = dict.fromkeys([*(owner[1] for owner in got if owner is not None), *theft.opened])
    return replace(theft, opened=tuple(opened), more=(*theft.more, *dict.fromkeys(more)))


def _names(stated: Sequence[StatedItem]) -> tuple[str, ...]:
    """Each once, tasks first, as they were released."""
    ordered = sorted(stated, key=lambda each: each.kind != "task")
    return tuple(dict.fromkeys(each.name for each in ordered))
