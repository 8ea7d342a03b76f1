"""Actors as folders and processes: each command of the story is the real command line, run in a process of its own."""

import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from labelvault.errors import LabelVaultError, ProjectError

_COMMAND_TIMEOUT_S: Final = 120
_END_TIMEOUT_S: Final = 20
_POLL_S: Final = 0.03
_REFUSED: Final = 3
_BAD_ROWS: Final = 7
PASSPHRASE_FILE: Final = "passphrase"  # noqa: S105  (a file's name)


class StoryError(LabelVaultError):
    """The story can't be told: a command did something else than it should have."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What one command reported.

    Attributes:
        code: its exit code.
        facts: its JSON object.
    """

    code: int
    facts: dict[str, Any]

    @property
    def error(self) -> dict[str, Any]:
        """The error object, or an empty one."""
        found = self.facts.get("error", {})
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Actor:
    """One actor: a home, and a passphrase that it alone has.

    Attributes:
        role: `client`, `vendor` or `contractor`: the command's group.
        home: its folder.
        name: what the story calls it.
        has_passphrase: whether its commands need one.
    """

    role: str
    home: Path
    name: str
    has_passphrase: bool = True

    @classmethod
    def create(cls, role: str, home: Path, name: str) -> "Actor":
        """Make a home with a random passphrase in it, mode 0600. A vendor needs none: it holds no key."""
        home.mkdir(mode=0o700)
        if role == "vendor":
            return cls(role, home, name, has_passphrase=False)
        descriptor = os.open(home / PASSPHRASE_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(18) + "\n")
        return cls(role, home, name)

    @property
    def passphrase(self) -> str:
        """What its file holds."""
        return (self.home / PASSPHRASE_FILE).read_text(encoding="utf-8").strip()

    def run(self, *words: str | Path, refused: bool = False) -> Ran:
        """Run a command as this actor, and return what it reported.

        Args:
            words: the command and its arguments, without the group, home and passphrase.
            refused: it should be refused (exit code 3) instead of done.

        Raises:
            ProjectError: it sealed a project with rows that can't be read.
            StoryError: it ended otherwise.
        """
        ran = self.attempt(*words)
        if ran.code == _BAD_ROWS and ran.facts.get("errors"):
            # The reader's own project, and for the reader to mend.
            raise ProjectError(str(ran.facts["errors"][0]["message"]))
        if ran.code != (_REFUSED if refused else 0):
            raise StoryError(f"{shown(self.role, words)} ended with {ran.code}: {ran.error}")
        return ran

    def attempt(self, *words: str | Path) -> Ran:
        """Run a command as this actor, and return what it reported, however it ended.

        Raises:
            StoryError: it printed no JSON.
        """
        done = _finished([*self._command(words), "--json"])
        return _parse(done.returncode, done.stdout, done.stderr, shown(self.role, words))

    def read(self, *words: str | Path) -> list[str]:
        """Run a command as this actor, and return the lines that a person would have seen.

        Raises:
            StoryError: it was not done.
        """
        done = _finished(self._command(words))
        if done.returncode != 0:
            raise StoryError(f"{shown(self.role, words)} ended with {done.returncode}: {done.stderr[-500:]}")
        return done.stdout.splitlines()

    def start(self, *words: str | Path, log: Path) -> "Running":
        """Start a command that stays up; its stdout goes to a file."""
        return Running(shown(self.role, words), [*self._command(words), "--json"], log)

    def _command(self, words: Sequence[str | Path]) -> list[str]:
        command = [sys.executable, "-m", "labelvault", self.role, *map(str, words), "--home", str(self.home)]
        if self.has_passphrase:
            command += ["--passphrase-file", str(self.home / PASSPHRASE_FILE)]
        return command


def anyone(*words: str | Path) -> Ran:
    """Run a command that needs no home: an auditor's.

    Raises:
        StoryError: it printed no JSON.
    """
    done = _finished([sys.executable, "-m", "labelvault", *map(str, words), "--json"])
    return _parse(done.returncode, done.stdout, done.stderr, f"labelvault {words[0]}")


def _finished(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
    )


class Running:
    """A command that stays up, with its stdin open and its stdout in a file."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        """Start it; `end` or `kill` ends it.

        Args:
            name: as a person would type it.
            command: as the system runs it.
            log: the file that its stdout goes to.
        """
        self._name = name
        self._log = log
        self._seen = 0
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.DEVNULL)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def say(self, line: str) -> None:
        """Write one line to its stdin."""
        if self._process.stdin is None:
            raise StoryError(f"{self._name} has no stdin")
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def next_event(self, event: str, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait for the next JSON line that it prints, which has to be this event.

        Raises:
            StoryError: it printed another one, ended, or printed nothing in time.
        """

        def line() -> str | None:
            lines = self._log.read_text(encoding="utf-8").split("\n")[:-1]
            return lines[self._seen] if len(lines) > self._seen else None

        found: dict[str, Any] = json.loads(self._waited(line, timeout_s))
        self._seen += 1
        if found.get("event") != event:
            raise StoryError(f"{self._name} said {found} instead of {event}")
        return found

    def result(self) -> Ran:
        """Wait for its end, and return the one object that it printed.

        Raises:
            StoryError: it goes on, or printed something else.
        """
        return _parse(self._ended_with(), self._log.read_text(encoding="utf-8"), "", self._name)

    def wait(self) -> None:
        """Wait until it has ended by itself.

        Raises:
            StoryError: it goes on, or ended badly.
        """
        if (code := self._ended_with()) != 0:
            raise StoryError(f"{self._name} ended with {code}")

    def _ended_with(self) -> int:
        try:
            return self._process.wait(_COMMAND_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise StoryError(f"{self._name} did not end") from None

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._process.poll() is not None

    def _waited(self, look: Callable[[], str | None], timeout_s: float) -> str:
        end = time.monotonic() + timeout_s
        while True:
            ended = self._process.poll() is not None
            # Looked at after the exit too: the last line may come with it.
            if (found := look()) is not None:
                return found
            if ended or time.monotonic() > end:
                raise StoryError(f"{self._name} ended or said nothing for {timeout_s:g} s")
            time.sleep(_POLL_S)

    def end(self) -> None:
        """End it with SIGTERM, as a service manager does.

        Raises:
            StoryError: it didn't end cleanly.
        """
        self._process.terminate()
        try:
            code = self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise StoryError(f"{self._name} did not end on SIGTERM") from None
        finally:
            self.kill()
        if code != 0:
            raise StoryError(f"{self._name} ended with {code}")

    def kill(self) -> None:
        """Make sure that it is gone."""
        self._process.kill()
        self._process.wait()
        if self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()


def shown(role: str, words: Sequence[str | Path]) -> str:
    """Return a command as a person would type it: without home, passphrase and output form, long ids shortened."""
    return shlex.join(["labelvault", role, *map(_short, words)])


def _short(word: str | Path) -> str:
    text = word.name if isinstance(word, Path) else word
    return text[:8] + "..." if re.fullmatch("[0-9a-f]{32,}", text) else text


def _parse(code: int, out: str, err: str, name: str) -> Ran:
    try:
        facts = json.loads(out) if out.strip() else {}
    except json.JSONDecodeError as error:
        raise StoryError(f"{name} ended with {code} and printed no JSON: {err[-500:]}") from error
    return Ran(code, facts)


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Wait for something that another process does.

    Raises:
        StoryError: it didn't happen in time.
    """
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise StoryError(f"{what} did not happen within {timeout_s:g} s")
        time.sleep(_POLL_S)
