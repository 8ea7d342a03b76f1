"""What a contractor believes of a client: a pinned identity key, and what it signed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from labelvault.crypto.verify import check_public_key
from labelvault.errors import (
    EnrolmentError,
    GrantExpiredError,
    GrantNotYetValidError,
    RollbackError,
    SignatureError,
)
from labelvault.keys.cards import client_fingerprint
from labelvault.keys.fingerprint import check_fingerprint
from labelvault.wire.frame import Signed, check_type, open_frame, parse_frame
from labelvault.wire.ids import ClientId, client_id
from labelvault.wire.messages import Grant, Invite, IssuerCertificate

CLOCK_SKEW: Final = timedelta(seconds=120)
_ASK_FOR_INVITE: Final = "Ask the client for an invite: labelvault client invite GRANT -o FILE writes it."
_NEW_INVITE: Final = "Ask the client for a new invite, and join with it: labelvault contractor join INVITE."
_OWN_INVITE: Final = "Ask the client for an invite to this home's card: labelvault contractor card -o FILE writes it."


@dataclass(frozen=True, slots=True)
class Membership:
    """One grant of one client, with everything needed to use it. Made by `read_invite` alone.

    Attributes:
        identity_key: the client's, pinned at the first join.
        invite: as it came.
        certificate: of the issuer.
        grant: what may be opened.
    """

    identity_key: bytes
    invite: Signed[Invite]
    certificate: Signed[IssuerCertificate]
    grant: Signed[Grant]

    @property
    def client(self) -> ClientId:
        """The client's id, 32 bytes."""
        return client_id(self.identity_key)

    @property
    def project(self) -> bytes:
        """The project's id, 16 bytes."""
        return self.grant.message.project

    @property
    def tier(self) -> str:
        """`helper` or `desk`."""
        return self.grant.message.tier

    @property
    def presence(self) -> str:
        """`device`, `key` or `waived`."""
        return self.grant.message.presence

    @property
    def expires_at(self) -> datetime:
        """When the grant ends."""
        return self.grant.message.expires_at

    @property
    def vault(self) -> str:
        """The vault's address."""
        return self.invite.message.vault

    def check_valid(self, now: datetime) -> None:
        """Refuse to ask outside the grant's or the certificate's time: the issuer would say no.

        Raises:
            GrantNotYetValidError, GrantExpiredError: which of the two.
        """
        grant, certificate = self.grant.message, self.certificate.message
        if now + CLOCK_SKEW < max(grant.not_before, certificate.not_before):
            begins = max(grant.not_before, certificate.not_before)
            raise GrantNotYetValidError(f"the grant is not valid before {begins.isoformat()}")
        if now >= grant.expires_at:
            raise GrantExpiredError(f"the grant expired at {grant.expires_at.isoformat()}; ask the client for another")
        if now >= certificate.expires_at:
            raise GrantExpiredError(
                "the issuer's certificate expired; ask the client for a new invite", next_step=_NEW_INVITE
            )


def fingerprint_of_invite(data: bytes) -> str:
    """Return the fingerprint of the client that an invite claims to come from, to compare with what is spoken.

    Raises:
        FormatError: no invite.
    """
    return client_fingerprint(parse_frame(data).signer)


def check_invite_fingerprint(data: bytes, spoken: str) -> bytes:
    """Check an invite's signer against the spoken fingerprint, and return it: the key to pin.

    Raises:
        EnrolmentError: the fingerprint is another client's.
        SignatureError: the key is no valid one.
        FormatError: no invite.
    """
    check_type(data, Invite, _ASK_FOR_INVITE)
    signer = parse_frame(data).signer
    check_public_key(signer)
    check_fingerprint(spoken, client_fingerprint(signer))
    return signer


# A home reads its few invites again and again. What was verified once is verified: same bytes, same keys.
@lru_cache(maxsize=64)
def read_invite(data: bytes, identity_key: bytes, contractor: bytes) -> Membership:
    """Verify an invite and all that is in it, under the client's pinned key.

    Args:
        data: the invite's bytes.
        identity_key: the client's pinned identity key, 32 bytes.
        contractor: our own public key, 32 bytes.

    Raises:
        FormatError: malformed.
        SignatureError: not signed by the pinned key, all of it.
        EnrolmentError: made for another contractor, client or project, or its parts don't belong together.
    """
    check_type(data, Invite, _ASK_FOR_INVITE)
    invite = open_frame(data, Invite, identity_key)
    certificate = read_certificate(invite.message.certificate, identity_key)
    grant = open_frame(invite.message.grant, Grant, identity_key)
    client, message = client_id(identity_key), grant.message
    if message.contractor != contractor:
        raise EnrolmentError("this invite was made for another contractor's key", next_step=_OWN_INVITE)
    if invite.message.client != client or message.client != client or message.project != invite.message.project:
        raise EnrolmentError("the parts of this invite belong to different clients or projects", next_step=_NEW_INVITE)
    if message.issuer != certificate.message.issuer:
        raise EnrolmentError("the grant names another issuer than the certificate", next_step=_NEW_INVITE)
    return Membership(identity_key, invite, certificate, grant)


@lru_cache(maxsize=64)
def read_certificate(data: bytes, identity_key: bytes) -> Signed[IssuerCertificate]:
    """Verify an issuer certificate under the client's pinned key.

    Raises:
        FormatError: malformed.
        SignatureError: not signed by the pinned key, or its issuer key is no valid one.
        EnrolmentError: of another client.
    """
    certificate = open_frame(data, IssuerCertificate, identity_key)
    check_public_key(certificate.message.issuer)
    if certificate.message.client != client_id(identity_key):
        raise EnrolmentError("the certificate belongs to another client")
    return certificate


def newer_certificate(
    known: Signed[IssuerCertificate], offered: Signed[IssuerCertificate]
) -> Signed[IssuerCertificate]:
    """Return the certificate to believe: serials only rise.

    Raises:
        RollbackError: the offered one is older than the known one.
        SignatureError: two different certificates bear one serial.
    """
    if offered.message.serial < known.message.serial:
        raise RollbackError(
            f"certificate {offered.message.serial} was offered, but {known.message.serial} was seen already"
        )
    if offered.message.serial == known.message.serial and offered.data != known.data:
        raise SignatureError("two different certificates bear one serial")
    return offered
