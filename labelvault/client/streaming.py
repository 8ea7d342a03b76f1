"""Sealing one item as a stream, alone: reserve, store, make current (docs/spec.md, section 11.2).

Killed or failing anywhere, the catalog names the old version or the new one; a number that was taken is not used again.
"""

import hashlib
from dataclasses import replace
from typing import Final

from labelvault.client.files import HashedSource
from labelvault.client.importing import SourceItem
from labelvault.client.versions import NewVersion, SealTarget, batch_id, complete, make_current, reserve
from labelvault.crypto.hashing import tagged_state
from labelvault.envelope.metadata import Metadata
from labelvault.envelope.stream import seal_stream
from labelvault.errors import RelayError
from labelvault.wire.items import ItemHeader
from labelvault.wire.schema import encode_record

_SOURCE_LABEL: Final = b"labelvault/v1/source\0"


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
    """
    sealed = seal_stream(header, metadata, content, metadata.size, floor_bytes=target.floor_bytes)
    new = NewVersion(source, header, batch_id(target, source), encode_record(metadata), sealed.payload_bytes)
    with target.database.transaction():
        reserve(target.database, target, new)
    leaves = target.relay.put_stream(sealed.header, sealed.payload_bytes, iter(sealed), new.queue)
    if leaves != sealed.leaves:
        raise RelayError("the vault has stored other bytes than it was given")
    new = replace(new, source_hash=content.digest(), digest=sealed.digest, dek=sealed.dek)
    with target.database.transaction():
        complete(target.database, target, new)
        make_current(target, [new])
