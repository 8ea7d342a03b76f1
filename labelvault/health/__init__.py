"""What a doctor looks at on any actor's machine: Python, packages, what runs at start-up, files, disk, clock.

Values in and out; nothing is changed, sent or printed, and no key is loaded. Each actor's own checks are in its room.
May import nothing of this library but `labelvault.errors`, so that a vendor's process can use it.
"""

from labelvault.health.checks import Check, guarded, ok, problem, warning

__all__ = ["Check", "guarded", "ok", "problem", "warning"]
