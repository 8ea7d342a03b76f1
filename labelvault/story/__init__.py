"""The world that demo and tests share: all actors as homes and processes of their own, thefts, and the drill.

May import: the facades of all actors, and the drill. Prints nothing; `labelvault.cli` shows what it tells.
"""

from labelvault.story.findings import Findings, Incident, Theft
from labelvault.story.play import EXAMPLE, run, run_incident
from labelvault.story.telling import Act, Did, Event, Said, Stolen
from labelvault.story.world import StoryError

__all__ = [
    "EXAMPLE",
    "Act",
    "Did",
    "Event",
    "Findings",
    "Incident",
    "Said",
    "Stolen",
    "StoryError",
    "Theft",
    "run",
    "run_incident",
]
