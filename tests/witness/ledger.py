"""Ledgers that a client could have, honest or not: entries, epochs, forks and restores, as files."""

from datetime import UTC, datetime, timedelta

from labelvault.crypto.merkle import leaf_hash, merkle_root
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.ledger.checkpoint import Checkpoint, issuer_key_name, ledger_origin, sign_checkpoint
from labelvault.ledger.entries import Certified, Entry, Restored, Sealed, encode_entry
from labelvault.ledger.export import export_ledger
from labelvault.ledger.extension import Extension
from labelvault.ledger.note import VerifierKey
from labelvault.ledger.tree import consistency_proof

START = datetime(2026, 3, 1, tzinfo=UTC)
CLIENT = bytes(range(32))


class Ledger:
    """One epoch's ledger: `fork` gives another one under the same name and key."""

    def __init__(self, epoch: int = 1, *, client: bytes = CLIENT, restored: Restored | None = None) -> None:
        self.epoch, self.client = bytes([epoch]) * 16, client
        self.key = SigningKey(SecretBytes(bytes([epoch]) * 32))
        self.origin, self.name = ledger_origin(client, self.epoch), issuer_key_name(client)
        certified = Certified(START, self.key.public_key, epoch, bytes(32), self.epoch)
        self.raw = [encode_entry(certified)]
        if restored is not None:
            self.raw.append(encode_entry(restored))

    @property
    def issuer(self) -> VerifierKey:
        return VerifierKey(self.name, self.key.public_key)

    def grow(self, count: int, mark: int = 0) -> "Ledger":
        for _ in range(count):
            self.raw.append(encode_entry(self.entry(len(self.raw), mark)))
        return self

    @staticmethod
    def entry(number: int, mark: int) -> Entry:
        return Sealed(START + timedelta(minutes=number), bytes(16), number.to_bytes(16, "big"), 1, bytes([mark]) * 32)

    def fork(self, at: int, count: int, mark: int = 9) -> "Ledger":
        """The same name and key, with other entries from one on."""
        other = Ledger(self.epoch[0], client=self.client)
        other.raw = self.raw[:at]
        return other.grow(count, mark)

    def leaves(self, size: int | None = None) -> list[bytes]:
        return [leaf_hash(data) for data in self.raw[:size]]

    def root(self, size: int | None = None) -> bytes:
        return merkle_root(self.leaves(size))

    def note(self, size: int | None = None) -> str:
        size = len(self.raw) if size is None else size
        return sign_checkpoint(Checkpoint(self.origin, size, self.root(size)), self.name, self.key)

    def export(self, size: int | None = None) -> bytes:
        return export_ledger(self.raw[:size], self.note(size))

    def proof(self, old: int, size: int | None = None) -> bytes:
        leaves = self.leaves(size)
        made = consistency_proof(
            old, len(leaves), lambda level, at: merkle_root(leaves[at << level : (at + 1) << level])
        )
        return Extension(old, made, self.note(size)).text().encode()

    def restored(self, epoch: int, size: int) -> "Ledger":
        """The ledger that a restore from a backup of `size` entries begins."""
        said = Restored(START, self.epoch, size, self.root(size), START)
        return Ledger(epoch, client=self.client, restored=said)
