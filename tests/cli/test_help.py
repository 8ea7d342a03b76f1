"""Every command explains itself: a help text, and examples that parse."""

import shlex
from pathlib import Path

import click
import pytest

from labelvault.cli.app import root


def leaves(command, words, context):
    """Yield (words, command) of every command that does something."""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            yield from leaves(command.get_command(context, name), (*words, name), context)
    else:
        yield words, command


COMMANDS = dict(leaves(root, (), click.Context(root)))


def examples_of(command):
    """Return the command lines that its help shows."""
    marks, heading, *lines = (command.epilog or "").split("\n")
    assert (marks, heading) == ("\b", "Examples:")
    return "\n".join(lines).replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_and_option_has_a_help_text(words):
    """One sentence at least, that ends as one, and one for each option."""
    command = COMMANDS[words]
    assert (command.help or "").strip().endswith(".")
    for each in command.params:
        if isinstance(each, click.Option):
            assert each.help, (words, each.name)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_examples_that_parse(words, monkeypatch):
    """Whoever copies one gets no usage error; that files are there is not asked."""
    monkeypatch.setattr(click.Path, "convert", lambda self, value, param, ctx: self.coerce_path_result(value))
    monkeypatch.setattr(click.File, "convert", lambda self, value, param, ctx: value)
    shown = examples_of(COMMANDS[words])
    assert shown
    for line in shown:
        program, *rest = shlex.split(line.rpartition(" | ")[2])
        assert program == "labelvault"
        assert tuple(rest[: len(words)]) == words
        COMMANDS[words].make_context(words[-1], rest[len(words) :])


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_fits_a_narrow_terminal(words, cli, monkeypatch):
    """Examples are shown as they stand, within 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = cli(*words, "--help").out
    assert "Examples:" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_page_lists_every_command():
    """docs/cli.md's list has the commands that there are, one a line, and no other."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    listed = [line.partition("  ")[0] for line in page.split("```\n")[1].splitlines()]
    assert len(listed) == len(set(listed))
    assert set(listed) == {f"labelvault {' '.join(words)}" for words in COMMANDS}


@pytest.mark.parametrize(
    "words", sorted({words[:depth] for words in COMMANDS for depth in range(1, len(words))}), ids=" ".join
)
def test_lists_of_commands_cut_no_sentence(words, cli, monkeypatch):
    """What a command does is said whole, also at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = cli(*words, "--help").out
    assert "Commands:" in shown
    assert "..." not in shown.partition("Commands:")[2]
    assert max(map(len, shown.splitlines())) <= 80
