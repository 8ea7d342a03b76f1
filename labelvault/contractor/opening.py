"""Asking for a task and opening the answer: all checks of a contractor, without clock, disk or waiting.

What comes back from the vault counts for nothing until the issuer's signature, the lease's binding to our own request,
and the digest of every item have been checked (docs/spec.md, section 6).
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from labelvault.contractor.membership import CLOCK_SKEW, Membership, newer_certificate, read_certificate
from labelvault.contractor.parts import LargeItems, Opened, OpenedAs, OpenedPart
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.ranges import SealedReader
from labelvault.envelope.seal import OpenedItem, open_item
from labelvault.errors import (
    ClockError,
    DecryptionError,
    FormatError,
    LeaseError,
    LeaseExpiredError,
    TamperedError,
)
from labelvault.relay.protocol import MAX_PAYLOAD_BYTES, MAX_STREAM_PAYLOAD_BYTES, ItemPart
from labelvault.wire.frame import Signed, Signer, open_frame, parse_frame, sign_message
from labelvault.wire.ids import prekey_lease_id
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from labelvault.wire.messages import (
    LEASE_INFO_LABEL,
    Denial,
    IssuerCertificate,
    Lease,
    LeasedItem,
    LeaseOuter,
    LeaseSecrets,
    OpenRequest,
    Receipt,
)
from labelvault.wire.schema import decode_record

REQUEST_LIFETIME: Final = timedelta(minutes=5)

ReadItem = Callable[[ItemHeader], ItemPart]
"""Fetches one item version's header and payload from the vault: whole up to 70 MiB, of a larger one any part."""


def make_request(
    membership: Membership,
    identity: Signer,
    item: bytes,
    one_time_key: bytes,
    now: datetime,
    replaces: bytes | None = None,
    cosign: Callable[[OpenRequest], bytes] | None = None,
) -> Signed[OpenRequest]:
    """Sign a request for one task.

    Args:
        membership: under which grant.
        identity: our signing key.
        item: the task's id, 16 bytes.
        one_time_key: a fresh public key; its private half opens the lease.
        now: our time.
        replaces: the live lease that this one renews, 32 bytes.
        cosign: at a desk with a presence device, gets its cosignature (`labelvault.contractor.approval.ask_device`).
    """
    request = OpenRequest(
        client=membership.client,
        project=membership.project,
        epoch=membership.certificate.message.epoch,
        grant_hash=membership.grant.hash,
        item=item,
        one_time_key=one_time_key,
        at=now,
        expires_at=now + REQUEST_LIFETIME,
        replaces=replaces,
        approved_at=None if cosign is None else now,
    )
    return sign_message(request, identity, b"" if cosign is None else cosign(request))


def read_denial(
    data: bytes, request: Signed[OpenRequest], membership: Membership
) -> tuple[Denial, Signed[IssuerCertificate]]:
    """Verify a denial of our request, and the certificate that it brings.

    Raises:
        FormatError, SignatureError: malformed, or not signed by an issuer that the client certified.
        RollbackError: it brings an older certificate than we know.
        LeaseError: it answers another request.
    """
    # The issuer may have been certified anew since we joined: the denial brings the certificate that says so, and that
    # one is believed for the client's signature on it, not for coming along.
    unverified = _denial_certificate(data)
    certificate = newer_certificate(membership.certificate, read_certificate(unverified, membership.identity_key))
    denial = open_frame(data, Denial, certificate.message.issuer).message
    if denial.request_hash != request.hash or denial.client != membership.client:
        raise LeaseError("a denial of another request")
    return denial, certificate


def _denial_certificate(data: bytes) -> bytes:
    frame = parse_frame(data)
    if frame.type != Denial.TYPE:
        raise FormatError("a denial was expected")
    return decode_record(Denial, frame.body).certificate


def read_lease(
    data: bytes, request: Signed[OpenRequest], membership: Membership, now: datetime
) -> tuple[Signed[Lease], LeaseOuter]:
    """Verify that a lease answers our request, under the certificate that we trust, and lives.

    Raises:
        FormatError, SignatureError: malformed, or not signed by the certified issuer.
        LeaseError: it answers another request, or differs from what grant and request allow.
        LeaseExpiredError: its time is over.
        ClockError: it was issued in what this machine takes for the future.
    """
    return _read_lease(data, request.hash, request.message.item, request.frame.signer, membership, now)


def read_ahead_lease(
    data: bytes, prekey: bytes, item: bytes, contractor: bytes, membership: Membership, now: datetime
) -> tuple[Signed[Lease], LeaseOuter]:
    """Verify that a lease was issued ahead to a prekey of ours, under the certificate that we trust, and lives.

    Whether the newest status allows its opening is not checked here.

    Args:
        data: the lease's frame.
        prekey: our one-time public key that it must be sealed to.
        item: the task that it must open, 16 bytes.
        contractor: our own key, 32 bytes.
        membership: under which grant.
        now: our time.

    Raises:
        As `read_lease`.
    """
    lease_id = prekey_lease_id(membership.grant.hash, prekey)
    lease, outer = _read_lease(data, lease_id, item, contractor, membership, now)
    if not outer.status_max_age_s:
        raise LeaseError("a lease that was issued ahead says how old a status may be; this one does not")
    return lease, outer


def _read_lease(
    data: bytes, lease_id: bytes, item: bytes, contractor: bytes, membership: Membership, now: datetime
) -> tuple[Signed[Lease], LeaseOuter]:
    certificate, grant = membership.certificate, membership.grant.message
    lease = open_frame(data, Lease, certificate.message.issuer)
    outer = decode_record(LeaseOuter, lease.message.outer)
    expected = (
        membership.client,
        membership.project,
        lease_id,
        item,
        certificate.hash,
        contractor,
        membership.grant.hash,
        grant.tier,
    )
    found = (
        outer.client,
        outer.project,
        outer.lease_id,
        outer.item,
        outer.certificate_hash,
        outer.contractor,
        outer.grant_hash,
        outer.tier,
    )
    if found != expected:
        raise LeaseError("the lease answers another request, or was made for another key, task or grant")
    ttl = timedelta(seconds=grant.limits.lease_ttl_s)
    if outer.expires_at - outer.issued_at > ttl or outer.expires_at > grant.expires_at:
        raise LeaseError("the lease lives longer than the grant allows")
    if now >= outer.expires_at:
        raise LeaseExpiredError("the lease has expired")
    if outer.issued_at > now + CLOCK_SKEW:
        raise ClockError("the lease was issued in this machine's future: its clock is behind the issuer's")
    return lease, outer


def lease_outer(data: bytes) -> LeaseOuter:
    """Return the readable part of a lease without believing it, to find what it is for.

    Raises:
        FormatError: no lease.
    """
    frame = parse_frame(data)
    if frame.type != Lease.TYPE:
        raise FormatError("a lease was expected")
    return decode_record(LeaseOuter, decode_record(Lease, frame.body).outer)


def open_lease(
    lease: Signed[Lease],
    outer: LeaseOuter,
    key: OneTimeKey,
    membership: Membership,
    read_item: ReadItem,
    large: LargeItems | None = None,
    before: Opened | None = None,
) -> Opened:
    """Open a verified lease, and every item that it names.

    Args:
        lease: from `read_lease`.
        outer: likewise.
        key: the request's one-time key.
        membership: under which the lease was verified.
        read_item: fetches from the vault; nothing that it returns is trusted.
        large: likewise, of what is too large for memory; without it such items are refused.
        before: what the lease that this one renews opened. If this one names the same bytes, nothing is fetched anew.

    Raises:
        DecryptionError: the lease is not sealed to this key, or a DEK does not open its item.
        TamperedError: the vault served other bytes than the client sealed.
        LeaseError: the lease does not hold what its task needs.
        NotFoundError, RelayError: the vault lacks an item, or can't be reached.
    """
    secrets = _open_secrets(lease, key)
    if secrets.epoch != membership.certificate.message.epoch:
        raise LeaseError("the lease belongs to another epoch of the ledger")
    ids = [leased.item for leased in secrets.items]
    if ids[0] != outer.item or len(set(ids)) != len(ids):
        raise LeaseError("the lease does not begin with its task, or names an item twice")
    named = tuple((leased.item, leased.version, leased.digest) for leased in secrets.items)
    known = OpenedAs(secrets.items[0].version, secrets.epoch, secrets.index, secrets.entry_hash)
    if before is not None and before.named == named:
        return replace(before, outer=outer, known=known)
    parts = tuple(_open_part(leased, outer, read_item, large) for leased in secrets.items)
    if parts[0].kind != "task" or any(part.kind in ("task", "gold") for part in parts[1:]):
        raise LeaseError("the lease holds items of kinds that don't open together")
    missing = {item for part in parts for item in part.metadata.requires} - set(ids)
    if missing:
        raise LeaseError(f"the lease lacks {len(missing)} of the items that its task requires")
    return Opened(outer, parts[0], parts[1:], named, known)


def _open_secrets(lease: Signed[Lease], key: OneTimeKey) -> LeaseSecrets:
    secrets = _decoded(key.open(lease.message.sealed, LEASE_INFO_LABEL + lease.message.outer))
    # Raised here and not below, where frames hold decoded keys that a traceback with locals would show.
    if secrets is None:
        raise DecryptionError("decryption failed")
    return secrets


def _decoded(plaintext: bytes) -> LeaseSecrets | None:
    try:
        return decode_record(LeaseSecrets, plaintext)
    except FormatError:
        return None


def _open_part(
    leased: LeasedItem, outer: LeaseOuter, read_item: ReadItem, large: LargeItems | None = None
) -> OpenedPart:
    header = ItemHeader(ITEM_FORMAT, outer.client, outer.project, leased.item, leased.version)
    served = read_item(header)
    dek = SecretBytes(leased.dek)
    if served.size > MAX_PAYLOAD_BYTES and large is not None:
        if served.size > MAX_STREAM_PAYLOAD_BYTES:
            raise TamperedError("the vault served an item of a size that none has")
        reader = SealedReader(
            served.header,
            header,
            leased.digest,
            dek,
            served.size,
            large.leaves(header),
            partial(large.read, header),
            large.guard,
        )
        return OpenedPart(leased.item, leased.version, reader.metadata, b"", reader)
    if served.size != len(served.data):
        raise TamperedError("the vault served a part of the item")
    opened: OpenedItem = open_item(served.header, served.data, dek, expected=header, digest=leased.digest)
    return OpenedPart(leased.item, leased.version, opened.metadata, opened.content)


def make_receipt(outer: LeaseOuter, identity: Signer, event: str, erased: str | None, now: datetime) -> bytes:
    """Sign a receipt for a lease of ours; returns the frame's bytes."""
    return sign_message(
        Receipt(
            client=outer.client,
            project=outer.project,
            lease_id=outer.lease_id,
            item=outer.item,
            event=event,
            erased=erased,
            at=now,
        ),
        identity,
    ).data
