"""What happens in the story, as values: whoever shows it decides how."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from labelvault.story.findings import Theft


@dataclass(frozen=True, slots=True)
class Act:
    """A new part begins."""

    title: str


@dataclass(frozen=True, slots=True)
class Said:
    """One sentence to the reader.

    Attributes:
        text: the sentence.
        warning: it limits what is promised.
    """

    text: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Did:
    """An actor ran a command.

    Attributes:
        actor: who.
        command: as a person would type it.
        outcome: one line.
        refused: the command was refused, as it should be.
        facts: what the command reported.
    """

    actor: str
    command: str
    outcome: str
    refused: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Stolen:
    """A theft was measured."""

    theft: Theft


Event: TypeAlias = Act | Said | Did | Stolen
Tell: TypeAlias = Callable[[Event], None]
