"""Row 11: rotating a KEK, without and with the catalog.

The catalog is a real one, whose rows were written without sealing anything: rotation looks at nothing but rows and KEK
files.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from benchmarks.catalog import Row, fill
from benchmarks.home import Home
from benchmarks.lines import Line, at_least
from benchmarks.measure import Effort, Work, in_turn
from labelvault.crypto import aead
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.keys.kek import Kek, Rewrapper, wrap_context, wrap_dek
from labelvault.wire.items import ITEM_FORMAT, ItemHeader

_PER_SECOND: Final = 50_000.0
_OURS: Final = "LabelVault"
_LIMIT: Final = "XChaCha20-Poly1305 unwrap and wrap"


def _wraps(client: bytes, project: bytes, kek: Kek, count: int) -> list[Row]:
    """Make rows as sealing would."""
    found = []
    for _ in range(count):
        item, digest = random_bytes(16), random_bytes(32)
        header = ItemHeader(ITEM_FORMAT, client, project, item, 1).encode()
        context = wrap_context(header, digest, kek.kek_id, kek.generation)
        found.append((item, digest, wrap_dek(kek, SecretBytes(random_bytes(32)), context)))
    return found


def _limit(kek: Kek) -> Work:
    """One unwrap and one wrap an item, with a context of the real size that is there already."""
    context = bytes(216)
    wrapped = aead.wrap(kek.key, SecretBytes(random_bytes(32)), context)

    def run(count: int) -> None:
        for _ in range(count):
            aead.wrap(kek.key, aead.unwrap(kek.key, wrapped, context), context)

    return run


def _moving(mover: Rewrapper, rows: Sequence[Row]) -> Work:
    def run(count: int) -> None:
        for number in range(count):
            item, digest, wrapped = rows[number % len(rows)]
            mover.rewrap(item, 1, digest, wrapped)

    return run


def _core_s(work: Callable[[], object]) -> float:
    """Return the seconds that something took of this process's cores."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def rows(effort: Effort) -> Iterator[Line]:
    """Measure row 11."""
    home, count = Home(effort.folder), effort.size(100_000, 2_000)
    home.make()
    with home.client() as (lab, project):
        kek_id = bytes(lab.database.scalar("SELECT kek_id FROM projects"))
        old = lab.keks.load(project.project_id, kek_id, 1)
        wraps = _wraps(lab.client_id, project.project_id, old, count)
        mover = Rewrapper(lab.client_id, project.project_id, old, Kek(kek_id, 2, SecretBytes(random_bytes(32))))
        times = in_turn({_OURS: _moving(mover, wraps), _LIMIT: _limit(old)}, effort)
        fill(lab, project.project_id, old, wraps)
        whole = count / _core_s(project.rotate_kek)
    ours, theirs = (1 / times.median(name) for name in (_OURS, _LIMIT))
    work = "move wraps to a new KEK, items per core and second"
    yield at_least(11, work, ours, _LIMIT, theirs, times.times_as_fast(_OURS, _LIMIT), 0.5)
    yield Line(11, work, ours, "a fixed rate", _PER_SECOND, ours / _PER_SECOND, "≥ 50,000/s", ours >= _PER_SECOND)
    yield Line(11, f"{work}, catalog of {count:,} included", whole, _LIMIT, theirs, whole / theirs)
