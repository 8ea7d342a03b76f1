"""A history to state: a helper and a desk without presence; tasks closed, left open, expired and sealed anew."""

from datetime import datetime

from labelvault.client import Limits
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
