"""What each form of presence promises, in so many words (SECURITY.md, tiers): the same wherever it is said."""

from typing import Final

WAIVED: Final = (
    "Presence is waived: a thief at this desk gets what was open, plus what max_total and rate let through "
    "in the window; max_open never binds a thief."
)
BY_KEY: Final = (
    "Each opening needs an approval on the contractor's own device: a thief at this desk gets what is open there while "
    "he is there, and nothing more without it. Which task an approval opens is certain only where it was assigned."
)
BY_DEVICE: Final = "The vendor's host gets no plaintext: the task opens on the contractor's own device."
STATEMENTS: Final = {"waived": WAIVED, "key": BY_KEY, "device": BY_DEVICE}
"""By a grant's presence."""
