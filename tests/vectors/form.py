"""The form of a vector file: inputs of a valid case, or the one thing that a fault changes in its valid twin."""

import json
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import msgpack

FOLDER = Path(__file__).resolve().parent

Inputs = dict[str, Any]
"""Bytes are hex; times are Unix milliseconds. `note`, `name`, `origin`, `fingerprint` and `served` hold text."""


@dataclass(frozen=True)
class Vector:
    """One file.

    Attributes:
        name: `<area>_valid`, `<area>_valid-<which>` or `<area>_<fault>`.
        description: one line.
        inputs: all of them, those of the twin included.
        twin: of a fault: the name of the valid vector that it was derived from.
        changes: of a fault: the inputs that replace the twin's. Bytes may be given as a list of pieces: `[from, to]`
            for bytes of the twin's, a string for others.
        refused: of a fault: by entry, the error's class, and its code after a colon if it has one.
        accepted: entries of the area that can't see this fault.
        differs: as committed, what `differences` finds.
    """

    name: str
    description: str
    inputs: Inputs
    twin: str | None = None
    changes: Inputs = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    accepted: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()

    @property
    def area(self) -> str:
        """What it is a vector of."""
        return self.name.partition("_")[0]


class Book:
    """All vectors, as they are written down."""

    def __init__(self) -> None:
        self.vectors: dict[str, Vector] = {}

    def valid(self, name: str, description: str, /, **inputs: Any) -> None:
        """Add a valid case."""
        self._add(Vector(name, description, inputs))

    def fault(
        self,
        name: str,
        description: str,
        refused: dict[str, str],
        /,
        *,
        accepted: tuple[str, ...] = (),
        twin: str | None = None,
        **changes: Any,
    ) -> None:
        """Add a fault; its twin is `<area>_valid` unless it says otherwise."""
        twin = twin or f"{name.partition('_')[0]}_valid"
        inputs = merged(self.vectors[twin].inputs, changes)
        self._add(Vector(name, description, inputs, twin, changes, refused, accepted))

    def _add(self, vector: Vector) -> None:
        if vector.name in self.vectors:
            raise ValueError(f"two vectors are named {vector.name}")
        self.vectors[vector.name] = vector


def merged(inputs: Inputs, changes: Inputs) -> Inputs:
    """The twin's inputs with a fault's changes, pieces put together."""
    found = dict(inputs)
    for name, value in changes.items():
        old = inputs[name]
        in_pieces = isinstance(old, str) and isinstance(value, list)
        found[name] = "".join(_piece(old, part) for part in value) if in_pieces else value
    return found


def _piece(old: str, part: str | list[int]) -> str:
    return part if isinstance(part, str) else old[2 * part[0] : 2 * part[1]]


def differences(vector: Vector, twin: Vector) -> list[str]:
    """What differs from the twin, field by field where bytes are records, byte by byte where they are not."""
    return [
        f"{name}: {_difference(twin.inputs[name], vector.inputs[name])}"
        for name in twin.inputs
        if twin.inputs[name] != vector.inputs[name]
    ]


def _difference(one: Any, other: Any) -> str:
    if isinstance(one, str) and isinstance(other, str):
        old, new = _bytes(one), _bytes(other)
        left, right = _record(old), _record(new)
        if left is not None and right is not None:
            return ", ".join(_paths(left, right, ""))
        if len(old) != len(new):
            return f"{abs(len(new) - len(old))} bytes {'longer' if len(new) > len(old) else 'shorter'}"
        at = [index for index in range(len(old)) if old[index] != new[index]]
        return f"byte {at[0]}" if len(at) == 1 else f"{len(at)} of {len(old)} bytes, from byte {at[0]}"
    if isinstance(one, dict) and isinstance(other, dict):
        return ", ".join(_paths(one, other, ""))
    if isinstance(one, list) and isinstance(other, list):
        return f"{len(other)} elements, not {len(one)}" if len(one) != len(other) else "other elements"
    return (
        f"{json.dumps(other)}, not {json.dumps(one)}" if isinstance(one, int) and isinstance(other, int) else "another"
    )


def _bytes(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return text.encode()


def _record(data: bytes) -> dict[Any, Any] | None:
    """A canonical-looking map, or None."""
    try:
        value = msgpack.unpackb(data)
    except Exception:  # noqa: BLE001 - whatever does not decode is compared as bytes
        return None
    return value if isinstance(value, dict) and msgpack.packb(value) == data else None


def _paths(one: dict[Any, Any], other: dict[Any, Any], prefix: str) -> list[str]:
    """The dotted names at which two maps differ, into records in bytes."""
    found = []
    for key in sorted(one.keys() | other.keys(), key=str):
        path = f"{prefix}{key}"
        if key not in other:
            found.append(f"no {path}")
        elif key not in one:
            found.append(f"added {path}")
        elif one[key] != other[key]:
            left, right = (_record(v) if isinstance(v, bytes) else v for v in (one[key], other[key]))
            if isinstance(left, dict) and isinstance(right, dict):
                found += _paths(left, right, f"{path}.")
            else:
                found.append(path)
    return found


def render(vector: Vector, twin: Vector | None) -> str:
    """The file's text."""
    shown: dict[str, Any] = {"area": vector.area, "description": vector.description}
    if twin is None:
        shown["inputs"] = vector.inputs
    else:
        shown["twin"] = twin.name
        shown["differs"] = differences(vector, twin)
        shown["refused"] = vector.refused
        if vector.accepted:
            shown["accepted"] = list(vector.accepted)
        shown["changes"] = vector.changes
    return json.dumps(shown, indent=1, ensure_ascii=False) + "\n"


def names() -> list[str]:
    """The committed vectors."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@cache
def load(name: str) -> Vector:
    """Read a committed vector, with its twin's inputs."""
    data = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    if "twin" not in data:
        return Vector(name, data["description"], data["inputs"])
    inputs = merged(load(data["twin"]).inputs, data["changes"])
    accepted = tuple(data.get("accepted", ()))
    twin, changes, refused = data["twin"], data["changes"], data["refused"]
    return Vector(name, data["description"], inputs, twin, changes, refused, accepted, tuple(data["differs"]))
