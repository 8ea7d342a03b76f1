"""Rows 1 to 3: sealing and opening one item in memory."""

import hashlib
import hmac
import multiprocessing
import os
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl import bindings

from benchmarks.lines import Line, absent, at_least
from benchmarks.measure import Effort, Work, in_turn
from benchmarks.peers import Peer, age, aws, ironcore, tink
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.metadata import Metadata
from labelvault.envelope.seal import open_item, seal_item
from labelvault.keys.kek import Kek, wrap_context, wrap_dek
from labelvault.wire.items import ITEM_FORMAT, ItemHeader

CONTENT_BYTES: Final = 4096
_FLOOR_BYTES: Final = 4096
_OURS: Final = "LabelVault"
_LIMIT: Final = "the sum of its primitives"
_MICROSECONDS: Final = 1e6


class _Items:
    """What LabelVault does to an item, and what its primitives alone do to the same bytes."""

    def __init__(self) -> None:
        client, project = random_bytes(32), random_bytes(16)
        self._headers = [ItemHeader(ITEM_FORMAT, client, project, random_bytes(16), 1) for _ in range(256)]
        self._metadata = Metadata("task", "w14-0001", "application/json", CONTENT_BYTES, (), (random_bytes(16),))
        self._kek = Kek(random_bytes(16), 1, SecretBytes(random_bytes(32)))
        self.content = os.urandom(CONTENT_BYTES)
        self._sealed, self._dek = seal_item(self._headers[0], self._metadata, self.content, floor_bytes=_FLOOR_BYTES)
        opened_bytes = len(self._sealed.payload) - 56 - 16
        self._plaintext = bytes(opened_bytes)
        self._context = b"labelvault/v1/payload\0" + self._sealed.header
        self._bound = wrap_context(self._sealed.header, self._sealed.digest, self._kek.kek_id, 1)

    def seal(self, count: int) -> None:
        """Seal items and wrap their DEKs, as sealing a folder does."""
        kek = self._kek
        for number in range(count):
            header = self._headers[number % 256]
            sealed, dek = seal_item(header, self._metadata, self.content, floor_bytes=_FLOOR_BYTES)
            wrap_dek(kek, dek, wrap_context(sealed.header, sealed.digest, kek.kek_id, kek.generation))

    def seal_limit(self, count: int) -> None:
        """Draw a DEK, encrypt, hash, draw a nonce, wrap: the library calls, and nothing around them."""
        header, plaintext, context, bound = self._sealed.header, self._plaintext, self._context, self._bound
        key = self._kek.key.reveal()
        for _ in range(count):
            dek = os.urandom(32)
            encryptor = Cobblestone256Encryptor(dek, context)
            payload = encryptor.update(plaintext) + encryptor.finalize()
            leaf = hashlib.sha256(b"\0" + payload).digest()
            hashlib.sha256(bytes(26) + hashlib.sha256(header).digest() + bytes(8) + leaf).digest()
            nonce = os.urandom(24)
            bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(dek, bound, nonce, key)

    def wrap(self, count: int) -> None:
        """Wrap DEKs."""
        for _ in range(count):
            wrap_dek(self._kek, self._dek, self._bound)

    def wrap_otherwise(self, count: int) -> None:
        """Wrap DEKs by the fastest cipher that `cryptography` has, whose nonces are too short to be drawn so often."""
        cipher, dek = AESGCM(self._kek.key.reveal()), self._dek.reveal()
        for _ in range(count):
            nonce = os.urandom(12)
            nonce + cipher.encrypt(nonce, dek, self._bound)

    def open(self, count: int) -> None:
        """Check the digest, decrypt, split."""
        header, payload, digest = self._sealed.header, self._sealed.payload, self._sealed.digest
        for _ in range(count):
            open_item(header, payload, self._dek, expected=self._headers[0], digest=digest)

    def open_limit(self, count: int) -> None:
        """Hash, compare, decrypt."""
        header, payload, context = self._sealed.header, self._sealed.payload, self._context
        dek, digest = self._dek.reveal(), self._sealed.digest
        for _ in range(count):
            leaf = hashlib.sha256(b"\0" + payload).digest()
            found = hashlib.sha256(bytes(26) + hashlib.sha256(header).digest() + bytes(8) + leaf).digest()
            hmac.compare_digest(found, digest)
            decryptor = Cobblestone256Decryptor(dek, context)
            decryptor.update(payload) + decryptor.finalize()


_forked: list[_Items] = []
"""What forked processes seal: keys are not sent."""


def _seal_forked(count: int) -> None:
    _forked[0].seal(count)


def _gains(items: _Items, effort: Effort) -> Iterator[Line]:
    """Measure what would make sealing one item cheaper: both cores, and another cipher for wraps."""
    _forked[:] = [items]
    with multiprocessing.get_context("fork").Pool(2) as pool:

        def at_once(count: int) -> None:
            pool.map(_seal_forked, [max(1, count // 2)] * 2)

        times = in_turn({"two": at_once, "one": items.seal}, effort)
    two, one = (times.median(name) * _MICROSECONDS for name in ("two", "one"))
    yield Line(1, "seal items of 4 KiB in two processes, µs", two, "in one", one, times.times_as_fast("two", "one"))
    times = in_turn({"ours": items.wrap, "other": items.wrap_otherwise}, effort)
    ours, other = (times.median(name) * _MICROSECONDS for name in ("ours", "other"))
    ratio = times.times_as_fast("ours", "other")
    yield Line(1, "wrap one DEK, µs", ours, "AES-256-GCM, a random nonce of 96 bits", other, ratio)


def rows(effort: Effort) -> Iterator[Line]:
    """Measure rows 1 to 3."""
    items, envelope = _Items(), tink()
    others = ((aws(), 4.0), (age(), 3.0), (ironcore(), 3.0))
    sealing: dict[str, Work] = {_OURS: items.seal, _LIMIT: items.seal_limit}
    for peer in (envelope, *(peer for peer, _ in others)):
        if not peer.absent:
            sealing[peer.name] = partial(peer.seal, items.content)
    times = in_turn(sealing, effort)
    ours = times.median(_OURS) * _MICROSECONDS

    def line(row: int, work: str, against: Peer | str, target: float | None) -> Line:
        if isinstance(against, Peer) and against.absent:
            return absent(row, work, ours, against.name, against.absent, target)
        name = against if isinstance(against, str) else against.name
        theirs = times.median(name) * _MICROSECONDS
        return at_least(row, work, ours, name, theirs, times.times_as_fast(_OURS, name), target)

    sealed = "seal one item of 4 KiB in memory, µs"
    yield line(1, sealed, _LIMIT, 0.8)
    yield line(1, sealed, envelope, 1.0)
    yield from _gains(items, effort)
    kept = [line(3, sealed, peer, target) for peer, target in others]
    opening: dict[str, Work] = {_OURS: items.open, _LIMIT: items.open_limit}
    if not envelope.absent:
        ciphertext: Any = envelope.seal(items.content, 1)
        opening[envelope.name] = partial(envelope.open, ciphertext)
    times = in_turn(opening, effort)
    ours = times.median(_OURS) * _MICROSECONDS
    opened = "open one item of 4 KiB, given its DEK, µs"
    yield line(2, opened, _LIMIT, 0.8)
    yield line(2, opened, envelope, 1.0)
    yield from kept
