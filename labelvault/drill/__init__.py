"""The attacker: what can be read with copies of stolen folders and captures of live processes.

Runs as a process of its own (`python -m labelvault.drill`). It has all public code, but none of the client's: what it
opens, it opens with keys that it found. It looks for the 32-byte secrets that exist here (DEKs, seeds of one-time keys
and of identities), raw or as text; it does not look for keys that libraries derive from them while they work.
May import: `labelvault.errors`, `labelvault.crypto`, `labelvault.wire`, `labelvault.envelope`, `labelvault.keys`.
"""

from labelvault.drill.attack import run
from labelvault.drill.report import Finding, KeyFound, KnownText, Opened, TextHit

__all__ = ["Finding", "KeyFound", "KnownText", "Opened", "TextHit", "run"]
