"""Where the vault keeps sealed items and messages: one protocol, one conformance suite, SQLite by default.

A store sees ciphertext, public headers and signed frames, and nothing that opens any of them. No actor but
the vendor talks to one directly; the others go through `labelvault.relay`. May import: `labelvault.errors`,
`labelvault.wire`, `labelvault.crypto.hashing`, `labelvault.crypto.merkle`, `labelvault.crypto.random`.
"""

from labelvault.stores.base import Store

__all__ = ["Store", "open_store"]


def open_store(url: str, *, create: bool) -> Store:
    """Open the store that a URL names.

    Args:
        url: `sqlite:////absolute/path` or `sqlite:///relative/path`.
        create: make an empty store if there is none.

    Raises:
        StoreError: an unknown kind of URL, no store there, or one that can't be used.
    """
    # Loaded here: who reaches a vault over HTTP, or opens what others fetch, has no need of a database.
    from labelvault.stores.sqlite import SQLiteStore
    from labelvault.stores.sqlite_files import parse_sqlite_url

    return SQLiteStore(parse_sqlite_url(url), create=create)
