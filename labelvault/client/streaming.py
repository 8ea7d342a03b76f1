"""Sealing one item as a stream, alone: reserve, store, make current (docs/spec.md, section 11.2).

Killed or failing anywhere, the catalog names the old version or the new one; a number that was taken is not used again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from labelvault.client.files import HashedSource
from labelvault.client.importing import SourceItem
from labelvault.client.versions import NewVersion, SealTarget, batch_id, complete, make_current, reserve
from labelvault.crypto.hashing import tagged_state
from labelvault.envelope.digest import payload_leaves
from labelvault.envelope.metadata import Metadata
from labelvault.envelope.stream import seal_stream
from labelvault.errors import RelayError, TamperedError
from labelvault.pipeline import ahead
from labelvault.relay.protocol import Relay
from labelvault.wire.items import LEAF_BYTES, ItemHeader
from labelvault.wire.schema import encode_record

_SOURCE_LABEL: Final = b"labelvault/v1/source\0"
_LEAVES_AT_ONCE: Final = 16


def source_state(batch: str | None, encoded: bytes) -> "hashlib._Hash":
    """Return the state of an item's source hash, by which a change is noticed, before its content.

    Args:
        batch: the batch's name.
        encoded: metadata.
    """
    name = (batch or "").encode()
    return tagged_state(_SOURCE_LABEL, len(name).to_bytes(4, "big"), name, len(encoded).to_bytes(4, "big"), encoded)


def seal_as_stream(
    source: SourceItem, content: HashedSource, header: ItemHeader, metadata: Metadata, target: SealTarget
) -> None:
    """Seal one item version; its digest is known only once it is stored.

    Args:
        source: what the catalog keeps of it; its content is not looked at.
        content: gives exactly `metadata.size` bytes, hashed after the source hash's beginning.
        header: of a version number that is free.
        metadata: the item's.
        target: where to.

    Raises:
        FormatError: the content is of another size, or too large for the way to the vault.
        ProjectError: or what the content raises: nothing was stored.
        StoreError, RelayError: catalog or vault failed.
        TamperedError: the vault does not give back what was sealed, where `target` asks for that.
    """
    sealed = seal_stream(header, metadata, content, metadata.size, floor_bytes=target.floor_bytes)
    new = NewVersion(source, header, batch_id(target, source), encode_record(metadata), sealed.payload_bytes)
    with target.database.transaction():
        reserve(target, [new])
    # One thread reads, hashes and seals the source, one hashes what was sealed, and this one hands it to the vault.
    with ahead(sealed.pieces(ahead)) as pieces:
        leaves = target.relay.put_stream(sealed.header, sealed.payload_bytes, pieces, new.queue)
    if leaves != sealed.leaves:
        raise RelayError("the vault has stored other bytes than it was given")
    if target.read_back:
        check_stored(target.relay, header, sealed.payload_bytes, leaves)
    new = replace(new, source_hash=content.digest(), digest=sealed.digest, dek=sealed.dek)
    with target.database.transaction():
        complete(target.database, target, new)
        make_current(target, [new])


def check_stored(relay: Relay, header: ItemHeader, payload_bytes: int, leaves: Sequence[bytes]) -> None:
    """Read a version back from the vault, all of it, and compare it with what was sealed.

    Args:
        relay: the way to the vault.
        header: the version's.
        payload_bytes: its payload's size.
        leaves: its payload's leaf hashes.

    Raises:
        TamperedError: the vault gives other bytes.
        NotFoundError, RelayError, StoreError: it gives none.
    """
    for first in range(0, len(leaves), _LEAVES_AT_ONCE):
        offset = first * LEAF_BYTES
        part = relay.read_item(header.client, header.item, header.version, offset, _LEAVES_AT_ONCE * LEAF_BYTES)
        given = (part.header, part.size, payload_leaves(part.data))
        if given != (header.encode(), payload_bytes, tuple(leaves[first : first + _LEAVES_AT_ONCE])):
            raise TamperedError("the vault gives back other bytes than were just sealed")
