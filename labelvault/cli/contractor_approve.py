"""`labelvault contractor approve`: on the presence device, shows what a desk asks for, and asks a person."""

import os
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click
from rich.table import Table

from labelvault.cli.contractor_home import device_options, opened_device
from labelvault.cli.files import read_input, write_output
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, cell, facts_table, moment, span
from labelvault.cli.prompts import forget_typed
from labelvault.cli.signals import Ending, told_to_end
from labelvault.contractor import PresenceDevice, Question
from labelvault.contractor.presence import Waiting
from labelvault.errors import ApprovalRefusedError
from labelvault.wire.presence import Assignment

_WAIT_S: Final = 1.0
_PAUSE_S: Final = 0.2
_MAX_LINE_BYTES: Final = 4096
_UNKNOWN_TASK: Final = "none: you approve one task, but not which"


def add_to(group: click.Group) -> None:
    """Add this module's command to `labelvault contractor`."""
    group.add_command(approve)


@click.command(
    epilog=examples(
        "labelvault contractor approve",
        "labelvault contractor approve --watch",
        "labelvault contractor approve 1f0c2d3e.ask -o 1f0c2d3e.approval",
    )
)
@click.argument("request", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="With REQUEST: where to write the approval.")
@click.option("--watch", is_flag=True, help="Stay, and ask whenever a desk does, until Ctrl-C.")
@device_options
def approve(
    request: Path | None, output: Path | None, watch: bool, home: Path, passphrase: Passphrase, out: Output
) -> None:
    """Show what a desk of yours asks for, and approve it if you say yes.

    Looks into the vault's mailbox, or at a file REQUEST from the desk. Each approval opens one task and what it
    requires, within five minutes. With --json each question is one line, and the answer, y or n, is one line on stdin.
    """
    if (request is None) != (output is None) or (request is not None and watch):
        raise click.UsageError("give REQUEST and -o FILE together, and no --watch then")
    with opened_device(home, passphrase) as device, told_to_end() as ending:
        asking = Asking(device, out, ending)
        if request is not None and output is not None:
            question = device.examine(read_input(request))
            if asking.agreed(question):
                write_output(output, device.approve(question))
                asking.tell({"event": "approved", "item": question.item, "approval": output}, f"Wrote {output}.")
            return
        asking.look(watch)


class Asking:
    """One person at one device."""

    def __init__(self, device: PresenceDevice, out: Output, ending: Ending) -> None:
        """Ask on behalf of a device, until told to end."""
        self._device = device
        self._out = out
        self._ending = ending
        self._typed = b""
        self._closed = False

    def look(self, watch: bool) -> None:
        """Go through what waits; with `watch`, again and again."""
        self.tell({"event": "ready"}, "Waiting for your desks; Ctrl-C ends." if watch else "")
        met = 0
        while not self._over():
            for waiting in self._device.waiting(wait_s=_WAIT_S if watch else 0.0):
                met += 1
                self._meet(waiting)
                if self._over():
                    return
            if not watch:
                if not met:
                    self.tell({"event": "nothing"}, "Nothing waits for you. Ask at the desk, then look again.")
                return
            self._ending.wait([], _PAUSE_S)

    def _over(self) -> bool:
        return self._ending.asked or self._closed

    def _meet(self, waiting: Waiting) -> None:
        if waiting.assigned is not None:
            each = waiting.assigned
            self.tell(
                {"event": "assigned", "item": each.item, "label": each.label, "expires_at": each.expires_at},
                f"Assigned: {each.item.hex()} ({each.label}), until {moment(each.expires_at)}.",
            )
        elif waiting.question is None:
            if waiting.refused is not None:
                self._out.library_error(waiting.refused)
        elif self.agreed(waiting.question):
            try:
                self._device.send(self._device.approve(waiting.question), waiting)
            except ApprovalRefusedError as error:
                # It took too long, mostly.
                self._out.library_error(error)
            else:
                self.tell({"event": "approved", "item": waiting.question.item}, "Approved, for one opening.")
        elif self._over():
            # Not answered: it may be asked again while it is fresh.
            return
        waiting.done()

    def agreed(self, question: Question) -> bool:
        """Show a question and return whether the person says yes."""
        if sys.stdin.isatty():
            # What was typed before the question is no answer to it.
            forget_typed()
            self._typed = b""
        self.tell({"event": "asked", **_facts(self._device, question)}, _shown(self._device, question))
        if not self._out.as_json:
            sys.stdout.write("Approve? [y/N] ")
            sys.stdout.flush()
        if self._line().strip().lower() in ("y", "yes"):
            return True
        self.tell({"event": "declined", "item": question.item}, "Not approved.")
        return False

    def _line(self) -> str:
        """Read one line; empty at the end of input or when told to end."""
        source = sys.stdin.fileno()
        while b"\n" not in self._typed and not self._over():
            if self._ending.wait([source], 60):
                data = os.read(source, _MAX_LINE_BYTES)
                self._closed = not data
                self._typed = (self._typed + data)[-_MAX_LINE_BYTES:]
        line, _, self._typed = self._typed.partition(b"\n")
        return "" if self._ending.asked else line.decode("utf-8", "replace")

    def tell(self, facts: dict[str, Any], shown: Table | str) -> None:
        """Print one event."""
        self._out.result(facts, *([shown] if shown else []))


def _facts(device: PresenceDevice, question: Question) -> dict[str, Any]:
    assignment = question.assignment
    return {
        "client": question.membership.client,
        "project_id": question.membership.project,
        "desk": question.desk.key,
        "desk_label": question.desk.label,
        "asks": question.request.message.asks,
        "renews": question.renews,
        "item": question.item,
        "assigned": None if assignment is None else assignment.label,
        "approved_at": question.approved_at,
        "approved_before": device.times_approved(question),
    }


def _named(assignment: Assignment) -> str:
    return f"{assignment.label}, until {moment(assignment.expires_at)}"


def _shown(device: PresenceDevice, question: Question) -> Table:
    assignment, grant = question.assignment, question.membership.grant.message
    before = device.times_approved(question)
    if question.request.message.asks == "submission":
        what, lives = "to send one answer", "five minutes for it to be sent"
    else:
        what = "to keep one task open" if question.renews else "to open one task, and what it requires"
        lives = f"five minutes to open it, then at most {span(timedelta(seconds=grant.limits.lease_ttl_s))}"
    rows: list[tuple[str, object]] = [
        # A name may look like a key, so the key has a line of its own.
        ("desk", question.desk.label),
        ("its key", question.desk.key.hex()[:16]),
        ("asks", what),
        ("task", question.item.hex()),
        ("assigned", cell(_UNKNOWN_TASK, "magenta") if assignment is None else _named(assignment)),
        ("client", question.membership.client.hex()[:16]),
        ("project", question.membership.project.hex()),
        ("asked at", moment(question.approved_at)),
        ("lasts", lives),
    ]
    if before:
        rows.append(("before", f"approved {before} time{'s' if before > 1 else ''} for this task at this desk"))
    return facts_table(rows)
