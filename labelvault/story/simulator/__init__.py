"""The whole world in one process, with a thief in it, and the rules of what he may read.

Actors with real homes and databases, a clock that is set, vendors whose hosts are the thief's; he tries every key that
he has on every byte that he has. What `labelvault.story.world` plays with commands and processes, slowly, is played
here some hundred times a second, so that it can be played at random and each step be judged.
"""

from labelvault.story.simulator.acts import PROMPT, Acts, Mail
from labelvault.story.simulator.host import Host
from labelvault.story.simulator.places import Clock, Device, Lab, OwnClock, Start
from labelvault.story.simulator.rules import Rules, Version
from labelvault.story.simulator.thefts import Crook
from labelvault.story.simulator.thief import Thief
from labelvault.story.simulator.world import Simulator

__all__ = [
    "PROMPT",
    "Acts",
    "Clock",
    "Crook",
    "Device",
    "Host",
    "Lab",
    "Mail",
    "OwnClock",
    "Rules",
    "Simulator",
    "Start",
    "Thief",
    "Version",
]
