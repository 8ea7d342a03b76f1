"""`labelvault contractor init`, `card`, `join`, `list` and `close`: the home, and what it holds."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from labelvault.cli.completion import LEASES
from labelvault.cli.contractor_home import contractor_options, opened
from labelvault.cli.contractor_submit import submission_facts, submissions_table
from labelvault.cli.files import read_input, read_text, write_output
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, cell, facts_table, moment, span, table
from labelvault.cli.prompts import ask_fingerprint
from labelvault.cli.values import ID_START, PUBLIC_KEY, the_one
from labelvault.contractor import Contractor, HeldLease, Membership, OpeningRecord
from labelvault.contractor.presence_desks import check_words
from labelvault.crypto.verify import SIGNATURE_BYTES
from labelvault.keys.cards import read_card
from labelvault.wire.ids import parse_hex_id
from labelvault.wire.tiers import STATEMENTS


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault contractor`."""
    for each in (init, card, join, list_openings, close):
        group.add_command(each)


@click.command(
    epilog=examples(
        'labelvault contractor init --label "ada\'s laptop"',
        "labelvault contractor init --label desk-7 --tier desk \\\n"
        "    --presence-key \\\n"
        "    8f14e45fceea167a5a36dedd4bea2543f1d3b7a1c5d1e8b0a9f6c2d4e7b31a05",
    )
)
@click.option(
    "--tier",
    type=click.Choice(["helper", "desk"]),
    default="helper",
    show_default=True,
    help="helper: your own device. desk: a machine at the vendor, on which others can look.",
)
@click.option("--label", required=True, help="What to call this machine; the client sees it.")
@click.option(
    "--presence-key",
    type=PUBLIC_KEY,
    metavar="KEY",
    help="Desks: the key that labelvault contractor device init shows on your own device.",
)
@contractor_options
def init(tier: str, label: str, presence_key: bytes | None, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Create this contractor's identity, for one client.

    A desk without a presence key is refused by clients that don't waive presence.
    """
    if presence_key is not None:
        _init_desk(tier, label, presence_key, home, passphrase, out)
        return
    with Contractor.create(home, passphrase.read(new=True), tier=tier, label=label) as me:
        facts = {"home": home, "tier": tier, "label": label, "fingerprint": me.card_fingerprint}
    out.result(
        facts,
        facts_table([("home", home), ("tier", tier), ("fingerprint", me.card_fingerprint)]),
        "Next: labelvault contractor card -o FILE, send the file to the client, and read it the fingerprint.",
    )


def _init_desk(tier: str, label: str, presence_key: bytes, home: Path, passphrase: Passphrase, out: Output) -> None:
    if tier != "desk":
        raise click.UsageError("--presence-key is for --tier desk: a helper is the contractor's own device")
    with Contractor.create(home, passphrase.read(new=True), tier=tier, label=label, presence_key=presence_key):
        check = check_words(presence_key)
    out.result(
        {"home": home, "tier": tier, "label": label, "presence_key": presence_key, "check": check},
        facts_table([("home", home), ("tier", tier), ("check words", check)]),
        "The device shows the same check words, or the key was mistyped: then remove this home and start again.",
        "Next: labelvault contractor card --draft -o desk.draft; then, on the device: labelvault contractor device"
        " cosign desk.draft -o desk.cosignature.",
    )


@click.command(
    epilog=examples(
        "labelvault contractor card -o ada.card",
        "labelvault contractor card --draft -o desk.draft",
        "labelvault contractor card --cosigned desk.cosignature -o desk.card",
    )
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Where to write it.")
@click.option("--draft", is_flag=True, help="Desks: write what the presence device has to cosign.")
@click.option(
    "--cosigned",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Desks: finish the card with what the presence device wrote.",
)
@contractor_options
def card(output: Path, draft: bool, cosigned: Path | None, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Write the card that the client enrols; it holds no secret. Read the client its fingerprint.

    A desk with a presence device makes it in two steps, and its fingerprint is read from that device.
    """
    if draft and cosigned is not None:
        raise click.UsageError("give --draft or --cosigned, not both")
    with opened(home, passphrase) as me:
        if draft:
            write_output(output, me.draft())
            out.result(
                {"draft": output},
                f"Wrote {output}.",
                f"Next: on the device, labelvault contractor device cosign {output.name} -o desk.cosignature.",
            )
            return
        if cosigned is not None:
            me.finish_card(parse_hex_id(read_text(cosigned), SIGNATURE_BYTES))
        write_output(output, me.card())
        fingerprint, by_device = me.card_fingerprint, read_card(me.card()).message.presence_key is not None
    facts = {"card": output, "fingerprint": fingerprint}
    shown = f"Fingerprint: {fingerprint}"
    if by_device:
        shown = f"Next: on the device, labelvault contractor device card {output.name}; read its words to the client."
    out.result(facts, f"Wrote {output}.", shown)


@click.command(epilog=examples("labelvault contractor join ada.invite"))
@click.argument("invite", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--fingerprint", metavar="WORDS", help="The client's fingerprint, as the client reads it out.")
@contractor_options
def join(invite: Path, fingerprint: str | None, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Join with the client's INVITE, checked against the client's fingerprint; binds this home to it."""
    with opened(home, passphrase) as me:
        # A home that has joined keeps the client's key pinned: a further invite is checked against that.
        spoken = ask_fingerprint(fingerprint, "the client") if me.joined is None else fingerprint
        joined = me.join(read_input(invite), fingerprint=spoken)
    statement = STATEMENTS[joined.presence]
    out.result({**_membership_facts(joined), "statement": statement}, _membership(joined), statement)


def _membership_facts(joined: Membership) -> dict[str, Any]:
    return {
        "client": joined.client,
        "project_id": joined.project,
        "grant": joined.grant.message.grant_id,
        "tier": joined.tier,
        "presence": joined.presence,
        "expires_at": joined.expires_at,
        "vault": joined.vault,
    }


def _membership(joined: Membership) -> Any:
    left = span(joined.expires_at - datetime.now(UTC))
    return facts_table(
        [
            ("client", joined.client.hex()),
            ("grant", joined.grant.message.grant_id.hex()),
            ("tier", joined.tier),
            ("presence", joined.presence),
            ("access until", f"{moment(joined.expires_at)} ({left})"),
            ("vault", joined.vault),
        ]
    )


@click.command("list", epilog=examples("labelvault contractor list", "labelvault contractor list --json"))
@contractor_options
def list_openings(home: Path, passphrase: Passphrase, out: Output) -> None:
    """List the grants that were joined, newest first, what was opened here, with the time that is left, and answers."""
    now = datetime.now(UTC)
    with opened(home, passphrase) as me:
        grants = me.memberships()
        openings, answers, held = me.openings(), me.submissions(), me.ahead.leases()
    facts = {
        "at_hand": [{"item": each.outer.item, "expires_at": each.outer.expires_at} for each in held],
        "joined": _membership_facts(grants[0]) if grants else None,
        "grants": [_membership_facts(each) for each in grants],
        "openings": [opening_facts(each, now) for each in openings],
        "submissions": [submission_facts(each) for each in answers],
    }
    out.result(
        facts,
        *([_membership(grants[0]), _grants(grants, now)] if grants else ["Not joined yet."]),
        _openings(openings, now),
        *([_at_hand(held, now)] if held else []),
        *([submissions_table(answers)] if answers else []),
    )


def _at_hand(held: list[HeldLease], now: datetime) -> Any:
    rows = [(each.outer.item, span(each.outer.expires_at - now)) for each in held]
    return table("Leases at hand", ["task", "left"], rows)


def _grants(grants: list[Membership], now: datetime) -> Any:
    return table(
        "Grants",
        ["grant", "project", "state", "left", "open at once#", "in all#", "an hour#"],
        [
            (
                each.grant.message.grant_id,
                each.project,
                _state(each, now),
                span(each.expires_at - now),
                each.grant.message.limits.max_open,
                each.grant.message.limits.max_total,
                each.grant.message.limits.per_hour,
            )
            for each in grants
        ],
    )


def _state(joined: Membership, now: datetime) -> Any:
    if joined.expires_at <= now:
        return cell("expired", "red")
    return cell("not begun", "magenta") if joined.grant.message.not_before > now else cell("active", "green")


def opening_facts(record: OpeningRecord, now: datetime) -> dict[str, Any]:
    """Return an opening for JSON: ids and times only."""
    return {
        "lease": record.lease_id,
        "item": record.item,
        "state": record.state,
        "opened_at": record.opened_at,
        "expires_at": record.expires_at,
        "left_s": max(0, int((record.expires_at - now).total_seconds())) if record.state == "open" else 0,
        "folder": record.folder,
        "erased": record.erased,
    }


def _openings(openings: list[OpeningRecord], now: datetime) -> Any:
    return table(
        "Openings",
        ["state", "left", "item", "lease", "files", "erased"],
        [
            (
                cell(each.state, "bold magenta" if each.state == "open" else "green"),
                span(each.expires_at - now) if each.state == "open" else "",
                each.item,
                each.lease_id,
                each.folder or "",
                each.erased or "",
            )
            for each in openings
        ],
    )


@click.command(epilog=examples("labelvault contractor close 5b9df688"))
@click.argument("lease", metavar="LEASE", type=ID_START, shell_complete=LEASES)
@contractor_options
def close(lease: str, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Close an opening that wrote files: erase them and tell the client. The id may be shortened."""
    with opened(home, passphrase) as me:
        found = the_one(lease, (each.lease_id for each in me.openings()))
        me.close_opening(found)
        erased = next(each.erased for each in me.openings() if each.lease_id == found)
    out.result({"lease": found, "state": "closed", "erased": erased}, f"Closed ({erased}).")
