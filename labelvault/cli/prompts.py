"""Questions on the terminal that are not passphrases."""

import sys

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
