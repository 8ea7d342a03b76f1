"""Which tasks the story is about: some that the grant covers, and one that it does not."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from labelvault.errors import ProjectError

PROJECT: Final = "spring evaluation"
"""What the client calls its project; the drill looks for it."""
_LEAST_TASKS = 3
_GRANTED = 4


@dataclass(frozen=True, slots=True)
class Cast:
    """The tasks of the story.

    Attributes:
        scope: options of `client grant` that name what is granted.
        inside: ids of tasks that the grant covers, in hex; at least two.
        outside: the id of one that it doesn't.
        names: id to name.
    """

    scope: tuple[str, ...]
    inside: tuple[str, ...]
    outside: str
    names: dict[str, str]


def choose(items: Sequence[dict[str, Any]]) -> Cast:
    """Choose from what `client ls PROJECT --kind task` lists.

    One whole batch is granted if there are several; else some tasks by their ids.

    Raises:
        ProjectError: there are fewer than three tasks.
    """
    if len(items) < _LEAST_TASKS:
        raise ProjectError(f"the story needs {_LEAST_TASKS} tasks or more, and the project has {len(items)}")
    names = {each["item"]: each["name"] for each in items}
    batch, count = Counter(each["batch"] for each in items).most_common(1)[0]
    others = [each["item"] for each in items if each["batch"] != batch]
    if others and count >= _LEAST_TASKS - 1:
        inside = tuple(each["item"] for each in items if each["batch"] == batch)
        return Cast(("--batch", batch), inside, others[0], names)
    ids = [each["item"] for each in items]
    inside = tuple(ids[: min(_GRANTED, len(ids) - 1)])
    scope = tuple(word for item in inside for word in ("--item", item))
    return Cast(scope, inside, ids[-1], names)
