"""`labelvault client seal-file`."""

import os
import pty
import sys

import pytest

PATH = "attachments/notes/scan.bin"


def test_a_pipe_and_a_file_are_sealed(world, tmp_path):
    """New from the pipe, the same from a file, changed from another one; what comes next is said."""
    ran = world.client("seal-file", "ferry", PATH, stdin="piped in\n")
    assert (ran.code, ran.out) == (0, f"{PATH}: new, version 1, 9 B\n")
    assert "its next `client seal` seals that as changed" in ran.err.replace("\n", " ")
    (tmp_path / "file").write_bytes(b"piped in\n")
    ran = world.client("seal-file", "ferry", PATH, tmp_path / "file")
    assert (ran.code, ran.out, ran.err) == (0, f"{PATH}: same, version 1, 9 B\n", "")
    facts = world.client("seal-file", "ferry", PATH, "-", "--json", stdin="other").json
    assert (facts["outcome"], facts["version"], facts["size"], facts["path"]) == ("changed", 2, 5, PATH)
    assert world.client("export", "ferry", tmp_path / "out").code == 0
    assert (tmp_path / "out" / PATH).read_bytes() == b"other"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("ferry", "../x"), 7),
        (("ferry", "tasks/x.jsonl"), 7),
        (("nothing", PATH), 7),
        (("ferry", PATH, "/nonexistent"), 2),
        (("ferry",), 2),
    ],
)
def test_what_can_not_be_sealed_is_refused(world, words, code):
    """By kind, and nothing is sealed."""
    assert world.client("seal-file", *words, stdin="x").code == code
    assert world.client("ls", "ferry", "--versions", PATH).code == 7


def test_a_terminal_is_not_read(world, monkeypatch):
    """Nobody waits for content that nobody knows how to end."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "rb") as given:
        monkeypatch.setattr(sys, "stdin", given)
        ran = world.client("seal-file", "ferry", PATH, f"/dev/fd/{theirs}")
    os.close(ours)
    assert ran.code == 2
    assert "pipe the content in" in ran.err
