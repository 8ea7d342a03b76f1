"""`labelvault contractor desk`: stays up and holds several openings, one child process each."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from labelvault.cli.contractor_home import approval_options, approving, contractor_options, opened
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, span, table
from labelvault.cli.signals import Ending, told_to_end
from labelvault.cli.values import ID_START, ITEM_ID, the_one
from labelvault.contractor import Approving, Contractor, Opening
from labelvault.errors import LabelVaultError, LeaseClosedError

_COMMANDS: Final = "open ITEM | list | show LEASE | renew LEASE | close LEASE | quit"
_MAX_LINE_BYTES: Final = 4096
_TICK_S: Final = 1.0


def add_to(group: click.Group) -> None:
    """Add this module's command to `labelvault contractor`."""
    group.add_command(desk)


@click.command(
    epilog=examples("labelvault contractor desk", "labelvault contractor desk --json --passphrase-file pass")
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1, max=600),
    default=30.0,
    show_default=True,
    metavar="S",
    help="How many seconds to wait for each of the issuer's answers.",
)
@click.option(
    "--readable-memory",
    is_flag=True,
    help="Let other programs of this user read the processes' memory, as root can anyway; the demo's thief does.",
)
@approval_options
@contractor_options
def desk(
    timeout: float,
    readable_memory: bool,
    approval_timeout: float,
    approvals: Path | None,
    home: Path,
    passphrase: Passphrase,
    out: Output,
) -> None:
    """Hold several tasks open, each in a process of its own, so that closing one ends its process.

    Reads commands from stdin: open ITEM, list, show LEASE, renew LEASE, close LEASE, quit. Ids may be shortened where
    only one fits. Where the grant asks for presence, each open and renew waits for your approval on your own device.
    Ends, and closes everything, at quit, end of input, Ctrl-C or SIGTERM. With --json it prints one event per line,
    with ids only.
    """
    with opened(home, passphrase) as me, told_to_end() as ending:
        me.readable_memory = readable_memory
        ways = approving(out, approval_timeout, approvals, lambda: ending.asked)
        held = Desk(me, out, timeout, ways)
        try:
            held.serve(ending)
        finally:
            held.close_all()


class Desk:
    """The openings of one desk process."""

    def __init__(self, me: Contractor, out: Output, timeout_s: float, ways: Approving) -> None:
        """Serve one contractor.

        Args:
            me: the open contractor.
            out: where events go.
            timeout_s: how long to wait for each of the issuer's answers, in seconds.
            ways: to the presence device, where the grant asks for one.
        """
        self._ways = ways
        self._me = me
        self._out = out
        self._timeout_s = timeout_s
        self._openings: dict[bytes, Opening] = {}
        self._ended = False

    def serve(self, ending: Ending) -> None:
        """Read commands until the end."""
        source = sys.stdin.fileno()
        self._tell({"event": "ready"}, f"The desk is up: {_COMMANDS}")
        pending = b""
        self._prompt()
        while not ending.asked and not self._ended:
            if ending.wait([source], _TICK_S):
                data = os.read(source, _MAX_LINE_BYTES)
                if not data:
                    return
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    self._guarded(line.decode("utf-8", "replace").split())
                if len(pending) > _MAX_LINE_BYTES:
                    pending = b""
                    self._out.failed("UsageError", "that line is too long", _COMMANDS)
                if lines:
                    self._prompt()
            self._close_expired()

    def close_all(self) -> None:
        """Close every opening that is left; one that fails doesn't keep the others open."""
        for lease in list(self._openings):
            self._guarded(["close", lease.hex()])
        self._tell({"event": "ended"}, "The desk is down.")

    def _guarded(self, words: list[str]) -> None:
        """Do one command; whatever goes wrong is told, and the desk stays up."""
        try:
            self._do(words)
        except LabelVaultError as error:
            self._out.library_error(error)
        except click.UsageError as error:
            self._out.failed("UsageError", error.format_message(), _COMMANDS)

    def _do(self, words: list[str]) -> None:
        match words:
            case []:
                return
            case ["open", item]:
                self._open(ITEM_ID.convert(item, None, None))
            case ["list"]:
                self._list()
            case ["show", lease]:
                self._show(self._held(lease))
            case ["renew", lease]:
                self._renew(self._held(lease))
            case ["close", lease]:
                self._close(self._held(lease))
            case ["quit"]:
                self._ended = True
            case _:
                raise click.UsageError("no such command")

    def _held(self, start: str) -> bytes:
        return the_one(ID_START.convert(start, None, None), self._openings)

    def _open(self, item: bytes) -> None:
        opening = self._me.begin(item, timeout_s=self._timeout_s, approving=self._ways)
        self._openings[opening.lease_id] = opening
        self._tell(
            {
                "event": "opened",
                "item": item,
                "lease": opening.lease_id,
                "expires_at": opening.expires_at,
                "pid": opening.pid,
            },
            f"Opened {item.hex()} as {opening.lease_id.hex()[:16]}, {self._left(opening)} left.",
        )

    def _list(self) -> None:
        leases = [
            {"lease": lease, "item": opening.item, "expires_at": opening.expires_at, "pid": opening.pid}
            for lease, opening in self._openings.items()
        ]
        rows = [(o.item, lease, self._left(o)) for lease, o in self._openings.items()]
        self._out.result({"event": "list", "openings": leases}, table("Open", ["item", "lease", "left"], rows))

    def _show(self, lease: bytes) -> None:
        if self._out.as_json:
            raise click.UsageError("show needs a desk without --json: its output holds ids only")
        sys.stdout.flush()
        self._openings[lease].show(sys.stdout.fileno())

    def _renew(self, lease: bytes) -> None:
        """Put a new lease in an old one's place; the task stays open, or is closed where the new one does not open."""
        opening = self._openings[lease]
        try:
            newer = opening.renew(timeout_s=self._timeout_s, approving=self._ways)
        except LeaseClosedError:
            self._close(lease)
            raise
        self._openings[opening.lease_id] = self._openings.pop(lease)
        facts = {"event": "renewed", "item": opening.item, "lease": opening.lease_id, "replaces": lease, "newer": newer}
        what = "; the task was sealed anew meanwhile: show it again" if newer else ""
        self._tell(
            {**facts, "expires_at": opening.expires_at},
            f"Renewed as {opening.lease_id.hex()[:16]}, {self._left(opening)} left{what}.",
        )

    def _close(self, lease: bytes) -> None:
        # Forgotten first: a close that fails half-way is reported once, not at every tick.
        opening = self._openings.pop(lease)
        opening.close()
        self._tell(
            {"event": "closed", "item": opening.item, "lease": lease, "erased": opening.erased},
            f"Closed {lease.hex()[:16]}; its process has exited.",
        )

    def _close_expired(self) -> None:
        now = datetime.now(UTC)
        for lease in [each for each, opening in self._openings.items() if now >= opening.expires_at]:
            self._guarded(["close", lease.hex()])

    def _left(self, opening: Opening) -> str:
        return span(opening.expires_at - datetime.now(UTC))

    def _tell(self, facts: dict[str, Any], line: str) -> None:
        self._out.result(facts, line)

    def _prompt(self) -> None:
        if sys.stdin.isatty() and not self._out.as_json:
            sys.stdout.write("desk> ")
            sys.stdout.flush()
