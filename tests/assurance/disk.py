"""A disk as a power cut leaves it: what a process wrote and synced, recorded by strace, and which of it is there after.

The model: a file's content is durable once it was synced; names are durable in the order in which they were made, up to
the newest that a sync of its directory has forced (a file's own sync forces no name). Of what is not durable anything
may be there: content sector by sector in any choice, names up to any point.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

SECTOR = 512
CALLS = (
    "openat,creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,fdatasync,sync_file_range,"
    "rename,renameat,renameat2,unlink,unlinkat,link,linkat,mkdir,mkdirat,rmdir,symlink,symlinkat,copy_file_range,sendfile"
)
IGNORED = ("-shm",)
"""The index of a write-ahead log is shared memory; after a cut it is made anew."""
MARK = "labelvault-mark "


@dataclass(frozen=True)
class Step:
    """One call that changed something below the recorded folder, or a mark.

    Attributes:
        call: `write`, `truncate`, `sync`, `create`, `rename`, `unlink`, `link`, `mkdir`, `rmdir` or `mark`.
        path: relative to the folder; of a mark, its text.
        other: the second path of a rename or link.
        at: where a write begins; -1 for the end of what was written in order; a truncation's size.
        data: what was written.
    """

    call: str
    path: str
    other: str = ""
    at: int = 0
    data: bytes = field(default=b"", repr=False)


def record(command: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str]) -> list[Step]:
    """Run a command to its end in a folder, under strace, and return what it did below it.

    Raises:
        AssertionError: it failed, or did something that the model does not know.
    """
    traced = ["strace", "-f", "-y", "-xx", "-s", "100000000", "-e", f"trace={CALLS}", "-o", str(log), *command]
    ran = subprocess.run(traced, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    try:
        return list(_steps(log, str(folder.resolve())))
    finally:
        log.unlink()


_LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)(.*)$")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_NAMED = re.compile(r"(\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2}|[^>])*)>")


def _text(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _steps(log: Path, root: str) -> Iterator[Step]:
    """Parse strace's lines; those of threads that were interrupted are put together first."""
    offsets: dict[tuple[str, str], int] = {}
    for line in _whole_lines(log):
        match = _LINE.match(line)
        if match is None or int(match[3]) < 0:
            continue
        call, arguments, result = match[1], match[2], int(match[3])
        yield from _step(call, arguments, result, match[4], root, offsets)


def _whole_lines(log: Path) -> Iterator[str]:
    begun: dict[str, str] = {}
    with log.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            process = line.partition(" ")[0]
            if line.rstrip().endswith("<unfinished ...>"):
                begun[process] = line.rpartition("<unfinished")[0]
            elif "resumed>" in line[:60]:
                yield begun.pop(process, "") + line.partition("resumed>")[2].rstrip("\n")
            else:
                yield line.rstrip("\n")


def _below(path: str, root: str) -> str | None:
    if not path.startswith(root + "/") or path.endswith(IGNORED):
        return None
    return path[len(root) + 1 :]


def _paths(arguments: str, root: str) -> list[str]:
    """The paths of a call that names files: each text behind the directory that it is relative to."""
    found = []
    place = root
    for match in re.finditer(_NAMED.pattern + "|" + _TEXT.pattern, arguments):
        if match[1] is not None:
            place = _text(match[2]).decode() if match[2].startswith("\\x") else match[2]
        else:
            text = _text(match[3]).decode("utf-8", "surrogateescape")
            found.append(text if text.startswith("/") else f"{place}/{text}")
    return found


def _step(
    call: str, arguments: str, result: int, rest: str, root: str, offsets: dict[tuple[str, str], int]
) -> Iterator[Step]:
    if call in ("write", "pwrite64", "writev", "pwritev", "pwritev2"):
        named = _NAMED.match(arguments)
        data = b"".join(_text(each) for each in _TEXT.findall(arguments))[:result]
        if data.startswith(MARK.encode()):
            yield Step("mark", data[len(MARK) :].decode().strip())
            return
        path = None if named is None else _below(_text(named[2]).decode() if "\\x" in named[2] else named[2], root)
        if path is None or named is None:
            return
        at = int(arguments.rpartition(", ")[2]) if call != "write" and call != "writev" else -1
        if at < 0:
            at = offsets.get((named[1], path), 0)
            offsets[named[1], path] = at + len(data)
        yield Step("write", path, at=at, data=data)
    elif call in ("fsync", "fdatasync", "ftruncate", "fallocate", "sync_file_range", "copy_file_range", "sendfile"):
        named = _NAMED.match(arguments)
        path = None if named is None else _below(_text(named[2]).decode() if "\\x" in named[2] else named[2], root)
        if path is None and named is not None and "sync" in call and _text(named[2]).decode() == root:
            path = ""
        if path is None:
            return
        assert call in ("fsync", "fdatasync", "ftruncate"), f"{call} on {path}: the model does not know it"
        if call == "ftruncate":
            yield Step("truncate", path, at=int(arguments.rpartition(", ")[2]))
        else:
            yield Step("sync", path)
    else:
        found = [_below(path, root) for path in _paths(arguments, root)]
        if not found or found[0] is None:
            return
        if call == "openat":
            opened = re.match(r"(\d+)<", f"{result}{rest.strip()}") if rest else None
            if opened is not None:
                offsets.pop((opened[1], found[0]), None)
            if "O_CREAT" in arguments or "O_TRUNC" in arguments:
                yield Step("create", found[0], at=int("O_TRUNC" in arguments))
            assert "O_APPEND" not in arguments, f"{found[0]} is appended to: the model does not know that"
            return
        kind = call.removesuffix("2").removesuffix("at")
        if kind == "unlink" and "AT_REMOVEDIR" in arguments:
            kind = "rmdir"
        assert kind in ("rename", "unlink", "link", "mkdir", "rmdir"), f"{call} on {found[0]}: unknown to the model"
        other = found[1] if len(found) > 1 else ""
        assert other is not None, f"{call} leaves the folder"
        yield Step(kind, found[0], other)


@dataclass
class _File:
    """An inode: what is durable of it, and the writes and truncations since, oldest first."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Step] = field(default_factory=list)

    def sync(self) -> None:
        for step in self.pending:
            _put(self.durable, step)
        self.pending.clear()

    def after(self, choose: "Choice") -> bytes:
        """The content with a choice of what was pending."""
        content = bytearray(self.durable)
        for step in self.pending:
            for part in _sectors(step):
                if choose.takes():
                    _put(content, part)
        return bytes(content)


def _put(content: bytearray, step: Step) -> None:
    if step.call == "truncate":
        if step.at < len(content):
            del content[step.at :]
        else:
            content.extend(bytes(step.at - len(content)))
        return
    if len(content) < step.at:
        content.extend(bytes(step.at - len(content)))
    content[step.at : step.at + len(step.data)] = step.data


def _sectors(step: Step) -> Iterator[Step]:
    """A write in the pieces that reach the disk whole; anything else as it is."""
    if step.call != "write":
        yield step
        return
    at, data = step.at, step.data
    while data:
        size = SECTOR - at % SECTOR
        yield Step("write", step.path, at=at, data=data[:size])
        at, data = at + size, data[size:]


class Choice:
    """What of all that is pending reaches the disk: nothing, everything, or as chance has it."""

    def __init__(self, kind: str, rng: Random) -> None:
        """`none`, `all` or `some`."""
        self._share = {"none": 0.0, "all": 1.0, "some": rng.choice((0.1, 0.5, 0.9))}[kind]
        self._rng = rng

    def takes(self) -> bool:
        """One sector, or one change of length."""
        return self._share == 1.0 or (self._share > 0 and self._rng.random() < self._share)

    def upto(self, count: int) -> int:
        """How many of so many names."""
        return count if self._share == 1.0 else 0 if self._share == 0 else self._rng.randint(0, count)


class Disk:
    """A folder before and while the steps are done."""

    def __init__(self, folder: Path) -> None:
        """All that is in the folder is durable."""
        self._inodes: list[_File] = []
        self._names: dict[str, int | None] = {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_dir():
                self._names[name] = None
            elif path.is_file() and not name.endswith(IGNORED):
                self._names[name] = self._new(path.read_bytes())
        self._durable = dict(self._names)
        self._changes: list[Step | tuple[str, int]] = []

    def _new(self, content: bytes = b"") -> int:
        self._inodes.append(_File(bytearray(content)))
        return len(self._inodes) - 1

    def do(self, step: Step) -> None:
        """Do one step."""
        if step.call in ("write", "truncate"):
            inode = self._names.get(step.path)
            # What has no name any more is gone with its process.
            if inode is not None:
                self._inodes[inode].pending.append(step)
        elif step.call == "sync":
            self._sync(step.path)
        elif step.call == "create":
            if self._names.get(step.path) is None:
                inode = self._new()
                self._change((step.path, inode))
            elif step.at:
                self._inodes[self._names[step.path] or 0].pending.append(Step("truncate", step.path, at=0))
        elif step.call != "mark":
            self._change(step)

    def _change(self, change: Step | tuple[str, int]) -> None:
        _name(self._names, change)
        self._changes.append(change)

    def _sync(self, path: str) -> None:
        inode = self._names.get(path)
        if inode is not None:
            self._inodes[inode].sync()
        # What came before in the journal comes with it.
        last = 0
        for number, change in enumerate(self._changes, 1):
            touched = (change[0],) if isinstance(change, tuple) else (change.path, change.other)
            if inode is None and any(each and str(Path(each).parent) in (path, path or ".") for each in touched):
                last = number
        for change in self._changes[:last]:
            _name(self._durable, change)
        del self._changes[:last]

    def pending(self) -> int:
        """How much is not durable: writes and names."""
        return len(self._changes) + sum(len(each.pending) for each in self._inodes)

    def after(self, choice: Choice) -> dict[str, bytes | None]:
        """What is there after the cut: content by name; None for a directory."""
        names = dict(self._durable)
        for change in self._changes[: choice.upto(len(self._changes))]:
            _name(names, change)
        return {name: None if inode is None else self._inodes[inode].after(choice) for name, inode in names.items()}


def _name(names: dict[str, int | None], change: Step | tuple[str, int]) -> None:
    if isinstance(change, tuple):
        names[change[0]] = change[1]
    elif change.call == "mkdir":
        names[change.path] = None
    elif change.call in ("unlink", "rmdir"):
        names.pop(change.path, None)
    elif change.path in names:
        names[change.other] = names[change.path]
        if change.call == "rename":
            del names[change.path]
            # What lies below a directory moves with it.
            for name in [name for name in names if name.startswith(change.path + "/")]:
                names[change.other + name[len(change.path) :]] = names.pop(name)


def write_out(content: dict[str, bytes | None], folder: Path) -> None:
    """Make a folder of it."""
    for name, data in sorted(content.items()):
        path = folder / name
        if data is None:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        else:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.write_bytes(data)
            path.chmod(0o600)
