"""Tampered messages at those who keep state: whatever is refused leaves everything as it was."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random

from labelvault.contractor.joining import Joined
from labelvault.errors import LabelVaultError
from labelvault.keys.cards import card_fingerprint, client_fingerprint
from tests.assurance.check import Cases, Check, Counts
from tests.vectors import actors, world
from tests.vectors.form import load
from tests.world import state_of


def unchanged(folder: Path) -> Cases:
    """A bit flipped, or the message cut, at an issuer, at a client that enrols, and at a contractor that joins."""
    kept = ExitStack()
    issuer, database = kept.enter_context(actors.issuer(folder, world.NOW, leased=True))
    client = kept.enter_context(actors.client(folder))
    joined = Joined(folder / "contractor", world.HELPER.public_key)
    words = client_fingerprint(world.IDENTITY.public_key)

    def handled(data: bytes) -> None:
        before = actors.snapshot(database)
        assert issuer.handle(data) is None, "the issuer answered"
        assert actors.snapshot(database) == before, "the issuer's state has changed"

    def refused(call: Callable[[bytes], object], state: Callable[[], object]) -> Callable[[bytes], None]:
        def attempt(data: bytes) -> None:
            before = state()
            try:
                call(data)
            except LabelVaultError:
                assert state() == before, "state has changed"
            else:
                raise AssertionError("accepted")

        return attempt

    enrolled = refused(
        lambda data: client.enroll(data, fingerprint=card_fingerprint(data), name="ada"),
        lambda: actors.snapshot(client.database),
    )
    joins = refused(lambda data: joined.join(data, words, "helper"), lambda: state_of(folder / "contractor"))
    ways = [
        *((load(name).inputs[field], handled) for name, field in _HANDLED),
        (load("card_valid").inputs["card"], enrolled),
        (load("card_valid-desk").inputs["card"], enrolled),
        (load("invite_valid").inputs["invite"], joins),
    ]
    cases = [(bytes.fromhex(data), way, at) for data, way in ways for at in range(len(data) // 2)]

    def attempt(number: int, rng: Random, kept: ExitStack = kept) -> None:
        data, way, at = cases[number // 2]
        if number % 2:
            way(data[:at])
        else:
            flipped = data[at] ^ 1 << rng.randrange(8)
            way(data[:at] + bytes([flipped]) + data[at + 1 :])

    return Cases(attempt, 2 * len(cases))


_HANDLED = (
    ("request_valid", "request"),
    ("receipt_valid", "receipt"),
    ("submission_valid", "submission"),
    ("prekey-bundle_valid", "bundle"),
    ("lease_valid", "lease"),
)

CHECKS = (
    Check(
        "state unchanged",
        "every byte of what an issuer, an enrolling client and a joining contractor take, altered or cut off there: "
        "refused, and their state is the same to the byte",
        ("F1", "F2", "L6"),
        unchanged,
        Counts(600, None, None),
    ),
)
