"""`labelvault doctor`: looks at every home that there is."""

from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Final

import click

from labelvault.cli.doctor_view import exit_code, home_facts, shown
from labelvault.cli.exits import UNWELL
from labelvault.cli.options import examples, json_option
from labelvault.cli.output import Output
from labelvault.health import Check
from labelvault.health.machine import machine

_EXAMINERS: Final = {
    "client": "labelvault.cli.client_doctor",
    "vendor": "labelvault.cli.vendor_doctor",
    "contractor": "labelvault.cli.contractor_doctor",
}


@click.command(epilog=examples("labelvault doctor", "labelvault doctor --homes ./played --json"))
@click.option(
    "--homes",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the homes client, vendor and contractor are. [default: ~/.labelvault]",
)
@json_option
def command(homes: Path | None, out: Output) -> int:
    """Look whether the homes on this machine, the machine itself and the way to the vault are in order.

    Asks for no passphrase and changes nothing. `labelvault client doctor`, `vendor doctor` and `contractor doctor` look
    at one home, and deeper with a passphrase. Exits with 10 if there is a problem; warnings are none.
    """
    folder = homes if homes is not None else Path.home() / ".labelvault"
    now = datetime.now(UTC)
    found: dict[str, list[Check]] = {}
    for actor, module in _EXAMINERS.items():
        if (folder / actor).is_dir():
            examine: Callable[[Path, datetime], list[Check]] = import_module(module).examine
            found[actor] = examine(folder / actor, now)
    if not found:
        checks = machine(now, None)
        out.result(
            {"ok": exit_code(checks) == 0, "homes": [], "machine": home_facts("machine", folder, checks)["checks"]},
            *shown("This machine", checks),
            f"There is no home in {folder}; labelvault client init, vendor init or contractor init makes one.",
        )
        return exit_code(checks)
    facts = [home_facts(actor, folder / actor, checks) for actor, checks in found.items()]
    code = max(exit_code(checks) for checks in found.values())
    parts = [
        part for actor, checks in found.items() for part in shown(f"{actor.capitalize()} in {folder / actor}", checks)
    ]
    out.result({"ok": code != UNWELL, "homes": facts}, *parts)
    return code
