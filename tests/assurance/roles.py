"""All roles against one model, over and over with other seeds: the machine of tests/client/test_roles_model.py."""

import shutil
import tempfile
from pathlib import Path
from random import Random

import hypothesis.core
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.assurance.check import Cases, Check, Counts
from tests.assurance.crashes import remembering_keys
from tests.client.test_roles_model import Roles
from tests.world import World

RUNS = 4
STEPS = 50


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
                run_state_machine_as_test(
                    lambda: Roles(Path(tempfile.mkdtemp(dir=place)), template),  # type: ignore[arg-type]
                    settings=how,
                )
        finally:
            shutil.rmtree(place, ignore_errors=True)

    return Cases(attempt)


CHECKS = (
    Check(
        "all roles at random",
        f"{RUNS} runs a case, of up to {STEPS} steps, of issuing, opening, renewing, closing, paying, revoking, "
        "freezing, crashing, restoring, losing, replaying and expiring: nothing opens but what the model allows",
        ("R1", "R4", "R7", "F15", "C4", "C5", "L3"),
        roles,
        Counts(1, 24, 10_000),
    ),
)
