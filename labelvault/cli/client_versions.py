"""`labelvault client diff` and `restore-version`: old versions of an item, compared and made current again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from labelvault.cli.client_home import client_options, opened
from labelvault.cli.completion import PROJECTS
from labelvault.cli.listing import Listing
from labelvault.cli.options import Passphrase, examples
from labelvault.cli.output import Output, cell, size, table
from labelvault.client import ComparedVersion, VersionComparison

_STYLES: Final = {"+": "green", "-": "red", "@": "cyan"}
_VERSION: Final = click.IntRange(min=1, max=10**9)


def add_to(group: click.Group) -> None:
    """Add this module's commands to `labelvault client`."""
    group.add_command(diff)
    group.add_command(restore_version)


@click.command(
    epilog=examples(
        "labelvault client diff eval rubrics/score.md 1", "labelvault client diff eval rubrics/score.md 1 2 --json"
    )
)
@click.argument("name", metavar="PROJECT", shell_complete=PROJECTS)
@click.argument("item")
@click.argument("old", type=_VERSION)
@click.argument("new", type=_VERSION, required=False)
@client_options
def diff(name: str, item: str, old: int, new: int | None, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Compare version OLD of ITEM with NEW, or with the current one.

    ITEM is an id, a path or a name. Texts are shown as a unified diff, which is plaintext; anything else, and what is
    longer than 1 MiB or 10,000 lines, by sizes and hashes.
    """
    with opened(home, passphrase) as client:
        project = client.project(name)
        found = project.compare(project.find(item), old, new)
    facts = {
        "project": name,
        "item": found.item,
        "source": found.source,
        "old": _facts(found.old),
        "new": _facts(found.new),
        "same_content": found.same_content,
        "diff": None if found.diff is None else list(found.diff),
    }
    out.result(facts, *_shown(found))
    for line in found.diff or () if not out.as_json else ():
        # One line a line, whatever the width: folded, it could not be told which mark begins one.
        out.out_console.print(cell(line, _STYLES.get(line[:1], "")), soft_wrap=True)


@click.command("restore-version", epilog=examples("labelvault client restore-version eval rubrics/score.md 1"))
@click.argument("name", metavar="PROJECT", shell_complete=PROJECTS)
@click.argument("item")
@click.argument("version", type=_VERSION)
@client_options
def restore_version(name: str, item: str, version: int, home: Path, passphrase: Passphrase, out: Output) -> None:
    """Make an old VERSION of ITEM current: read it back from the vault, check it, and seal it as a new version.

    ITEM is an id, a path or a name. No backup is read, and the project folder is not touched.
    """
    with opened(home, passphrase) as client:
        project = client.project(name)
        done = project.restore_version(project.find(item), version)
    facts = {
        "project": name,
        "item": done.item,
        "source": done.source,
        "file": done.path,
        "restored": done.restored,
        "version": done.version,
        "size": done.size,
    }
    out.result(facts, f"{done.source}: version {done.restored} is current again, as version {done.version}")
    again = f"labelvault client export {name} DIR --version-of {done.item.hex()}:{done.version}"
    out.note(
        f"{done.path} in the project folder is as it was. If its content differs, the next `client seal` seals that as"
        f" changed. To keep this version, put it there too: {again}"
    )


def _facts(version: ComparedVersion) -> dict[str, object]:
    return {
        "version": version.version,
        "name": version.name,
        "media_type": version.media_type,
        "size": version.size,
        "sha256": version.sha256,
        "labels": dict(version.labels),
        "requires": [each.hex() for each in version.requires],
    }


def _shown(found: VersionComparison) -> Iterator[Listing | str]:
    yield table(
        f"Versions of {found.source}",
        ["", "version#", "size#", "media type", "sha-256"],
        [_row("old", found.old), _row("new", found.new)],
    )
    changed = [
        what
        for what, differs in (
            ("name", found.old.name != found.new.name),
            ("media type", found.old.media_type != found.new.media_type),
            ("labels", found.old.labels != found.new.labels),
            ("what it requires", found.old.requires != found.new.requires),
            ("content", not found.same_content),
        )
        if differs
    ]
    yield f"Changed: {', '.join(changed) or 'nothing'}"


def _row(which: str, version: ComparedVersion) -> tuple[object, ...]:
    return which, version.version, size(version.size), version.media_type, version.sha256.hex()
