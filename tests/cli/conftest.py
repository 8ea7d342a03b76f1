"""How tests run the command line: in this process, through the entry point that maps errors to exit codes."""

import io
import json
import os
import sys
from dataclasses import dataclass

import pytest

from labelvault.cli.app import run


@dataclass
class Ran:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON object on stdout."""
        (line,) = self.out.splitlines()
        return json.loads(line)


@pytest.fixture
def cli(capsys, monkeypatch):
    """Run a command with stdin that is no terminal."""

    def call(*arguments, stdin=""):
        reader, writer = os.pipe()
        os.write(writer, stdin.encode())
        os.close(writer)
        with io.TextIOWrapper(os.fdopen(reader, "rb")) as given:
            monkeypatch.setattr(sys, "stdin", given)
            capsys.readouterr()
            code = run([str(each) for each in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture
def passphrase_file(tmp_path):
    """A passphrase as a file of its owner's."""
    file = tmp_path / "passphrase"
    file.write_text("correct horse\n", encoding="utf-8")
    file.chmod(0o600)
    return file
