"""Systematic tampering: bits flipped, objects cut and grown, spliced, exchanged and put in each other's place."""

import itertools
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from labelvault.wire.codec import decode
from tests.assurance.check import Cases, Check, Counts
from tests.assurance.targets import Target, targets
from tests.vectors.craft import pack

GROWN_BYTES = 64


def _over(sizes: Sequence[int], attempt: Callable[[int, int], None]) -> Cases:
    """Number the cases of several objects one after the other.

    Args:
        sizes: how many cases each object has.
        attempt: gets the object's place and the number of the case in it.
    """
    ends = list(itertools.accumulate(sizes))

    def tried(number: int, _: Random) -> None:
        place = bisect_right(ends, number)
        attempt(place, number - (ends[place - 1] if place else 0))

    return Cases(tried, ends[-1])


def flips(folder: Path) -> Cases:
    """Each bit of each object and of each key, for each way to open it."""
    found = targets(folder, keys=True)

    def attempt(place: int, bit: int) -> None:
        target = found[place]
        flipped = bytearray(target.data)
        flipped[bit // 8] ^= 1 << bit % 8
        target.must_refuse(bytes(flipped))

    return _over([8 * len(target.data) for target in found], attempt)


def cuts(folder: Path) -> Cases:
    """Each object cut at each length, and grown by 1 to 64 zeros, or by as much of itself."""
    found = targets(folder)

    def attempt(place: int, number: int) -> None:
        data = found[place].data
        if number < len(data):
            found[place].must_refuse(data[:number])
            return
        more, repeated = divmod(number - len(data), 2)
        found[place].must_refuse(data + (data[: more + 1] if repeated else bytes(more + 1)))

    return _over([len(target.data) + 2 * GROWN_BYTES for target in found], attempt)


def exchanges(folder: Path) -> Cases:
    """Each object in the place of each other that is not of its kind."""
    found = targets(folder)
    pairs = [
        (here, there.data) for here in found for there in found if here.kind != there.kind and here.data != there.data
    ]

    def attempt(number: int, _: Random) -> None:
        here, data = pairs[number]
        # A lease that was issued ahead is well signed, and answers no request.
        here.must_refuse(data, "LeaseError")

    return Cases(attempt, len(pairs))


def splices(folder: Path) -> Cases:
    """Fields of one frame in another, in all combinations; and beginnings of one object before ends of another."""
    found = targets(folder)
    frames = [target for target in found if _is_frame(target.data)]
    fields = sorted(_fields(frames[0].data))
    taken = [some for size in range(1, len(fields)) for some in itertools.combinations(fields, size)]
    whole = {target.data for target in found}
    made: list[tuple[Target, bytes]] = []
    for here, there in itertools.permutations(frames, 2):
        ours, theirs = _fields(here.data), _fields(there.data)
        spliced = {pack(ours | {name: theirs[name] for name in names}) for names in taken}
        made += [(here, data) for data in sorted(spliced - whole)]

    def attempt(number: int, rng: Random) -> None:
        if number < len(made):
            here, data = made[number]
        else:
            here, there = rng.sample(found, 2)
            at = rng.randrange(1, min(len(here.data), len(there.data)))
            data = here.data[:at] + there.data[at:]
            # Where both begin or end alike, it is one of the two again.
            if data in whole:
                data += b"\0"
        here.must_refuse(data)

    return Cases(attempt, len(made) + len(found) * len(found))


def _fields(data: bytes) -> dict[str, object]:
    value = decode(data)
    assert isinstance(value, dict)
    return dict(value)


def _is_frame(data: bytes) -> bool:
    try:
        return {"signature", "signer"} <= _fields(data).keys()
    except Exception:  # noqa: BLE001 - whatever does not decode is no frame
        return False


CHECKS = (
    Check(
        "bit flips",
        "one bit flipped in every kind of object and of key, for every way to open it: refused, by the right error",
        ("F1",),
        flips,
        Counts(2_000, 200_000, None),
    ),
    Check(
        "cut and grown",
        "every kind of object cut at every length, and grown by 1 to 64 bytes: refused",
        ("F2",),
        cuts,
        Counts(1_000, 40_000, None),
    ),
    Check(
        "exchanged",
        "every object in the place of every other, for every way to open it: refused",
        ("F3", "F4"),
        exchanges,
        Counts(500, None, None),
    ),
    Check(
        "spliced",
        "fields of one signed frame in another, in every combination; beginnings of one object before ends of another",
        ("F2", "F3", "F12"),
        splices,
        Counts(1_000, None, None),
    ),
)
