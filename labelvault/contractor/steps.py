"""What came of hardening a process, step by step, and how it is told to another process."""

from dataclasses import dataclass
from typing import Any, Final

from labelvault.wire.codec import Value

SWAPPED: Final = "its memory is not swapped"
"""The step that a limit stands in the way of, which people can raise."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step, and what came of it.

    Attributes:
        name: what it brings.
        done: whether it holds now.
        why: if not, why not.
    """

    name: str
    done: bool
    why: str = ""


def facts(steps: tuple[Step, ...]) -> list[Value]:
    """Return steps as plain values, to tell another process; `steps_of` undoes it."""
    return [[step.name, step.done, step.why] for step in steps]


def steps_of(found: list[list[Any]]) -> tuple[Step, ...]:
    """Return the steps that `facts` told."""
    return tuple(Step(str(name), bool(done), str(why)) for name, done, why in found)
