"""A backend that keeps all that it is ever given: no secret that any actor held is in it, and no plaintext."""

import inspect
from collections.abc import Iterable
from typing import Any

import pytest

from labelvault.crypto.secret import SecretBytes
from labelvault.stores.base import Store
from labelvault.stores.sqlite import SQLiteStore
from tests.world import GOLD, GUIDELINE, PICTURE, RUBRIC, TASK, World

LEAST_SECRET_BYTES = 16


def parts_of(value: Any) -> Iterable[bytes]:
    """Every text and byte string in what a method was given."""
    if isinstance(value, bytes | bytearray | memoryview):
        yield bytes(value)
    elif isinstance(value, str):
        yield value.encode()
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from parts_of(key)
            yield from parts_of(inner)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from parts_of(inner)
    elif hasattr(value, "__slots__") or hasattr(value, "__dict__"):
        for name in (*getattr(type(value), "__slots__", ()), *getattr(value, "__dict__", ())):
            yield from parts_of(getattr(value, name, None))


def test_X5_a_backend_is_given_ciphertext_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seal, grant, open, answer, collect and close: every secret and every text is known, and the store saw none."""
    given: list[bytes] = []
    secrets: set[bytes] = set()
    make = SecretBytes.__init__

    def remembered(self: SecretBytes, value: bytes) -> None:
        secrets.add(bytes(value))
        make(self, value)

    def spied(name: str) -> None:
        true = getattr(SQLiteStore, name)

        def method(self: SQLiteStore, *arguments: Any, **options: Any) -> Any:
            given.extend(parts_of([arguments, options]))
            return true(self, *arguments, **options)

        monkeypatch.setattr(SQLiteStore, name, method)

    monkeypatch.setattr(SecretBytes, "__init__", remembered)
    methods = [name for name, _ in inspect.getmembers(Store, inspect.isfunction) if not name.startswith("_")]
    for name in methods:
        spied(name)
    assert {"put_items", "post", "fetch", "read_item"} <= set(methods)
    world.lab.close()
    world.lab = world.open_client()
    second = world.lab.create_project("second", floor_bytes=256)
    assert not second.seal(world.source).errors
    me, _ = world.worker(project=second)
    issuer = world.issuer()
    with me.open_task(world.task("one", second), exchange=issuer.handle) as task:
        assert GUIDELINE in [part.text for part in task.required]
        task.submit({"label": "answer-canary"})
    me.sync()
    issuer.answer()
    second.collect(world.folder / "answers")
    everything = b"\0".join(given)
    assert len(given) > 50
    for text in (GUIDELINE, RUBRIC, GOLD, TASK, PICTURE[:14].decode(), "answer-canary", "second"):
        assert text.encode() not in everything, text
    long_enough = {secret for secret in secrets if len(secret) >= LEAST_SECRET_BYTES}
    assert len(long_enough) > 20
    assert not [secret for secret in long_enough if secret in everything]
