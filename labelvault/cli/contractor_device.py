"""`labelvault contractor device ...`: the contractor's own device that approves what a desk may open."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from labelvault.cli.contractor_home import device_options, opened_device
from labelvault.cli.files import read_input, write_output
from labelvault.cli.groups import Group
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, facts_table, moment, span, table
from labelvault.cli.prompts import ask_fingerprint, ask_whether
from labelvault.contractor import PresenceDevice
from labelvault.wire.framefile import unpack_frames


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault contractor`."""
    group.add_command(device)


@click.group(cls=Group)
def device() -> None:
    """Your own phone or laptop, without which a desk opens nothing: enrol it here, approve with contractor approve."""


@device.command(epilog=examples("labelvault contractor device init"))
@device_options
def init(home: Path, passphrase: Passphrase, out: Output) -> None:
    """Create this device's presence key, for desks of one client."""
    with PresenceDevice.create(home, passphrase.read(new=True)) as made:
        key, check = made.public_key, made.check_words
    out.result(
        {"home": home, "presence_key": key, "check": check},
        facts_table([("home", home), ("presence key", key.hex()), ("check words", check)]),
        "Next: at the desk, labelvault contractor init --tier desk --label LABEL --presence-key KEY; it shows the same"
        " check words.",
    )


@device.command(epilog=examples("labelvault contractor device cosign desk.draft -o desk.cosignature"))
@click.argument("draft", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Where to write the cosignature.")
@click.option("--yes", is_flag=True, help="Don't ask: the desk that is shown is the one.")
@device_options
def cosign(draft: Path, output: Path, yes: bool, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Cosign the DRAFT of a desk's card, after showing whose it is; the desk finishes its card with that."""
    with opened_device(home, passphrase) as me:
        data = read_input(draft)
        shown = me.read_draft(data)
        label, desk = shown.message.host_label, shown.frame.signer
        out.progress_console.print(facts_table([("desk", label), ("its key", desk.hex())]))
        if not yes and not ask_whether("Is this your desk?"):
            raise click.Abort
        write_output(output, me.cosign(data).hex().encode() + b"\n")
    out.result(
        {"desk": desk, "label": label, "cosignature": output},
        f"Wrote {output}.",
        f"Next: at the desk, labelvault contractor card --cosigned {output.name} -o desk.card.",
    )


@device.command(epilog=examples("labelvault contractor device card desk.card"))
@click.argument("card", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@device_options
def card(card: Path, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Take in a desk's finished CARD, and show the fingerprint to read to the client: from here, not from the desk."""
    with opened_device(home, passphrase) as me:
        fingerprint = me.take_card(read_input(card))
    out.result({"fingerprint": fingerprint}, "Read this to the client, from this screen:", fingerprint)


@device.command(epilog=examples("labelvault contractor device join desk.invite"))
@click.argument("invite", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--fingerprint", metavar="WORDS", help="The client's fingerprint, as the client reads it out.")
@device_options
def join(invite: Path, fingerprint: str | None, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Join with the INVITE that the client made for the desk; binds this device to that client."""
    with opened_device(home, passphrase) as me:
        first = not any(desk.memberships for desk in me.desks())
        spoken = ask_fingerprint(fingerprint, "the client") if first else fingerprint
        joined = me.join(read_input(invite), fingerprint=spoken)
    facts = {
        "client": joined.client,
        "project_id": joined.project,
        "desk": joined.grant.message.contractor,
        "grant": joined.grant.message.grant_id,
        "expires_at": joined.expires_at,
        "vault": joined.vault,
    }
    out.result(
        facts,
        facts_table(
            [
                ("client", joined.client.hex()),
                ("desk", joined.grant.message.contractor.hex()),
                ("access until", moment(joined.expires_at)),
                ("vault", joined.vault),
            ]
        ),
        "Next: labelvault contractor approve --watch, while you work at the desk.",
    )


@device.command("list", epilog=examples("labelvault contractor device list"))
@device_options
def list_device(home: Path, passphrase: Passphrase, out: Output) -> None:
    """List this device's desks, the grants that it approves under, and what the client assigned."""
    now = datetime.now(UTC)
    with opened_device(home, passphrase) as me:
        desks, assigned, required = me.desks(), me.assignments(), me.require_assignment
        facts: dict[str, Any] = {
            "presence_key": me.public_key,
            "require_assignment": required,
            "desks": [
                {"desk": desk.key, "label": desk.label, "grants": [m.grant.message.grant_id for m in desk.memberships]}
                for desk in desks
            ],
            "assignments": [
                {"desk": each.contractor, "item": each.item, "label": each.label, "expires_at": each.expires_at}
                for each in assigned
            ],
        }
    labels = {desk.key: desk.label for desk in desks}
    grants = [
        (desk.label, desk.key, m.grant.message.grant_id, span(m.expires_at - now))
        for desk in desks
        for m in desk.memberships
    ]
    out.result(
        facts,
        table("Desks", ["desk", "key", "grant", "left"], grants or [(desk.label, desk.key, "", "") for desk in desks]),
        table(
            "Assigned",
            ["task", "label", "desk", "left"],
            [(each.item, each.label, labels[each.contractor], span(each.expires_at - now)) for each in assigned],
        ),
        f"Approves {'only what is assigned' if required else 'what is not assigned too'}.",
    )


@device.command(
    "set",
    epilog=examples(
        "labelvault contractor device set --require-assignment",
        "labelvault contractor device set --no-require-assignment",
    ),
)
@click.option(
    "--require-assignment/--no-require-assignment",
    required=True,
    help="Approve only tasks that the client assigned; else you can't tell which task a desk asks for.",
)
@device_options
def settings(require_assignment: bool, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Change how this device approves; it stays so."""
    with opened_device(home, passphrase) as me:
        me.require_assignment = require_assignment
    how = "only what the client assigned" if require_assignment else "what is not assigned too"
    out.result({"require_assignment": require_assignment}, f"This device approves {how}.")


@device.command(epilog=examples("labelvault contractor device assignments today.assignments"))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@device_options
def assignments(file: Path, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Take in assignments from a FILE that labelvault client assign -o wrote; the vault brings them otherwise."""
    with opened_device(home, passphrase) as me:
        taken = me.take_assignments(unpack_frames(read_input(file)))
    out.result(
        {"assigned": [each.item for each in taken]},
        table("Assigned", ["task", "label", "until"], [(e.item, e.label, moment(e.expires_at)) for e in taken]),
    )
