"""What a release would take if nothing were checked: its primitives, its rows and its encodings, one after the other.

No message is validated, no rule looked at, no object made. It says how much of a release's time is left for all that.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgpack
from nacl import bindings

from labelvault.crypto import hpke

_READS: Final = (
    "SELECT 1 FROM answers WHERE request_hash = :request",
    "SELECT g.frame, g.revoked_ms, c.revoked_ms, p.revoked_ms, p.frozen FROM grants g"
    " JOIN contractors c ON c.key = g.contractor JOIN projects p ON p.project = g.project WHERE g.hash = :grant",
    "SELECT number FROM leases WHERE grant_hash = :grant ORDER BY issued_ms DESC, number DESC LIMIT 1",
    "SELECT count(*) FROM leases WHERE grant_hash = :grant AND slot_ended_ms IS NULL AND expires_ms > :now",
    "SELECT 1 FROM spent_keys WHERE key_hash = :spent",
    "SELECT b.batch, b.revoked_ms, v.* FROM items i JOIN batches b ON b.batch = i.batch"
    " JOIN versions v ON v.item = i.item AND v.version = i.version WHERE i.item = :item",
)
_WRITES: Final = (
    "INSERT INTO ledger_entries VALUES (:epoch, :index, :entry)",
    "INSERT INTO ledger_nodes VALUES (:epoch, 0, :index, :leaf)",
    # As many nodes as leaves come above them.
    "INSERT INTO ledger_nodes VALUES (:epoch, 1, :index, :leaf)",
    "INSERT INTO leases VALUES (:request, :grant, :index, :item, 1, :now, :now, :now)",
    "INSERT INTO spent_keys VALUES (:spent)",
    "INSERT INTO answers VALUES (:request, :request, :lease, :now)",
)


class Unchecked:
    """Such releases, into a copy of a home's `client.db`."""

    def __init__(self, client_db: Path, copy: Path, requests: Callable[[], Sequence[bytes]], required: int) -> None:
        """Copy a database.

        Args:
            client_db: where the requests' grant and tasks are.
            copy: the new file.
            requests: makes fresh ones; its time does not count.
            required: items that open with a task.
        """
        self._db = sqlite3.connect(copy, isolation_level=None)
        with closing(sqlite3.connect(client_db)) as source:
            source.backup(self._db)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        self._requests = requests
        self._items = 1 + required
        self._index = 0
        self._public, self._secret = bindings.crypto_sign_keypair()
        self._kek, self._nonce, self._bound = os.urandom(32), os.urandom(24), bytes(216)
        self._wrap = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
            os.urandom(32), self._bound, self._nonce, self._kek
        )

    def fly(self) -> float:
        """Time one flight."""
        requests = self._requests()
        signed = [bindings.crypto_sign(request, self._secret) for request in requests]
        begun = time.perf_counter()
        for each in signed:
            bindings.crypto_sign_open(each, self._public)
        self._db.execute("BEGIN IMMEDIATE")
        for request in requests:
            self._release(request)
        self._db.execute("COMMIT")
        return (time.perf_counter() - begun) / len(requests)

    def _release(self, request: bytes) -> None:
        asked = msgpack.unpackb(msgpack.unpackb(request)["body"])
        now, epoch, key = asked["at"], asked["epoch"], asked["one_time_key"]
        row: dict[str, Any] = {
            "request": hashlib.sha256(request).digest(),
            "spent": hashlib.sha256(key).digest(),
            "grant": asked["grant_hash"],
            "item": asked["item"],
            "epoch": bytes(16),
            "now": now,
            "index": self._index,
        }
        self._index += 1
        for query in _READS:
            self._db.execute(query, row).fetchall()
        opened = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt
        deks = [opened(self._wrap, self._bound, self._nonce, self._kek) for _ in range(self._items)]
        common = {
            "contractor": self._public,
            "expires_at": now,
            "grant_hash": row["grant"],
            "issued_at": now,
            "lease_id": row["request"],
            "project": asked["project"],
            "tier": "helper",
        }
        item = {"digest": row["request"], "item": asked["item"], "version": 1}
        kind = {"at": now, "items": [item] * self._items, "presence": "device", "replaces": None, "task": asked["item"]}
        row["entry"] = msgpack.packb({"entry": {**common, **kind}, "format": 1, "kind": "released"})
        row["leaf"] = hashlib.sha256(row["entry"]).digest()
        outer = msgpack.packb({**common, "client": self._public, "certificate_hash": self._public, "item": row["item"]})
        secrets = {"entry_hash": row["leaf"], "epoch": epoch, "index": self._index}
        sealed = hpke.seal(key, msgpack.packb({**secrets, "items": [{**item, "dek": dek} for dek in deks]}), outer)
        body = msgpack.packb({"outer": outer, "sealed": sealed})
        signature = bindings.crypto_sign(body, self._secret)[:64]
        row["lease"] = msgpack.packb({"body": body, "signature": signature, "signer": self._public, "type": "lease"})
        for statement in _WRITES:
            self._db.execute(statement, row)

    def close(self) -> None:
        """Close the database."""
        self._db.close()
