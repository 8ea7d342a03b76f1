"""What was stolen, as bytes: every file of every folder, and captures of memory.

Files are mapped, not read, so that large captures cost no memory. The folders are copies, and nothing in them
is changed: databases are opened from a further copy, because opening one may write to it.
"""

import mmap
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from labelvault.errors import DrillError

Kind = Literal["file", "capture", "row", "name"]
View = bytes | mmap.mmap

CAPTURE_SUFFIX: Final = ".mem"
CAPTURES_FOLDER: Final = "captures"
_SQLITE_URL: Final = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Source:
    """Some stolen bytes.

    Attributes:
        place: what a person calls it: surface, then path within the folder.
        data: the bytes.
        kind: a file, a capture of memory, a value out of a database row, or a file's name.
        path: of a file or capture.
    """

    place: str
    data: View = field(repr=False)
    kind: Kind
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Loot:
    """Which folders and files were stolen.

    Attributes:
        vault: the vault's folder, or the `sqlite:///` address of the vault in it.
        contractors: homes of contractors.
        desks: homes of desks.
        captures: captures of live processes; those in a home's `captures/` are found there.
        folders: anything else that was stolen: another copy of the vault, a backup.
    """

    vault: str | Path
    contractors: Sequence[Path] = ()
    desks: Sequence[Path] = ()
    captures: Sequence[Path] = ()
    folders: Sequence[Path] = ()


def collect(loot: Loot, stack: ExitStack) -> list[Source]:
    """Map every stolen file; the mappings live as long as `stack`.

    Raises:
        DrillError: a folder or file is not there, or can't be read.
    """
    sources: list[Source] = []
    for place, folder, files in _folders(loot):
        for path in files:
            relative = path.relative_to(folder).as_posix()
            # A name can betray as much as a file: names are searched too.
            sources.append(Source(f"{place}/{relative} (name)", os.fsencode(relative), "name"))
            captured = path.suffix == CAPTURE_SUFFIX and path.parent.name == CAPTURES_FOLDER
            sources.append(_mapped(f"{place}/{relative}", path, "capture" if captured else "file", stack))
    for path in loot.captures:
        sources.append(_mapped(f"capture/{path.name}", path, "capture", stack))
    return sources


def map_file(path: Path, stack: ExitStack) -> View:
    """Map one file for reading.

    Raises:
        DrillError: it is not there, or can't be read.
    """
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return b""
            return stack.enter_context(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except (OSError, ValueError) as error:
        raise DrillError(f"{path} can't be read") from error


def _folders(loot: Loot) -> Iterator[tuple[str, Path, Iterable[Path]]]:
    vault = str(loot.vault)
    if vault.startswith(_SQLITE_URL):
        database = Path(vault.removeprefix(_SQLITE_URL)).absolute()
        if not database.is_file():
            raise DrillError(f"there is no vault at {database}")
        # An address names one file; what lies beside it (journals, temporary files) was stolen with it, but
        # folders beside it may be anybody's.
        yield "vault", database.parent, sorted(path for path in database.parent.iterdir() if _regular(path))
    else:
        yield "vault", Path(vault), _files(Path(vault))
    for role, homes in (("contractor", loot.contractors), ("desk", loot.desks), ("stolen", loot.folders)):
        for number, home in enumerate(homes, 1):
            yield role if len(homes) == 1 else f"{role}-{number}", home, _files(home)


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DrillError(f"{folder} is not a folder")
    found: list[Path] = []
    for directory, _, names in os.walk(folder, followlinks=False):
        found += [Path(directory) / name for name in names if _regular(Path(directory) / name)]
    return sorted(found)


def _regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError as error:
        raise DrillError(f"{path} can't be read") from error


def _mapped(place: str, path: Path, kind: Kind, stack: ExitStack) -> Source:
    return Source(place, map_file(path, stack), kind, path)
