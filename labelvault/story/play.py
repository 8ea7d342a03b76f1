"""The story from end to end: a project is sealed, tasks are opened and closed, and then everything is stolen."""

import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

from labelvault.errors import OutputError
from labelvault.story.acts import Play
from labelvault.story.findings import Findings, Incident
from labelvault.story.incident import Breach
from labelvault.story.telling import Event, Tell
from labelvault.story.thefts import Tamper

EXAMPLE: Final = Path(__file__).parent / "example"
"""The labeling project that ships with the package."""


def run(
    project: Path = EXAMPLE,
    *,
    keep: Path | None = None,
    tell: Tell | None = None,
    tamper: Tamper | None = None,
) -> Findings:
    """Play the story.

    Args:
        project: the folder to seal: with at least three tasks.
        keep: a new or empty directory that holds one folder an actor afterwards: `client/`, `vendor/`,
            `contractor/`, `desk/`, `desk-8/`, `phone/`, and what was stolen and found: `thief/`, `drill/`. By
            default all is removed.
        tell: gets every event as it happens.
        tamper: see `labelvault.story.thefts.Tamper`; tests plant leaks with it.

    Raises:
        StoryError: `keep` is not empty, the project has too few tasks, or a command did something else than
            it should have.
    """
    begun = time.monotonic()
    with ExitStack() as cleanup:
        play = Play(_folder(keep, cleanup), project.absolute(), tell or _unheard, tamper, cleanup)
        play.perform()
        return Findings(
            sealed_items=play.sealed,
            sealed_again=play.sealed_again,
            vault_bytes=play.vault_bytes,
            denials=tuple(play.denials),
            thefts=tuple(play.thefts),
            answers=play.answers,
            to_pay=play.to_pay,
            seconds=time.monotonic() - begun,
        )


def run_incident(
    project: Path = EXAMPLE, *, keep: Path | None = None, tell: Tell | None = None, tamper: Tamper | None = None
) -> Incident:
    """Play a breach and its containment.

    Args:
        project: the folder to seal: with at least three tasks.
        keep: a new or empty directory, as for `run`; `report/` in it has what the day leaves behind.
        tell: gets every event as it happens.
        tamper: see `labelvault.story.thefts.Tamper`; tests plant leaks with it.

    Raises:
        StoryError, OutputError, ProjectError: as `run`.
    """
    begun = time.monotonic()
    with ExitStack() as cleanup:
        breach = Breach(_folder(keep, cleanup), project.absolute(), tell or _unheard, tamper, cleanup)
        return replace(breach.perform(), seconds=time.monotonic() - begun)


def _folder(keep: Path | None, cleanup: ExitStack) -> Path:
    """Return the folder to play in: a new one that goes with the story, or the one to keep.

    Raises:
        OutputError: the one to keep is not empty.
    """
    if keep is None:
        return Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix="labelvault-demo-")))
    folder = keep.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{keep} is not a new or empty directory")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _unheard(event: Event) -> None:
    """Listen to nothing."""
