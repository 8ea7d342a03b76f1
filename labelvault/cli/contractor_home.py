"""What every contractor command starts with: a home, a passphrase, an open contractor."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from labelvault.cli.options import Passphrase, home_option, json_option, passphrase_options
from labelvault.cli.output import Output
from labelvault.contractor import Approving, Contractor, FolderDevice, PresenceDevice, find_agent
from labelvault.contractor.approval import APPROVAL_WAIT_S
from labelvault.wire.presence import ApprovalRequest

_F = TypeVar("_F", bound=Callable[..., Any])


def contractor_options(command: _F) -> _F:
    """Add `--home`, the passphrase's sources, `--no-agent` and `--json`."""

    @click.option("--no-agent", is_flag=True, help="Ask for the passphrase, also where an agent is running.")
    @functools.wraps(command)
    def wrapped(*args: Any, no_agent: bool, passphrase: Passphrase, **kwargs: Any) -> Any:
        passphrase.agent = not no_agent
        return command(*args, passphrase=passphrase, **kwargs)

    return home_option("contractor")(passphrase_options(json_option(cast(_F, wrapped))))


@contextmanager
def opened(home: Path, passphrase: Passphrase) -> Iterator[Contractor]:
    """Open the contractor of a home, by its agent where one runs and no passphrase is given, and close it again."""
    agent = find_agent(home) if passphrase.agent and not passphrase.given else None
    with Contractor.open(home, passphrase.read() if agent is None else agent) as me:
        yield me


def device_options(command: _F) -> _F:
    """Add `--home` (a presence device's), the passphrase's sources and `--json`."""
    return home_option("device")(passphrase_options(json_option(command)))


@contextmanager
def opened_device(home: Path, passphrase: Passphrase) -> Iterator[PresenceDevice]:
    """Open the presence device of a home and close it again."""
    with PresenceDevice.open(home, passphrase.read()) as device:
        yield device


def approval_options(command: _F) -> _F:
    """Add how a desk reaches its presence device."""
    wait = click.option(
        "--approval-timeout",
        type=click.FloatRange(min=0.1, max=APPROVAL_WAIT_S),
        default=APPROVAL_WAIT_S,
        show_default=True,
        metavar="S",
        help="Desks: how many seconds to wait for a person at the presence device.",
    )
    folder = click.option(
        "--approvals",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Desks: ask through this folder, which the device reaches too. [default: through the vault]",
    )
    return wait(folder(command))


def approving(
    out: Output, timeout_s: float, folder: Path | None, given_up: Callable[[], bool] = lambda: False
) -> Approving:
    """Return how a desk gets its approvals, and tells people to give them."""

    def told(request: ApprovalRequest) -> None:
        how = "labelvault contractor approve"
        if folder is not None:
            how = f"{how} FILE.ask -o FILE.approval, with the file in {folder}"
        out.note(f"Approve on the device: {how} (waiting {timeout_s:g} s)")

    way = None if folder is None else FolderDevice(folder, given_up)
    return Approving(way, timeout_s, told, given_up)
