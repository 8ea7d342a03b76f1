"""`labelvault client ledger show` and `replicate`: the newest entries, readably, and a copy that is kept elsewhere."""

from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, facts_table, moment, table
from labelvault.client import LedgerLine
from labelvault.ledger import entries
from labelvault.ledger.entries import KINDS

_ID_DIGITS: Final = 12
_CLOSED: Final = (
    "Nothing leaves the issuer that is not in the copy. While it can't be written, nothing is released; what was"
    " asked is answered once it can."
)
_BEST_EFFORT: Final = (
    "Answers leave also while the copy can't be kept, and nobody is told but client doctor: after a restore, what came"
    " after the copy's last entry stays unknown."
)
_DESTROY: Final = "If the copy could not be reached, destroy it: it does not know that it ended."


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault client ledger`."""
    group.add_command(show)
    group.add_command(replicate)


@click.command(epilog=examples("labelvault client ledger show", "labelvault client ledger show --type denied --last 5"))
@click.option(
    "--last", type=click.IntRange(1, 1_000_000), default=20, show_default=True, help="So many of the newest entries."
)
@click.option(
    "--type",
    "kind",
    type=click.Choice(list(KINDS)),
    metavar="TYPE",
    help=f"Only entries of this type: {', '.join(KINDS)}.",
)
@client_options
def show(last: int, kind: str | None, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Show the newest entries, oldest first, with your names for what they name.

    It verifies nothing: `labelvault client ledger verify` does.
    """
    with opened(home, passphrase) as client:
        lines = client.ledger_lines(last, kind)
    facts = [{"number": each.number, "type": each.kind, **asdict(each.entry), "names": each.names} for each in lines]
    out.result(
        {"entries": facts},
        table(
            "Ledger",
            ["entry#", "time", "type", "what"],
            [(each.number, moment(each.entry.at), each.kind, _what(each)) for each in lines],
        ),
    )


@click.command(
    epilog=examples(
        "labelvault client ledger replicate /mnt/other-disk/ledger",
        "labelvault client ledger replicate",
        "labelvault client ledger replicate --off",
    )
)
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option("--best-effort", is_flag=True, help="Let answers leave also while the copy can't be kept.")
@click.option("--off", is_flag=True, help="Keep no copy any more, and say so in it.")
@click.option("--force", is_flag=True, help="With --off: also where the copy can't be reached.")
@client_options
def replicate(
    folder: Path | None,
    best_effort: bool,
    off: bool,
    force: bool,
    home: Path,
    passphrase: Passphrase,
    out: Output,
) -> None:
    """Keep a copy of the ledger in DIR at each commit; without DIR, say how it stands.

    Nothing leaves the issuer that is not in the copy: while DIR can't be written, nothing is released and nothing
    changed. So a restore that is given DIR leaves nothing unknown.
    """
    if (folder is not None and off) or (best_effort and folder is None) or (force and not off):
        raise click.UsageError("give DIR (with --best-effort, if need be), or --off (with --force), or neither")
    with opened(home, passphrase) as client:
        if folder is not None:
            client.replicate_ledger(folder, best_effort=best_effort)
        elif off:
            client.stop_replicating(force=force)
        copy = client.ledger_copy()
    if copy is None:
        out.result({"copy": None}, "No copy of the ledger is kept.", *([_DESTROY] if force else []))
        return
    behind = copy.fault if copy.behind is None else f"{copy.behind} entries" if copy.behind else "nothing"
    out.result(
        {"copy": asdict(copy)},
        facts_table([("copy", copy.folder), ("policy", copy.policy), ("lacks", behind)]),
        _BEST_EFFORT if copy.policy == "best-effort" else _CLOSED,
    )


def _what(line: LedgerLine) -> str:
    """Say an entry in one line; ids that the catalog has no name for are shortened."""
    entry = line.entry

    def named(field: str, value: bytes) -> str:
        return line.names.get(field, value.hex()[:_ID_DIGITS])

    match entry:
        case entries.Sealed():
            return f"{named('item', entry.item)}, version {entry.version}, in {named('project', entry.project)}"
        case entries.Enrolled():
            return f"{named('contractor', entry.contractor)} ({entry.tier})"
        case entries.Granted():
            whom, what = named("contractor", entry.contractor), named("project", entry.project)
            return f"{what} to {whom} until {moment(entry.expires_at)}"
        case entries.Released():
            more = f" with {len(entry.items) - 1} more" if len(entry.items) > 1 else ""
            whom = named("contractor", entry.contractor)
            return f"{named('task', entry.task)}{more} to {whom} until {moment(entry.expires_at)}"
        case entries.Denied():
            return f"{named('contractor', entry.contractor)}: {entry.code}"
        case entries.ReceiptEntry():
            erased = f" ({entry.erased})" if entry.erased is not None else ""
            return f"{named('contractor', entry.contractor)} {entry.event} {named('task', entry.lease_id)}{erased}"
        case entries.Revoked():
            return f"{entry.kind} {named('id', entry.id)}"
        case entries.Frozen():
            return f"{named('project', entry.project)} {'frozen' if entry.frozen else 'can be opened again'}"
        case entries.Rotated():
            return (
                "root key" if entry.project is None else f"key {entry.generation} of {named('project', entry.project)}"
            )
        case entries.Shredded():
            return f"{named('project', entry.project)}: {entry.keks} keys and {entry.versions} wraps destroyed"
        case entries.Dropped():
            return f"{named('item', entry.item)}: {entry.versions} wraps before version {entry.before} destroyed"
        case entries.Restored():
            return f"follows a ledger that is known up to entry {entry.size}, of {moment(entry.backup_at)}"
        case entries.Alarmed():
            whom = named("contractor", entry.contractor)
            return f"{whom} asked for {named('item', entry.item)} of {named('project', entry.project)} ({entry.about})"
        case entries.Certified():
            return f"issuer key {entry.issuer.hex()[:_ID_DIGITS]}, serial {entry.serial}"
        case entries.Junk():
            return f"{entry.count} messages that deserved no entry since {moment(entry.since)}"
