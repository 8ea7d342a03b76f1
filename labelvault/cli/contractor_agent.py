"""`labelvault contractor agent ...`: unlock once, for a bounded time."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from labelvault.cli import os_keyring
from labelvault.cli.contractor_home import contractor_options
from labelvault.cli.groups import Group
from labelvault.cli.options import Passphrase, examples, home_option, json_option
from labelvault.cli.output import Output, cell, facts_table, span, table
from labelvault.cli.values import DURATION
from labelvault.contractor import AgentStatus, agent_status, start_agent, stop_agent


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault contractor`."""
    group.add_command(agent)


@click.group(cls=Group)
def agent() -> None:
    """Unlock once: a process that signs for the other commands, for a bounded time, and gives no key out."""


@agent.command(
    epilog=examples(
        "labelvault contractor agent start",
        "labelvault contractor agent start --for 4h --idle 30m",
        "labelvault contractor agent start --keyring",
    )
)
@click.option("--for", "lasts", type=DURATION, default="8h", show_default=True, help="End after this, at most 24h.")
@click.option("--idle", type=DURATION, default="1h", show_default=True, help="End when nothing was asked for so long.")
@click.option("--keyring", is_flag=True, help="Take the passphrase from the operating system's keyring.")
@contractor_options
def start(lasts: timedelta, idle: timedelta, keyring: bool, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Start the agent of this home. Until it ends, whoever is this user can have requests and receipts signed."""
    if keyring and passphrase.given:
        raise click.UsageError("give either --keyring or a passphrase")
    status = start_agent(home, os_keyring.read(home) if keyring else passphrase.read(), lasts=lasts, idle=idle)
    out.result(_facts(status), *_shown(status), "End it: labelvault contractor agent stop")


@agent.command(epilog=examples("labelvault contractor agent stop"))
@home_option("contractor")
@json_option
def stop(home: Path, out: Output) -> None:
    """End the agent, and wait until its process has exited and the key with it."""
    ran = stop_agent(home)
    out.result({"stopped": ran}, "The agent has exited, and the key with it." if ran else "No agent was running.")


@agent.command(epilog=examples("labelvault contractor agent status --json"))
@home_option("contractor")
@json_option
def status(home: Path, out: Output) -> None:
    """Say whether an agent runs, until when, and how far its process is hardened."""
    found = agent_status(home)
    if found is None:
        out.result({"running": False}, "No agent runs: labelvault contractor agent start")
    else:
        out.result(_facts(found), *_shown(found))


def _facts(status: AgentStatus) -> dict[str, Any]:
    return {
        "running": True,
        "pid": status.pid,
        "left_s": status.left_s,
        "idle_left_s": status.idle_left_s,
        "hardening": [{"step": step.name, "done": step.done, "why": step.why} for step in status.hardening],
    }


def _shown(status: AgentStatus) -> tuple[Any, Any]:
    facts = [
        ("process", status.pid),
        ("ends in", span(timedelta(seconds=status.left_s))),
        ("or, if nothing is asked, in", span(timedelta(seconds=status.idle_left_s))),
    ]
    rows = [
        (cell("yes", "green") if step.done else cell("no", "bold magenta"), step.name, step.why)
        for step in status.hardening
    ]
    return facts_table(facts), table("Hardening", ["holds", "step", "why not"], rows)
