"""Who is let in and who is kept out: enrolment, revocation, freezing. Each is one transaction with its ledger entry."""

from typing import TYPE_CHECKING, Final

from labelvault.client import queries
from labelvault.errors import EnrolmentError, GrantError, GrantRevokedError, RelayError, StoreError
from labelvault.issuer import state
from labelvault.keys.cards import card_fingerprint, read_card
from labelvault.keys.fingerprint import check_fingerprint
from labelvault.ledger.entries import Enrolled, Revoked
from labelvault.wire.frame import check_type, is_frame
from labelvault.wire.messages import Card
from labelvault.wire.times import to_ms

if TYPE_CHECKING:
    from labelvault.client.client import Client

MAX_NAME_BYTES: Final = 200
_ASK_FOR_CARD: Final = "Ask the contractor for the file that labelvault contractor card -o FILE writes."


def enroll(client: "Client", card: bytes, fingerprint: str, name: str) -> None:
    """Enrol a contractor; see `Client.enroll`."""
    # Before the fingerprint, which differs for whatever is no card: that would send people to the phone again.
    check_type(card, Card, _ASK_FOR_CARD)
    try:
        check_fingerprint(fingerprint, card_fingerprint(card))
    except EnrolmentError as error:
        if not is_frame(card):
            error.next_step = f"Check that it is the right file, and complete. {_ASK_FOR_CARD}"
        raise
    signed = read_card(card)
    key = signed.frame.signer
    if not name.strip() or len(name.encode()) > MAX_NAME_BYTES:
        raise EnrolmentError(f"a contractor's name has 1 to {MAX_NAME_BYTES} bytes", next_step="Choose another --name.")
    with client.database.transaction():
        for row in client.database.rows("SELECT key, name FROM contractors WHERE name = ? OR key = ?", name, key):
            _refuse_taken(str(row[1]), bytes(row[0]) == key)
        client.database.execute("INSERT INTO contractors VALUES (?, ?, ?, NULL)", key, name, card)
        client.record(
            [
                Enrolled(
                    at=client.now(),
                    contractor=key,
                    tier=signed.message.tier,
                    presence_key=signed.message.presence_key is not None,
                )
            ]
        )


def _refuse_taken(name: str, same_key: bool) -> None:
    if same_key:
        raise EnrolmentError(
            f"this card is enrolled already, as {name!r}",
            next_step=f"Grant to {name!r}: labelvault client grant --help.",
        )
    raise EnrolmentError(f"another contractor is named {name!r} already", next_step="Choose another --name.")


def revoke(client: "Client", table: str, column: str, kind: str, name: bytes) -> None:
    """Revoke a grant, a contractor, a batch of tasks or a project; `announced` tells the vault.

    Args:
        client: whose.
        table: where it stands; this and `column` are words of this package, never input.
        column: by which it is known.
        kind: as the ledger has it.
        name: its id or key.

    Raises:
        GrantError: there is none.
    """
    with client.database.transaction():
        now = client.now()
        changed = client.database.execute(
            f"UPDATE {table} SET revoked_ms = coalesce(revoked_ms, ?) WHERE {column} = ?",  # noqa: S608
            to_ms(now),
            name,
        )
        if not changed:
            raise GrantError(f"there is no {kind} of this id", next_step=queries.SEE_GRANTS)
        client.record([Revoked(at=now, kind=kind, id=name)])


def check_not_revoked(client: "Client", project: bytes) -> None:
    """Refuse what would promise that a project can be opened, if it never can be again.

    Raises:
        GrantRevokedError: it was revoked.
    """
    if client.database.scalar("SELECT revoked_ms FROM projects WHERE project = ?", project) is not None:
        raise GrantRevokedError(
            "the project was revoked, for good", next_step="Seal what is still needed into a new project."
        )


def set_frozen(client: "Client", project: bytes, *, frozen: bool, contains: bytes | None = None) -> None:
    """Stop a project's releases, or allow them again.

    Args:
        client: whose.
        project: 16 bytes.
        frozen: which of both.
        contains: hash of the statement that is being contained: what it froze, its containment may thaw.
    """
    with client.database.transaction():
        entry = state.set_frozen(client.database, project, frozen=frozen, now=client.now(), contains=contains)
        client.record([entry])


def announced(client: "Client") -> bool:
    """Leave a status at the vault that says what is revoked and frozen; return whether the vault took it."""
    try:
        with client.issuer() as issuer:
            issuer.ahead.post_status()
    except (RelayError, StoreError, GrantError):
        # What was decided stands: the issuer refuses from now on, and its next status says so.
        return False
    return True
