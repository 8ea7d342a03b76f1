"""One thing that was looked at, what was found, and how to mend it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from labelvault.errors import LabelVaultError

Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Check:
    """What one look came to.

    Attributes:
        name: what was looked at, in one or two words.
        verdict: `problem` where something does not work or is not safe, `warning` where it may soon not be.
        found: in one sentence.
        mend: what to do, in one sentence; empty where all is well.
    """

    name: str
    verdict: Verdict
    found: str
    mend: str = ""


def ok(name: str, found: str) -> Check:
    """Say that all is well."""
    return Check(name, "ok", found)


def warning(name: str, found: str, mend: str) -> Check:
    """Say that something deserves a look."""
    return Check(name, "warning", found, mend)


def problem(name: str, found: str, mend: str) -> Check:
    """Say that something does not work, or is not safe."""
    return Check(name, "problem", found, mend)


def guarded(name: str, look: Callable[[], Check], mend: str) -> Check:
    """Make a look, and turn what the library refuses on the way into a problem that says so.

    Args:
        name: of the check.
        look: makes it.
        mend: what to do if the error doesn't say.
    """
    try:
        return look()
    except LabelVaultError as error:
        return problem(name, str(error), error.next_step or mend)
    except OSError as error:
        return problem(name, f"{error.strerror}: {error.filename}" if error.filename else str(error), mend)
