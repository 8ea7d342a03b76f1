"""What stands in stolen bytes as structure: sealed items in a vault's database, and signed messages anywhere.

Messages are carved wherever they stand, in rows, journals, free pages or memory, acknowledged or purged: each
recorded request names a one-time public key, and each recorded lease waits for its private half.
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from labelvault.drill.evidence import Source, View
from labelvault.errors import DrillError, FormatError
from labelvault.keys.prekeys import MAX_PREKEY_FILE_BYTES, PrekeyFile
from labelvault.wire.ahead import PrekeyBundle
from labelvault.wire.frame import Frame, parse_frame
from labelvault.wire.items import LEAF_BYTES, ItemHeader, parse_header
from labelvault.wire.messages import Card, Lease, LeaseOuter, OpenRequest
from labelvault.wire.schema import decode_record

_SQLITE_MAGIC: Final = b"SQLite format 3\0"
_SIDE_FILES: Final = ("-wal", "-journal")
_LEAST_VALUE_BYTES: Final = 6
"""SQLite keeps smaller values in one piece, so the raw file has them as they are."""

_FRAME_HEAD: Final = b"\x86\xa4body"
_FRAME_KEYS: Final = ("cosignature", "signature", "signer", "type", "version")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class SealedRecord:
    """One item version out of a vault.

    Attributes:
        header: parsed.
        header_bytes: as stored.
        payload: as stored.
    """

    header: ItemHeader
    header_bytes: bytes
    payload: bytes = field(repr=False)


@dataclass(slots=True)
class Messages:
    """Every message that was found, each once.

    Attributes:
        frames: exact bytes.
        one_time_keys: public keys of requests and prekeys, 1216 bytes each.
        leases: parsed, with their outer part.
        signers: 32-byte public key to the types of message that it signed.
    """

    frames: set[bytes] = field(default_factory=set, repr=False)
    one_time_keys: set[bytes] = field(default_factory=set, repr=False)
    leases: list[tuple[LeaseOuter, Lease]] = field(default_factory=list, repr=False)
    signers: dict[bytes, set[str]] = field(default_factory=dict)

    def carve(self, data: View) -> None:
        """Add every frame that stands in `data` in one piece, wherever it begins."""
        at = data.find(_FRAME_HEAD)
        while at >= 0:
            end = _frame_end(data, at)
            if end is not None:
                self._add(data[at:end])
            at = data.find(_FRAME_HEAD, at + 1)

    def _add(self, data: bytes) -> None:
        if data in self.frames:
            return
        frame = _parsed_frame(data)
        if frame is None:
            return
        self.frames.add(data)
        self.signers.setdefault(frame.signer, set()).add(frame.type)
        if frame.type == OpenRequest.TYPE:
            request = _parsed(OpenRequest, frame.body)
            if request is not None:
                self.one_time_keys.add(request.one_time_key)
        elif frame.type == PrekeyBundle.TYPE:
            bundle = _parsed(PrekeyBundle, frame.body)
            self.one_time_keys.update(() if bundle is None else bundle.keys)
        elif frame.type == Lease.TYPE:
            lease = _parsed(Lease, frame.body)
            outer = None if lease is None else _parsed(LeaseOuter, lease.outer)
            if lease is not None and outer is not None:
                self.leases.append((outer, lease))
        elif frame.type == Card.TYPE:
            card = _parsed(Card, frame.body)
            if card is not None and card.presence_key is not None:
                self.signers.setdefault(card.presence_key, set()).add("presence")


@dataclass(frozen=True, slots=True)
class StolenPrekey:
    """A prekey's file, which its identity opens.

    Attributes:
        place: where it lay.
    """

    place: str
    record: PrekeyFile


def read_prekeys(sources: Sequence[Source]) -> list[StolenPrekey]:
    """Return every file of a one-time key that was made ahead of time."""
    found = []
    for source in sources:
        if source.kind == "file" and 0 < len(source.data) <= MAX_PREKEY_FILE_BYTES:
            record = _parsed(PrekeyFile, source.data[:])
            if record is not None:
                found.append(StolenPrekey(source.place, record))
    return found


def read_databases(sources: Sequence[Source]) -> tuple[list[SealedRecord], list[Source]]:
    """Read every SQLite database among the stolen files.

    Returns:
        The sealed items of vaults, and all larger values of other rows: a value may lie in the file in
        several pieces, so it is looked at whole as well.

    Raises:
        DrillError: a database can't be read, or none of them is a vault's.
    """
    vaults = 0
    items: list[SealedRecord] = []
    values: list[Source] = []
    for source in sources:
        if source.kind == "file" and source.path is not None and source.data[:16] == _SQLITE_MAGIC:
            with tempfile.TemporaryDirectory(prefix="labelvault-drill-") as folder:
                copy = _copied(source.path, Path(folder))
                try:
                    # Reading a database that was copied while in use rolls its journal in: into our copy.
                    with closing(sqlite3.connect(copy)) as db:
                        is_vault = _is_vault(db)
                        vaults += is_vault
                        items += _read_vault(db, source.path) if is_vault else []
                        values += _values(db, source.place, skip_pieces=is_vault)
                except sqlite3.Error as error:
                    raise DrillError(f"{source.place} is no readable database: {error}") from error
    if vaults == 0:
        # Without a vault there is nothing to open, and any key would look harmless.
        raise DrillError("no vault is among what was stolen")
    return items, values


def _copied(path: Path, folder: Path) -> Path:
    try:
        for suffix in ("", *_SIDE_FILES):
            if path.with_name(path.name + suffix).is_file():
                shutil.copyfile(path.with_name(path.name + suffix), folder / ("stolen.db" + suffix))
    except OSError as error:
        raise DrillError(f"{path} can't be copied: {error.strerror}") from error
    return folder / "stolen.db"


def _is_vault(db: sqlite3.Connection) -> bool:
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    return {"items", "pieces", "messages"} <= names


def _read_vault(db: sqlite3.Connection, path: Path) -> list[SealedRecord]:
    found = []
    rows = db.execute("SELECT header, client, item, version, size, first_piece FROM items")
    for header_bytes, client, item, version, size, first_piece in rows:
        pieces = db.execute(
            "SELECT data FROM pieces WHERE number >= ?1 AND number < ?1 + ?2 ORDER BY number",
            (first_piece, -(-size // LEAF_BYTES)),
        )
        # The vault keeps large payloads in files beside its database; their pieces are empty.
        payload = b"".join(data for (data,) in pieces) or _payload_file(path, client, item, version)
        try:
            found.append(SealedRecord(parse_header(header_bytes), header_bytes, payload))
        except FormatError as error:
            raise DrillError("a vault holds an item with a malformed header") from error
    return found


def _payload_file(database: Path, client: bytes, item: bytes, version: int) -> bytes:
    name = f"{client.hex()}-{item.hex()}-{version}"
    try:
        return (database.with_name(database.name + ".payloads") / name).read_bytes()
    except OSError as error:
        # Taken for unreadable, it would look harmless.
        raise DrillError(f"the vault's payload file {name} is not among what was stolen") from error


def _values(db: sqlite3.Connection, place: str, *, skip_pieces: bool) -> Iterator[Source]:
    db.text_factory = bytes
    tables = [
        name.decode()
        for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
        if not (skip_pieces and name == b"pieces")
    ]
    for table in tables:
        quoted = table.replace('"', '""')
        # The name comes from the stolen file and can only be quoted, not bound.
        for row in db.execute(f'SELECT * FROM "{quoted}"'):  # noqa: S608
            for value in row:
                if isinstance(value, bytes) and len(value) >= _LEAST_VALUE_BYTES:
                    yield Source(f"{place} (row of {table})", value, "row")


def _frame_end(data: View, at: int) -> int | None:
    """Return where a frame that begins at `at` ends, judging by the sizes that it names."""
    end = _after_bytes(data, at + len(_FRAME_HEAD))
    for name in _FRAME_KEYS:
        key = bytes([0xA0 + len(name)]) + name.encode()
        if end is None or data[end : end + len(key)] != key:
            return None
        end += len(key)
        if name == "version":
            return end + 1
        end = end + 1 + (data[end] & 0x1F) if name == "type" and end < len(data) else _after_bytes(data, end)
    return None


def _after_bytes(data: View, at: int) -> int | None:
    """Return where the msgpack byte string at `at` ends, if one stands there."""
    width = {b"\xc4": 1, b"\xc5": 2}.get(data[at : at + 1])
    if width is None:
        return None
    return at + 1 + width + int.from_bytes(data[at + 1 : at + 1 + width], "big")


def _parsed_frame(data: bytes) -> Frame | None:
    try:
        return parse_frame(data)
    except FormatError:
        # Bytes that begin like a frame, as carving finds them everywhere in memory.
        return None


def _parsed(record_type: type[R], data: bytes) -> R | None:
    try:
        return decode_record(record_type, data)
    except FormatError:
        return None
