"""The sealed item: header, metadata, padding, payload, digest. Pure: bytes in, bytes out.

May import: `labelvault.errors`, `labelvault.crypto`, `labelvault.wire`.
"""
