"""`labelvault client ledger prove`, `add-cosignature`: what witnesses are shown, and what they answer."""

from pathlib import Path
from typing import Final

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.files import read_text, write_output
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output
from labelvault.cli.values import HexId
from labelvault.cli.verifier_keys import read_keys
from labelvault.ledger.cosignature import parse_cosigner_key

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault client ledger`."""
    group.add_command(prove)
    group.add_command(add_cosignature)


@click.command(
    epilog=examples("labelvault client ledger prove -o first.proof", "labelvault client ledger prove --from 9 -o FILE")
)
@click.option(
    "--from",
    "old",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="How many entries the witness saw; it says so when it refuses another proof.",
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Where to write it.")
@click.option(
    "--epoch", type=HexId(16), metavar="ID", help="An older ledger, from before a restore. [default: the newest]"
)
@client_options
def prove(old: int, output: Path, epoch: bytes | None, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Write the newest checkpoint, with the proof that it extends what a witness saw.

    It is a few lines, and says nothing of what the entries are: `labelvault ledger cosign` takes it.
    """
    with opened(home, passphrase) as client:
        data = client.prove_ledger(old, epoch)
    write_output(output, data)
    out.result(
        {"proof": output, "from": old}, f"Wrote {output}. For a witness: labelvault ledger cosign {output} -o FILE"
    )


@click.command(
    "add-cosignature",
    epilog=examples("labelvault client ledger add-cosignature cosigned.note --witness w1.key"),
)
@click.argument("file", type=_FILE)
@click.option(
    "--witness",
    "witnesses",
    metavar="KEY|FILE",
    required=True,
    multiple=True,
    help="The verifier key of a witness whose line is kept. Repeatable.",
)
@client_options
def add_cosignature(file: Path, witnesses: tuple[str, ...], home: Path, passphrase: Passphrase, out: Output) -> None:
    """Keep what witnesses say of a checkpoint, beside what others said of it.

    `labelvault client ledger export --cosigned` hands it on, with the entries that they vouch for.
    """
    keys = read_keys(witnesses, parse_cosigner_key)
    with opened(home, passphrase) as client:
        kept = client.add_cosignatures(read_text(file), keys)
    out.result(
        {"origin": kept.origin, "size": kept.size, "checkpoint": kept.note},
        f"Kept: {kept.size} entries are vouched for. Hand them on: labelvault client ledger export --cosigned -o FILE",
    )
