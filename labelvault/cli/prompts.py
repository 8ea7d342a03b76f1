"""Questions on the terminal that are not passphrases."""

import sys
from contextlib import suppress

import click


def ask_fingerprint(given: str | None, whose: str) -> str:
    """Return the fingerprint that was given, or ask for it.

    Raises:
        click.UsageError: none was given and there is no terminal.
    """
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask for the fingerprint on: give --fingerprint WORDS")
    try:
        asked: str = click.prompt(f"Fingerprint that {whose} reads out", err=True)
    except click.Abort:
        # What follows would stand behind the `^C` on the prompt's line.
        click.echo(err=True)
        raise
    return asked


def ask_name(question: str, option: str) -> str:
    """Return a name that was typed out on a terminal.

    Args:
        question: that is asked.
        option: what to give instead where there is no terminal.

    Raises:
        click.UsageError: there is no terminal.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(f"no terminal to ask on: give {option}")
    forget_typed()
    asked: str = click.prompt(question, err=True)
    return asked


def ask_whether(question: str) -> bool:
    """Ask yes or no on a terminal; no is the default.

    Raises:
        click.UsageError: there is no terminal.
    """
    if not sys.stdin.isatty():
        raise click.UsageError("no terminal to ask on: look at what is shown, then give --yes")
    forget_typed()
    return click.confirm(question, default=False, err=True)


def forget_typed() -> None:
    """Drop what was typed before a question was shown, so that it does not count as the answer."""
    if not sys.stdin.isatty():
        return
    with suppress(ImportError):
        import termios

        with suppress(termios.error):
            termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
