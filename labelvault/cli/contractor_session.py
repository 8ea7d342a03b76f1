"""`labelvault contractor open`: a foreground session: ask, show, count down, close."""

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from labelvault.cli.completion import ITEMS, JOINED
from labelvault.cli.contractor_choice import choose
from labelvault.cli.contractor_home import approval_options, approving, contractor_options, opened
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, moment, span
from labelvault.cli.signals import Ending, told_to_end
from labelvault.cli.values import ID_START, ITEM_ID, the_one
from labelvault.contractor import Approving, Contractor, Opening
from labelvault.errors import LabelVaultError, LeaseClosedError, RelayError, RequestTimeoutError, StoreError
from labelvault.wire.ids import ID_BYTES

_TICK_S = 1.0
_CLEAR_LINE = "\r\x1b[2K"
_WIDEST = 100
_RENEW_LEFT = timedelta(minutes=1)
_RENEW_WAIT_S = 1.0
_RENEW_PAUSE_S = 4.0


def add_to(group: click.Group) -> None:
    """Add this module's command to `labelvault contractor`."""
    group.add_command(open_item)


@click.command(
    "open",
    epilog=examples(
        "labelvault contractor open 576429f50825042cda7fff69d5eae683",
        "labelvault contractor open 576429f50825042cda7fff69d5eae683 --to ./task",
        "labelvault contractor open --renew",
    ),
)
@click.argument("item", type=ID_START, required=False, shell_complete=ITEMS)
@click.option("--to", type=click.Path(path_type=Path), metavar="DIR", help="Write the task's files (0600) and return.")
@click.option(
    "--grant",
    type=ID_START,
    shell_complete=JOINED,
    help="Use this grant; its id may be shortened. [default: the newest one]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1, max=600),
    default=30.0,
    show_default=True,
    metavar="S",
    help="How many seconds to wait for the issuer's answer.",
)
@click.option(
    "--offline/--online",
    default=None,
    help="Use a lease that was issued ahead, or ask the issuer. [default: a lease that is at hand, else ask]",
)
@click.option(
    "--renew",
    is_flag=True,
    help="Renew before the time is over. Each renewal counts as an opening in the grant's total and hourly limits.",
)
@approval_options
@contractor_options
def open_item(
    item: str | None,
    to: Path | None,
    renew: bool,
    grant: str | None,
    timeout: float,
    offline: bool | None,
    approval_timeout: float,
    approvals: Path | None,
    home: Path,
    passphrase: Passphrase,
    out: Output,
) -> None:
    """Open the task ITEM and show it with what it requires, until Enter, Ctrl-C or the end of its time.

    The id may be shortened where this home has opened the task before. Without it, choose from what is at hand.
    The key and the text live in a process of their own, which exits before the receipt says so. With --to the
    files stay until `labelvault contractor close LEASE`. With --json the text is not shown.
    """
    with opened(home, passphrase) as me:
        task, grant_id = choose(me, out) if item is None else _task(me, item), _grant(me, grant)
        if not offline:
            out.note("Asking the issuer...")
        ways = approving(out, approval_timeout, approvals)
        opening = me.begin(task, timeout_s=timeout, grant_id=grant_id, output=to, offline=offline, approving=ways)
        facts = {"item": task, "lease": opening.lease_id, "expires_at": opening.expires_at}
        if to is not None:
            out.result(
                {**facts, "state": "open", "folder": to},
                f"Wrote to {to}, until {moment(opening.expires_at)}.",
                f"When you are done: labelvault contractor close {opening.lease_id.hex()}",
            )
            return
        try:
            _hold(opening, out, Renewing(opening, out, ways) if renew else None)
        finally:
            opening.close()
    gone = "Closed; the key and the text are gone."
    if opening.erased != "process-exit":
        gone = "Closed; the key is gone. The file that the text went to is yours to delete, and the receipt says so."
    out.result({**facts, "state": "closed", "erased": opening.erased}, gone)


def _task(me: Contractor, start: str) -> bytes:
    """Return the task's id; a shortened one is looked up among what was opened here."""
    if len(start) >= 2 * ID_BYTES:
        return ITEM_ID.convert(start, None, None)
    return the_one(start, {each.item for each in me.openings()}, "Write all 32 digits of a task that is new here.")


def _grant(me: Contractor, start: str | None) -> bytes | None:
    """Return the grant's id; a whole one that was not joined is left to the library to refuse."""
    if start is None or len(start) == 2 * ID_BYTES:
        return None if start is None else bytes.fromhex(start)
    return the_one(start, {each.grant.message.grant_id for each in me.memberships()})


class Renewing:
    """Renews an open session shortly before its time is over, and says what came of it."""

    def __init__(self, opening: Opening, out: Output, ways: Approving) -> None:
        """Take an open session, and how its desk gets approvals."""
        self._opening = opening
        self._out = out
        self._ways = ways
        self._next_try = 0.0
        self._refused = False

    def look(self) -> None:
        """Renew if it is time to; without an answer the same is asked again, and Enter is heard in between."""
        opening, now = self._opening, time.monotonic()
        left = opening.expires_at - datetime.now(UTC)
        if (
            self._refused
            or now < self._next_try
            or left > min(_RENEW_LEFT, (opening.expires_at - opening.issued_at) / 4)
        ):
            return
        try:
            newer = opening.renew(timeout_s=_RENEW_WAIT_S, approving=self._ways)
        except (RequestTimeoutError, RelayError, StoreError):
            self._next_try = now + _RENEW_PAUSE_S
        except LeaseClosedError:
            raise
        except LabelVaultError as error:
            self._refused = True
            self._out.warn(f"Not renewed, so it ends when its time is over: {error}")
        else:
            what = "; the task was sealed anew meanwhile, open it again to see that" if newer else ""
            self._out.note(f"Renewed until {moment(opening.expires_at)}{what}.")


def _hold(opening: Opening, out: Output, renewing: Renewing | None) -> None:
    with told_to_end() as ending:
        if not out.as_json:
            sys.stdout.flush()
            console = out.out_console
            opening.show(sys.stdout.fileno(), min(console.width, _WIDEST), colour=console.color_system is not None)
        if sys.stderr.isatty():
            out.note("Enter closes. What was shown stays in this terminal's scrollback until you clear it.")
        _count_down(opening, ending, renewing)


def _count_down(opening: Opening, ending: Ending, renewing: Renewing | None) -> None:
    """Wait for Enter, the end of input, a signal, or the lease's end; show the time left on a terminal."""
    terminal = sys.stderr.isatty()
    inputs = [sys.stdin.fileno()]
    try:
        while not ending.asked and (left := (opening.expires_at - datetime.now(UTC)).total_seconds()) > 0:
            if terminal:
                sys.stderr.write(f"{_CLEAR_LINE}{span(timedelta(seconds=left))} left ")
                sys.stderr.flush()
            if renewing is not None:
                renewing.look()
            if not opening.alive:
                return
            if ending.wait(inputs, min(_TICK_S, left)):
                os.read(inputs[0], 4096)
                return
    finally:
        if terminal:
            sys.stderr.write(_CLEAR_LINE)
            sys.stderr.flush()
