"""`labelvault contractor prekeys|import|status`: what lets tasks be opened while no issuer is there to ask."""

from datetime import timedelta
from pathlib import Path

import click

from labelvault.cli.contractor_home import contractor_options, opened
from labelvault.cli.files import read_input, write_output
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, moment, table
from labelvault.cli.progress import View, counted, progress_options
from labelvault.cli.values import DURATION


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault contractor`."""
    for each in (prekeys, take, status):
        group.add_command(each)


@click.command(
    epilog=examples(
        "labelvault contractor prekeys -n 50 -o ada.prekeys",
        "labelvault contractor prekeys -n 50 --post",
        "labelvault contractor prekeys --erase",
    )
)
@click.option("-n", "--count", type=click.IntRange(min=1), help="How many: one opens one task, once.")
@click.option("--expires", type=DURATION, default="7d", show_default=True, help="They are erased then; up to 31d.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write what goes to the client.")
@click.option("--post", is_flag=True, help="Send it through the vault.")
@click.option("--erase", is_flag=True, help="Erase all that are left; leases that are sealed to them never open again.")
@progress_options
@contractor_options
def prekeys(
    count: int | None,
    expires: timedelta,
    output: Path | None,
    post: bool,
    erase: bool,
    home: Path,
    passphrase: Passphrase,
    out: Output,
    view: View,
) -> None:
    """Make one-time keys in advance, so that the client can issue leases while this device is away.

    Their private halves stay here, each in an encrypted file that is erased when its task is closed. What is written or
    sent holds no secret.
    """
    if erase:
        if count is not None or output is not None or post:
            raise click.UsageError("--erase goes alone")
        with opened(home, passphrase) as me:
            erased = me.ahead.erase_prekeys()
        out.result({"erased": erased}, f"Erased {erased} prekeys.")
        return
    if count is None:
        raise click.UsageError("say how many: -n N")
    if output is None and not post:
        raise click.UsageError("say where they go: -o FILE, --post, or both")
    with opened(home, passphrase) as me, view.showing("Making") as told:
        data = me.ahead.make_prekeys(count, lifetime=expires, progress=counted(told))
        if output is not None:
            write_output(output, data)
        if post:
            me.ahead.post_prekeys(data)
        left = me.ahead.prekeys_left()
    out.result(
        {"made": count, "left": left, "file": output, "posted": post},
        f"Made {count} prekeys; {left} wait here for leases.",
        *([f"Next: send {output} to the client."] if output is not None else []),
    )


@click.command("import", epilog=examples("labelvault contractor import ada.leases"))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@contractor_options
def take(file: Path, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Take the client's FILE: leases that were issued ahead, and the status without which they don't open."""
    with opened(home, passphrase) as me:
        taken = me.take(read_input(file))
        held = me.ahead.leases()
    if taken.status_older:
        out.warn("the file's status is older than one that was seen here before; it was refused")
    out.result(
        {
            "taken": taken.leases,
            "over": taken.over,
            "status_at": taken.status_at,
            "status_older": taken.status_older,
            "leases": [{"item": each.outer.item, "expires_at": each.outer.expires_at} for each in held],
        },
        table("Ready to open", ["item", "until"], [(h.outer.item.hex(), moment(h.outer.expires_at)) for h in held]),
        f"{taken.leases} leases taken, {taken.over} are over.",
    )


@click.command(epilog=examples("labelvault contractor status"))
@contractor_options
def status(home: Path, passphrase: Passphrase, out: Output) -> None:
    """Fetch the client's newest status from the vault, and list the leases that wait here."""
    with opened(home, passphrase) as me:
        newest = me.ahead.refresh()
        held, left = me.ahead.leases(), me.ahead.prekeys_left()
    known = None if newest is None else newest.message
    out.result(
        {
            "status_at": None if known is None else known.at,
            "next_update": None if known is None else known.next_update,
            "leases": [{"item": each.outer.item, "expires_at": each.outer.expires_at} for each in held],
            "prekeys_left": left,
        },
        "No status is known." if known is None else f"Newest status: {moment(known.at)}.",
        table("Ready to open", ["item", "until"], [(h.outer.item.hex(), moment(h.outer.expires_at)) for h in held]),
        f"{left} prekeys are left.",
    )
