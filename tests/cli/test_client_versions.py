"""`labelvault client diff` and `restore-version`."""

import shutil

import pytest

from tests.cli.conftest import EXAMPLE

NAME = "guidelines/notes.md"


@pytest.fixture
def two(world):
    """A guideline in two versions, the second one hostile to terminals."""
    folder = world.folder / "mine"
    shutil.copytree(EXAMPLE, folder)
    for text in ("one\nsame\n", "two \x1b[2J\u202e\nsame\n"):
        (folder / NAME).write_text(text, encoding="utf-8")
        assert world.client("seal", "ferry", folder).code == 0
    return folder


def test_diff_shows_texts_and_nothing_acts_on_the_terminal(world, two):
    """Lines with their marks, control and bidirectional characters as escapes, in prose and in JSON."""
    ran = world.client("diff", "ferry", NAME, 1)
    assert ran.code == 0
    assert "\n-one\n+two \\x1b[2J\\u202e\n same\n" in ran.out
    assert "\x1b" not in ran.out
    assert "Changed: content" in ran.out
    facts = world.client("diff", "ferry", NAME, 2, 1, "--json").json
    assert facts["diff"][3:5] == ["-two \x1b[2J\u202e", "+one"]
    assert (facts["old"]["version"], facts["new"]["size"], facts["same_content"]) == (2, 9, False)
    assert len(facts["new"]["sha256"]) == 64


def test_a_long_line_stays_one_line(world, two):
    """Folded, nobody could tell where a line begins."""
    (two / NAME).write_text("x" * 500, encoding="utf-8")
    assert world.client("seal", "ferry", two).code == 0
    assert "\n+" + "x" * 500 + "\n" in world.client("diff", "ferry", NAME, 2).out


def test_restore_version_makes_it_current_and_says_what_comes_next(world, two):
    """The version, and that the folder's content would be sealed again; which then happens."""
    ran = world.client("restore-version", "ferry", NAME, 1)
    assert ran.code == 0
    assert f"{NAME}: version 1 is current again, as version 3" in ran.out
    assert "the next `client seal` seals that as changed" in ran.err.replace("\n", " ")
    listed = world.client("ls", "ferry", "--versions", NAME, "--json").json["versions"]
    assert [each["current"] for each in listed] == [False, False, True]
    assert world.client("seal", "ferry", two, "--json").json["changed"] == 1
    facts = world.client("restore-version", "ferry", NAME, 3, "--json").json
    assert (facts["restored"], facts["version"], facts["file"]) == (3, 5, NAME)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("diff", "ferry", NAME, 2), 7),
        (("diff", "ferry", NAME, 1, 9), 7),
        (("diff", "ferry", "nothing", 1), 7),
        (("diff", "ferry", NAME, 0), 2),
        (("diff", "ferry", NAME, "x"), 2),
        (("restore-version", "ferry", NAME, 2), 7),
        (("restore-version", "ferry", NAME, 4), 7),
        (("restore-version", "nothing", NAME, 1), 7),
    ],
)
def test_what_is_not_there_is_refused(world, two, words, code):
    """With an exit code of its own kind, and nothing is sealed."""
    assert world.client(*words).code == code
    assert len(world.client("ls", "ferry", "--versions", NAME, "--json").json["versions"]) == 2
