"""The contractor's side: join, open, close, submit. Everything that it opens is untrusted.

May import: `labelvault.keys`, `labelvault.envelope`, `labelvault.relay`, `labelvault.wire`,
`labelvault.crypto`, `labelvault.errors`; never the client's or the issuer's rooms.
"""
