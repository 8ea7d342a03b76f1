"""What the attacker is told to look for: every text and name of the project, one file an item."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from labelvault.client.importing import ProjectFolder

ItemName: TypeAlias = tuple[str, str]
"""Kind and name."""
NAMES_FILE: Final = "names.txt"


@dataclass(frozen=True, slots=True)
class Text:
    """One item's content, as it was sealed."""

    owner: ItemName
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Told:
    """A folder of known plaintext for one drill.

    Attributes:
        folder: what the drill is given.
        owners: label in the drill's report to the item; None for names that belong to no item.
    """

    folder: Path
    owners: dict[str, ItemName | None]

    def explained(self, labels: Iterable[str], stated: set[ItemName]) -> bool:
        """Tell whether a find may come from a stated item: several items may share a run of bytes."""
        return any(self.owners.get(label) in stated for label in labels)

    def describe(self, labels: Iterable[str]) -> str:
        """Return the names of the items that labels belong to."""
        owners = [(self.owners.get(label), label) for label in labels]
        return " or ".join(dict.fromkeys(owner[1] if owner is not None else label for owner, label in owners))


class Known:
    """Everything that a project's plaintext consists of."""

    def __init__(self, project: Path, other_names: Sequence[str]) -> None:
        """Read it.

        Args:
            project: the project's source folder.
            other_names: names that the client uses and the vendor must not learn: projects, contractors.
        """
        self._texts: list[Text] = []
        self._names: dict[str, ItemName | None] = dict.fromkeys(map(_line, other_names))
        for item in ProjectFolder(project).items():
            owner = (item.kind, item.name)
            self._texts.append(Text(owner, item.content))
            self._names.setdefault(_line(item.name), owner)
            if item.batch is not None:
                self._names.setdefault(_line(item.batch), None)

    def owner_of(self, content: bytes) -> ItemName | None:
        """Return whose content this is, all of it."""
        return next((text.owner for text in self._texts if text.content == content), None)

    def write(self, folder: Path, first: set[ItemName]) -> Told:
        """Write what one drill is told.

        Args:
            folder: made, mode 0700.
            first: items whose files come first in order: of a run of bytes that very many items share, the
                drill names the first ones only.
        """
        folder.mkdir(mode=0o700)
        owners: dict[str, ItemName | None] = {}
        ordered = sorted(self._texts, key=lambda text: text.owner not in first)
        for number, text in enumerate(ordered):
            label = f"text-{number:06}"
            (folder / label).write_bytes(text.content)
            owners[label] = text.owner
        (folder / NAMES_FILE).write_text("".join(f"{name}\n" for name in self._names), encoding="utf-8")
        for line, owner in enumerate(self._names.values(), 1):
            owners[f"{NAMES_FILE}:{line}"] = owner
        return Told(folder, owners)


def _line(name: str) -> str:
    """Keep a name on one line: a name with a line break is looked for up to it."""
    return (name.splitlines() or [""])[0]
