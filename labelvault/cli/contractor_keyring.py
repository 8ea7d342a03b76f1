"""`labelvault contractor keyring ...`: the passphrase in the operating system's keyring, for who wants it there."""

from pathlib import Path

import click

from labelvault.cli import os_keyring
from labelvault.cli.groups import Group
from labelvault.cli.options import Passphrase, examples, home_option, json_option, passphrase_options
from labelvault.cli.output import Output
from labelvault.contractor import Contractor


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault contractor`."""
    group.add_command(keyring)


@click.group(cls=Group)
def keyring() -> None:
    """Keep this home's passphrase in the operating system's keyring, for agent start --keyring."""


@keyring.command("set", epilog=examples("labelvault contractor keyring set"))
@home_option("contractor")
@passphrase_options
@json_option
def set_(home: Path, passphrase: Passphrase, out: Output) -> None:
    """Put the passphrase there, once it has opened this home.

    Whoever can unlock this desktop's keyring can unlock this home then.
    """
    text = passphrase.read()
    Contractor.open(home, text).close()
    os_keyring.store(home, text)
    out.result({"kept": True}, "Kept. Start the agent with it: labelvault contractor agent start --keyring")


@keyring.command(epilog=examples("labelvault contractor keyring remove"))
@home_option("contractor")
@json_option
def remove(home: Path, out: Output) -> None:
    """Take the passphrase out of the keyring again."""
    was = os_keyring.remove(home)
    out.result({"removed": was}, "Removed." if was else "The keyring has no passphrase of this home.")


@keyring.command(epilog=examples("labelvault contractor keyring status"))
@home_option("contractor")
@json_option
def status(home: Path, out: Output) -> None:
    """Say whether the keyring has the passphrase of this home; it is not shown."""
    kept = os_keyring.holds(home)
    out.result({"kept": kept}, "The keyring has it." if kept else "The keyring has no passphrase of this home.")
