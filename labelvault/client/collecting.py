"""Collecting answers into files, each exactly once, also when the process is killed at any point.

One transaction gives answers to a numbered collection, with its folder and format; then its file is written, whole or
not at all; then the collection is done. What was begun and not done is done first by the next run, into the same file,
which is known again by its hash (docs/spec.md, section 11.3).
"""

import hashlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from labelvault.client.answers import AnswerReader, CollectedAnswer, as_jsonl, as_label_studio
from labelvault.client.records import AsideRecord, CollectReport
from labelvault.database import Database
from labelvault.errors import (
    DecryptionError,
    FormatError,
    KeystoreError,
    NotFoundError,
    OutputError,
    ProjectError,
    RelayError,
    SignatureError,
    StoreError,
    TamperedError,
)
from labelvault.keys.files import make_private_dir, write_private
from labelvault.wire.times import from_ms, to_ms

FORMATS: Final = ("jsonl", "label-studio")
MAX_COLLECTION_ROWS: Final = 1000
MAX_COLLECTION_BYTES: Final = 16 * 1024 * 1024
"""Of sealed frames: one file's answers are in memory together; more answers are more files."""
_PASSING: Final = (TamperedError, NotFoundError, StoreError, RelayError)
"""The vault's, not the answer's: what it serves wrong or not at all now, it may serve right the next time."""
_FAULTS: Final = (*_PASSING, DecryptionError, FormatError, SignatureError)
_MAX_AWAY: Final = 3
"""A vault that does not answer for so many answers in a row is away, not damaged."""


@dataclass(frozen=True, slots=True)
class _Collection:
    number: int
    folder: Path
    format: str
    digest: bytes | None

    @property
    def stem(self) -> str:
        return f"answers-{self.number:04d}"

    @property
    def target(self) -> Path:
        return self.folder / f"{self.stem}{'.jsonl' if self.format == 'jsonl' else '.json'}"

    @property
    def files(self) -> Path:
        return self.folder / f"{self.stem}-files"

    def rendered(self, rows: list[dict[str, Any]]) -> bytes:
        return as_jsonl(rows) if self.format == "jsonl" else as_label_studio(rows)


class Collecting:
    """Collects the answers of one project."""

    def __init__(self, database: Database, reader: AnswerReader, project: bytes, now: datetime) -> None:
        """Use a client's parts."""
        self._database = database
        self._reader = reader
        self._project = project
        self._now = now
        self._files: list[Path] = []
        self._answers = self._attachments = self._aside = self._away = 0

    def run(self, folder: Path, format_name: str) -> CollectReport:
        """Finish what was begun, then collect what is new; see `Project.collect`."""
        _check_format(format_name)
        for begun in self._begun():
            self._finish(begun)
        self._retry()
        folder = _made(folder)
        while (collection := self._begin(folder, format_name)) is not None:
            self._finish(collection)
        return self._report()

    def again(self, number: int, folder: Path, format_name: str) -> CollectReport:
        """Write a collection's answers once more, elsewhere; see `Project.collect_again`."""
        _check_format(format_name)
        row = self._database.row(
            "SELECT folder, format, done FROM collections WHERE number = ? AND project = ?", number, self._project
        )
        if row is None:
            raise ProjectError(f"there is no collection {number} of this project")
        copy = _Collection(number, _made(folder), format_name, None)
        if not row[2]:
            # Never finished, and its folder may be gone for good: from now on it is this one.
            with self._database.transaction():
                self._database.execute(
                    "UPDATE collections SET folder = ?, format = ?, digest = NULL WHERE number = ?",
                    str(copy.folder),
                    format_name,
                    number,
                )
            self._finish(copy)
            return self._report()
        rows = [self._row(copy, self._reader.read(frame, by, ms)) for _, frame, by, ms in self._rows(number)]
        self._write(copy, copy.rendered(rows), len(rows))
        return self._report()

    def _report(self) -> CollectReport:
        return CollectReport(tuple(self._files), self._answers, self._attachments, self._aside)

    def _retry(self) -> None:
        """Have answers that only the vault kept from being opened wait again; none that is itself bad."""
        with self._database.transaction():
            for kind in _PASSING:
                self._database.execute(
                    "UPDATE submissions SET fault = NULL WHERE project = ? AND substr(fault, 1, ?) = ?",
                    self._project,
                    len(kind.__name__) + 1,
                    f"{kind.__name__}:",
                )

    def _begun(self) -> list[_Collection]:
        rows = self._database.rows(
            "SELECT number, folder, format, digest FROM collections WHERE project = ? AND done = 0 ORDER BY number",
            self._project,
        )
        return [_Collection(n, Path(f), form, None if d is None else bytes(d)) for n, f, form, d in rows]

    def _begin(self, folder: Path, format_name: str) -> _Collection | None:
        """Give answers that wait to a new collection, in one transaction; None if none waits."""
        with self._database.transaction():
            waiting = self._database.rows(
                "SELECT hash, length(frame) FROM submissions WHERE project = ? AND verdict = 'accepted'"
                " AND collected IS NULL AND fault IS NULL ORDER BY received_ms, hash LIMIT ?",
                self._project,
                MAX_COLLECTION_ROWS,
            )
            if not waiting:
                return None
            number = 1 + int(self._database.scalar("SELECT coalesce(max(number), 0) FROM collections"))
            while any(folder.glob(f"answers-{number:04d}[.-]*")):
                # Another client's, or a copy; ours keeps off it.
                number += 1
            self._database.execute(
                "INSERT INTO collections VALUES (?, ?, ?, ?, NULL, ?, 0)",
                number,
                self._project,
                str(folder),
                format_name,
                to_ms(self._now),
            )
            room = MAX_COLLECTION_BYTES
            for each, size in waiting:
                room -= size
                if room < 0:
                    break
                self._database.execute("UPDATE submissions SET collected = ? WHERE hash = ?", number, each)
        return _Collection(number, folder, format_name, None)

    def _rows(self, number: int) -> list[tuple[bytes, bytes, bytes, int]]:
        rows = self._database.rows(
            "SELECT hash, frame, contractor, received_ms FROM submissions WHERE collected = ?"
            " ORDER BY received_ms, hash",
            number,
        )
        return [(bytes(h), bytes(frame), bytes(contractor), ms) for h, frame, contractor, ms in rows]

    def _finish(self, collection: _Collection) -> None:
        folder = _made(collection.folder)
        for left in folder.glob(f".{collection.target.name}.*.tmp"):
            # Of a run that was killed while it wrote.
            left.unlink()
        if collection.digest is not None and _digest_of(collection.target) == collection.digest:
            self._files.append(collection.target)
            self._answers += len(self._rows(collection.number))
        else:
            answers = self._opened(collection)
            if not answers:
                with self._database.transaction():
                    self._database.execute("DELETE FROM collections WHERE number = ?", collection.number)
                return
            data = collection.rendered(answers)
            with self._database.transaction():
                digest = hashlib.sha256(data).digest()
                self._database.execute("UPDATE collections SET digest = ? WHERE number = ?", digest, collection.number)
            self._write(collection, data, len(answers))
        with self._database.transaction():
            self._database.execute("UPDATE collections SET done = 1 WHERE number = ?", collection.number)

    def _opened(self, collection: _Collection) -> list[dict[str, Any]]:
        """Open a collection's answers, one at a time; what does not open is kept aside with the reason."""
        rows = []
        for each, frame, contractor, received_ms in self._rows(collection.number):
            try:
                rows.append(self._row(collection, self._reader.read(frame, contractor, received_ms)))
                self._away = 0
            except _FAULTS as error:
                kind = next(each for each in _FAULTS if isinstance(error, each))
                self._away = self._away + 1 if kind in (StoreError, RelayError) else 0
                if self._away >= _MAX_AWAY:
                    raise
                with self._database.transaction():
                    self._database.execute(
                        "UPDATE submissions SET collected = NULL, fault = ? WHERE hash = ?",
                        f"{kind.__name__}: {error}",
                        each,
                    )
                self._aside += 1
        return rows

    def _row(self, collection: _Collection, answer: CollectedAnswer) -> dict[str, Any]:
        """Return an answer's line; write what stands in a file of its own beside it."""
        value, inline = answer.value()
        if inline:
            return {**answer.facts, "answer": value, "file": None}
        _guarded(make_private_dir, collection.files)
        _guarded(write_private, collection.files / answer.file_name, answer.content, replace=True)
        self._attachments += 1
        return {**answer.facts, "answer": None, "file": f"{collection.files.name}/{answer.file_name}"}

    def _write(self, collection: _Collection, data: bytes, answers: int) -> None:
        if _digest_of(collection.target) != hashlib.sha256(data).digest():
            _guarded(write_private, collection.target, data, replace=False)
        self._files.append(collection.target)
        self._answers += answers


def aside(database: Database, project: bytes) -> list[AsideRecord]:
    """List submissions that were not accepted, or could not be opened, oldest first."""
    rows = database.rows(
        "SELECT s.hash, s.lease_id, s.sequence, c.name, coalesce(s.fault, s.verdict), s.received_ms, l.item"
        " FROM submissions s JOIN contractors c ON c.key = s.contractor LEFT JOIN leases l ON l.lease_id = s.lease_id"
        " WHERE s.project = ? AND (s.verdict != 'accepted' OR s.fault IS NOT NULL) ORDER BY s.received_ms, s.hash",
        project,
    )
    return [
        AsideRecord(bytes(h), bytes(lease), item and bytes(item), sequence, str(name), str(reason), from_ms(ms))
        for h, lease, sequence, name, reason, ms, item in rows
    ]


def _check_format(format_name: str) -> None:
    if format_name not in FORMATS:
        raise FormatError(f"no such format; one of {', '.join(FORMATS)}")


def _made(folder: Path) -> Path:
    """Return a folder, made if it is not there; one that is there keeps its mode.

    Raises:
        OutputError: the file system refused.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} can't be made: {error.strerror}") from error
    return folder.absolute()


def _digest_of(path: Path) -> bytes | None:
    """Return the SHA-256 of a regular file, or None if there is none."""
    with suppress(OSError):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").digest()
    return None


def _guarded(act: Callable[..., None], path: Path, *arguments: Any, **options: Any) -> None:
    """Do something with a private file, and say what is wrong as of any output.

    Raises:
        OutputError: something else has that name, or the file system refused.
    """
    message = None
    try:
        act(path, *arguments, **options)
    except KeystoreError as error:
        message = str(error)
    # Raised here and not above, where frames hold answers that a traceback with locals would show.
    del arguments
    if message is not None:
        raise OutputError(message)
