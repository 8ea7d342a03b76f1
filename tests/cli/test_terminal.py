"""On a terminal: prompts without echo, a session that ends on Enter, Ctrl-C and SIGTERM, and a terminal as it was."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

import pytest

from tests.cli.conftest import EXAMPLE, PASSPHRASE

pytestmark = pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs pseudo-terminals")


class Terminal:
    """A command on a pseudo-terminal of its own, which is its controlling one."""

    def __init__(self, *command, **variables):
        self.master, slave = pty.openpty()
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        self.text = ""
        self._seen = 0
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", **variables}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "labelvault", *map(str, command)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
            env=environment,
        )

    def until(self, wanted, timeout_s=30):
        """Read until something is shown that was not waited for before."""
        end = time.monotonic() + timeout_s
        while wanted not in self.text[self._seen :]:
            assert time.monotonic() < end, self.text
            if select.select([self.master], [], [], 0.1)[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace")
        self._seen = self.text.index(wanted, self._seen) + len(wanted)
        return self.text

    def type(self, text):
        """Press keys."""
        os.write(self.master, text.encode())

    def end(self):
        """Wait for the end; return the exit code and everything that was shown."""
        code = None
        end = time.monotonic() + 30
        while code is None and time.monotonic() < end:
            if select.select([self.master], [], [], 0.05)[0]:
                self.text += os.read(self.master, 65536).decode(errors="replace")
            code = self.process.poll()
        while select.select([self.master], [], [], 0)[0]:
            self.text += os.read(self.master, 65536).decode(errors="replace")
        return code, self.text

    def restored(self):
        """Whether the terminal's settings are what they were."""
        return termios.tcgetattr(self._slave) == self.before

    def close(self):
        """Let go."""
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self._slave)


@pytest.fixture
def terminal():
    """Start commands on terminals, and end them."""
    started = []

    def start(*command, **variables):
        started.append(Terminal(*command, **variables))
        return started[-1]

    yield start
    for each in started:
        each.close()


def test_a_passphrase_is_asked_for_twice_without_echo(terminal, tmp_path):
    """What is typed is not shown, a mismatch asks again, and the terminal is as before."""
    shown = terminal("client", "init", "--vault", f"sqlite:///{tmp_path}/v.db", "--home", tmp_path / "c")
    shown.until("Passphrase: ")
    shown.type("one thing\n")
    shown.until("Repeat for confirmation: ")
    shown.type("another\n")
    shown.until("do not match")
    shown.until("Passphrase: ")
    shown.type("one thing\n")
    shown.until("Repeat for confirmation: ")
    shown.type("one thing\n")
    code, text = shown.end()
    assert code == 0, text
    assert "Fingerprint: " in text
    assert "one thing" not in text
    assert shown.restored()


def test_ctrl_c_at_a_prompt_restores_the_terminal_and_changes_nothing(terminal, tmp_path):
    """Echo is on again, the exit code is a shell's, no home was made."""
    shown = terminal("contractor", "init", "--label", "x", "--home", tmp_path / "a")
    shown.until("Passphrase: ")
    shown.type("\x03")
    code, text = shown.end()
    assert code == 130, text
    assert shown.restored()
    assert not (tmp_path / "a").exists()


def opened(terminal, world, *more):
    """Open a task on a terminal."""
    where = ("--home", world.folder / "ada", "--passphrase-file", world.passphrase_file)
    return terminal("contractor", "open", world.tasks["fa-1042"], *where, *more)


def state(world):
    """What the home says of its one opening."""
    (opening,) = world.contractor("list", "--json").json["openings"]
    return opening["state"], opening["erased"]


@pytest.mark.parametrize("how", ["enter", "ctrl-c", "sigterm"])
def test_a_session_shows_counts_down_and_closes(terminal, world, issuer, how):
    """Enter, Ctrl-C and SIGTERM all close the opening by process exit, and leave the terminal as it was."""
    world.admit()
    shown = opened(terminal, world)
    assert re.search(r"2\d min \d+ s left", shown.until(" s left"))
    assert "taxi around the whole fjord" in shown.text
    if how == "sigterm":
        shown.process.send_signal(signal.SIGTERM)
    else:
        shown.type("\n" if how == "enter" else "\x03")
    code, text = shown.end()
    assert code == 0, text
    assert "Traceback" not in text
    assert "the key and the text are gone" in text
    assert shown.restored()
    assert state(world) == ("closed", "process-exit")


def test_a_session_ends_with_its_lease(terminal, world, issuer):
    """When the time is over the task is closed without anybody doing anything."""
    world.enrol()
    terms = ("--expires", "1h", "--max-open", 1, "--max-total", 5, "--per-hour", 5, "--lease-ttl", "2s")
    invite = world.folder / "short.invite"
    assert world.client("grant", "ferry", "ada", "--batch", "week-14", *terms, "--invite", invite).code == 0
    assert world.contractor("join", invite, "--fingerprint", world.fingerprint).code == 0
    code, text = opened(terminal, world).end()
    assert code == 0, text
    assert state(world) == ("closed", "process-exit")


def test_no_color_is_respected(terminal, world):
    """With NO_COLOR nothing is coloured, also on a terminal; without it tables are."""
    where = ("client", "ls", "--home", world.folder / "client", "--passphrase-file", world.passphrase_file)
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-9]m")
    plain = terminal(*where, NO_COLOR="1").end()
    assert plain[0] == 0
    assert not coloured.search(plain[1])
    assert coloured.search(terminal(*where).end()[1])


def test_sealing_shows_a_bar_on_a_terminal_only(terminal, world, tmp_path):
    """The bar is on stderr and gone at the end; a pipe gets none."""
    where = ("--home", world.folder / "client", "--passphrase-file", world.passphrase_file)
    code, text = terminal("client", "seal", "ferry", EXAMPLE, *where).end()
    assert code == 0
    assert "Sealing" in text
    assert "/s" in text
    assert "Sealing" not in world.client("seal", "ferry", EXAMPLE).err
    assert "Sealing" not in terminal("client", "seal", "ferry", EXAMPLE, "--no-progress", *where).end()[1]
    assert "Exporting" in terminal("client", "export", "ferry", tmp_path / "out", *where).end()[1]


def test_ctrl_c_while_sealing_restores_the_terminal(terminal, world, tmp_path):
    """The cursor, which the bar hides, is back; what was sealed stays sealed."""
    tasks = tmp_path / "big" / "tasks"
    tasks.mkdir(parents=True)
    (tasks / "many.jsonl").write_text("".join(f'{{"id": "t{n}", "text": "x"}}\n' for n in range(200_000)))
    where = ("--home", world.folder / "client", "--passphrase-file", world.passphrase_file)
    shown = terminal("client", "seal", "ferry", tmp_path / "big", *where)
    shown.until("/s")
    shown.type("\x03")
    code, text = shown.end()
    assert code == 130, text
    assert "Traceback" not in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert shown.restored()
    assert world.client("ledger", "verify").code == 0


def test_ctrl_c_at_a_fingerprint_prompt_restores_the_terminal(terminal, world):
    """Nothing is enrolled."""
    assert world.contractor("init", "--label", "x").code == 0
    card = world.folder / "ada.card"
    assert world.contractor("card", "-o", card).code == 0
    where = ("--home", world.folder / "client", "--passphrase-file", world.passphrase_file)
    shown = terminal("client", "enroll", card, "--name", "ada", *where)
    shown.until("reads out")
    # Python takes a signal that comes just before it waits for a line only with the next key.
    time.sleep(0.5)
    shown.type("\x03")
    code, text = shown.end()
    assert code == 130, text
    assert shown.restored()
    assert world.client("ls", "--json").json["contractors"] == []


def test_a_fingerprint_is_asked_for(terminal, world):
    """On a terminal the client is asked for what the contractor reads out."""
    assert world.contractor("init", "--label", "x").code == 0
    card = world.folder / "ada.card"
    fingerprint = world.contractor("card", "-o", card, "--json").json["fingerprint"]
    where = ("--home", world.folder / "client", "--passphrase-file", world.passphrase_file)
    shown = terminal("client", "enroll", card, "--name", "ada", *where)
    shown.until("reads out")
    shown.type(fingerprint.replace("-", " ").upper() + "\n")
    code, text = shown.end()
    assert code == 0, text
    assert PASSPHRASE not in text


def test_a_desk_prompts_and_ends_on_ctrl_c(terminal, world, issuer):
    """People get a prompt and texts; Ctrl-C closes what is open."""
    world.admit("desk", "desk")
    where = ("--home", world.folder / "desk", "--passphrase-file", world.passphrase_file)
    shown = terminal("contractor", "desk", *where)
    shown.until("desk> ")
    shown.type(f"open {world.tasks['fa-1041']}\n")
    (lease,) = re.findall(r"as ([0-9a-f]{16})", shown.until(" left."))
    shown.type(f"show {lease}\n")
    shown.until("cello")
    shown.type("\x03")
    code, text = shown.end()
    assert code == 0, text
    assert "its process has exited" in text
    assert shown.restored()
