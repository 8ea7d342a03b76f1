"""Numbers for a monitoring system: a file in the Prometheus text format, written anew whole, so that no port is open.

Labels are ids of the client's own, codes and limits; a project that only a request names is counted as `other`.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from labelvault.client.events import Event
from labelvault.database import Database
from labelvault.errors import OutputError
from labelvault.issuer.log import Log
from labelvault.wire.messages import MAX_LEASE_TTL_S

METRICS: Final = {
    "labelvault_releases_total": ("counter", "Leases released since the issuer started."),
    "labelvault_denials_total": ("counter", "Requests denied since the issuer started, by code."),
    "labelvault_caps_reached_total": ("counter", "Requests denied since the issuer started, by the limit reached."),
    "labelvault_alarms_total": ("counter", "Alarms since the issuer started, by what was asked for."),
    "labelvault_webhook_failures_total": ("counter", "Alarms' deliveries that failed since the issuer started."),
    "labelvault_junk_total": ("counter", "Messages that deserved no answer, ever."),
    "labelvault_ledger_entries": ("gauge", "Entries of the ledger that is written."),
    "labelvault_open_leases": ("gauge", "Leases that live."),
    "labelvault_project_frozen": ("gauge", "1 while all releases of a project are stopped."),
    "labelvault_issuer_up": ("gauge", "1 while the issuer runs, 0 once it has ended in order."),
    "labelvault_vault_reachable": ("gauge", "1 if the last pass reached the vault."),
    "labelvault_start_timestamp_seconds": ("gauge", "When the issuer started."),
    "labelvault_written_timestamp_seconds": ("gauge", "When this file was written: old means that nobody writes it."),
    "labelvault_certificate_expires_timestamp_seconds": ("gauge", "When the issuer's certificate ends."),
}
"""Every metric: its type, and what it says."""
_EVERY_S: Final = 15.0
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_Labels: TypeAlias = tuple[tuple[str, str], ...]


class Metrics:
    """Counts what happens, and writes it with what is now.

    Attributes:
        reachable: whether the last pass reached the vault.
    """

    def __init__(
        self,
        path: Path,
        database: Database,
        log: Log,
        client: bytes,
        certified_until_s: float,
        clock: Callable[[], float],
    ) -> None:
        """Begin to count from nothing.

        Args:
            path: the file; its directory is there.
            database: open `client.db`; only read.
            log: its ledger that is written.
            client: 32 bytes.
            certified_until_s: when the issuer's certificate ends, in seconds since 1970.
            clock: says seconds since 1970.
        """
        self._path = path
        self._database = database
        self._log = log
        self._client: _Labels = (("client", client.hex()),)
        self._certified_until_s = certified_until_s
        self._clock = clock
        self._started_s = clock()
        self._counts: Counter[tuple[str, _Labels]] = Counter()
        self._due_s = -_EVERY_S
        self.reachable = True

    def ready(self) -> bool:
        """Tell that it always takes events."""
        return True

    def take(self, events: Sequence[Event]) -> bool:
        """Count events."""
        known = {bytes(row[0]).hex() for row in self._database.rows("SELECT project FROM projects")}
        for event in events:
            named = event.facts.get("project")
            project = str(named) if named in known else "other"
            match event.kind:
                case "release":
                    self._count("labelvault_releases_total", project)
                case "denial":
                    self._count("labelvault_denials_total", project, code=str(event.facts["code"]))
                case "cap-reached":
                    self._count("labelvault_caps_reached_total", project, cap=str(event.facts["cap"]))
                case "alarm":
                    self._count("labelvault_alarms_total", project, about=str(event.facts["about"]))
                case "webhook":
                    self._counts["labelvault_webhook_failures_total", self._client] += 1
        return True

    def _count(self, name: str, project: str, **labels: str) -> None:
        self._counts[name, (*self._client, ("project", project), *labels.items())] += 1

    def write(self, *, up: bool = True) -> None:
        """Write the file, but not more often than every fifteen seconds unless the issuer has ended.

        Raises:
            OutputError: the file system refused; the file is as it was.
            StoreError: `client.db` can't be read.
        """
        if up and time.monotonic() < self._due_s:
            return
        self._due_s = time.monotonic() + _EVERY_S
        samples = {**self._counts, **dict(self._now(up))}
        lines = []
        for name, (kind, meaning) in METRICS.items():
            found = sorted(item for item in samples.items() if item[0][0] == name)
            if found:
                lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{{{_written(labels)}}} {value}" for (_, labels), value in found]
        _replace(self._path, ("\n".join(lines) + "\n").encode())

    def _now(self, up: bool) -> Iterator[tuple[tuple[str, _Labels], float]]:
        database, client, now_s = self._database, self._client, self._clock()
        for name, value in (
            ("issuer_up", float(up)),
            ("vault_reachable", float(self.reachable)),
            ("start_timestamp_seconds", self._started_s),
            ("written_timestamp_seconds", now_s),
            ("certificate_expires_timestamp_seconds", self._certified_until_s),
            ("junk_total", int.from_bytes(database.meta("junk") or b"", "big")),
            ("ledger_entries", self._log.size()),
        ):
            yield (f"labelvault_{name}", client), value
        rows = database.rows(
            "SELECT p.project, p.frozen, (SELECT count(*) FROM grants g JOIN leases l ON l.grant_hash = g.hash"
            " WHERE g.project = p.project AND l.issued_ms > ?1 - ?2 AND l.slot_ended_ms IS NULL AND l.expires_ms > ?1)"
            " FROM projects p",
            int(now_s * 1000),
            MAX_LEASE_TTL_S * 1000,
        )
        for project, frozen, open_leases in rows:
            labels = (*client, ("project", bytes(project).hex()))
            yield ("labelvault_project_frozen", labels), frozen
            yield ("labelvault_open_leases", labels), open_leases


def _written(labels: _Labels) -> str:
    # Hex, codes and names of limits: nothing in them needs an escape.
    return ",".join(f'{name}="{value}"' for name, value in labels)


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole under a name that a collector does not read, then rename it; the umask says who may read."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, _CREATE, 0o644)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    except OSError as error:
        raise OutputError(f"{path} can't be written: {error.strerror}") from error
