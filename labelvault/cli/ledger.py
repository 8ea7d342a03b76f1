"""`labelvault ledger ...`, for auditors and vendors: be a witness of clients' ledgers; verify what witnesses say."""

from pathlib import Path
from typing import Final

import click
from rich.table import Table

from labelvault.auditor import WitnessedLedger, verify_witnessed
from labelvault.cli.files import read_input, read_text, write_output
from labelvault.cli.groups import Group
from labelvault.cli.options import Passphrase, examples, home_option, json_option, passphrase_options
from labelvault.cli.output import Output, cell, facts_table, moment, table
from labelvault.cli.verifier_keys import read_key, read_keys
from labelvault.ledger.cosignature import parse_cosigner_key
from labelvault.ledger.export import MAX_EXPORT_BYTES
from labelvault.ledger.note import parse_verifier_key
from labelvault.witness import Cosigned, Witness, seen_ledgers, witness_key

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_KEY: Final = "KEY|FILE"
_LOST: Final = (
    "The restore lost {lost} entries that this witness saw; what they say is not in the new ledger. Keep the old "
    "checkpoint, which labelvault ledger list names, and ask the client."
)
_UNSHOWN: Final = (
    "Of the {size} entries that the new ledger follows, only {shown} are shown to be those that were seen."
)


@click.group(cls=Group)
def command() -> None:
    """Anyone: verify a client's ledger; be a witness of it, so that it can't have two.

    A witness cosigns each checkpoint that extends all that it saw, by file. Its home holds a key that signs, and
    nothing else that is secret.
    """


@command.command(epilog=examples("labelvault ledger init --name witness.example/ada"))
@click.option(
    "--name", required=True, metavar="NAME", help="What to cosign as: a URL without https://, which need not exist."
)
@home_option("witness")
@passphrase_options
@json_option
def init(name: str, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Make a witness's key, and print the verifier key by which others know it."""
    witness = Witness.create(home, name, passphrase.read(new=True))
    out.result(
        {"name": name, "verifier_key": str(witness.key), "home": home},
        f"Verifier key: {witness.key}",
        f"Give it ({home / 'witness.pub'}) to the client and to whoever verifies, another way than through the vendor.",
    )


@command.command(
    epilog=examples(
        "labelvault ledger cosign ledger.proof --issuer lab.key -o cosigned.note",
        "labelvault ledger cosign ledger.jsonl -o cosigned.note",
        "labelvault ledger cosign new.jsonl --issuer new.key --before old.jsonl \\\n    -o cosigned.note",
    )
)
@click.argument("file", type=_FILE)
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="Where to write the cosigned note."
)
@click.option(
    "--issuer",
    metavar=_KEY,
    help="The client's verifier key, as it was told to you. Needed once for each ledger, and kept then.",
)
@click.option(
    "--before",
    type=_FILE,
    multiple=True,
    help="After a restore: an export of the older ledger that the new one follows. Repeatable.",
)
@home_option("witness")
@passphrase_options
@json_option
def cosign(
    file: Path,
    output: Path,
    issuer: str | None,
    before: tuple[Path, ...],
    home: Path,
    passphrase: Passphrase,
    out: Output,
) -> None:
    """Cosign a checkpoint, if it extends all that this witness saw of its ledger.

    FILE is an export, a proof (`labelvault client ledger prove`), or a checkpoint alone if it is the first. Of a fork
    both checkpoints are kept in the home, and the ledger is not cosigned any more.
    """
    key = None if issuer is None else read_key(issuer, parse_verifier_key)
    witness = Witness.open(home, passphrase.read())
    exports = [read_input(each, MAX_EXPORT_BYTES) for each in before]
    made = witness.cosign(read_input(file, MAX_EXPORT_BYTES), issuer=key, before=exports)
    write_output(output, made.note.encode())
    out.result(_facts(made, output), *_shown(made, output))
    if made.follows is not None and not out.as_json:
        if made.follows.lost:
            out.warn(_LOST.format(lost=made.follows.lost))
        if made.follows.shown < made.follows.size:
            out.warn(_UNSHOWN.format(size=made.follows.size, shown=made.follows.shown))


def _facts(made: Cosigned, output: Path) -> dict[str, object]:
    follows = made.follows
    return {
        "origin": made.origin,
        "size": made.size,
        "before": made.before,
        "cosigned": output,
        "follows": None
        if follows is None
        else {"origin": follows.origin, "size": follows.size, "lost": follows.lost, "shown": follows.shown},
    }


def _shown(made: Cosigned, output: Path) -> list[Table | str]:
    before = "nothing of this ledger" if made.before is None else f"{made.before} entries"
    rows: list[tuple[str, object]] = [("ledger", made.origin), ("entries", made.size), ("seen before", before)]
    if made.follows is not None:
        rows.append(("follows", f"{made.follows.origin}, from its entry {made.follows.size} on"))
    return [
        facts_table(rows),
        f"Cosigned: {output}. The client adds it: labelvault client ledger add-cosignature {output} --witness KEY",
    ]


@command.command("list", epilog=examples("labelvault ledger list"))
@home_option("witness")
@json_option
def list_(home: Path, out: Output) -> None:
    """List the ledgers that this witness saw, and the evidence against those that were forked."""
    found, key = seen_ledgers(home), witness_key(home)
    facts = [
        {
            "origin": each.origin,
            "size": each.checkpoint.size,
            "root": each.checkpoint.root,
            "issuer": str(each.issuer),
            "evidence": each.evidence,
        }
        for each in found
    ]
    rows = [
        (
            each.origin,
            each.checkpoint.size,
            "" if each.evidence is None else cell(f"FORKED: {each.evidence}", "bold red"),
        )
        for each in found
    ]
    out.result(
        {"verifier_key": str(key), "ledgers": facts},
        f"Verifier key: {key}",
        table("Ledgers", ["ledger", "entries#", "evidence"], rows),
    )


@command.command(
    epilog=examples(
        "labelvault ledger verify ledger.jsonl --issuer lab.key",
        "labelvault ledger verify ledger.jsonl --issuer lab.key --kept w.note \\\n"
        "    --witness w1.key --witness w2.key --witness w3.key --quorum 2",
    )
)
@click.argument("export", type=_FILE)
@click.option("--issuer", required=True, metavar=_KEY, help="The client's verifier key, as it was told to you.")
@click.option(
    "--kept",
    type=_FILE,
    multiple=True,
    help="A checkpoint of this ledger, cosigned or not, which the export has to continue. Repeatable.",
)
@click.option("--witness", "witnesses", metavar=_KEY, multiple=True, help="A witness that you trust. Repeatable.")
@click.option(
    "--quorum", type=click.IntRange(min=1), metavar="K", help="So many of the witnesses have to vouch. [default: all]"
)
@json_option
def verify(
    export: Path, issuer: str, kept: tuple[Path, ...], witnesses: tuple[str, ...], quorum: int | None, out: Output
) -> None:
    """Verify an export offline: the issuer's signature, every entry, and how far witnesses vouch for it."""
    if quorum is not None and not witnesses:
        raise click.UsageError("--quorum needs a --witness")
    keys = read_keys(witnesses, parse_cosigner_key)
    checked = verify_witnessed(
        read_input(export, MAX_EXPORT_BYTES),
        read_key(issuer, parse_verifier_key),
        kept=[read_text(each) for each in kept],
        witnesses=keys,
        quorum=len(keys) if quorum is None else quorum,
    )
    cosignatures = [
        {"name": each.key.name, "verifier_key": str(each.key), "size": each.size, "at": each.at}
        for each in checked.cosignatures
    ]
    facts = {
        "verified": True,
        "origin": checked.origin,
        "size": checked.size,
        "covered": checked.covered,
        "cosignatures": cosignatures,
        "checkpoint": checked.note,
    }
    out.result(facts, facts_table(_rows(checked)), cell(*_verdict(checked)))


def _rows(checked: WitnessedLedger) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [("ledger", checked.origin), ("entries", checked.size)]
    rows += [("witness", f"{each.key.name}: {each.size} entries, {moment(each.at)}") for each in checked.cosignatures]
    return rows


def _verdict(checked: WitnessedLedger) -> tuple[str, str]:
    if checked.covered is None:
        return "The ledger holds together. No witness was asked for: there may be another one of this name.", "magenta"
    if checked.covered < checked.size:
        later = checked.size - checked.covered
        return (
            f"Witnessed up to entry {checked.covered}; the {later} after it are signed by the issuer alone.",
            "magenta",
        )
    return "The whole ledger is witnessed.", "bold green"
