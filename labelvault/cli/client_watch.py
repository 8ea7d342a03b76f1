"""Options of an issuer that runs: who else is told of what it does, and that alarms are shown."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import click

from labelvault.cli.output import Output
from labelvault.client import Client, Event, Issuer, Watch
from labelvault.errors import ClockError

_F = TypeVar("_F", bound=Callable[..., Any])
_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_ABOUT: Final = {"honey": "a decoy", "not-a-task": "an item that is no task"}


@dataclass(slots=True)
class Watching:
    """What the options say.

    Attributes:
        alarms: how many were raised while `over` was open.
    """

    events: Path | None
    metrics: Path | None
    webhook: Path | None
    alarms: int = 0

    @contextmanager
    def over(self, client: Client, issuer: Issuer, out: Output) -> Iterator[Watch]:
        """Watch an issuer until the block ends; a clock that runs behind is told of on its way out."""
        post = None
        if self.webhook is not None:
            from labelvault.cli.webhook import Webhook

            post = Webhook(self.webhook).post

        def show(alarm: Event) -> None:
            self.alarms += 1
            facts = alarm.facts
            out.warn(
                f"ALARM: {facts['contractor']} asked for {_ABOUT[str(facts['about'])]}, {facts['item']};"
                " see: labelvault client ledger show --type alarm"
            )

        watch = Watch(
            client, issuer, events=self.events, metrics=self.metrics, post=post, on_alarm=show, on_fault=out.warn
        )
        try:
            yield watch
        except ClockError as error:
            watch.clock_failed(error)
            raise
        finally:
            watch.close()


def watch_options(command: _F) -> _F:
    """Add `--event-log`, `--metrics` and `--webhook-file`; the command gets a `Watching` as `watching`."""

    @click.option("--event-log", type=_FILE, metavar="FILE", help="Append events for a SIEM there, one JSON a line.")
    @click.option("--metrics", type=_FILE, metavar="FILE", help="Keep numbers there, in the Prometheus text format.")
    @click.option(
        "--webhook-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Post alarms to the address in FILE; 0600.",
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any, event_log: Path | None, metrics: Path | None, webhook_file: Path | None, **kwargs: Any
    ) -> Any:
        return command(*args, watching=Watching(event_log, metrics, webhook_file), **kwargs)

    # click calls by keyword, so what it sees is the command plus three options.
    return cast(_F, wrapped)
