"""Checkpoints: what a ledger held at one size, signed (C2SP tlog-checkpoint, https://c2sp.org/tlog-checkpoint).

    labelvault.ledger/<client>/<epoch>
    <size, decimal>
    <root, base64>

    — labelvault.issuer/<client> <signature>

Extension lines, which the specification allows and advises against, are refused: no auditor could check them.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

from labelvault.crypto.hashing import HASH_BYTES
from labelvault.crypto.merkle import EMPTY_ROOT
from labelvault.errors import FormatError, LedgerError
from labelvault.ledger.note import VerifierKey, open_note, sign_note
from labelvault.ledger.tree import MAX_SIZE
from labelvault.wire.frame import Signer
from labelvault.wire.ids import ID_BYTES, KEY_ID_BYTES

MAX_ORIGIN_CHARACTERS: Final = 200
_SIZE: Final = re.compile(r"[0-9]{1,19}")
_CLIENT_HEX: Final = 32


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A ledger's size and root.

    Attributes:
        origin: which ledger, as `ledger_origin` names it; one line without spaces.
        size: entries, 0 to 2^62.
        root: 32 bytes, RFC 6962.
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        if not 0 < len(self.origin) <= MAX_ORIGIN_CHARACTERS:
            raise FormatError(f"an origin has 1 to {MAX_ORIGIN_CHARACTERS} characters")
        if "+" in self.origin or any(c.isspace() or not c.isprintable() for c in self.origin):
            raise FormatError("an origin holds a space, a plus sign or a control character")
        if not 0 <= self.size <= MAX_SIZE:
            raise FormatError(f"a ledger has 0 to {MAX_SIZE} entries")
        if len(self.root) != HASH_BYTES:
            raise FormatError(f"a root has {HASH_BYTES} bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise FormatError("an empty ledger with a root that is not the empty tree's")

    def text(self) -> str:
        """Return the three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def ledger_origin(client_id: bytes, epoch: bytes) -> str:
    """Return the origin of a client's ledger in one epoch.

    Args:
        client_id: 32 bytes; the first 16 are named.
        epoch: 16 bytes.

    Raises:
        FormatError: another size.
    """
    if len(epoch) != ID_BYTES:
        raise FormatError(f"an epoch has {ID_BYTES} bytes")
    return f"labelvault.ledger/{_client_part(client_id)}/{epoch.hex()}"


def issuer_key_name(client_id: bytes) -> str:
    """Return the name under which a client's issuer signs checkpoints.

    Args:
        client_id: 32 bytes; the first 16 are named.

    Raises:
        FormatError: another size.
    """
    return f"labelvault.issuer/{_client_part(client_id)}"


def sign_checkpoint(checkpoint: Checkpoint, name: str, signer: Signer) -> str:
    """Sign a checkpoint. An issuer never signs one that doesn't continue all that it signed before.

    Args:
        checkpoint: size and root from one state of the tree.
        name: `issuer_key_name`.
        signer: the issuer's key.

    Returns:
        The signed note.

    Raises:
        FormatError: the name can't stand in a note.
        SignatureError: the signer's public key is not valid.
    """
    return sign_note(checkpoint.text(), name, signer)


def verify_checkpoint(text: str, name: str, public_key: bytes, origin: str) -> Checkpoint:
    """Verify a signed note, then read the checkpoint in it: the only way from text to a checkpoint.

    Keep the note itself where the checkpoint may one day be evidence to others.

    Args:
        text: the note. Signatures of other keys, such as witnesses', are ignored.
        name: the name that the issuer signs under, from the reader's own state.
        public_key: the issuer's 32-byte key, from the reader's own state.
        origin: the ledger that is asked about.

    Raises:
        FormatError: not a note, or not a checkpoint in its one canonical form.
        LedgerError: not signed by this key exactly once, or about another ledger.
        SignatureError: the key or its signature is not valid.
    """
    checkpoint = _parse(open_note(text, VerifierKey(name, public_key)))
    if checkpoint.origin != origin:
        raise LedgerError("the checkpoint is about another ledger")
    return checkpoint


def claimed_checkpoint(text: str) -> Checkpoint:
    """Read what a note claims, without verifying it: to find out which key and origin it has to be verified with.

    Raises:
        FormatError: not a note of a checkpoint.
    """
    return _parse(text.partition("\n\n")[0] + "\n")


def _parse(text: str) -> Checkpoint:
    match text.split("\n"):
        case [origin, size, encoded, ""] if _SIZE.fullmatch(size):
            try:
                root = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError) as error:
                raise FormatError("a checkpoint's root is not base64") from error
            checkpoint = Checkpoint(origin, int(size), root)
        case _:
            raise FormatError("a checkpoint is three lines: origin, size and root")
    # One comparison for leading zeros, padding bits and whatever else has a second spelling.
    if checkpoint.text() != text:
        raise FormatError("not the canonical form of a checkpoint")
    return checkpoint


def _client_part(client_id: bytes) -> str:
    if len(client_id) != KEY_ID_BYTES:
        raise FormatError(f"a client's id has {KEY_ID_BYTES} bytes")
    return client_id.hex()[:_CLIENT_HEX]
