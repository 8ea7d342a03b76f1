"""`client.db`: one SQLite file for catalog, grants, counters, spent keys, stored answers, submissions and ledger.

One file, so that a release is one transaction: entry, spent key, counters and answer are durable together, before the
answer leaves [G5]. No KEK and no key of a person stands in it.

Items and versions, of which there may be millions, lie in the order in which they came: what is sealed together is
listed and read together, and only their indexes are in the order of random ids. Here that tells nobody anything; at the
vault it would.
"""

from typing import Final

from labelvault.database import Schema

CLIENT_SCHEMA: Final = Schema(
    version=5,
    missing="`labelvault client init` makes it",
    statements="""
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE projects (
  project BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, floor_bytes INTEGER NOT NULL,
  kek_id BLOB NOT NULL, kek_generation INTEGER NOT NULL, frozen INTEGER NOT NULL DEFAULT 0,
  submission_public BLOB NOT NULL, submission_wrapped BLOB NOT NULL, created_ms INTEGER NOT NULL,
  revoked_ms INTEGER, shredded_ms INTEGER
) WITHOUT ROWID;
CREATE TABLE batches (
  batch BLOB PRIMARY KEY, project BLOB NOT NULL REFERENCES projects, name TEXT NOT NULL,
  gold INTEGER NOT NULL, revoked_ms INTEGER, UNIQUE (project, gold, name)
) WITHOUT ROWID;
CREATE TABLE items (
  item BLOB NOT NULL PRIMARY KEY, project BLOB NOT NULL REFERENCES projects, kind TEXT NOT NULL, source TEXT NOT NULL,
  name TEXT NOT NULL, batch BLOB REFERENCES batches, version INTEGER, UNIQUE (project, source)
);
CREATE INDEX items_by_batch ON items (batch, source);
CREATE TABLE honey (
  item BLOB PRIMARY KEY, project BLOB NOT NULL REFERENCES projects, planted_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE VIEW real_items AS SELECT * FROM items i WHERE NOT EXISTS (SELECT 1 FROM honey h WHERE h.item = i.item);
CREATE TABLE versions (
  item BLOB NOT NULL REFERENCES items, version INTEGER NOT NULL, digest BLOB NOT NULL,
  payload_bytes INTEGER NOT NULL, wrapped BLOB NOT NULL, kek_id BLOB NOT NULL, kek_generation INTEGER NOT NULL,
  source_hash BLOB NOT NULL, metadata BLOB NOT NULL, sealed_ms INTEGER NOT NULL, PRIMARY KEY (item, version)
);
CREATE TABLE contractors (
  key BLOB PRIMARY KEY, name TEXT NOT NULL UNIQUE, card BLOB NOT NULL, revoked_ms INTEGER
) WITHOUT ROWID;
CREATE TABLE certificates (serial INTEGER PRIMARY KEY, frame BLOB NOT NULL);
CREATE TABLE grants (
  hash BLOB PRIMARY KEY, grant_id BLOB NOT NULL UNIQUE, project BLOB NOT NULL REFERENCES projects,
  contractor BLOB NOT NULL REFERENCES contractors, frame BLOB NOT NULL, revoked_ms INTEGER
) WITHOUT ROWID;
CREATE TABLE leases (
  lease_id BLOB PRIMARY KEY, grant_hash BLOB NOT NULL REFERENCES grants, number INTEGER NOT NULL,
  item BLOB NOT NULL, version INTEGER NOT NULL,
  issued_ms INTEGER NOT NULL, expires_ms INTEGER NOT NULL, slot_ended_ms INTEGER
) WITHOUT ROWID;
CREATE INDEX leases_by_grant ON leases (grant_hash, issued_ms, number);
CREATE INDEX leases_open ON leases (grant_hash, expires_ms) WHERE slot_ended_ms IS NULL;
CREATE TABLE receipts (
  lease_id BLOB NOT NULL REFERENCES leases, event TEXT NOT NULL, hash BLOB NOT NULL, received_ms INTEGER NOT NULL,
  PRIMARY KEY (lease_id, event)
) WITHOUT ROWID;
CREATE TABLE submissions (
  hash BLOB PRIMARY KEY, project BLOB NOT NULL, lease_id BLOB NOT NULL, sequence INTEGER NOT NULL,
  contractor BLOB NOT NULL REFERENCES contractors, verdict TEXT NOT NULL, received_ms INTEGER NOT NULL,
  frame BLOB NOT NULL, collected INTEGER REFERENCES collections, fault TEXT
) WITHOUT ROWID;
CREATE UNIQUE INDEX submissions_in_order ON submissions (lease_id, sequence)
  WHERE verdict NOT IN ('misbound', 'replayed');
CREATE INDEX submissions_aside ON submissions (contractor, verdict) WHERE verdict IN ('misbound', 'replayed');
CREATE INDEX submissions_to_collect ON submissions (project) WHERE verdict = 'accepted' AND collected IS NULL;
CREATE INDEX submissions_collected ON submissions (collected) WHERE collected IS NOT NULL;
CREATE TABLE collections (
  number INTEGER PRIMARY KEY, project BLOB NOT NULL REFERENCES projects, folder TEXT NOT NULL, format TEXT NOT NULL,
  digest BLOB, begun_ms INTEGER NOT NULL, done INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE spent_keys (key_hash BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE answers (
  request_hash BLOB NOT NULL UNIQUE, lease_id BLOB, answer BLOB, keep_ms INTEGER NOT NULL
);
CREATE INDEX answers_by_end ON answers (keep_ms);
CREATE TABLE prekey_bundles (
  hash BLOB PRIMARY KEY, contractor BLOB NOT NULL REFERENCES contractors, expires_ms INTEGER NOT NULL,
  frame BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX prekey_bundles_by_contractor ON prekey_bundles (contractor, expires_ms);
CREATE TABLE ledger_entries (
  epoch BLOB NOT NULL, number INTEGER NOT NULL, entry BLOB NOT NULL, PRIMARY KEY (epoch, number)
) WITHOUT ROWID;
CREATE TABLE ledger_nodes (
  epoch BLOB NOT NULL, level INTEGER NOT NULL, position INTEGER NOT NULL, hash BLOB NOT NULL,
  PRIMARY KEY (epoch, level, position)
) WITHOUT ROWID;
CREATE TABLE ledger_checkpoints (epoch BLOB PRIMARY KEY, note TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE ledger_cosigned (
  epoch BLOB NOT NULL, size INTEGER NOT NULL, note TEXT NOT NULL, PRIMARY KEY (epoch, size)
) WITHOUT ROWID;
CREATE TABLE backups (
  chain BLOB PRIMARY KEY, place TEXT NOT NULL, root BLOB NOT NULL, begun_ms INTEGER NOT NULL,
  newest_ms INTEGER NOT NULL, done_ms INTEGER, version INTEGER
) WITHOUT ROWID;
""",
)
