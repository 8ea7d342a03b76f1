"""A history to state: a helper and a desk without presence; tasks closed, left open, expired and sealed anew."""

from dataclasses import replace
from datetime import datetime

from labelvault.client import Limits
from labelvault.issuer.log import Log
from labelvault.ledger.entries import Certified, Restored
from labelvault.ledger.scan import Reading
from labelvault.wire.frame import sign_message
from labelvault.wire.messages import IssuerCertificate
from tests.world import GUIDELINE, MINUTE, World, lease_outer, write_file

HOSTILE = '=HYPERLINK("http://evil.example")<script>alert(1)</script>'
_LIMITS = Limits(max_open=9, max_total=90, per_hour=90, lease_ttl_s=1800)


class History:
    """What happened, with a window in the middle of it.

    Attributes:
        start: of the window.
        end: of the window.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.issuer = world.issuer()
        write_file(world.source, "guidelines/how.md", GUIDELINE + " anew")
        self.ada, self.adas = world.worker(limits=_LIMITS)
        self.desk = world.contractor("desk 7", tier="desk")
        world.enrol(self.desk, "desk 7")
        self.desks = world.join(self.desk, "desk 7", limits=_LIMITS, waive_presence=True)
        # Closed before the window, at the desk; then one that was never closed and expires before it.
        self.open_at_desk("one", closes=5)
        self.open_at_desk("two")
        self.wait(50)
        self.start = world.clock()
        self.wait(10)
        self.open_at_desk("three", closes=10)
        world.project.seal(world.source)
        self.open_at_desk("three")
        lease_outer(self.issuer.handle(world.ask(self.ada, self.adas, world.task("four")).data))
        self.wait(20)
        self.end = world.clock()
        self.wait(15)

    def open_at_desk(self, name: str, closes: int | None = None) -> None:
        """Open a task, and close it so many minutes later."""
        request = self.world.ask(self.desk, self.desks, self.world.task(name))
        lease_outer(self.issuer.handle(request.data))
        if closes is not None:
            self.wait(closes)
            assert self.issuer.handle(self.world.receipt(self.desk, request)) is not None

    def wait(self, minutes: int) -> datetime:
        """Let time pass."""
        return self.world.clock.advance(minutes * MINUTE)

    def move_on(self) -> None:
        """Let the ledger have an entry after the window."""
        self.world.lab.freeze("eval")
        self.world.lab.unfreeze("eval")


def begin_epoch(world: World, backup_at: datetime) -> tuple[IssuerCertificate, Reading, IssuerCertificate]:
    """Let a restore begin a new ledger; return the old certificate, the old ledger as read, and the new certificate."""
    lab = world.lab
    old, size = lab.certificate.message, len(lab.ledger_entries())
    reading = Reading()
    list(reading.through(Log(lab.database, lab.client_id, old.epoch).stream(size)))
    now = world.clock.advance(MINUTE)
    newer = replace(old, serial=2, epoch=b"n" * 16, not_before=now, at=now)
    signed = sign_message(newer, lab.identity())
    log = Log(lab.database, lab.client_id, newer.epoch)
    with lab.database.transaction():
        lab.database.execute("INSERT INTO certificates VALUES (2, ?)", signed.data)
        log.append(Certified(now, newer.issuer, 2, signed.hash, newer.epoch))
        log.append(Restored(now, old.epoch, size, reading.root, backup_at))
        log.sign(lab.issuer_identity.name, lab.issuer_identity.signer)
    return old, reading, newer
