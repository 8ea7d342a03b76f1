"""All roles against one model, over and over with other seeds, and with a thief who tries every key on every byte.

The machine is that of tests/client/test_roles_model.py. Here somebody takes the vault and both contractors' homes now
and then, with their passphrases and all leases that ever went by, and what he opens is what the rules allow.
"""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

import hypothesis.core
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import rule, run_state_machine_as_test

from labelvault.crypto.secret import SecretBytes
from labelvault.drill import run as drill
from labelvault.drill import trial
from labelvault.relay.local import LocalRelay
from labelvault.relay.protocol import Reply
from labelvault.wire.frame import is_frame, parse_frame
from labelvault.wire.ids import prekey_lease_id
from labelvault.wire.messages import Lease
from tests.assurance.check import Cases, Check, Counts
from tests.assurance.crashes import remembering_keys
from tests.client.test_roles_model import Roles
from tests.world import PASSPHRASE, World

RUNS = 2
STEPS = 50


class Robbed(Roles):
    """The same, and the thief.

    Attributes:
        heard: leases that were ever posted.
    """

    def __init__(self, folder: Path, template: Path) -> None:
        self.heard: list[bytes] = []
        super().__init__(folder, template)

    @rule()
    def rob(self) -> None:
        """Whoever has all that rests and all that was sent opens what was issued ahead and not closed: nothing else."""
        heard = Path(tempfile.mkdtemp(dir=self.world.folder))
        by_hand = [data for files in self.files.values() for data in files]
        for number, data in enumerate([*by_hand, *self.heard]):
            (heard / f"{number}").write_bytes(data)
        found = drill(
            self.world.folder / "vendor",
            contractors=[self.world.folder / name for name in self.workers],
            folders=[heard],
            passphrases=[SecretBytes(PASSPHRASE.encode())],
        )
        shutil.rmtree(heard)
        may, must = self.readable()
        opened = {bytes.fromhex(each.item) for each in found.opened if each.kind == "task"}
        assert must <= opened <= may, "the thief reads something else than the rules allow"
        assert found.opened == () or may

    def readable(self) -> tuple[set[bytes], set[bytes]]:
        """The tasks that the thief may open, and those that he can't fail to open if he is any good.

        He may open each that was issued ahead and is not closed in its contractor's home as it is now: its prekey may
        rest there. He must open each whose prekey and lease do rest there.
        """
        may, must = set(), set()
        for worker in self.workers.values():
            closed = {each.lease_id for each in worker.me.openings() if each.state == "closed"}
            resting = {key for key, _ in worker.me.ahead._prekeys.public_keys()}
            for grant in self.grants:
                for key in self.prekeys:
                    lease_id = prekey_lease_id(grant, key)
                    entry = self.leases().get(lease_id)
                    if entry is None or entry.contractor != worker.me.public_key or lease_id in closed:
                        continue
                    may.add(entry.task)
                    kept = self.world.folder / worker.name / "leases" / f"{lease_id.hex()}.lease"
                    if key in resting and kept.exists():
                        must.add(entry.task)
        return may, must


def roles(folder: Path) -> Cases:
    """Some runs of the machine, each from the same world."""
    template = folder / "template"
    template.mkdir()
    World(template).close()
    how = settings(
        # The first of them is the simplest that there is.
        max_examples=RUNS + 1,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    def attempt(_: int, rng: Random) -> None:
        place = Path(tempfile.mkdtemp(dir=folder))
        try:
            with pytest.MonkeyPatch.context() as patch, remembering_keys():
                patch.setattr(hypothesis.core, "global_force_seed", rng.getrandbits(64))
                # In this process: others would cost more than they save.
                patch.setattr(trial, "_PARALLEL_PAIRS", 10**12)
                machines: list[Robbed] = []

                def machine() -> Robbed:
                    machines[:] = [Robbed(Path(tempfile.mkdtemp(dir=place)), template)]
                    return machines[0]

                def listen(message: bytes) -> None:
                    if machines and is_frame(message) and parse_frame(message).type == Lease.TYPE:
                        machines[0].heard.append(message)

                def overheard(relay: LocalRelay, mailbox: bytes, message: bytes) -> None:
                    listen(message)
                    post(relay, mailbox, message)

                def overheard_replies(relay: LocalRelay, mailbox: bytes, replies: Sequence[Reply]) -> list[int]:
                    for each in replies:
                        listen(each.message or b"")
                    return reply(relay, mailbox, replies)

                post, reply = LocalRelay.post, LocalRelay.reply
                patch.setattr(LocalRelay, "post", overheard)
                patch.setattr(LocalRelay, "reply", overheard_replies)
                run_state_machine_as_test(machine, settings=how)  # type: ignore[arg-type]
        finally:
            shutil.rmtree(place, ignore_errors=True)

    return Cases(attempt)


CHECKS = (
    Check(
        "all roles at random",
        f"{RUNS} runs a case, of up to {STEPS} steps, of issuing, opening, renewing, closing, paying, revoking, "
        "freezing, crashing, restoring, losing, replaying and expiring, and of theft of all that rests and was sent: "
        "nothing opens but what the model allows, and the thief opens just that",
        ("R1", "R4", "R7", "F15", "C4", "C5", "C6", "L3"),
        roles,
        Counts(1, 20, 20_000),
    ),
)
