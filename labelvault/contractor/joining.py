"""What a contractor's home keeps of a client: its pinned identity key, its newest certificate, and the invites."""

from pathlib import Path

from labelvault.contractor.membership import (
    Membership,
    check_invite_fingerprint,
    newer_certificate,
    read_certificate,
    read_invite,
)
from labelvault.errors import EnrolmentError, GrantError, RollbackError
from labelvault.keys.files import make_private_dir, read_private, write_private
from labelvault.wire.codec import MAX_BYTES


class Joined:
    """`client.pin`, `certificate` and `invites/` of a home. All is verified anew each time it is read."""

    def __init__(self, home: Path, contractor: bytes) -> None:
        """Use a home.

        Args:
            home: the contractor's.
            contractor: our own public key, 32 bytes.
        """
        self._home = home
        self._contractor = contractor

    def join(self, invite: bytes, fingerprint: str | None, tier: str) -> Membership:
        """Verify and keep an invite; see `Contractor.join`.

        Args:
            invite: the invite's bytes.
            fingerprint: the client's, spoken; needed for the first invite.
            tier: of our own card.
        """
        pinned = self._pinned()
        if pinned is None:
            if fingerprint is None:
                raise EnrolmentError(
                    "the first invite needs the client's fingerprint",
                    next_step="Have the client read its fingerprint out, by phone or in person: --fingerprint WORDS.",
                )
            identity_key = check_invite_fingerprint(invite, fingerprint)
        elif fingerprint is not None and check_invite_fingerprint(invite, fingerprint) != pinned:
            raise EnrolmentError(
                "this identity is bound to another client; make another home for this one",
                next_step="Make a home for this client: labelvault contractor init --label LABEL --home DIR.",
            )
        else:
            identity_key = pinned
        membership = read_invite(invite, identity_key, self._contractor)
        if membership.tier != tier:
            raise EnrolmentError(
                "the grant is for another tier than this home's card",
                next_step="Ask the client to enrol this home's card anew: labelvault contractor card -o FILE.",
            )
        self._check_newer(membership)
        # All is checked by here. The invite comes last: what an interrupted join leaves is completed by the next one.
        if pinned is None:
            write_private(self._home / "client.pin", identity_key, replace=False)
        self.keep_certificate(membership)
        make_private_dir(self._home / "invites")
        write_private(self._invite_path(membership), invite, replace=True)
        return membership

    def _invite_path(self, membership: Membership) -> Path:
        return self._home / "invites" / f"{membership.grant.message.grant_id.hex()}.invite"

    def _check_newer(self, membership: Membership) -> None:
        """Refuse an older invite to a grant than the one that is kept: it would bring back an older vault's address."""
        path = self._invite_path(membership)
        if path.exists():
            kept = read_invite(read_private(path, MAX_BYTES), membership.identity_key, self._contractor)
            if membership.invite.message.at < kept.invite.message.at:
                raise RollbackError(
                    "a newer invite to this grant was joined already",
                    next_step="Leave it; what was joined stays valid: labelvault contractor list.",
                )

    def _pinned(self) -> bytes | None:
        path = self._home / "client.pin"
        return read_private(path, 32) if path.exists() else None

    def keep_certificate(self, membership: Membership) -> None:
        """Keep a membership's certificate as the newest.

        Raises:
            RollbackError: a newer one is kept already.
        """
        path = self._home / "certificate"
        if path.exists():
            known = read_certificate(read_private(path, MAX_BYTES), membership.identity_key)
            newer_certificate(known, membership.certificate)
        write_private(path, membership.certificate.data, replace=True)

    def memberships(self) -> list[Membership]:
        """List what was joined, newest grant first, each with the newest certificate that is known."""
        pinned = self._pinned()
        if pinned is None or not (self._home / "invites").is_dir():
            return []
        certificate = read_certificate(read_private(self._home / "certificate", MAX_BYTES), pinned)
        found = []
        for path in sorted((self._home / "invites").glob("*.invite")):
            joined = read_invite(read_private(path, MAX_BYTES), pinned, self._contractor)
            found.append(Membership(pinned, joined.invite, certificate, joined.grant))
        return sorted(found, key=lambda m: m.grant.message.at, reverse=True)

    def find(self, grant_id: bytes | None) -> Membership:
        """Return the membership of a grant, or the newest.

        Raises:
            GrantError: nothing was joined, or not this.
        """
        found = self.memberships()
        if not found:
            raise GrantError(
                "nothing was joined yet", next_step="Join with the client's invite: labelvault contractor join INVITE."
            )
        if grant_id is None:
            return found[0]
        for membership in found:
            if membership.grant.message.grant_id == grant_id:
                return membership
        raise GrantError(
            "no grant of this id was joined", next_step="List the grants that were: labelvault contractor list."
        )
