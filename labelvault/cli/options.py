"""Options that many commands share: the home, the form of the output, where the passphrase comes from."""

import functools
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click

from labelvault.cli.output import Output

_F = TypeVar("_F", bound=Callable[..., Any])
MAX_PASSPHRASE_BYTES: Final = 1024


class Passphrase:
    """Where the passphrase comes from: a file, a descriptor, or a prompt without echo; never argv or env.

    Attributes:
        agent: whether a running agent may do instead, where none was given.
    """

    def __init__(self, file: Path | None, descriptor: int | None, *, which: str = "passphrase") -> None:
        self._file = file
        self._descriptor = descriptor
        self.agent = False
        self._which = which

    @property
    def given(self) -> bool:
        """Whether there is a source besides asking."""
        return self._file is not None or self._descriptor is not None

    def read(self, *, new: bool = False) -> str:
        """Return the passphrase.

        Args:
            new: it is being chosen: a prompt asks twice.

        Raises:
            click.UsageError: there is none: the source is empty or unreadable, or nobody can be asked.
        """
        if self._file is not None and self._descriptor is not None:
            raise click.UsageError(f"give --{self._which}-file or --{self._which}-fd, not both")
        if self._file is not None:
            return _first_line(*_open(self._file), str(self._file))
        if self._descriptor is not None:
            return _first_line(self._descriptor, False, f"descriptor {self._descriptor}")
        if not sys.stdin.isatty():
            words = self._which.replace("-", " ")
            raise click.UsageError(f"no terminal to ask for the {words} on: give --{self._which}-file FILE")
        question = self._which.replace("-", " ").capitalize()
        asked: str = click.prompt(question, hide_input=True, confirmation_prompt=new, err=True)
        return asked


def examples(*commands: str) -> str:
    """Return the epilog of a command's help: real invocations, which a test parses.

    Args:
        commands: whole command lines, without the `$`; one may go on over lines that end in a backslash.
    """
    lines = [line for command in commands for line in command.splitlines()]
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def home_option(actor: str) -> Callable[[_F], _F]:
    """Add `--home`, by default `~/.labelvault/<actor>`."""

    def default(context: click.Context, parameter: click.Parameter, value: Path | None) -> Path:
        return value if value is not None else Path.home() / ".labelvault" / actor

    return click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        callback=default,
        metavar="DIR",
        help=f"Where this {actor} keeps its files. [default: ~/.labelvault/{actor}]",
    )


def json_option(command: _F) -> _F:
    """Add `--json`; the command gets an `Output` as `out`."""

    def chosen(context: click.Context, parameter: click.Parameter, value: bool) -> Output:
        return Output(value)

    return click.option("--json", "out", is_flag=True, callback=chosen, help="Print one JSON object instead of prose.")(
        command
    )


def passphrase_options(command: _F) -> _F:
    """Add the sources of a passphrase; the command gets a `Passphrase` as `passphrase`."""
    return _sources("passphrase")(command)


def new_passphrase_options(command: _F) -> _F:
    """Add the sources of a passphrase that takes another's place; the command gets it as `new_passphrase`."""
    return _sources("new-passphrase")(command)


def _sources(which: str) -> Callable[[_F], _F]:
    words, name = which.replace("-", " "), which.replace("-", "_")

    def add(command: _F) -> _F:
        @click.option(
            f"--{which}-file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            metavar="FILE",
            help=f"Read the {words} from the first line of FILE.",
        )
        @click.option(
            f"--{which}-fd",
            type=click.IntRange(min=0),
            metavar="N",
            help=f"Read the {words} from the first line of descriptor N.",
        )
        @functools.wraps(command)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            given = Passphrase(kwargs.pop(f"{name}_file"), kwargs.pop(f"{name}_fd"), which=which)
            return command(*args, **{name: given}, **kwargs)

        # click calls by keyword, so what it sees is the command plus two options.
        return cast(_F, wrapped)

    return add


def _open(file: Path) -> tuple[int, bool]:
    try:
        return os.open(file, os.O_RDONLY | os.O_CLOEXEC), True
    except OSError as error:
        raise click.UsageError(f"{file} can't be read: {error.strerror}") from error


def _first_line(descriptor: int, owned: bool, name: str) -> str:
    """Read up to the first line end and close the descriptor; one that was given is not judged by mode."""
    try:
        with os.fdopen(descriptor, "rb", closefd=True) as source:
            status = os.fstat(descriptor)
            line = source.readline(MAX_PASSPHRASE_BYTES + 2)
    except OSError as error:
        raise click.UsageError(f"{name} can't be read: {error.strerror}") from error
    if owned and stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
        Output(as_json=False).warn(f"{name} can be read by others; chmod 600 it")
    text = line.rstrip(b"\r\n")
    if not text:
        raise click.UsageError(f"the first line of {name} is empty")
    if len(text) > MAX_PASSPHRASE_BYTES:
        raise click.UsageError(f"the first line of {name} has more than {MAX_PASSPHRASE_BYTES} bytes")
    try:
        return text.decode()
    except UnicodeDecodeError:
        # `from None`: the original error holds the bytes.
        raise click.UsageError(f"the first line of {name} is not UTF-8") from None
