"""Turning a verdict into a lease: unwrap, record, seal to the one-time key, sign.

Takes nothing but an `Authorized` [G4], and hands back the ledger entry with the lease, so that the caller can make both
durable in one transaction before a byte of the lease leaves [G5].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from labelvault.crypto import hpke
from labelvault.errors import DecryptionError
from labelvault.issuer.authorize import Authorized
from labelvault.issuer.catalog import CatalogVersion
from labelvault.issuer.log import Position
from labelvault.keys.kek import Kek, unwrap_dek, wrap_context
from labelvault.ledger.entries import Released, ReleasedItem
from labelvault.wire.frame import Signed, Signer, sign_message
from labelvault.wire.messages import (
    LEASE_INFO_LABEL,
    IssuerCertificate,
    Lease,
    LeasedItem,
    LeaseOuter,
    LeaseSecrets,
)
from labelvault.wire.schema import encode_record


@dataclass(frozen=True, slots=True)
class IssuerIdentity:
    """The issuer's certified key.

    Attributes:
        certificate: signed by the client's identity key.
        signer: the key that it names.
        name: the key's name on checkpoints.
    """

    certificate: Signed[IssuerCertificate]
    signer: Signer = field(repr=False)
    name: str


def released_entry(authorized: Authorized, versions: Sequence[CatalogVersion]) -> Released:
    """Return the ledger entry that records what this release lets out."""
    grant = authorized.grant.message
    return Released(
        at=authorized.issued_at,
        lease_id=authorized.asked.lease_id,
        grant_hash=authorized.grant.hash,
        contractor=grant.contractor,
        project=grant.project,
        tier=grant.tier,
        presence=grant.presence,
        task=authorized.asked.item,
        items=tuple(ReleasedItem(v.header.item, v.header.version, v.digest) for v in versions),
        issued_at=authorized.issued_at,
        expires_at=authorized.expires_at,
        replaces=authorized.replaces.lease_id if authorized.replaces else None,
    )


def release(
    authorized: Authorized,
    versions: Sequence[CatalogVersion],
    position: Position,
    load_kek: Callable[[CatalogVersion], Kek],
    issuer: IssuerIdentity,
    *,
    status_max_age_s: int = 0,
) -> Signed[Lease]:
    """Make the lease.

    Args:
        authorized: the verdict; nothing else is accepted.
        versions: the task first, then what it requires.
        position: where the ledger recorded this release.
        load_kek: finds the KEK of a version.
        issuer: who signs.
        status_max_age_s: how old the newest status may be when a lease that was issued ahead is opened, in seconds; 0
            for one that is answered online.

    Raises:
        DecryptionError: a wrap in the catalog is not the one that the client made for these bytes.
    """
    if not isinstance(authorized, Authorized):
        raise TypeError("release() accepts an Authorized only")
    if versions[0].header.item != authorized.asked.item:
        raise DecryptionError("decryption failed")
    asked, grant = authorized.asked, authorized.grant.message
    outer = LeaseOuter(
        client=grant.client,
        project=grant.project,
        lease_id=asked.lease_id,
        item=asked.item,
        certificate_hash=issuer.certificate.hash,
        contractor=grant.contractor,
        grant_hash=authorized.grant.hash,
        tier=grant.tier,
        issued_at=authorized.issued_at,
        expires_at=authorized.expires_at,
        status_max_age_s=status_max_age_s,
    )
    outer_bytes = encode_record(outer)
    epoch = issuer.certificate.message.epoch
    secrets = LeaseSecrets(
        epoch,
        position.index,
        position.leaf,
        tuple(_leased(version, load_kek(version)) for version in versions),
    )
    sealed = hpke.seal(asked.one_time_key, encode_record(secrets), LEASE_INFO_LABEL + outer_bytes)
    return sign_message(Lease(outer_bytes, sealed), issuer.signer)


def _leased(version: CatalogVersion, kek: Kek) -> LeasedItem:
    # The wrap's associated data holds header and digest: a catalog that was swapped or rolled back row by row makes
    # this fail, so the issuer never certifies bytes that the client did not seal.
    context = wrap_context(version.header.encode(), version.digest, version.kek_id, version.kek_generation)
    dek = unwrap_dek(kek, version.wrapped, context)
    return LeasedItem(version.header.item, version.header.version, version.digest, dek.reveal())
