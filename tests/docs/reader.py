"""A reader of the documents who types every command and compares what comes with what the page shows.

A page's fenced blocks, by the words behind their opening fence (only the first of which a page's renderer uses):

- `sh`: typed into the first terminal, one bash for the whole page; every command must succeed.
- `sh exit=N`: the last command ends with N.
- `sh terminal=NAME`: typed into another terminal and left running. The same name again: Ctrl-C there first.
- `sh install`: makes the environment; passed over here, since the tests have one.
- `LANGUAGE file=PATH`: saved as PATH.
- `python`: run by Python in the page's folder.
- `nginx`: a configuration; passed over.
- `text`: what the block before it prints. `...` stands for anything. Ids, times, sizes and what else differs
  from run to run count as equal (`plain`).
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(\w+)([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATIENCE_S = 90
_DONE = "the-block-is-done"
_UNEQUAL = [
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"\b(?:[a-z]{5}-){7}[a-z]{5}\b"), "<fingerprint>"),
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d)?(?:\.\d+)?(?: UTC|Z|\+00:00)?"), "<time>"),
    (re.compile(r"\b[0-9a-f]{16,64}\b"), "<id>"),
    (re.compile(r"\b\d[\d,]*(?:\.\d+)? (?:B|bytes|KiB|MiB|GiB)\b"), "<size>"),
    (re.compile(r"\b\d+,\d{3}\b|\b\d{4,}\b"), "<number>"),
    (re.compile(r"\b\d+ (?:d|days?) \d+ h\b|\b\d+ (?:h|min) \d+ (?:min|s)\b|\b\d+ (?:min|s|days|h)\b"), "<span>"),
    (re.compile(r"[─━]{3,}"), "─"),
    (re.compile(r"\s+"), " "),
]


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    words: dict[str, str]
    text: str
    line: int


def blocks_of(page: Path) -> list[Block]:
    """Return a page's fenced blocks in order."""
    source = page.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(source):
        words = dict(word.partition("=")[::2] for word in match[2].split())
        found.append(Block(match[1], words, match[3], source.count("\n", 0, match.start()) + 1))
    return found


def plain(text: str) -> str:
    """Return a text in which everything that differs from run to run, or with a terminal's width, has one form."""
    for pattern, form in _UNEQUAL:
        text = pattern.sub(form, text)
    return text.strip()


def shows(output: str, expected: str) -> bool:
    """Say whether an output is what a page shows."""
    pieces = (re.escape(piece.strip()) for piece in plain(expected).split("..."))
    return re.fullmatch(" ?.*? ?".join(pieces), plain(output)) is not None


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


class Terminal:
    """A bash in a folder, with the command that is under test on its path."""

    def __init__(self, folder: Path, prelude: str, number: int) -> None:
        self._folder = folder
        self._log = folder.parent / f"terminal-{number}.log"
        self._number = number
        self._blocks = 0
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if name.startswith(("LANG", "LC_", "COVERAGE"))}
        root = Path(__file__).resolve().parents[2]
        # A file as standard output would be one more place where an opened text rests, and receipts say so.
        with self._log.open("wb") as log:
            self._screen = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log, start_new_session=True)
        assert self._screen.stdin is not None
        with self._screen.stdin as screen:
            self._bash = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],
                stdin=subprocess.PIPE,
                stdout=screen,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**kept, "PATH": path, "HOME": str(folder), "PYTHONPATH": str(root), "PYTHONUTF8": "1"},
                start_new_session=True,
            )
        assert self._bash.stdin is not None
        self._keyboard = self._bash.stdin
        self._type(f"{prelude}\nset -u")
        self._from = 0

    def _type(self, line: str) -> None:
        self._keyboard.write(f"{line}\n".encode())
        self._keyboard.flush()

    def start(self, text: str) -> None:
        """Type a block. What it runs reads nothing from the keyboard."""
        self._blocks += 1
        script = self._log.with_name(f"terminal-{self._number}-{self._blocks}.sh")
        script.write_text(text, encoding="utf-8")
        self._from = self._log.stat().st_size
        self._type(f". {script} </dev/null; echo {_DONE} $?; set +e")

    def output(self) -> str:
        """Return what was printed since the last block was typed."""
        return self._log.read_bytes()[self._from :].decode("utf-8", errors="replace")

    def run(self, text: str) -> tuple[int, str]:
        """Type a block and return its exit code and what it printed."""
        self.start(text)
        for _ in _patiently():
            shown, found, code = self.output().rpartition(f"{_DONE} ")
            if found and code.endswith("\n"):
                return int(code), shown
            if self._bash.poll() is not None:
                return self._bash.returncode, self.output()
        return -1, self.output()

    def wait_for(self, expected: str) -> bool:
        """Wait until what a block printed so far is what the page shows."""
        return any(shows(self.output(), expected) for _ in _patiently())

    def end(self) -> None:
        """Press Ctrl-C, close the terminal, and wait until all that ran in it has ended."""
        with contextlib.suppress(BrokenPipeError):
            self._keyboard.close()
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._bash.pid, sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                # The screen ends when nobody is left who could write to it.
                self._screen.wait(10)
                break
        self._bash.wait(10)


def _patiently() -> Iterator[None]:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        yield
        time.sleep(0.05)


class Reader:
    """Reads a page, doing everything that it says.

    Attributes:
        folder: where the page's commands run; also their `$HOME`.
        instead: what is typed in place of what stands on the page, such as an id that only this run has.
    """

    def __init__(self, folder: Path, *, prelude: str = "") -> None:
        """Sit down at a first terminal.

        Args:
            folder: is made.
            prelude: typed into every terminal first.
        """
        folder.mkdir()
        self.folder = folder
        self._prelude = prelude
        self.instead: dict[str, str] = {}
        self._ports: dict[str, str] = {}
        self._terminals: dict[str, Terminal] = {}
        self._opened = 0

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *_: object) -> None:
        for terminal in reversed(self._terminals.values()):
            terminal.end()

    def _terminal(self, name: str) -> Terminal:
        if name not in self._terminals:
            self._opened += 1
            self._terminals[name] = Terminal(self.folder, self._prelude, self._opened)
        return self._terminals[name]

    def _here(self, text: str) -> str:
        """Put free ports in place of the page's, and what else is to be typed instead."""

        def port(match: re.Match[str]) -> str:
            return self._ports.setdefault(match[0], str(free_port()))

        for shown, real in self.instead.items():
            text = text.replace(shown, real)
        return re.sub(r"(?<=127\.0\.0\.1:)\d{4,5}|(?<=--port )\d{4,5}", port, text)

    def type(self, text: str) -> str:
        """Type a block that must succeed into the first terminal; return what it printed."""
        code, shown = self._terminal("").run(self._here(f"set -e\n{text}"))
        assert code == 0, f"ended with {code}:\n{text}\n{shown}"
        return shown

    def start(self, name: str, text: str) -> str:
        """Type a block that stays up into a terminal, and return the first line that it prints to say so."""
        terminal = self._terminal(name)
        terminal.start(self._here(text))
        assert any("\n" in terminal.output() for _ in _patiently()), terminal.output()
        return terminal.output()

    def read(self, page: Path, meanwhile: Mapping[str, Callable[["Reader"], None]] | None = None) -> int:
        """Do all that a page says.

        Args:
            page: Markdown.
            meanwhile: what others do just before a block that has these words is typed, once each.

        Returns:
            how many blocks were run.
        """
        others = dict(meanwhile or {})
        ran = 0
        terminal: Terminal | None = None
        shown: str | None = None
        for block in blocks_of(page):
            at = f"{page.name}:{block.line}"
            for words in [each for each in others if each in block.text]:
                others.pop(words)(self)
            text = self._here(block.text)
            if block.language == "text":
                if shown is None and terminal is not None:
                    assert terminal.wait_for(text), f"{at}: does not come; shown:\n{terminal.output()}"
                else:
                    assert shown is not None, f"{at}: shows the output of nothing"
                    assert shows(shown, text), f"{at}: the page shows\n{text}\nand this came\n{shown}"
                continue
            if "file" in block.words:
                file = self.folder / block.words["file"]
                file.write_text(text, encoding="utf-8")
                continue
            if "install" in block.words or block.language == "nginx":
                continue
            assert block.language in ("sh", "python"), f"{at}: nobody runs {block.language}"
            ran += 1
            if name := block.words.get("terminal", ""):
                if name in self._terminals:
                    self._terminals.pop(name).end()
                terminal, shown = self._terminal(name), None
                terminal.start(text)
                continue
            terminal = self._terminal("")
            if block.language == "python":
                (self.folder.parent / "block.py").write_text(text, encoding="utf-8")
                text = f"python {self.folder.parent / 'block.py'}\n"
            wanted = int(block.words.get("exit", 0))
            code, shown = terminal.run(text if wanted else f"set -e\n{text}")
            assert code == wanted, f"{at}: ended with {code}, not {wanted}:\n{shown}"
        assert not others, f"{page.name} never says {list(others)}"
        return ran
