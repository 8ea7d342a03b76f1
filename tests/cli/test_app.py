"""The command itself: help, versions, exit codes, the error's two lines, and life without the extra."""

import inspect
import json
import os
import subprocess
import sys

import click
import pytest

from labelvault import __version__, errors
from labelvault.cli import app, exits
from labelvault.wire.messages import DENIAL_CODES


def all_errors():
    """Every kind of error of the library, root excluded."""
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return [kind for kind in kinds if issubclass(kind, errors.LabelVaultError)]


def test_help_lists_every_group_and_every_exit_code(cli):
    """Help of the root command documents the exit codes, without importing a group."""
    ran = cli("--help")
    assert ran.code == exits.OK
    for word in ("demo", "client", "vendor", "contractor", "drill", "--json", "--passphrase-file"):
        assert word in ran.out
    for code, meaning in exits.MEANINGS.items():
        assert f"{code}  {meaning}" in ran.out


def test_the_version_is_the_packages(cli):
    """`--version` names what is installed."""
    assert cli("--version").out == f"labelvault {__version__}\n"


def test_without_a_command_usage_is_shown_and_exits_2(cli):
    """No command is wrong usage, and says what there is."""
    ran = cli()
    assert ran.code == exits.USAGE
    assert ran.out == ""
    assert "Usage: labelvault" in ran.err


def test_wrong_usage_is_two_lines_and_exits_2(cli):
    """A mistyped command says what is wrong and where help is."""
    ran = cli("vendor", "init", "--bogus")
    assert ran.code == exits.USAGE
    assert ran.err.splitlines() == [
        "Error: No such option '--bogus'.",
        "Next: See labelvault vendor init --help",
    ]


def test_wrong_usage_with_json_is_an_error_object(cli):
    """With --json an error is an object on stdout, also when the arguments don't parse."""
    ran = cli("vendor", "init", "--json", "--bogus")
    assert ran.code == exits.USAGE
    assert set(ran.json["error"]) == {"kind", "message", "next"}
    assert ran.err == ""


def test_every_error_of_the_library_has_an_exit_code_and_advice():
    """No error that the library raises on purpose ends as unexpected, except its bare root."""
    for kind in all_errors():
        error = kind.__new__(kind)
        if kind in (errors.DeniedError, errors.IssueRefusedError):
            error.code = "expired"
        outcome = exits.outcome_of(error)
        assert (outcome.code == exits.UNEXPECTED) == (kind is errors.LabelVaultError), kind
        assert outcome.next.endswith("."), kind


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.GrantExpiredError, 3),
        (errors.LeaseError, 3),
        (errors.SignatureError, 4),
        (errors.DecryptionError, 4),
        (errors.TamperedError, 4),
        (errors.RollbackError, 4),
        (errors.ReplayError, 4),
        (errors.LedgerError, 4),
        (errors.KeystorePassphraseError, 5),
        (errors.EnrolmentError, 5),
        (errors.RelayError, 6),
        (errors.ConflictError, 6),
        (errors.FormatError, 7),
        (errors.OutputError, 7),
        (errors.ClockError, 8),
    ],
)
def test_exit_codes_are_as_documented(kind, code):
    """The codes are an interface: scripts rely on them."""
    assert exits.outcome_of(kind("x")).code == code


def test_every_refusal_to_issue_ahead_has_advice_of_its_own():
    """Codes that only a request can get are left out: a prekey is never replayed unnoticed, and renews nothing."""
    assert set(exits.ISSUE_REFUSALS) == set(DENIAL_CODES) - {"replayed", "replaces"}
    for code in exits.ISSUE_REFUSALS:
        error = errors.IssueRefusedError(b"i" * 16, code)
        assert exits.outcome_of(error) == exits.Outcome(exits.REFUSED, exits.ISSUE_REFUSALS[code])


def test_every_denial_code_has_advice_of_its_own():
    """A denied user learns what to do, code by code; no code is left over."""
    assert set(exits.DENIALS) == set(DENIAL_CODES)
    for code in DENIAL_CODES:
        assert exits.outcome_of(errors.DeniedError(code)) == exits.Outcome(exits.REFUSED, exits.DENIALS[code])


@pytest.fixture
def failing(monkeypatch):
    """Make `labelvault vendor` raise what the test wants."""

    def fail(error):
        @click.command()
        @click.option("--json", is_flag=True)
        def command(json):
            raise error

        monkeypatch.setattr(app.LazyGroup, "get_command", lambda *_: command)

    return fail


def test_a_library_error_becomes_its_exit_code_and_two_lines(cli, failing):
    """One line says what went wrong, one what to do next."""
    failing(errors.ClockError("the clock runs behind"))
    ran = cli("vendor")
    assert ran.code == exits.CLOCK
    assert ran.err.splitlines() == [
        "Error: the clock runs behind",
        "Next: Set the clock of this machine right, then try again.",
    ]


def test_an_error_message_cannot_act_on_the_terminal(cli, failing):
    """Control characters in a message are shown as escapes."""
    failing(errors.ProjectError("bad name \x1b]0;owned\x07\u202e"))
    ran = cli("vendor")
    assert "\x1b" not in ran.err
    assert r"bad name \x1b]0;owned\x07\u202e" in ran.err


def test_an_unexpected_error_shows_kind_and_place_but_not_its_message(cli, failing):
    """A foreign error's message may quote secrets; it is shown on request only."""
    failing(KeyError("the-secret"))
    ran = cli("vendor")
    assert ran.code == exits.UNEXPECTED
    assert "unexpected KeyError at test_app.py:" in ran.err
    assert "the-secret" not in ran.err
    assert "Traceback" in cli("--traceback", "vendor").err


def test_an_operating_system_error_names_the_file(cli, failing):
    """A file that can't be used is named, and the code is that of bad input."""
    failing(PermissionError(13, "Permission denied", "/nowhere/x"))
    ran = cli("vendor", "--json")
    assert ran.code == exits.BAD_INPUT
    assert ran.json["error"]["message"] == "Permission denied: /nowhere/x"


def test_ctrl_c_exits_130(cli, failing):
    """An interrupted command says so and exits like a shell would."""
    failing(KeyboardInterrupt())
    assert cli("vendor").code == exits.INTERRUPTED


def python(*arguments, **options):
    """Run this interpreter."""
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False, **options
    )


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_one_line_says_how_to_get_it(missing):
    """The core install lacks click and rich: the command names the extra and exits 2, without a traceback."""
    code = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        f"importlib.util.find_spec = lambda name, *a: None if name == {missing!r} else find(name, *a)\n"
        "import labelvault.cli\n"
        "assert 'click' not in sys.modules and 'rich' not in sys.modules\n"
        "labelvault.cli.main()\n"
    )
    done = python("-c", code)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "The command line needs two more packages: pip install 'labelvault[cli]'\n"


def test_the_module_is_the_command():
    """`python -m labelvault` is the same as `labelvault`."""
    done = python("-m", "labelvault", "--version")
    assert (done.returncode, done.stdout) == (0, f"labelvault {__version__}\n")


def test_an_output_without_unicode_shows_what_it_can(tmp_path):
    """An ASCII terminal gets question marks, not a traceback."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = python("-m", "labelvault", "vendor", "ls", "--home", str(tmp_path / "höhle"), env=environment)
    assert done.returncode == exits.USAGE
    assert "Traceback" not in done.stderr
    made = python("-m", "labelvault", "vendor", "init", "--home", str(tmp_path / "höhle"), env=environment)
    assert made.returncode == exits.OK, made.stderr
    assert "h?hle" in made.stdout


def test_a_closed_pipe_ends_quietly():
    """`labelvault ... | head` leaves no traceback."""
    code = (
        "import os, sys\n"
        "reader, writer = os.pipe()\n"
        "os.close(reader)\n"
        "os.dup2(writer, 1)\n"
        "from labelvault.cli.app import run\n"
        "sys.exit(run(['--help']))\n"
    )
    done = python("-c", code)
    assert done.returncode == exits.UNEXPECTED
    assert done.stderr == ""


def test_the_vendors_command_loads_nothing_that_decrypts(tmp_path):
    """A process on the vendor's host never holds code that opens, signs or issues."""
    code = (
        "import json, sys\n"
        "from labelvault.cli.app import run\n"
        f"run(['vendor', 'init', '--home', {str(tmp_path / 'v')!r}, '--json'])\n"
        f"run(['vendor', 'ls', '--home', {str(tmp_path / 'v')!r}, '--json'])\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    loaded = set(json.loads(python("-c", code).stdout.splitlines()[-1]))
    assert "labelvault.vendor" in loaded
    rooms = ("envelope", "issuer", "client", "contractor", "drill", "story")
    assert not loaded & {f"labelvault.{room}" for room in rooms}
    assert "cryptography" not in loaded
