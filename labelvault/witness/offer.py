"""What a witness is handed: a checkpoint's note, a proof with one (`labelvault.ledger.extension`), or an export."""

from collections.abc import Sequence
from dataclasses import dataclass

from labelvault.errors import FormatError, LedgerError
from labelvault.ledger.checkpoint import Checkpoint, claimed_checkpoint, verify_checkpoint
from labelvault.ledger.entries import Certified, Entry, Restored
from labelvault.ledger.export import claims, verify_export
from labelvault.ledger.extension import Extension, is_extension, parse_extension
from labelvault.ledger.note import VerifierKey
from labelvault.ledger.tree import consistency_proof, root_of_leaves


@dataclass(frozen=True, slots=True)
class Offer:
    """A file that was handed in; nothing of it is verified.

    Attributes:
        note: its checkpoint.
        claimed: that, read.
        extension: with a proof, where it is one.
        export: the file, where it is a whole ledger.
        first: its first entry, if it has any.
    """

    note: str
    claimed: Checkpoint
    extension: Extension | None
    export: bytes | None
    first: Entry | None

    def certified(self) -> VerifierKey:
        """Return the key that an export's first entry names: only for a ledger whose root a newer one has.

        Raises:
            LedgerError: it begins with something else.
            SignatureError: no valid key.
        """
        if not isinstance(self.first, Certified):
            raise LedgerError("a ledger does not begin with its certificate")
        # The issuer's name in notes differs from the ledger's only in its first word.
        client = self.claimed.origin.split("/")[1:2]
        return VerifierKey("/".join(["labelvault.issuer", *client]), self.first.issuer)

    def verified(self, issuer: VerifierKey) -> "Verified":
        """Verify the issuer's signature, and all entries against it where they are there.

        Raises:
            SignatureError, LedgerError, FormatError: as `verify_checkpoint` and `verify_export`.
        """
        origin = self.claimed.origin
        if self.export is None:
            checkpoint = verify_checkpoint(self.note, issuer.name, issuer.public_key, origin)
            return Verified(checkpoint, self.note, self.extension, None, None)
        ledger = verify_export(self.export, origin=origin, name=issuer.name, public_key=issuer.public_key)
        return Verified(ledger.checkpoint, ledger.note, None, ledger.leaves, ledger.entries)


@dataclass(frozen=True, slots=True)
class Verified:
    """A checkpoint that its issuer signed, with what came along. Made by `Offer.verified` alone.

    Attributes:
        checkpoint: read.
        note: its exact text.
        extension: a proof, not yet checked.
        leaves: all that the checkpoint covers; None if only a note came.
        entries: likewise.
    """

    checkpoint: Checkpoint
    note: str
    extension: Extension | None
    leaves: Sequence[bytes] | None
    entries: Sequence[Entry] | None

    def root_at(self, size: int) -> bytes | None:
        """Return the root over the first entries; None where they are not there."""
        if size == self.checkpoint.size:
            return self.checkpoint.root
        if self.leaves is None or size > len(self.leaves):
            return None
        return root_of_leaves(self.leaves[:size])

    def proof_from(self, size: int) -> str | None:
        """Return the proof of what the checkpoint has as its first entries; None where there is none to be made."""
        leaves = self.leaves
        if leaves is None or not 0 < size < len(leaves):
            return None

        def read_node(level: int, index: int) -> bytes:
            return root_of_leaves(leaves[index << level : (index + 1) << level])

        return Extension(size, consistency_proof(size, len(leaves), read_node), self.note).text()

    @property
    def restored(self) -> Restored | None:
        """What the ledger says that it follows; None if it begins by itself, or its entries are not there."""
        return next((each for each in (self.entries or ())[:2] if isinstance(each, Restored)), None)


def read_offer(data: bytes) -> Offer:
    """Tell what a file is, and read what it claims.

    Raises:
        FormatError: none of the three.
    """
    if data.startswith(b"{"):
        note, claimed, first = claims(data)
        return Offer(note, claimed, None, data, first)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise FormatError("neither a checkpoint nor a proof nor an export") from error
    extension = parse_extension(text) if is_extension(text) else None
    note = text if extension is None else extension.note
    return Offer(note, claimed_checkpoint(note), extension, None, None)


def check_grown(newest: Checkpoint, offered: Verified) -> None:
    """Check that a checkpoint continues a smaller one, from its entries or its proof.

    Raises:
        LedgerError: nothing that came along shows it.
    """
    if newest.size == 0 or offered.root_at(newest.size) == newest.root:
        return
    if offered.extension is None:
        raise LedgerError(
            f"nothing shows that entries 0 to {newest.size - 1} are those that this witness saw",
            next_step=f"Have the client prove it: labelvault client ledger prove --from {newest.size} -o FILE.",
        )
    offered.extension.check(newest, offered.checkpoint)
