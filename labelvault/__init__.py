"""Labeling projects that stay sealed: scoped, expiring, revocable access, and a host that can read nothing.

Importing this package loads no room of it, starts nothing and reads nothing. Import what you need:
`labelvault.client`, `labelvault.vendor` and `labelvault.contractor` are one actor each, and the vendor's room
never loads code that can decrypt.
"""

__version__ = "0.1.0"
