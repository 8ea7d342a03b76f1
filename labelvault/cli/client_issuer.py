"""`labelvault client issuer run` and `client ledger verify|export`."""

from pathlib import Path

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.client_watch import Watching, watch_options
from labelvault.cli.exits import ALARM, OK
from labelvault.cli.files import read_text, write_output
from labelvault.cli.groups import Group
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, facts_table
from labelvault.cli.signals import told_to_end
from labelvault.cli.values import HexId
from labelvault.client import AnswerReport


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault client`."""
    group.add_command(issuer)
    group.add_command(ledger)


@click.group(cls=Group)
def issuer() -> None:
    """The service that answers contractors' requests; the only place that lets a key out."""


@issuer.command(
    "run",
    epilog=examples(
        "labelvault client issuer run --passphrase-file pass",
        "labelvault client issuer run --once --json",
        "labelvault client issuer run --freeze-on-alarm --event-log events.jsonl \\\n"
        "    --metrics labelvault.prom --webhook-file webhook",
    ),
)
@click.option("--once", is_flag=True, help="Answer what waits in the mailbox, then end.")
@click.option(
    "--freeze-on-alarm", is_flag=True, help="Freeze a project as soon as somebody asks for one of its decoys."
)
@watch_options
@client_options
def issuer_run(
    once: bool, freeze_on_alarm: bool, watching: Watching, home: Path, passphrase: Passphrase, out: Output
) -> int:
    """Answer open requests from the vault's mailbox until Ctrl-C or SIGTERM. A vault that is away is tried again.

    With --json it prints one object for each pass that did something. If there was an alarm, it exits with 11.
    """
    with (
        opened(home, passphrase) as client,
        client.issuer(freeze_on_alarm=freeze_on_alarm) as running,
        watching.over(client, running, out) as watch,
    ):
        if once:
            report = running.answer()
            out.result(_facts(report), _line(report))
        else:
            with told_to_end() as ending, ending.as_event() as stop:
                out.note("Answering; Ctrl-C ends.")
                running.run(
                    stop,
                    on_pass=lambda report: _show(report, out),
                    on_away=lambda error: out.warn(f"{error}; trying again"),
                    on_turn=lambda reached: watch.turn(reachable=reached),
                )
    if not once:
        out.note("Ended.")
    return ALARM if watching.alarms else OK


def _facts(report: AnswerReport) -> dict[str, object]:
    return {
        "released": report.released,
        "denied": dict(report.denied),
        "receipts": report.receipts,
        "submissions": dict(report.submissions),
        "prekeys": report.prekeys,
        "alarms": dict(report.alarms),
        "junk": report.junk,
    }


def _line(report: AnswerReport) -> str:
    denied = ", ".join(f"{count} denied ({code})" for code, count in sorted(report.denied.items()))
    answers = ", ".join(f"{count} answers {verdict}" for verdict, count in sorted(report.submissions.items()))
    parts = [f"{report.released} released", denied, f"{report.receipts} receipts", answers]
    parts += [f"{report.prekeys} bundles of prekeys"] if report.prekeys else []
    parts.append(f"{report.junk} junk")
    return ", ".join(part for part in parts if part)


def _show(report: AnswerReport, out: Output) -> None:
    if report.handled:
        out.result(_facts(report), _line(report))


@click.group(cls=Group)
def ledger() -> None:
    """The append-only record of every release and denial."""


@ledger.command(
    epilog=examples(
        "labelvault client ledger verify -o today.note", "labelvault client ledger verify --against yesterday.note"
    )
)
@click.option(
    "--against",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A checkpoint that was kept (-o): does today's ledger extend it?",
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the checkpoint there, to keep it.")
@client_options
def verify(against: Path | None, output: Path | None, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Recompute the ledger's tree and check its newest checkpoint; those of before a restore, too."""
    older = read_text(against) if against is not None else None
    with opened(home, passphrase) as client:
        summary = client.verify_ledger(older)
        cosigned = client.cosigned()
    if output is not None:
        write_output(output, summary.checkpoint.encode())
    facts = {
        "size": summary.size,
        "origin": summary.origin,
        "checkpoint": summary.checkpoint,
        "verifier_key": summary.verifier_key,
        "consistent_with": against,
        "cosigned": None if cosigned is None else cosigned.size,
        "before": [
            {"size": each.size, "origin": each.origin, "checkpoint": each.checkpoint, "verifier_key": each.verifier_key}
            for each in summary.before
        ],
    }
    rows = [
        ("entries", str(summary.size)),
        ("origin", summary.origin),
        ("verifier key", summary.verifier_key),
    ]
    if cosigned is not None:
        rows.append(("cosigned", f"the first {cosigned.size} entries, by witnesses"))
    rows += [("before a restore", f"{each.size} entries of {each.origin}") for each in summary.before]
    if against is not None:
        rows.append(("extends", str(against)))
    out.result(facts, facts_table(rows), "The ledger holds together.")


@ledger.command(
    epilog=examples(
        "labelvault client ledger export -o ledger.jsonl", "labelvault client ledger export --cosigned -o ledger.jsonl"
    )
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Where to write it.")
@click.option(
    "--epoch", type=HexId(16), metavar="ID", help="An older ledger, from before a restore. [default: the newest]"
)
@click.option("--cosigned", is_flag=True, help="Only as far as witnesses cosigned it, with their lines.")
@client_options
def export(output: Path, epoch: bytes | None, cosigned: bool, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Write the whole ledger and its checkpoint, to be verified offline. It names ids, not texts."""
    with opened(home, passphrase) as client:
        data = client.export_cosigned(epoch) if cosigned else client.export_ledger(epoch)
    write_output(output, data)
    out.result({"export": output, "bytes": len(data)}, f"Wrote {output}: {len(data)} bytes.")
