"""`labelvault drill`: the attacker. Gets copies of stolen folders and captures, and nothing of the client's."""

from pathlib import Path
from typing import Final

import click

from labelvault.cli.exits import MORE_THAN_STATED, OK
from labelvault.cli.listing import Listing
from labelvault.cli.options import Passphrase, examples, json_option
from labelvault.cli.output import Output, cell, facts_table, size, table
from labelvault.crypto.secret import SecretBytes
from labelvault.drill import Finding, run

_FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(epilog=examples("labelvault drill --vault ./stolen/vendor --desk ./stolen/desk --known texts"))
@click.option("--vault", required=True, metavar="URL", help="The stolen vault: its folder, or sqlite:///... in it.")
@click.option("--contractor", "contractors", multiple=True, type=_FOLDER, metavar="HOME", help="Repeatable.")
@click.option("--desk", "desks", multiple=True, type=_FOLDER, metavar="HOME", help="Repeatable.")
@click.option("--capture", "captures", multiple=True, type=_FILE, help="Memory of a live process. Repeatable.")
@click.option("--folder", "folders", multiple=True, type=_FOLDER, metavar="DIR", help="Anything else. Repeatable.")
@click.option("--baseline", multiple=True, type=_FILE, help="Memory that never saw the known texts. Repeatable.")
@click.option("--known", type=_FOLDER, metavar="DIR", help="Texts to look for; names.txt and ids.txt: one a line.")
@click.option(
    "--passphrase-file",
    "passphrase_files",
    multiple=True,
    type=_FILE,
    metavar="FILE",
    help="A stolen passphrase, to try on every key file. Repeatable.",
)
@json_option
def command(
    vault: str,
    contractors: tuple[Path, ...],
    desks: tuple[Path, ...],
    captures: tuple[Path, ...],
    folders: tuple[Path, ...],
    baseline: tuple[Path, ...],
    known: Path | None,
    passphrase_files: tuple[Path, ...],
    out: Output,
) -> int:
    """Try every key in stolen folders on everything, and search all bytes for known texts.

    Give it copies: homes as a thief would have copied them; captures of live processes lie in a home's
    captures/. Exits with 9 if anything opened or any known text was found. Whether that was to be expected,
    as with a desk that had tasks open, only the client's ledger can say.
    """
    finding = run(
        vault,
        contractors=contractors,
        desks=desks,
        captures=captures,
        folders=folders,
        known=known,
        baseline=baseline,
        passphrases=[SecretBytes(Passphrase(file, None).read().encode()) for file in passphrase_files],
    )
    _show(finding, out)
    return MORE_THAN_STATED if finding.opened or finding.plaintext_hits else OK


def _show(finding: Finding, out: Output) -> None:
    keys = ", ".join(f"{count} {sort}" for sort, count in sorted(finding.key_counts.items())) or "none"
    out.result(
        finding.as_json(),
        facts_table(
            [
                ("stolen", f"{size(finding.stolen_bytes)} in files, {size(finding.captured_bytes)} of memory"),
                ("holds", f"{finding.payloads} sealed item versions, {finding.leases} leases"),
                ("tried", f"{finding.candidates:,} stretches of bytes that could be a key, on everything"),
                ("keys found", keys),
                ("opened", cell(str(len(finding.opened)), "bold red" if finding.opened else "bold green")),
                (
                    "known texts",
                    cell(str(finding.plaintext_hits), "bold red" if finding.plaintext_hits else "bold green"),
                ),
            ]
        ),
        *_details(finding),
    )


def _details(finding: Finding) -> list[Listing]:
    """Return tables of what was found, if anything was."""
    shown = []
    if finding.opened:
        rows = [(each.kind, each.name, each.version, each.item) for each in finding.opened]
        shown.append(table("Opened", ["kind", "name", "version#", "item"], rows))
    if finding.keys_found:
        found = [(each.sort, each.encoding, each.place, each.offset, each.opens) for each in finding.keys_found]
        shown.append(table("Keys", ["sort", "encoding", "place", "offset#", "opens#"], found))
    if finding.plaintext:
        runs = [(" or ".join(each.known), each.runs, each.longest) for each in finding.plaintext]
        shown.append(table("Known texts", ["text", "finds#", "longest#"], runs))
    return shown
