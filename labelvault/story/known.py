"""What the attacker is told to look for: every text, name and id of the project, one file an item."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from labelvault.client.importing import ProjectFolder

ItemName: TypeAlias = tuple[str, str]
"""Kind and name."""
NAMES_FILE: Final = "names.txt"


@dataclass(frozen=True, slots=True)
class Known:
    """A folder of known plaintext, and which item each of its files, and each line of its names, belongs to.

    Attributes:
        folder: what the drill is given.
        owners: label of the drill's report to the item; None for names that belong to no item.
    """

    folder: Path
    owners: dict[str, ItemName | None]

    def explained(self, labels: list[str], stated: set[ItemName]) -> bool:
        """Tell whether a find may come from a stated item: several items may share a run of bytes."""
        return any(self.owners.get(label) in stated for label in labels)


def write_known(folder: Path, project: Path, other_names: list[str]) -> Known:
    """Write the folder.

    Args:
        folder: made, mode 0700.
        project: the project's source folder.
        other_names: names that the client uses and the vendor must not learn: projects, batches, contractors.
    """
    folder.mkdir(mode=0o700)
    owners: dict[str, ItemName | None] = {}
    names: list[tuple[str, ItemName | None]] = []
    source = ProjectFolder(project)
    for number, item in enumerate(source.items()):
        owner: ItemName | None = (item.kind, item.name)
        label = f"{item.kind}-{number:04}"
        (folder / label).write_bytes(item.content)
        owners[label] = owner
        names.append((item.name, owner))
        if item.batch is not None and (item.batch, None) not in names:
            names.append((item.batch, None))
    names += [(name, None) for name in other_names]
    (folder / NAMES_FILE).write_text("".join(f"{_line(name)}\n" for name, _ in names), encoding="utf-8")
    for line, (_, owner) in enumerate(names, 1):
        owners[f"{NAMES_FILE}:{line}"] = owner
    return Known(folder, owners)


def _line(name: str) -> str:
    """Keep a name on one line: a name with a line break is looked for up to it."""
    return (name.splitlines() or [""])[0]
