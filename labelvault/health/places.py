"""Homes and disks: is it there, is it its owner's alone, is there room."""

import os
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from labelvault.health.checks import Check, ok, problem, warning

_FULL_BYTES: Final = 100 * 1024 * 1024
_NARROW_BYTES: Final = 1024 * 1024 * 1024
_MOST_FILES: Final = 20_000


def private(name: str, place: Path, public: Collection[str] = ()) -> Check:
    """Look at whether a folder and all in it are their owner's alone: 0700, 0600, and this user's.

    Args:
        name: of the check.
        place: the folder.
        public: names of files in it that hold nothing private.
    """
    count = 0
    for path, info in _all_in(place):
        count += 1
        if info.st_uid != os.geteuid():
            return problem(name, f"{path} belongs to another user", f"Run: chown -R {os.geteuid()} {place}")
        if stat.S_ISLNK(info.st_mode):
            return problem(name, f"{path} is a symbolic link", "Put the file itself there.")
        mode = stat.S_IMODE(info.st_mode)
        if mode & 0o077 and path.name not in public:
            # Behind a private folder nobody reaches it, until somebody copies or opens that.
            say = problem if path == place else warning
            return say(name, f"{path} is open to others (mode {mode:04o})", f"Run: chmod -R go-rwx {place}")
    if not os.access(place, os.W_OK):
        return problem(name, f"{place} can't be written to", "Mount it writable, or give this user the right.")
    return ok(name, f"{place}: {count} files and folders, all private")


def room(place: Path) -> Check:
    """Look at how much room the disk has.

    Args:
        place: a folder on it.
    """
    free = shutil.disk_usage(place).free
    text = f"{free / 1024**3:.1f} GiB free at {place}"
    if free < _FULL_BYTES:
        return problem("disk", text, "Make room: nothing can be written safely.")
    if free < _NARROW_BYTES:
        return warning("disk", text, "Make room soon.")
    return ok("disk", text)


def _all_in(place: Path) -> Iterator[tuple[Path, os.stat_result]]:
    yield place, place.lstat()
    left = _MOST_FILES
    for folder, names, files in os.walk(place):
        for each in (*names, *files):
            path = Path(folder) / each
            try:
                info = path.lstat()
            except FileNotFoundError:
                # Databases make and drop files of their own all the time.
                continue
            yield path, info
            left -= 1
            if not left:
                return
