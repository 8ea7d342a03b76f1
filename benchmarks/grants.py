"""Row 10: a grant by batch, however many items the batch has."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from benchmarks.catalog import fill, new_batch
from benchmarks.home import WIDE, Home
from benchmarks.lines import Line, at_most
from benchmarks.measure import Effort, once_in_turn, seconds
from labelvault.client import Scope
from labelvault.crypto.random import random_bytes

_TARGET: Final = 1.2


def rows(effort: Effort) -> Iterator[Line]:
    """Measure row 10: grants in turn, by batches of each size in one catalog."""
    home, counts = Home(effort.folder), (10, 1000, effort.size(1_000_000, 10_000))
    home.make()
    with home.client() as (lab, project):
        kek = lab.keks.load(project.project_id, bytes(lab.database.scalar("SELECT kek_id FROM projects")), 1)
        for count in counts:
            fill(lab, project.project_id, kek, _rows(count), new_batch(lab, project.project_id, str(count)))
        home.join(lab, project)[0].close()
        ends, sizes = datetime.now(UTC) + timedelta(days=1), dict[str, int]()

        def granting(count: int) -> float:
            scope = Scope(batches=[str(count)])
            found = []
            taken = seconds(lambda: found.append(project.grant("ada", scope, expires_at=ends, limits=WIDE)))
            frame = lab.database.scalar("SELECT frame FROM grants WHERE grant_id = ?", found[0].grant_id)
            sizes[str(count)] = len(frame)
            return taken

        times = once_in_turn({str(n): partial(granting, n) for n in counts}, 2 * effort.rounds)
    least = str(counts[0])
    for count in counts[1:]:
        name = str(count)
        work, against = f"grant by a batch of {count:,} items", f"of {least} items"
        ours, theirs = times.median(name) * 1000, times.median(least) * 1000
        yield at_most(10, f"{work}, ms", ours, against, theirs, times.times_as_fast(least, name), _TARGET)
        size = sizes[name] / sizes[least]
        yield at_most(10, f"{work}, bytes", sizes[name], against, sizes[least], size, _TARGET)


def _rows(count: int) -> list[tuple[bytes, bytes, bytes]]:
    digest, wrapped = random_bytes(32), random_bytes(72)
    return [(random_bytes(16), digest, wrapped) for _ in range(count)]
