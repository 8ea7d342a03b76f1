"""`labelvault client contain`: what an exposure statement calls for, planned with counts, then done, then drilled."""

import csv
import shlex
from pathlib import Path
from typing import Any, Final

import click
from rich.text import Text

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.exits import MORE_THAN_STATED, OK, UNREACHABLE, outcome_of
from labelvault.cli.files import read_input, read_text
from labelvault.cli.listing import Listing
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, cell, moment, size, table
from labelvault.cli.progress import View, progress_options
from labelvault.client import ContainmentFinding, ContainmentPlan, ContainmentReport, Loot, Orders
from labelvault.client.exposure_words import between, count
from labelvault.errors import FormatError

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
_UNITS: Final = {
    "freeze": ("project", "stop all releases of it"),
    "revoke": ("identity", "refuse it everywhere, for good"),
    "drop": ("lease", "have the vault drop leases issued ahead that nobody fetched"),
    "rekey": ("item version", "seal it again under a fresh key, read it back, make it current"),
    "reissue": ("grant", "pass it on to the successor that you named"),
    "unfreeze": ("project", "thaw what this containment froze"),
}
_LIMITS: Final = (
    "Not undone: what was read stays read, and old versions stay readable to whoever has their keys. A vendor can keep"
    " what it should drop and hold back the news: leases issued ahead then open until they end, or until the newest"
    " status on that device is too old."
)
_MOST: Final = 200


def add_to(group: click.Group) -> None:
    """Add this module's command to `labelvault client`."""
    group.add_command(contain)


@click.command(
    epilog=examples(
        "labelvault client contain --statement vendor.statement --dry-run",
        "labelvault client contain --statement vendor.statement --allow d7 d7b \\\n"
        "    --loot ./stolen/vendor --loot ./stolen/desk",
    )
)
@click.option("--statement", required=True, type=_FILE, metavar="FILE", help="From client exposure -o.")
@click.option("--dry-run", is_flag=True, help="Show the plan with counts; change nothing.")
@click.option(
    "--allow",
    nargs=2,
    multiple=True,
    metavar="OLD NEW",
    help="NEW takes over OLD's open work: its grants, with what was left. Repeatable; nobody by default.",
)
@click.option("--allow-file", type=_FILE, metavar="FILE", help="The same as CSV lines: OLD,NEW.")
@click.option("--only-needed", is_flag=True, help="Seal again only what tasks without an accepted answer need.")
@click.option("--unfreeze", is_flag=True, help="At the end, thaw the projects that this containment froze.")
@click.option("--loot", multiple=True, type=_FOLDER, metavar="DIR", help="A stolen folder, for the drill. Repeatable.")
@click.option(
    "--loot-passphrase-file",
    "loot_passphrases",
    multiple=True,
    type=_FILE,
    metavar="FILE",
    help="A stolen passphrase, for the drill. Repeatable.",
)
@click.option(
    "--loot-baseline",
    "baselines",
    multiple=True,
    type=_FILE,
    metavar="FILE",
    help="Memory that never held a secret, to make the drill faster. Repeatable.",
)
@progress_options
@client_options
def contain(
    statement: Path,
    dry_run: bool,
    allow: tuple[tuple[str, str], ...],
    allow_file: Path | None,
    only_needed: bool,
    unfreeze: bool,
    loot: tuple[Path, ...],
    loot_passphrases: tuple[Path, ...],
    baselines: tuple[Path, ...],
    home: Path,
    passphrase: Passphrase,
    out: Output,
    view: View,
) -> int:
    """Contain a breach as an exposure statement has it: freeze, revoke, drop, re-key, re-issue, drill.

    Begin with --dry-run. Interrupted, or failing in part, run it again: it goes on, and does nothing twice. With
    --loot, an attacker gets copies of what was stolen and the vault as it is now, and may open no more than is
    stated: else it exits with 9, and nothing is thawed.
    """
    if (loot_passphrases or baselines) and not loot:
        raise click.UsageError("the drill needs what was stolen: give --loot DIR too")
    listed = allow if allow_file is None else (*allow, *_pairs(allow_file))
    orders, data = Orders(listed, only_needed, unfreeze), read_input(statement)
    with opened(home, passphrase) as client:
        if dry_run:
            plan = client.plan_containment(data, orders)
            out.result({"dry_run": True, **_plan_facts(plan)}, *_plan_shown(plan), "Nothing was changed.")
            return OK
        stolen = Loot(loot, loot_passphrases, baselines) if loot else None
        with view.showing("Re-keying") as progress:
            report = client.contain(data, orders, loot=stolen, progress=progress)
    drill = _command(statement)
    out.result(_facts(report), *_shown(report, drill))
    if not out.as_json:
        _warn(report, out)
    return _code(report)


def _pairs(file: Path) -> list[tuple[str, str]]:
    rows = [row for row in csv.reader(read_text(file).splitlines()) if row]
    if any(len(row) != 2 for row in rows):
        raise FormatError(f"{file}: each line names two contractors, OLD,NEW")
    return [(old.strip(), new.strip()) for old, new in rows]


def _command(statement: Path) -> str:
    return f"labelvault client contain --statement {shlex.quote(str(statement))} --loot DIR"


def _code(report: ContainmentReport) -> int:
    if report.finding is not None and not report.finding.holds:
        return MORE_THAN_STATED
    if report.faults:
        return outcome_of(report.faults[0].error).code
    return OK if report.left.told is True else UNREACHABLE


def _warn(report: ContainmentReport, out: Output) -> None:
    for fault in report.faults:
        out.warn(f"{fault.step}, {fault.what}: {fault.error}")
    if report.left.told is not True:
        out.warn("the vault did not take the news of what is revoked; run this again once it can be reached")
    if report.faults and report.left.freeze:
        out.warn("not all was done, so nothing was thawed; run this again")


# --- the plan ---


def _plan_facts(plan: ContainmentPlan) -> dict[str, Any]:
    statement = plan.statement
    return {
        "surface": statement.surface,
        "start": statement.start,
        "end": statement.end,
        "stated_at": statement.at,
        "complete": statement.complete,
        "later": plan.later,
        "counts": {step: {"to_do": todo, "done": done} for step, (todo, done) in plan.counts.items()},
        "is_done": plan.is_done,
        "told": plan.told,
        "freeze": [{"project": each.project, "frozen": each.frozen, "done": each.done} for each in plan.freeze],
        "revoke": [
            {"contractor": each.contractor, "tier": each.tier, "grants": each.grants, "done": each.done}
            for each in plan.revoke
        ],
        "drop": [
            {"contractor": each.contractor, "leases": each.leases, "until": each.until, "done": each.done}
            for each in plan.drop
        ],
        "rekey": [
            {
                "project": each.project,
                "items": [
                    {"item": item, "version": version, "source": source}
                    for (item, version), source in zip(each.plan.versions, each.plan.sources, strict=True)
                ],
                "payload_bytes": each.plan.payload_bytes,
                "done": each.plan.done,
                "spared": each.spared,
                "missing": each.missing,
            }
            for each in plan.rekey
        ],
        "reissue": [
            {
                "project": each.project,
                "contractor": each.contractor,
                "successor": each.successor,
                "old": each.old,
                "grant": each.grant_id,
                "tasks": list(each.tasks),
                "max_total": each.limits.max_total,
                "expires_at": each.expires_at,
                "done": each.done,
            }
            for each in plan.reissue
        ],
        "unfreeze": list(plan.unfreeze),
        "elsewhere": list(plan.elsewhere),
    }


def _plan_shown(plan: ContainmentPlan, title: str = "Plan") -> list[Listing | Text | str]:
    statement = plan.statement
    shown: list[Listing | Text | str] = [
        f"Surface {statement.surface}, {between(statement.start, statement.end)}; stated {moment(statement.at)}."
    ]
    if plan.later:
        shown.append(cell(f"{count(plan.later, 'item version')} came since the statement was made.", "bold magenta"))
    if not statement.complete:
        shown.append(cell("The statement is incomplete; what the ledger has since is taken in here.", "magenta"))
    rows = [
        (step, todo, done, unit, what)
        for (step, (todo, done)), (unit, what) in zip(plan.counts.items(), _UNITS.values(), strict=True)
    ]
    shown.append(table(title, ["step", "to do#", "done#", "of", "what"], rows))
    shown += _details(plan)
    if plan.elsewhere:
        shown.append(
            f"Grants of these identities end in other projects too: {', '.join(plan.elsewhere)}. State those as well."
        )
    return shown


def _details(plan: ContainmentPlan) -> list[Listing]:
    shown = [
        table(
            "Identities on the surface",
            ["contractor", "tier", "grants#", "state"],
            [(each.contractor, each.tier, each.grants, _state(each.done, "revoked")) for each in plan.revoke],
        )
    ]
    if plan.drop:
        rows = [(each.contractor, each.leases, moment(each.until), _state(each.done, "dropped")) for each in plan.drop]
        shown.append(table("Leases issued ahead, not fetched", ["contractor", "leases#", "until", "state"], rows))
    for step in plan.rekey:
        spared = f", {step.spared} spared" if step.spared else ""
        missing = f", {step.missing} not in this catalog" if step.missing else ""
        if not (step.plan.versions or spared or missing):
            continue
        title = f"{step.project}: to seal again, {size(step.plan.payload_bytes)}{spared}{missing}"
        found = zip(step.plan.sources, step.plan.versions, strict=True)
        shown.append(table(title, ["item", "version#"], [(source, version) for source, (_, version) in found][:_MOST]))
    if plan.reissue:
        handed = [
            (
                each.contractor,
                each.successor,
                len(each.tasks),
                each.limits.max_total,
                moment(each.expires_at),
                each.grant_id if each.done else cell("to do"),
            )
            for each in plan.reissue
        ]
        columns = ["from", "to", "open tasks#", "openings#", "until", "grant"]
        shown.append(table("Passed on", columns, handed))
    return shown


def _state(done: bool, word: str) -> Text:
    return cell(word, "green") if done else cell("to do")


# --- what was done ---


def _facts(report: ContainmentReport) -> dict[str, Any]:
    return {
        "holds": report.holds,
        "frozen": list(report.frozen),
        "revoked": list(report.revoked),
        "rekeyed": [
            {
                "project": name,
                "items": [{"item": item, "version": version} for item, version in done.versions],
                "done": done.done,
            }
            for name, done in report.rekeyed
        ],
        "granted": [{"grant": each.grant_id, "contractor": each.successor} for each in report.granted],
        "thawed": list(report.thawed),
        "faults": [{"step": each.step, "what": each.what, "message": str(each.error)} for each in report.faults],
        "finding": None if report.finding is None else _finding_facts(report.finding),
        "plan": _plan_facts(report.plan),
        "left": _plan_facts(report.left),
    }


def _finding_facts(finding: ContainmentFinding) -> dict[str, Any]:
    return {
        "holds": finding.holds,
        "stated": finding.stated,
        "renewed": finding.renewed,
        "opened": [
            {
                "name": each.name,
                "kind": each.kind,
                "item": each.item,
                "version": each.version,
                "stated": each.stated,
                "current": each.current,
            }
            for each in finding.opened
        ],
        "foreign": finding.foreign,
        "payloads": finding.payloads,
        "leases": finding.leases,
        "candidates": finding.candidates,
        "keys": finding.keys,
    }


def _shown(report: ContainmentReport, drill: str) -> list[Listing | Text | str]:
    sealed = sum(len(done.versions) for _, done in report.rekeyed)
    did = (
        f"This run: {count(len(report.frozen), 'project')} frozen, {len(report.revoked)} revoked,"
        f" {count(sealed, 'item version')} sealed again, {count(len(report.granted), 'grant')} passed on,"
        f" {len(report.thawed)} thawed, {count(len(report.faults), 'fault')}."
    )
    shown = _plan_shown(report.left, "As it is now")
    shown += [Text(), cell(did, "bold"), _LIMITS]
    if frozen := [each.project for each in report.left.freeze if each.frozen]:
        thaw = "; ".join(f"labelvault client unfreeze {shlex.quote(name)}" for name in frozen)
        shown.append(f"Still frozen: {', '.join(frozen)}. When you are content: {thaw}")
    if report.granted:
        invites = ", ".join(f"labelvault client invite {each.grant_id.hex()[:12]} -o FILE" for each in report.granted)
        shown.append(f"Invite who takes over: {invites}")
    if report.finding is None:
        shown.append(cell(f"The drill was not run: it needs copies of what was stolen. {drill}", "magenta"))
    else:
        shown += _finding_shown(report.finding)
    return shown


def _finding_shown(finding: ContainmentFinding) -> list[Listing | Text | str]:
    shown: list[Listing | Text | str] = [Text("\nDrill after containment", style="bold")]
    keys = ", ".join(f"{number} {sort}" for sort, number in sorted(finding.keys.items())) or "none"
    shown.append(
        f"The attacker had {count(finding.payloads, 'sealed payload')} and {count(finding.leases, 'lease')}; tried"
        f" {finding.candidates:,} stretches of bytes as keys; found {keys}."
    )
    if finding.opened:
        rows = [(each.kind, each.name, each.version, _verdict(each.stated, each.current)) for each in finding.opened]
        shown.append(table("Opened", ["kind", "name", "version#", "finding"], rows[:_MOST]))
    if finding.holds:
        shown.append(
            cell(
                f"Opened {len(finding.opened)} of {finding.stated} stated versions, and none of the {finding.renewed}"
                " that took their place.",
                "bold green",
            )
        )
    else:
        shown.append(cell(f"MORE than stated: {count(len(finding.more), 'item version')} opened.", "bold red"))
    return shown


def _verdict(stated: bool, current: bool) -> Text:
    if not stated:
        return cell("NOT stated", "bold red")
    return cell("stated, and still current", "magenta") if current else cell("stated, and replaced")
