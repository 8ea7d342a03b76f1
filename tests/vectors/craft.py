"""Making what no honest actor would make: bodies that break a rule, under signatures that fit them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack

from labelvault.crypto import aead, hpke
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.envelope.digest import item_digest, payload_leaves
from labelvault.envelope.metadata import Metadata
from labelvault.wire.answers import SUBMISSION_INFO_LABEL
from labelvault.wire.codec import decode
from labelvault.wire.frame import Message
from labelvault.wire.items import ItemHeader
from labelvault.wire.messages import LEASE_INFO_LABEL, LeasedItem, LeaseOuter, LeaseSecrets
from labelvault.wire.schema import encode_record
from tests.vectors import world

DROP: Any = object()
"""In place of a field's value: leave the field out."""

CONTEXT_LABEL = b"labelvault/v1/payload\0"
SIGNATURE_LABEL = b"labelvault/v1/frame\0"
COSIGNATURE_LABEL = b"labelvault/v1/frame-cosignature\0"
SOURCES = Path(__file__).resolve().parent / "sources" / "sealed.json"


def pack(value: Any) -> bytes:
    """Encode with sorted keys, without any other rule."""

    def ordered(part: Any) -> Any:
        if isinstance(part, dict):
            return {key: ordered(part[key]) for key in sorted(part)}
        return [ordered(each) for each in part] if isinstance(part, list | tuple) else part

    packed: bytes = msgpack.packb(ordered(value))
    return packed


def altered(record: Any, **changes: Any) -> bytes:
    """A record's bytes with other values; `a__b` names field b inside field a."""
    value: Any = decode(encode_record(record))
    for name, new in changes.items():
        *path, last = name.split("__")
        place = value
        for step in path:
            place = place[step]
        if new is DROP:
            del place[last]
        else:
            place[last] = new
    return pack(value)


def frame(kind: str, body: bytes, signer: SigningKey, cosigner: SigningKey | None = None, version: int = 1) -> bytes:
    """A frame around any body, whose signatures fit it: the specification's section on frames, written out."""
    start = len(kind).to_bytes(1, "big") + kind.encode() + version.to_bytes(2, "big") + signer.public_key
    covered = start + len(body).to_bytes(8, "big") + body
    cosignature = b"" if cosigner is None else cosigner.sign(COSIGNATURE_LABEL + covered)
    made = {"type": kind, "version": version, "signer": signer.public_key, "body": body, "cosignature": cosignature}
    return pack(made | {"signature": signer.sign(SIGNATURE_LABEL + covered + cosignature)})


def forged(message: Message, signer: SigningKey, cosigner: SigningKey | None = None, **changes: Any) -> bytes:
    """A message's frame with another body, well signed."""
    return frame(message.TYPE, altered(message, **changes), signer, cosigner)


def spoilt(data: bytes, **changes: Any) -> bytes:
    """A frame with other fields under the signature that it had."""
    value: Any = decode(data)
    return pack(value | changes)


def flipped(data: bytes, at: int) -> bytes:
    """The same bytes, with the lowest bit of one of them flipped."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


class Sealed:
    """Bytes that come out different each time they are sealed, and so are made once and kept."""

    def __init__(self, *, anew: bool) -> None:
        """Read those that were kept; or make all of them anew."""
        self._kept: dict[str, str] = {} if anew else json.loads(SOURCES.read_text(encoding="utf-8"))
        self._anew = anew

    def get(self, name: str, make: Callable[[], bytes]) -> bytes:
        """Return the bytes of this name."""
        if self._anew and name not in self._kept:
            self._kept[name] = make().hex()
        if name not in self._kept:
            raise KeyError(f"{name} was never sealed: run the generator with --seal")
        return bytes.fromhex(self._kept[name])

    def write(self) -> None:
        """Keep them."""
        SOURCES.parent.mkdir(exist_ok=True)
        SOURCES.write_text(json.dumps(self._kept, indent=1) + "\n", encoding="utf-8")

    def payload(self, name: str, header: ItemHeader, plaintext: bytes) -> bytes:
        """A payload under the DEK of this name, whatever is inside."""
        context = CONTEXT_LABEL + header.encode()
        return self.get(f"payload {name}", lambda: aead.seal_payload(dek(name), plaintext, context))

    def lease(self, name: str, outer: LeaseOuter, plaintext: bytes, key: bytes = world.ONE_TIME.public_key) -> bytes:
        """The sealed part of a lease, whatever is inside."""
        info = LEASE_INFO_LABEL + encode_record(outer)
        return self.get(f"lease {name}", lambda: hpke.seal(key, plaintext, info))

    def answer(self, name: str, outer: bytes, plaintext: bytes, key: bytes = world.SUBMISSION.public_key) -> bytes:
        """The sealed part of a submission, whatever is inside."""
        return self.get(f"answer {name}", lambda: hpke.seal(key, plaintext, SUBMISSION_INFO_LABEL + outer))


def dek(name: str) -> SecretBytes:
    """The DEK of this name."""
    return SecretBytes(world.fixed(f"dek {name.partition(' ')[0]}"))


def plaintext(metadata: Metadata, content: bytes, size: int, padding: bytes = b"") -> bytes:
    """Metadata, content and zeros up to `size` bytes."""
    encoded = encode_record(replace(metadata, size=len(content)))
    inside = len(encoded).to_bytes(4, "big") + encoded + content + padding
    return inside + bytes(size - len(inside))


def digest(header: ItemHeader, payload: bytes) -> bytes:
    """The digest of a sealed item."""
    return item_digest(header.encode(), len(payload), payload_leaves(payload))


def leased(name: str, header: ItemHeader, payload: bytes, **changes: Any) -> LeasedItem:
    """An item as a lease names it."""
    made = LeasedItem(header.item, header.version, digest(header, payload), dek(name).reveal())
    return LeasedItem(**({each: getattr(made, each) for each in LeasedItem.__slots__} | changes))


def secrets(*items: LeasedItem, epoch: bytes = world.EPOCH) -> bytes:
    """The plaintext of a lease's sealed part."""
    return encode_record(LeaseSecrets(epoch, 41, world.fixed("ledger entry"), items))
