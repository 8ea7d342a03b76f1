"""A contractor's decrypt helper: make a card, join, open one task in a process that exits when it closes.

    python contractor_decrypt.py card HOME OUT
    python contractor_decrypt.py join HOME INVITE "FINGERPRINT WORDS"
    python contractor_decrypt.py prekeys HOME COUNT OUT
    python contractor_decrypt.py take HOME FILE
    python contractor_decrypt.py open HOME ITEM ANSWER

The passphrase of the identity key is read from HOME.passphrase, which should have mode 0600. A platform over HTTP gives
out a token that is bound to our key; it goes into HOME/vault.token.
"""

import sys
from pathlib import Path

from labelvault.contractor import Contractor
from labelvault.errors import DeniedError, LabelVaultError


def passphrase(home: Path) -> str:
    """Return the passphrase; a prompt would stand here for a person."""
    return home.with_suffix(".passphrase").read_text(encoding="utf-8").strip()


def card(home: Path, out: Path) -> None:
    """Make an identity and write its card. Send the file any way; read the fingerprint aloud another way."""
    with Contractor.create(home, passphrase(home), label="example helper") as me:
        out.write_bytes(me.card())
        print(f"our fingerprint: {me.card_fingerprint}")
        print(f"our key: {me.public_key.hex()}")


def join(home: Path, invite: Path, spoken: str) -> None:
    """Join with an invite, once its client's fingerprint is the one that was spoken."""
    with Contractor.open(home, passphrase(home)) as me:
        membership = me.join(invite.read_bytes(), fingerprint=spoken)
        print(f"joined, until {membership.expires_at:%Y-%m-%d %H:%M} UTC")


def prekeys(home: Path, count: int, out: Path) -> None:
    """Make one-time keys in advance, so that the client can issue leases while this device is away."""
    with Contractor.open(home, passphrase(home)) as me:
        out.write_bytes(me.ahead.make_prekeys(count))


def take(home: Path, file: Path) -> None:
    """Take the leases that came back; `open` uses one by itself, and asks the issuer where there is none."""
    with Contractor.open(home, passphrase(home)) as me:
        print(f"{me.take(file.read_bytes()).leases} tasks can be opened with no issuer there")


def open_task(home: Path, item: str, answer: str) -> None:
    """Open a task, show it, answer it, and close it. Only the child process ever holds its key and text."""
    with Contractor.open(home, passphrase(home)) as me:
        try:
            with me.begin(item, timeout_s=20) as opening:
                sys.stdout.flush()
                opening.show(sys.stdout.fileno())
                opening.submit({"answer": answer})  # sealed to the client before it leaves this process
        except DeniedError as denied:
            sys.exit(f"the client's issuer said no: {denied.code}")
        print(f"closed, erased by {me.openings()[-1].erased}")


def main(command: str, *arguments: str) -> None:
    """Run one command."""
    match command, arguments:
        case "card", (home, out):
            card(Path(home), Path(out))
        case "join", (home, invite, spoken):
            join(Path(home), Path(invite), spoken)
        case "prekeys", (home, count, out):
            prekeys(Path(home), int(count), Path(out))
        case "take", (home, file):
            take(Path(home), Path(file))
        case "open", (home, item, answer):
            open_task(Path(home), item, answer)
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    try:
        main(*(sys.argv[1:] or [""]))
    except LabelVaultError as error:
        sys.exit(f"{type(error).__name__}: {error}")
