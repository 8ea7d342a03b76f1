"""The SQLite store passes the conformance suite."""

import pytest

pytest.register_assert_rewrite("tests.stores.conformance")

from labelvault.stores.sqlite import SQLiteStore  # noqa: E402
from tests.stores.conformance import StoreConformance  # noqa: E402


class TestSQLite(StoreConformance):
    """Every test of the suite, over a file."""

    def open_at(self, place, **options):
        return SQLiteStore(place / "vault.db", create=True, **options)
