"""Identifiers: what each one is, how many bytes, and the few that are computed from keys.

Random ids have 16 bytes and mean nothing; hashes, keys and ids computed from keys have 32. People see lowercase hex.
"""

from typing import Final, NewType

from labelvault.crypto.hashing import tagged_hash
from labelvault.errors import FormatError

ID_BYTES: Final = 16
KEY_ID_BYTES: Final = 32

ClientId = NewType("ClientId", bytes)
"""32 bytes: hash of the client's identity key."""
ProjectId = NewType("ProjectId", bytes)
"""16 random bytes."""
BatchId = NewType("BatchId", bytes)
"""16 random bytes; the vendor sees a batch of tasks as a queue."""
ItemId = NewType("ItemId", bytes)
"""16 random bytes, the same for all versions of an item."""
GrantId = NewType("GrantId", bytes)
"""16 random bytes."""
LeaseId = NewType("LeaseId", bytes)
"""32 bytes: hash of the open request that it answers, or of grant and prekey if it was issued ahead."""
MailboxId = NewType("MailboxId", bytes)
"""32 bytes: where messages to one actor wait at the vault."""

_CLIENT_LABEL: Final = b"labelvault/v1/client-id\0"
_ISSUER_BOX_LABEL: Final = b"labelvault/v1/mailbox/issuer\0"
_CONTRACTOR_BOX_LABEL: Final = b"labelvault/v1/mailbox/contractor\0"
_LEASE_BOX_LABEL: Final = b"labelvault/v1/mailbox/leases\0"
_PRESENCE_BOX_LABEL: Final = b"labelvault/v1/mailbox/presence\0"
_STATUS_BOX_LABEL: Final = b"labelvault/v1/mailbox/status\0"
_PREKEY_LEASE_LABEL: Final = b"labelvault/v1/prekey-lease\0"


def client_id(identity_key: bytes) -> ClientId:
    """Return the client's id: a hash of its 32-byte identity key."""
    return ClientId(tagged_hash(_CLIENT_LABEL, identity_key))


def issuer_mailbox(client: ClientId) -> MailboxId:
    """Return where requests and receipts for a client's issuer are posted."""
    return MailboxId(tagged_hash(_ISSUER_BOX_LABEL, client))


def contractor_mailbox(client: ClientId, contractor_key: bytes) -> MailboxId:
    """Return where a contractor's leases and denials are posted."""
    return MailboxId(tagged_hash(_CONTRACTOR_BOX_LABEL, client, contractor_key))


def lease_mailbox(client: ClientId, contractor_key: bytes) -> MailboxId:
    """Return where leases issued ahead are left for a contractor; the vendor hands each out when its task opens."""
    return MailboxId(tagged_hash(_LEASE_BOX_LABEL, client, contractor_key))


def presence_mailbox(client: ClientId, presence_key: bytes) -> MailboxId:
    """Return where a desk's requests for approval, and assignments, wait for its presence device."""
    return MailboxId(tagged_hash(_PRESENCE_BOX_LABEL, client, presence_key))


def status_mailbox(client: ClientId) -> MailboxId:
    """Return where a client's issuer leaves its status for all."""
    return MailboxId(tagged_hash(_STATUS_BOX_LABEL, client))


def prekey_lease_id(grant_hash: bytes, prekey: bytes) -> LeaseId:
    """Return the id of the one lease that a prekey can get under a grant.

    Args:
        grant_hash: 32 bytes.
        prekey: the one-time public key, 1,216 bytes.
    """
    return LeaseId(tagged_hash(_PREKEY_LEASE_LABEL, grant_hash, prekey))


def parse_hex_id(text: str, size: int = ID_BYTES) -> bytes:
    """Read an id that a person typed.

    Raises:
        FormatError: not the hex form of `size` bytes.
    """
    try:
        value = bytes.fromhex(text.strip())
    except ValueError as error:
        raise FormatError(f"not an id of {2 * size} hex digits") from error
    if len(value) != size:
        raise FormatError(f"not an id of {2 * size} hex digits")
    return value
