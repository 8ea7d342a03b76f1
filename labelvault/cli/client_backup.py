"""`labelvault client backup` and `labelvault client restore`."""

from dataclasses import asdict
from pathlib import Path

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, facts_table, moment
from labelvault.client import BackupReport, PassphraseRoot, restore
from labelvault.keys.root import FILE_NAME
from labelvault.keys.token import TOKEN_FILE, read_token

_KEYSTORE = (
    f"{FILE_NAME} is not in it, and nothing is restored without: copy it once, apart from this backup, and never to the"
    " vault."
)


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault client`."""
    group.add_command(backup)
    group.add_command(restore_command)


@click.command(
    epilog=examples("labelvault client backup -o monday.backup", "labelvault client backup -o today.backup --to-vault")
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="A new file to write it to.")
@click.option("--to-vault", is_flag=True, help="Store it at the vault, sealed, as an item that no queue names.")
@client_options
def backup(output: Path | None, to_vault: bool, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Seal a backup of the home under its root key; issuer and sealing may go on meanwhile. Each time all of it."""
    if output is None and not to_vault:
        raise click.UsageError("say where to: -o FILE, --to-vault, or both")
    with opened(home, passphrase) as client:
        report = client.backup(output, to_vault=to_vault)
    out.result(asdict(report), facts_table(_rows(report)), *_said(report))


def _rows(report: BackupReport) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [("state of", moment(report.at)), ("ledger entries", str(report.size))]
    if report.file is not None:
        rows.append(("file", report.file))
    if report.locator is not None:
        rows.append(("at the vault", report.locator))
    return rows


def _said(report: BackupReport) -> list[str]:
    said = [] if report.locator is None else ["Write down where it is at the vault, beside your copy of the keystore."]
    if not report.has_identity:
        said.append("identity.key is kept elsewhere and is not in it; a restore needs that, too.")
    return [*said, _KEYSTORE]


@click.command(
    "restore",
    epilog=examples(
        "labelvault client restore monday.backup \\\n    --keystore usb/root.keystore --home ./restored",
        "labelvault client restore --from-vault LOCATOR --vault URL \\\n"
        "    --keystore usb/root.keystore --home ./restored",
    ),
)
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--from-vault", "locator", metavar="LOCATOR", help="What client backup --to-vault printed.")
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
@client_options
def restore_command(
    file: Path | None,
    locator: str | None,
    keystore: Path,
    identity: Path | None,
    vault: str | None,
    token_dir: Path | None,
    home: Path,
    passphrase: Passphrase,
    out: Output,
) -> None:
    """Bring a lost home back from a backup, into a new directory --home, under a new ledger epoch.

    What was released, revoked or sealed after the backup is unknown, so nothing of before is answered any more: every
    grant has ended, and each contractor is granted anew.
    """
    if (file is None) == (locator is None):
        raise click.UsageError("give the backup's FILE, or --from-vault LOCATOR")
    report = restore(
        home,
        PassphraseRoot(passphrase.read()),
        file if file is not None else locator or "",
        keystore=keystore,
        identity=identity,
        vault=vault,
        token=None if token_dir is None else read_token(token_dir),
    )
    out.result(
        {**asdict(report), "home": home},
        facts_table(
            [
                ("client", report.client.hex()),
                ("home", home),
                ("known until", moment(report.backup_at)),
                ("restored at", moment(report.restored_at)),
                ("known entries", str(report.known)),
                ("certificate", str(report.serial)),
            ]
        ),
        f"Unknown: what was released from {moment(report.backup_at)} to {moment(report.restored_at)}.",
        f"{report.grants} grants have ended. Revoke and freeze again what you had since; then grant and invite anew.",
        f"Requests are answered from {moment(report.accept_from)} on.",
    )
