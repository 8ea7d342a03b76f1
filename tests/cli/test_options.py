"""Where passphrases come from."""

import io
import os

import click
import pytest

from labelvault.cli.options import MAX_PASSPHRASE_BYTES, Passphrase


def test_a_passphrase_is_the_first_line_of_a_file(passphrase_file, capsys):
    """The line end is not part of it; spaces are; a private file raises no warning."""
    passphrase_file.write_bytes("  höhle 7 \r\nsecond".encode())
    assert Passphrase(passphrase_file, None).read() == "  höhle 7 "
    assert capsys.readouterr().err == ""


def test_a_file_that_others_can_read_is_warned_about(passphrase_file, capsys):
    """It works, but the user learns of it."""
    passphrase_file.chmod(0o644)
    assert Passphrase(passphrase_file, None).read() == "correct horse"
    assert "chmod 600" in capsys.readouterr().err


def test_a_passphrase_from_a_descriptor():
    """A pipe works, and is closed."""
    reader, writer = os.pipe()
    os.write(writer, b"from a pipe\n")
    os.close(writer)
    assert Passphrase(None, reader).read() == "from a pipe"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reader)


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\nx", b"x" * (MAX_PASSPHRASE_BYTES + 1), b"\xff\n"])
def test_what_is_no_passphrase_is_refused_without_being_shown(passphrase_file, data):
    """Empty, too long or not UTF-8: a usage error that doesn't quote it."""
    passphrase_file.write_bytes(data)
    with pytest.raises(click.UsageError) as caught:
        Passphrase(passphrase_file, None).read()
    assert "xxx" not in caught.value.format_message()
    assert caught.value.__cause__ is None


def test_both_sources_at_once_are_refused(passphrase_file):
    """Which one counts is not guessed."""
    with pytest.raises(click.UsageError):
        Passphrase(passphrase_file, 0).read()


def test_a_descriptor_that_is_not_open_is_refused():
    """A usage error, no traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    with pytest.raises(click.UsageError):
        Passphrase(None, reader).read()


def test_without_a_terminal_nobody_is_asked(monkeypatch):
    """A script gets an error instead of hanging on a prompt."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(click.UsageError, match="--passphrase-file"):
        Passphrase(None, None).read()


def test_a_prompt_asks_without_echo_and_twice_for_a_new_one(monkeypatch):
    """On a terminal click asks, hidden, on stderr."""
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)

    def prompt(text, **options):
        asked.append(options)
        return "typed"

    monkeypatch.setattr(click, "prompt", prompt)
    assert Passphrase(None, None).read(new=True) == "typed"
    assert asked == [{"hide_input": True, "confirmation_prompt": True, "err": True}]
