"""The lint of comparisons: it finds what is planted, lets pass what is no secret, and the library has none."""

import ast

import pytest

from tests.assurance.constant_time import faults, main


@pytest.mark.parametrize(
    "code",
    [
        "ok = dek == other",
        "if self._seed != given: pass",
        "if token in known: pass",
        "x = [each for each in all if each.passphrase == typed]",
        "return_ = key.reveal() == other",
        "ok = tag[:16] != computed",
        "ok = b'' == identity.mac(message)",
        "ok = lease.one_time_seed not in seeds",
    ],
)
def test_X7_planted_comparisons_are_found(code: str) -> None:
    """By name, by attribute, by part, by call, and as membership."""
    assert len(list(faults(ast.parse(code)))) == 1


@pytest.mark.parametrize(
    "code",
    [
        "if token is None: pass",
        "if len(dek) != 32: pass",
        "if seed_size != 32: pass",
        "ok = hmac.compare_digest(tag, computed)",
        "ok = dek.matches(other)",
        "if kek_id == other: pass",
        "if passphrase == None: pass",
        "if tag < other: pass",
    ],
)
def test_X7_what_is_no_secret_passes(code: str) -> None:
    """Sizes, ids, constants, order, and the right way to compare."""
    assert not list(faults(ast.parse(code)))


def test_X7_no_secret_of_the_library_is_compared_in_variable_time(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is found, and nothing is said."""
    assert main() == 0, capsys.readouterr().out
