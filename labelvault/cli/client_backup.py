"""`labelvault client backup` and `labelvault client restore`."""

from dataclasses import asdict
from pathlib import Path

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.files import read_text
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, facts_table, moment, size, table
from labelvault.client import (
    AtVault,
    BackupReport,
    PassphraseRoot,
    RestoreReport,
    StoredBackup,
    backups_at_vault,
    restore,
)
from labelvault.keys.root import FILE_NAME
from labelvault.keys.token import TOKEN_FILE, read_token

_KEYSTORE = (
    f"{FILE_NAME} is not in it, and nothing is restored without: copy it once, apart from this backup, and never to the"
    " vault."
)
_HIDDEN = (
    "Whether the vault hides newer ones can't be known from here: compare the date with what you remember, or give"
    " --against a checkpoint that you kept."
)


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault client`."""
    group.add_command(backup)
    group.add_command(restore_command)


@click.command(epilog=examples("labelvault client backup monday.backup", "labelvault client backup --to-vault"))
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--to-vault", is_flag=True, help="Store it at the vault, sealed, as an item that no queue names.")
@click.option("--fresh", is_flag=True, help="Begin a whole one at the vault, whatever is there.")
@client_options
def backup(file: Path | None, to_vault: bool, fresh: bool, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Seal a backup of the home under its root key; issuer and sealing may go on meanwhile.

    Where FILE is there, what changed since is added beside it, as FILE.01 and so on: keep them together.
    """
    if (file is None) != to_vault or (fresh and not to_vault):
        raise click.UsageError("say where to: FILE, or --to-vault (with --fresh, if need be)")
    with opened(home, passphrase) as client:
        report = client.backup(file) if file is not None else client.backup_to_vault(fresh=fresh)
        told = _said(report, client.client_id)
    out.result(asdict(report), facts_table(_rows(report)), *told)


def _rows(report: BackupReport) -> list[tuple[str, object]]:
    kind = "whole" if not report.number else f"what changed: increment {report.number}"
    where = ("file", report.file) if report.file is not None else ("at the vault", f"number {report.version}")
    return [
        ("state of", moment(report.at)),
        ("ledger entries", str(report.size)),
        ("kind", kind),
        where,
        ("written", size(report.written_bytes)),
    ]


def _said(report: BackupReport, client: bytes) -> list[str]:
    said = []
    if report.version is not None:
        said.append(f"Write down beside your copy of the keystore: the vault's address, and client {client.hex()}.")
    if not report.has_identity:
        said.append("identity.key is kept elsewhere and is not in it; a restore needs that, too.")
    return [*said, _KEYSTORE] if not report.number else said


@click.command(
    "restore",
    epilog=examples(
        "labelvault client restore monday.backup \\\n    --keystore usb/root.keystore --home ./restored",
        "labelvault client restore --from-vault CLIENT --vault URL \\\n"
        "    --keystore usb/root.keystore --home ./restored",
    ),
)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--from-vault", "client", metavar="CLIENT", help="The client's id, for its backups at the vault.")
@click.option("--list", "listing", is_flag=True, help="List what the vault shows, newest first; restore nothing.")
@click.option("--version", type=click.IntRange(1), help="Which of them; by default the newest.")
@click.option(
    "--keystore",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"Your copy of {FILE_NAME}.",
)
@click.option(
    "--identity",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Your copy of identity.key, if it is kept offline.",
)
@click.option("--vault", metavar="URL", help="The vault's address, if it has changed; needed with --from-vault.")
@click.option(
    "--token-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help=f"Where {TOKEN_FILE} is, for --from-vault over HTTP.",
)
@click.option(
    "--ledger",
    type=click.Path(exists=True, path_type=Path),
    help="A later copy of the lost home's ledger: the directory of ledger replicate, which ends it; or a file.",
)
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A checkpoint that you kept: a backup that does not reach it is refused.",
)
@client_options
def restore_command(
    file: Path | None,
    client: str | None,
    listing: bool,
    version: int | None,
    keystore: Path,
    identity: Path | None,
    vault: str | None,
    token_dir: Path | None,
    ledger: Path | None,
    against: Path | None,
    home: Path,
    passphrase: Passphrase,
    out: Output,
) -> None:
    """Bring a lost home back from a backup, into a new directory --home, under a new ledger epoch.

    With FILE go the increments beside it; FILE.02 restores as far as that. What was released, revoked or sealed after
    the backup is unknown, so nothing of before is answered any more: every grant has ended, and each contractor is
    granted anew.
    """
    place = _place(file, client, vault, version, token_dir)
    if listing or version is not None:
        if not isinstance(place, AtVault):
            raise click.UsageError("--list and --version go with --from-vault")
        if listing:
            _list(backups_at_vault(place, PassphraseRoot(passphrase.read()), keystore), out)
            return
    report = restore(
        home,
        PassphraseRoot(passphrase.read()),
        place,
        keystore=keystore,
        identity=identity,
        vault=vault,
        ledger=ledger,
        against=None if against is None else read_text(against),
    )
    out.result({**asdict(report), "home": home}, facts_table(_restored(report, home)), *_told(report))


def _place(
    file: Path | None, client: str | None, vault: str | None, version: int | None, token_dir: Path | None
) -> Path | AtVault:
    if file is not None and client is None:
        return file
    if file is not None or client is None or vault is None:
        raise click.UsageError("give the backup's FILE, or --from-vault CLIENT and --vault URL")
    try:
        found = bytes.fromhex(client)
    except ValueError:
        found = b""
    if len(found) != 32:
        raise click.UsageError("a client's id is 64 hex digits: `labelvault client ls --json` and every backup show it")
    return AtVault(found, vault, None if token_dir is None else read_token(token_dir), version)


def _list(found: list[StoredBackup], out: Output) -> None:
    rows = [
        (str(each.version), size(each.sealed_bytes), "does not open", "", "")
        if each.at is None
        else (str(each.version), size(each.sealed_bytes), moment(each.at), _kind(each), str(each.size))
        for each in found
    ]
    shown = table("Backups at the vault", ["version#", "size#", "state of", "kind", "ledger entries#"], rows)
    out.result({"backups": [asdict(each) for each in found]}, shown, _HIDDEN)


def _kind(each: StoredBackup) -> str:
    return f"needs the {each.number} before it" if each.number else "whole"


def _restored(report: RestoreReport, home: Path) -> list[tuple[str, object]]:
    return [
        ("client", report.client.hex()),
        ("home", home),
        ("backup of", moment(report.made_at)),
        ("known until", moment(report.backup_at)),
        ("known entries", str(report.known)),
        ("restored at", moment(report.restored_at)),
        ("certificate", str(report.serial)),
    ]


def _told(report: RestoreReport) -> list[str]:
    if report.complete:
        said = [
            "Nothing is unknown: the copy of the ledger has all that left the lost home, which lets nothing out now."
        ]
    else:
        said = [f"Unknown: what was released from {moment(report.backup_at)} to {moment(report.restored_at)}."]
    if report.merged:
        said.append(
            f"The copy of the ledger added {report.merged} entries; what they revoked, froze or destroyed is so again."
            f" Lost are {report.lost_versions} item versions that were sealed since (seal again), and"
            f" {report.lost_contractors} contractors that were enrolled since (enrol again)."
        )
    again = "Grant" if report.complete else "Revoke and freeze again what you had since; then grant"
    said += [
        f"{report.grants} grants have ended. {again} and invite anew.",
        f"Requests are answered from {moment(report.accept_from)} on.",
    ]
    return said if report.version is None else [*said, f"This was backup {report.version} at the vault. {_HIDDEN}"]
