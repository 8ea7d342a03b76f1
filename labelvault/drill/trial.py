"""Trying every guessed key on everything that was recorded.

Guesses are recognised from public bytes (`labelvault.crypto.recognise`), spread over processes when there are
many; what is recognised is then opened in full. A guess counts as found only if it opened something, or gives
a public key that was recorded.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final

from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.recognise import PayloadRecogniser, one_time_mark, seed_mark
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.drill.candidates import BATCH_KEYS, Candidate
from labelvault.drill.records import Messages, SealedRecord
from labelvault.envelope.digest import item_digest, payload_leaves
from labelvault.envelope.seal import OpenedItem, open_item
from labelvault.errors import DecryptionError, FormatError
from labelvault.wire.messages import LEASE_INFO_LABEL, LeaseSecrets
from labelvault.wire.schema import decode_record

PAYLOAD_CONTEXT_LABEL: Final = b"labelvault/v1/payload\0"
"""From the public specification (docs/spec.md, section 5); tests hold it to what `envelope.seal` uses."""

_MAX_WORKERS: Final = 4
_PARALLEL_PAIRS: Final = 1_000_000
_IN_FLIGHT: Final = 3
_KEY: Final = 32


@dataclass(frozen=True, slots=True)
class Recorded:
    """What guesses are compared with; public bytes only, small enough to hand to each process.

    Attributes:
        payloads: (first 56 bytes, context) of each payload.
        marks: `one_time_mark` of each recorded one-time public key.
        signers: 32-byte Ed25519 public keys.
    """

    payloads: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    marks: frozenset[bytes] = field(repr=False)
    signers: frozenset[bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Match:
    """A guess that fits.

    Attributes:
        candidate: the guess, and where it stood.
        payloads: indexes of the payloads that it is committed to.
        one_time: it is the seed of a recorded one-time public key.
        identity: the recorded signing public key that it gives.
    """

    candidate: Candidate
    payloads: tuple[int, ...]
    one_time: bool
    identity: bytes | None


def recorded(items: Sequence[SealedRecord], messages: Messages) -> Recorded:
    """Return the comparable part of what was recorded."""
    return Recorded(
        tuple((item.payload[:56], PAYLOAD_CONTEXT_LABEL + item.header_bytes) for item in items),
        frozenset(one_time_mark(key) for key in messages.one_time_keys),
        frozenset(messages.signers),
    )


def try_keys(batches: Iterable[list[Candidate]], known: Recorded) -> Iterator[tuple[int, list[Match]]]:
    """Try every batch; yield how many guesses it held, and which of them fit."""
    batches = iter(batches)
    # A few guesses are tried here: starting processes costs more.
    affordable = _PARALLEL_PAIRS // (BATCH_KEYS * (len(known.payloads) + 50)) + 1
    first = list(islice(batches, affordable))
    more = list(islice(batches, 1))
    for batch in first:
        yield len(batch), _matches(batch, _Tester(known).test(_joined(batch)))
    if not more:
        return
    workers = min(os.cpu_count() or 1, _MAX_WORKERS)
    # Spawned, not forked: the caller may have threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _set_tester, (known,)) as pool:
        waiting: deque[tuple[list[Candidate], Future[list[_Fit]]]] = deque()
        for batch in chain(more, batches):
            waiting.append((batch, pool.submit(_test, _joined(batch))))
            if len(waiting) >= workers + _IN_FLIGHT:
                done, fits = waiting.popleft()
                yield len(done), _matches(done, fits.result())
        for done, fits in waiting:
            yield len(done), _matches(done, fits.result())


def open_record(item: SealedRecord, key: bytes) -> OpenedItem | None:
    """Open an item with a key that its payload is committed to; None if the rest does not hold."""
    digest = item_digest(item.header_bytes, len(item.payload), payload_leaves(item.payload))
    try:
        return open_item(item.header_bytes, item.payload, SecretBytes(key), expected=item.header, digest=digest)
    except DecryptionError:
        return None


def leased_keys(seed: bytes, messages: Messages) -> list[bytes]:
    """Open every recorded lease with a one-time key; return the DEKs in those that open."""
    key = OneTimeKey(SecretBytes(seed))
    found = []
    for _, lease in messages.leases:
        try:
            secrets = decode_record(LeaseSecrets, key.open(lease.sealed, LEASE_INFO_LABEL + lease.outer))
        except (DecryptionError, FormatError):
            # Sealed to another key, as all leases but one are.
            continue
        found += [item.dek for item in secrets.items]
    return found


_Fit = tuple[int, tuple[int, ...], bool, bytes | None]


class _Tester:
    """Compares guesses with what was recorded; one in each process."""

    def __init__(self, known: Recorded) -> None:
        self._known = known
        self._recogniser = PayloadRecogniser(known.payloads)

    def test(self, keys: bytes) -> list[_Fit]:
        """Return (index, payloads, one-time, identity) of every guess that fits."""
        fits: list[_Fit] = []
        known = self._known
        for index in range(len(keys) // _KEY):
            key = keys[_KEY * index : _KEY * (index + 1)]
            payloads = tuple(self._recogniser.matches(key))
            one_time = seed_mark(key) in known.marks
            public = SigningKey(SecretBytes(key)).public_key if known.signers else None
            identity = public if public in known.signers else None
            if payloads or one_time or identity is not None:
                fits.append((index, payloads, one_time, identity))
        return fits


_tester: _Tester | None = None


def _set_tester(known: Recorded) -> None:
    global _tester  # one for each worker process, set before its first batch
    _tester = _Tester(known)


def _test(keys: bytes) -> list[_Fit]:
    if _tester is None:
        raise RuntimeError("the worker was not set up")
    return _tester.test(keys)


def _joined(batch: Sequence[Candidate]) -> bytes:
    return b"".join(candidate.key for candidate in batch)


def _matches(batch: Sequence[Candidate], fits: Sequence[_Fit]) -> list[Match]:
    return [Match(batch[index], payloads, one_time, identity) for index, payloads, one_time, identity in fits]
