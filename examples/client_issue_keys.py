"""A lab's key issuance script: seal a folder, enrol a contractor, write an invite, answer requests.

    python client_issue_keys.py init   HOME VAULT
    python client_issue_keys.py setup  HOME VAULT FOLDER
    python client_issue_keys.py invite HOME CARD "FINGERPRINT WORDS" OUT
    python client_issue_keys.py answer HOME SECONDS
    python client_issue_keys.py ahead  HOME CONTRACTOR PREKEYS OUT ITEM...

The passphrase of the root key is read from HOME.passphrase, which should have mode 0600. Nothing here talks to the
vendor but through the vault's address, and no key leaves this machine except one task's, sealed to a one-time key.
"""

import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from labelvault.client import Client, Limits, PassphraseRoot, Scope
from labelvault.client.ahead import issue
from labelvault.errors import LabelVaultError
from labelvault.wire.framefile import pack_frames


def root(home: Path) -> PassphraseRoot:
    """Return the provider of the root key; an HSM's would stand here instead."""
    return PassphraseRoot(home.with_suffix(".passphrase").read_text(encoding="utf-8").strip())


def init(home: Path, vault: str) -> None:
    """Make the client. A vault over HTTP wants a token, bound by the vendor to our id, in HOME/vault.token."""
    with Client.create(home, root(home), vault) as lab:
        lab.create_project("evaluation")
        print(f"our id: {lab.client_id.hex()}")


def setup(home: Path, vault: str, folder: Path) -> None:
    """Make the client if it is new, and seal a project folder; run it again to seal what changed."""
    if not (home / "client.db").exists():
        init(home, vault)
    with Client.open(home, root(home)) as lab:
        report = lab.project("evaluation").seal(folder)
        for error in report.errors:
            print(f"not sealed: {error}", file=sys.stderr)
        print(f"sealed {report.new} new, {report.changed} changed, {report.same} as they were")
        print(f"our fingerprint: {lab.fingerprint}")


def invite(home: Path, card: Path, spoken: str, out: Path) -> None:
    """Enrol a contractor whose card and spoken fingerprint match, and write the invite to all task batches."""
    with Client.open(home, root(home)) as lab:
        project = lab.project("evaluation")
        contractor = lab.enroll(card.read_bytes(), fingerprint=spoken, name=card.stem)
        grant = project.grant(
            contractor,
            Scope(batches=project.batches()),
            expires_at=datetime.now(UTC) + timedelta(days=7),
            limits=Limits(max_open=1, max_total=200, per_hour=30, lease_ttl_s=3600),
        )
        out.write_bytes(lab.invite(grant.grant_id))
        print(f"{contractor.name} may open {', '.join(project.batches())} until {grant.expires_at:%Y-%m-%d %H:%M} UTC")


def answer(home: Path, seconds: float) -> None:
    """Answer open requests for a while: this is all that an issuer does."""
    stop = threading.Event()
    timer = threading.Timer(seconds, stop.set)
    timer.start()
    try:
        with Client.open(home, root(home)) as lab, lab.issuer() as issuer:
            issuer.run(stop, on_pass=lambda report: print(report, flush=True))
    finally:
        timer.cancel()


def ahead(home: Path, contractor: str, prekeys: Path, out: Path, items: list[str]) -> None:
    """Issue leases ahead of time, from a contractor's file of prekeys into a file: needs neither vault nor network."""
    with Client.open(home, root(home)) as lab:
        report = issue(lab, contractor, Scope(items=items), prekeys=prekeys.read_bytes())
        out.write_bytes(pack_frames(report.frames))
        print(f"{len(report.leases)} leases, {report.unused} prekeys left")


def main(command: str, *arguments: str) -> None:
    """Run one command."""
    match command, arguments:
        case "init", (home, vault):
            init(Path(home), vault)
        case "setup", (home, vault, folder):
            setup(Path(home), vault, Path(folder))
        case "invite", (home, card, spoken, out):
            invite(Path(home), Path(card), spoken, Path(out))
        case "answer", (home, seconds):
            answer(Path(home), float(seconds))
        case "ahead", (home, contractor, prekeys, out, *items):
            ahead(Path(home), contractor, Path(prekeys), Path(out), items)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(*(sys.argv[1:] or [""]))
    except LabelVaultError as error:
        sys.exit(f"{type(error).__name__}: {error}")
