"""`labelvault client rotate`, `rekey` and `shred`: new keys for old and for exposed ones, and no keys any more."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.completion import PROJECTS
from labelvault.cli.exits import outcome_of
from labelvault.cli.files import read_input
from labelvault.cli.listing import Listing
from labelvault.cli.options import Passphrase, examples, new_passphrase_options
from labelvault.cli.output import Output, moment, size, table
from labelvault.cli.progress import View, progress_options
from labelvault.cli.prompts import ask_name
from labelvault.client import BackupRecord, PassphraseRoot, RekeyPlan

_NOT_AGAINST: Final = (
    "Whoever copied both the old key and the old catalog still opens what was sealed by then. For what is still"
    " needed of it, see client rekey."
)
_STAYS: Final = (
    "The old versions stay readable to whoever has their keys. Contractors get the new ones with their next opening."
)
_COPIES: Final = (
    "Copies of this home that were made elsewhere (backups, snapshots, an old disk) still hold the keys: destroy those"
    " too. Leases that are open now stay readable on their devices until they are closed or expire."
)
_OLD_COPIES: Final = (
    "Copies of the old home still open with the old passphrase. Start issuers on this home anew, with the new one."
)


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault client`."""
    for each in (rotate, rekey, shred):
        group.add_command(each)


@click.group()
def rotate() -> None:
    """Put new keys in the place of old ones."""


@rotate.command("kek", epilog=examples("labelvault client rotate kek eval"))
@click.argument("name", metavar="PROJECT", shell_complete=PROJECTS)
@progress_options
@client_options
def rotate_kek(name: str, home: Path, passphrase: Passphrase, out: Output, view: View) -> None:
    """Give PROJECT a new key (KEK) and destroy the old one.

    Every item's key in the catalog is wrapped anew. Vault, items and open leases are not touched; issuers and sealing
    go on meanwhile. Interrupted, run it again.
    """
    with opened(home, passphrase) as client, view.showing("Rotating") as progress:
        report = client.project(name).rotate_kek(progress)
    facts = {
        "project": name,
        "generation": report.generation,
        "rewrapped": report.rewrapped,
        "destroyed": report.destroyed,
        "resumed": report.resumed,
    }
    begun = " An earlier run had begun it." if report.resumed else ""
    out.result(
        facts,
        f"{name} is under generation {report.generation} of its key: {report.rewrapped} wraps moved,"
        f" {report.destroyed} older generations destroyed.{begun}",
        _NOT_AGAINST,
    )


@rotate.command(
    "root",
    epilog=examples(
        "labelvault client rotate root", "labelvault client rotate root --new-passphrase-file ./new-passphrase"
    ),
)
@new_passphrase_options
@client_options
def rotate_root(home: Path, passphrase: Passphrase, new_passphrase: Passphrase, out: Output) -> None:
    """Change the passphrase, and the root key under it.

    Killed in between, the home opens with the old passphrase or with the new one, whichever it is.
    """
    with opened(home, passphrase) as client:
        client.rotate_root(PassphraseRoot(new_passphrase.read(new=True)))
    out.result({"rotated": "root", "home": home}, f"{home} opens with the new passphrase only.", _OLD_COPIES)


@click.command(
    epilog=examples(
        "labelvault client rekey eval --exposed desk.statement --dry-run",
        "labelvault client rekey eval guidelines/how.md tasks/week-14.jsonl#7",
    )
)
@click.argument("name", metavar="PROJECT", shell_complete=PROJECTS)
@click.argument("items", metavar="[ITEM]...", nargs=-1)
@click.option(
    "--exposed",
    "statement",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="STATEMENT",
    help="All that this file calls exposed, unconfirmed or unknown.",
)
@click.option("--drop-old", is_flag=True, help="Destroy the keys of these items' older versions here, too, for good.")
@click.option("--dry-run", is_flag=True, help="Say what would be sealed again; seal nothing.")
@progress_options
@client_options
def rekey(
    name: str,
    items: tuple[str, ...],
    statement: Path | None,
    drop_old: bool,
    dry_run: bool,
    home: Path,
    passphrase: Passphrase,
    out: Output,
    view: View,
) -> int:
    """Seal what was exposed again, under fresh keys.

    ITEM is an id, a path or a name. Each becomes a new version, which is released from then on. The exposed bytes stay
    readable to whoever has their key. With --exposed, a run that was interrupted goes on where it stopped.
    """
    if bool(items) == (statement is not None):
        raise click.UsageError("name ITEMs, or give --exposed STATEMENT")
    with opened(home, passphrase) as client:
        project = client.project(name)
        wanted: list[bytes | tuple[bytes, int]] = [project.find(item) for item in items]
        if statement is not None:
            wanted += project.exposed(read_input(statement))
        if dry_run:
            return _would_rekey(project.plan_rekey(wanted), name, out)
        with view.showing("Re-keying") as progress:
            report = project.rekey(wanted, progress, drop_old=drop_old)
        backups = client.backups() if drop_old else []
    facts = {
        "project": name,
        "items": [{"item": item, "version": version} for item, version in report.versions],
        "done": report.done,
        "faults": [
            {"item": each.item, "version": each.version, "source": each.source, "message": str(each.error)}
            for each in report.faults
        ],
        "dropped": report.dropped,
        "backups": [asdict(each) for each in backups],
    }
    out.result(
        facts,
        f"{len(report.versions)} sealed again under fresh keys; {report.done} have newer versions already;"
        f" {len(report.faults)} failed." + (f" {report.dropped} older wraps destroyed." if drop_old else ""),
        *([_backups(backups)] if backups else []),
        _STAYS,
    )
    for fault in report.faults if not out.as_json else ():
        out.warn(f"{fault.source}, version {fault.version}: {fault.error}")
    return outcome_of(report.faults[0].error).code if report.faults else 0


def _would_rekey(plan: RekeyPlan, name: str, out: Output) -> int:
    rows = [(source, version) for (_, version), source in zip(plan.versions, plan.sources, strict=True)]
    facts = {
        "project": name,
        "dry_run": True,
        "items": [
            {"item": item, "version": version, "source": source}
            for (item, version), source in zip(plan.versions, plan.sources, strict=True)
        ],
        "payload_bytes": plan.payload_bytes,
        "done": plan.done,
    }
    out.result(
        facts,
        table("Would be sealed again", ["item", "version#"], rows),
        f"{len(rows)} would be sealed again, {size(plan.payload_bytes)} at the vault; {plan.done} have newer versions"
        " already; nothing was sealed",
    )
    return 0


@click.command(epilog=examples("labelvault client shred eval", "labelvault client shred eval --yes-shred eval"))
@click.argument("name", metavar="PROJECT", shell_complete=PROJECTS)
@click.option("--yes-shred", "confirmed", metavar="NAME", help="The project's name once more, for scripts.")
@client_options
def shred(name: str, confirmed: str | None, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Destroy all keys of PROJECT, for good: nothing that was sealed into it opens any more.

    Its answers that were not collected can't be opened any more, either: collect first. The ledger stays.
    """
    with opened(home, passphrase) as client:
        client.project(name)
        question = f"This can't be undone. Type the project's name, {name}, to destroy its keys"
        report = client.shred(name, confirm=ask_name(question, "--yes-shred NAME") if confirmed is None else confirmed)
    facts = {
        "project": name,
        "keks": report.keks,
        "versions": report.versions,
        "answers": report.answers,
        "resumed": report.resumed,
        "backups": [asdict(each) for each in report.backups],
    }
    lost = f" {report.answers} answers were not collected and are lost." if report.answers else ""
    out.result(
        facts,
        f"{name} is shredded: {report.keks} KEKs, {report.versions} wraps and the key of its answers are destroyed."
        f"{lost}",
        *([_backups(report.backups)] if report.backups else []),
        _COPIES,
    )


def _backups(found: Sequence[BackupRecord]) -> Listing:
    rows = [(each.place, moment(each.begun_at), moment(each.newest_at)) for each in found]
    return table("Backups that may still hold these keys: destroy them", ["place", "from", "to"], rows)
