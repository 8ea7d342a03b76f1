"""`labelvault client issuer run` as a process: it answers, reports passes, and ends on a signal."""

import json
import signal
import subprocess
import sys

import pytest

from labelvault.cli.signals import told_to_end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_issuer_answers_until_it_is_told_to_end(world, number):
    """A contractor in another process gets its task; each pass that did something is one JSON line."""
    world.admit()
    where = ["--home", str(world.folder / "client"), "--passphrase-file", str(world.passphrase_file)]
    process = subprocess.Popen(
        [sys.executable, "-m", "labelvault", "client", "issuer", "run", "--json", *where],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert world.contractor("open", world.tasks["fa-1041"], "--json").code == 0
        assert world.contractor("open", world.tasks["fa-1052"], "--json").code == 3
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, err
    assert "Traceback" not in err
    passes = [json.loads(line) for line in out.splitlines()]
    assert sum(each["released"] for each in passes) == 1
    assert sum(each["denied"].get("unknown", 0) for each in passes) == 1
    assert all(each["released"] or each["denied"] or each["receipts"] or each["junk"] for each in passes)


def test_signals_are_caught_for_a_while_and_put_back():
    """A signal wakes the wait and the event; afterwards the old handlers are there again."""
    before = signal.getsignal(signal.SIGTERM)
    with told_to_end() as ending, ending.as_event() as stop:
        assert not ending.asked
        assert ending.wait([], 0.01) == []
        signal.raise_signal(signal.SIGTERM)
        assert ending.asked
        assert stop.wait(5)
    assert signal.getsignal(signal.SIGTERM) is before
