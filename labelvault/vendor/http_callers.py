"""Who calls over HTTP, and what a caller may do there (docs/http.md; docs/decisions/0011-callers-are-bound.md).

This keeps holders of tokens from annoying each other. No secret rests on it: what opens and what counts is decided by
keys and signatures, whoever may call.
"""

from dataclasses import dataclass

from labelvault.errors import FormatError
from labelvault.wire.ids import (
    KEY_ID_BYTES,
    ClientId,
    contractor_mailbox,
    issuer_mailbox,
    lease_mailbox,
    presence_mailbox,
    status_mailbox,
)
from labelvault.wire.items import ItemHeader


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whom `authenticate` knows, and for whom he speaks.

    With a client alone he is that client: he stores and reads its items, fetches and acknowledges what came for its
    issuer, and posts. With a contractor too he is that contractor: he reads the client's items, stores answers too
    large for a message, posts to its issuer, and fetches and acknowledges what came for him. With neither he may do all
    of it, for everybody.

    Attributes:
        name: for logs and rates.
        client: a client's id, 32 bytes.
        contractor: a contractor's identity key, or that of a presence device, 32 bytes; needs `client`.
        peers: the keys that this contractor exchanges approvals with: a desk's presence device, or the device's desks.
            He may post to them; needs `contractor`.
    """

    name: str
    client: bytes | None = None
    contractor: bytes | None = None
    peers: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is no caller, so that a slip of whoever authenticates lets nobody in."""
        name: object = self.name
        if not isinstance(name, str):
            raise FormatError("a caller's name is a text")
        ids: list[object] = [each for each in (self.client, self.contractor) if each is not None]
        if any(not isinstance(each, bytes) or len(each) != KEY_ID_BYTES for each in (*ids, *self.peers)):
            raise FormatError(f"a caller's client, contractor and peers have {KEY_ID_BYTES} bytes each")
        if (self.contractor is not None and self.client is None) or (self.peers and self.contractor is None):
            raise FormatError("a caller's contractor needs the client, and peers the contractor")

    @property
    def is_bound(self) -> bool:
        """Whether this caller speaks for one client or contractor only."""
        return self.client is not None

    def may_store(self, header: ItemHeader, queue: bytes | None) -> bool:
        """Say whether this item version may be stored.

        A contractor's answer that is too large for a message is an item of its own: of version 1, in no queue. So no
        contractor takes a task out of its queue, or the number of a version that the client will seal.
        """
        return self.may_read(header.client) and (self.contractor is None or (header.version, queue) == (1, None))

    def may_read(self, client: bytes) -> bool:
        """Say whether items of this client may be read."""
        return self.client is None or self.client == client

    def may_post(self, mailbox: bytes) -> bool:
        """Say whether messages may be left there. A client may anywhere: mailboxes are hashes, so whose is not told."""
        if self.client is None or self.contractor is None:
            return True
        theirs = (box for peer in self.peers for box in _boxes(self.client, peer))
        return mailbox in (issuer_mailbox(ClientId(self.client)), *theirs)

    def may_fetch(self, mailbox: bytes) -> bool:
        """Say whether messages there may be read."""
        return self.may_ack(mailbox) or (self.client is not None and mailbox == status_mailbox(ClientId(self.client)))

    def may_ack(self, mailbox: bytes) -> bool:
        """Say whether messages there may be acknowledged, so that nobody gets them any more."""
        if self.client is None:
            return True
        if self.contractor is None:
            return mailbox in (issuer_mailbox(ClientId(self.client)), status_mailbox(ClientId(self.client)))
        return mailbox in _boxes(self.client, self.contractor)


def _boxes(client: bytes, key: bytes) -> tuple[bytes, ...]:
    """Return all mailboxes of a key at a client, whatever it is used for."""
    made = (contractor_mailbox, lease_mailbox, presence_mailbox)
    return tuple(box(ClientId(client), key) for box in made)
