"""Row 8: releases, from a signed request to a signed lease that is durable in the ledger."""

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from nacl import bindings

from benchmarks.home import Home, write_guidelines, write_tasks
from benchmarks.lines import Line, at_least
from benchmarks.measure import Effort, once_in_turn
from benchmarks.passes import pass_lines
from benchmarks.unchecked import Unchecked
from labelvault.contractor import Contractor, Membership
from labelvault.contractor.opening import make_request
from labelvault.crypto import hpke
from labelvault.crypto.hpke import OneTimeKey
from labelvault.issuer.service import Issuer
from labelvault.relay import open_relay
from labelvault.wire.frame import frame_hash, parse_frame, sign_message
from labelvault.wire.ids import contractor_mailbox, issuer_mailbox
from labelvault.wire.messages import Lease, OpenRequest, Receipt
from labelvault.wire.schema import decode_record
from labelvault.wire.times import truncate

_IN_FLIGHT: Final = 32
_GUIDELINES: Final = 4
_LEASE_BYTES: Final = 700
_ENTRY_BYTES: Final = 900
_PER_SECOND: Final = 2000.0
_OURS: Final = "LabelVault"
_LIMIT: Final = "the sum of its primitives, one group commit"
_UNCHECKED: Final = "its primitives, rows and encodings, nothing checked"


class _Limit:
    """Ed25519 verify and sign, five XChaCha20-Poly1305 unwraps and one HPKE seal a request, and a commit for all."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE entries (number INTEGER PRIMARY KEY, entry BLOB, answer BLOB)")
        self._public, self._secret = bindings.crypto_sign_keypair()
        self._request = bindings.crypto_sign(os.urandom(1600), self._secret)
        self._one_time = [OneTimeKey.generate().public_key for _ in range(_IN_FLIGHT)]
        self._kek, self._bound = os.urandom(32), bytes(216)
        self._nonce = os.urandom(24)
        self._wrap = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
            os.urandom(32), self._bound, self._nonce, self._kek
        )

    def __call__(self) -> float:
        begun = time.perf_counter()
        rows = []
        for one_time in self._one_time:
            bindings.crypto_sign_open(self._request, self._public)
            for _ in range(1 + _GUIDELINES):
                bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(self._wrap, self._bound, self._nonce, self._kek)
            sealed = hpke.seal(one_time, bytes(_LEASE_BYTES), self._bound)
            rows.append((bytes(_ENTRY_BYTES), bindings.crypto_sign(sealed, self._secret)))
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT INTO entries VALUES (NULL, ?, ?)", rows)
        self._db.execute("COMMIT")
        return (time.perf_counter() - begun) / _IN_FLIGHT

    def close(self) -> None:
        """Close the database."""
        self._db.close()


class _Actors:
    """An issuer and a contractor who asks for tasks and closes them."""

    def __init__(self, issuer: Issuer, me: Contractor, joined: Membership, items: list[bytes]) -> None:
        self._issuer = issuer
        self._me = me
        self._joined = joined
        self._items = items

    def ask(self, count: int = _IN_FLIGHT) -> list[bytes]:
        """Make fresh requests."""
        now = truncate(datetime.now(UTC))
        keys = [OneTimeKey.generate().public_key for _ in range(count)]
        asked = zip(self._items, keys, strict=False)
        return [make_request(self._joined, self._me._identity, item, key, now).data for item, key in asked]

    def close(self, requests: Sequence[bytes]) -> list[bytes]:
        """Make the receipts that close the leases of requests."""
        now = truncate(datetime.now(UTC))
        return [sign_message(_closed(request, now), self._me._identity).data for request in requests]

    def fly(self) -> float:
        """Time one flight of fresh requests; making them is not timed, nor is closing their leases, as people do."""
        requests = self.ask()
        begun = time.perf_counter()
        answers = self._issuer.handle_all(requests)
        taken = (time.perf_counter() - begun) / len(requests)
        if any(answer is None or parse_frame(answer).type != Lease.TYPE for answer in answers):
            raise RuntimeError("a request was refused")
        self._issuer.handle_all(self.close(requests))
        return taken


def _closed(request: bytes, now: datetime) -> Receipt:
    asked = decode_record(OpenRequest, parse_frame(request).body)
    return Receipt(asked.client, asked.project, frame_hash(request), asked.item, "closed", "process-exit", now)


def rows(effort: Effort) -> Iterator[Line]:
    """Measure row 8."""
    home, source = Home(effort.folder), effort.folder / "source"
    home.make()
    write_tasks(source, _IN_FLIGHT, 1000)
    write_guidelines(source, _GUIDELINES, 1000)
    with home.client() as (lab, project):
        project.seal(source)
        me, joined = home.join(lab, project)
        items = [item.item for item in project.items("task")]
        with lab.issuer() as issuer, me, closing(_Limit(effort.folder / "limit.db")) as limit:
            actors = _Actors(issuer, me, joined, items)
            copy = Unchecked(home.folder / "client" / "client.db", effort.folder / "copy.db", actors.ask, _GUIDELINES)
            with closing(copy):
                times = once_in_turn({_OURS: actors.fly, _LIMIT: limit, _UNCHECKED: copy.fly}, effort.rounds)
            with closing(open_relay(home.vault)) as relay:
                boxes = issuer_mailbox(lab.client_id), contractor_mailbox(lab.client_id, me.public_key)
                passes = list(pass_lines(issuer, relay, *boxes, actors.ask, actors.close, effort.rounds))
    ours, theirs, unchecked = (1 / times.median(name) for name in (_OURS, _LIMIT, _UNCHECKED))
    work = f"release 5 DEKs to a request, {_IN_FLIGHT} in flight, per second"
    yield at_least(8, work, ours, _LIMIT, theirs, times.times_as_fast(_OURS, _LIMIT), 0.6)
    met = ours >= _PER_SECOND
    yield Line(8, work, ours, "a fixed rate", _PER_SECOND, ours / _PER_SECOND, f"≥ {_PER_SECOND:,.0f}/s", met)
    yield Line(8, work, ours, _UNCHECKED, unchecked, times.times_as_fast(_OURS, _UNCHECKED))
    yield from passes
