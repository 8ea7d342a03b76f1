"""X2, for every type that can hold a secret: the package is walked, and nothing is left to a list."""

import copy
import dataclasses
import importlib
import inspect
import logging
import pickle
import pkgutil
import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import labelvault
from labelvault.crypto.secret import SecretBytes

# A global: what a traceback shows of a test's locals must not count.
CANARY = b"canary-of-the-walk-canary-of-32-b"[:32]
_TELLING = re.compile(r"_?(dek|seed|passphrase|secret|private|content|plaintext|master|token)(_bytes|_key)?")
"""Names of fields that hold a key, a passphrase or a text as it is."""


def classes() -> Iterator[type]:
    """Every class that the package defines."""
    for found in pkgutil.walk_packages(labelvault.__path__, "labelvault."):
        if found.name != "labelvault.__main__":
            module = importlib.import_module(found.name)
            yield from (each for each in vars(module).values() if _is_ours(each, found.name))


def _is_ours(each: object, module: str) -> bool:
    return inspect.isclass(each) and each.__module__ == module


def fields(kind: type) -> dict[str, str]:
    """What a class says it is made of: annotated fields and arguments of its `__init__`, with their types."""
    found = {**inspect.get_annotations(kind), **inspect.get_annotations(kind.__init__)}  # type: ignore[misc]
    return {name: each if isinstance(each, str) else str(each) for name, each in found.items() if name != "return"}


def _mentions(text: str, kind: type) -> bool:
    """Whether a type is named by its full name, or by its own where that was quoted."""
    return (
        f"{kind.__module__}.{kind.__qualname__}" in text
        or re.fullmatch(rf"[^.]*\b{kind.__name__}\b[^.]*", text) is not None
    )


def holders(all_of_them: list[type]) -> dict[type, dict[str, Any]]:
    """Each type that can hold a secret, and by which fields: telling ones, and those of such a type themselves."""
    found: dict[type, dict[str, Any]] = {SecretBytes: {"value": bytes}}
    while True:
        before = len(found)
        for kind in all_of_them:
            held: dict[str, Any] = {
                name: inner for name, text in fields(kind).items() for inner in found if _mentions(text, inner)
            }
            held |= {
                name: bytes
                for name, text in fields(kind).items()
                if _TELLING.fullmatch(name) and re.search(r"\b(bytes|str)\b", text) and "Callable" not in text
            }
            if held:
                found.setdefault(kind, held)
        if len(found) == before:
            return found


def bare(kind: type, found: dict[type, dict[str, Any]], depth: int = 0) -> Any:
    """An object of a type with the canary wherever it holds a secret, zeros elsewhere; no constructor runs."""
    if kind is SecretBytes:
        return SecretBytes(CANARY)
    new: Any = kind.__new__
    made = new(kind)
    slots = [name for each in kind.__mro__ for name in getattr(each, "__slots__", ()) if name != "__weakref__"]
    for name in {*slots, *fields(kind)}:
        plain = name.lstrip("_")
        inner = next((what for field, what in found[kind].items() if field.lstrip("_") == plain), None)
        value = bytes(32) if inner is None or depth > 3 else CANARY if inner is bytes else bare(inner, found, depth + 1)
        mangled = f"_{kind.__name__.lstrip('_')}{name}" if name.startswith("__") else name
        for place in {mangled, f"_{plain}"} if not slots else {mangled}:
            try:
                object.__setattr__(made, place, value)
            except AttributeError:
                continue
    return made


FOUND = holders(list(classes()))
# The world of the demo and the attacker's own room hold what they hold to compare it, and print it nowhere.
TOKENS = {kind for kind, held in FOUND.items() if set(held) == {"token"}}
"""What holds what a vault knows its caller by, which opens nothing: it is kept out of repr, and that is all."""
KINDS = sorted(
    (kind for kind in FOUND if not kind.__module__.startswith(("labelvault.story", "labelvault.drill"))),
    key=lambda kind: f"{kind.__module__}.{kind.__qualname__}",
)
FORMS = [CANARY.decode(), CANARY.hex(), str(list(CANARY))[1:-1]]


def assert_hidden(shown: str) -> None:
    """No form of the canary, whole or begun."""
    assert not [form for form in FORMS if form[:16].lower() in shown.lower()]


def _raised(holder: Any) -> str:
    """The traceback with locals of a call that failed with the holder in its hands."""

    def fails(held: Any) -> None:
        raise ValueError("on the way")

    with pytest.raises(ValueError, match="on the way") as caught:
        fails(holder)
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    return "".join(frames.format())


def _logged(holder: Any) -> str:
    record = logging.makeLogRecord({"msg": "%s %r", "args": (holder, holder)})
    return logging.Formatter().format(record)


def _warned(holder: Any) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn(f"{holder}", stacklevel=1)
    return "".join(str(each.message) for each in caught)


WAYS: dict[str, Callable[[Any], str]] = {
    "repr": lambda holder: f"{holder!r} {[holder]} {holder!s:>50}" if _formats(holder) else f"{holder!r} {holder}",
    "vars": lambda holder: str(vars(holder)) if hasattr(holder, "__dict__") else "",
    "traceback": _raised,
    "log": _logged,
    "warning": _warned,
}


def _formats(holder: Any) -> bool:
    return "__format__" in vars(type(holder))


def test_the_walk_finds_what_is_known_to_hold_secrets() -> None:
    """Of each sort one: keys, DEKs as they travel, texts, readers, and what has one of these inside."""
    names = {kind.__name__ for kind in KINDS}
    assert names >= {"SecretBytes", "OneTimeKey", "Kek", "LeasedItem", "LeaseSecrets", "OpenedPart", "Task", "Identity"}
    assert names >= {"SealedReader", "PassphraseRoot", "NewVersion", "HttpRelay", "AnswerItem"}
    assert len(names) > 35


@dataclasses.dataclass
class _Careless:
    """What the tests below are there to find."""

    dek: bytes


def test_a_type_that_shows_its_key_is_found_and_caught() -> None:
    """By each way."""
    found = holders([*classes(), _Careless])
    careless = bare(_Careless, found)
    for way in WAYS.values():
        with pytest.raises(AssertionError):
            assert_hidden(way(careless))
    assert CANARY in pickle.dumps(careless)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__qualname__)
def test_X2_nothing_that_holds_a_secret_shows_it(kind: type, way: str) -> None:
    """Repr and formats, vars, tracebacks with locals, logs, warnings, with the canary in each telling field."""
    if way == "vars" and kind in TOKENS:
        return
    assert_hidden(WAYS[way](bare(kind, FOUND)))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in TOKENS], ids=lambda kind: kind.__qualname__)
def test_X2_nothing_that_holds_a_secret_is_pickled_or_copied_with_it(kind: type) -> None:
    """It refuses, or what comes out has nothing of it; a shallow copy only names the same secret again."""
    holder = bare(kind, FOUND)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        try:
            assert CANARY not in pickle.dumps(holder, protocol)
        except (TypeError, AttributeError, pickle.PicklingError) as refused:
            assert_hidden(str(refused))
    try:
        twin = copy.deepcopy(holder)
    except (TypeError, AttributeError) as refused:
        assert_hidden(str(refused))
    else:
        assert_hidden(str([getattr(twin, name, None) for name in dir(twin) if name.startswith("_")]))
