"""Confinement: what the filter says to each call, and what the kernel says to a real opening process that tries."""

import errno
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labelvault.contractor import confine, contractor, isolated
from labelvault.contractor.confine import Instruction, program
from labelvault.contractor.worker import Worker
from labelvault.errors import TamperedError
from tests.world import TASK, World

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="confined on Linux")
PROCESSORS = ["x86_64", "aarch64"]
NAMES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOW, KILL = 0x7FFF0000, 0x80000000


def deny(code: int) -> int:
    """What the filter returns for an errno."""
    return 0x00050000 | code


def outcome(filter_: list[Instruction], processor: int, number: int, *arguments: int) -> int:
    """Run a filter as the kernel does: one register, forward jumps, words of the call's description."""
    given = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, processor, 0, *given)
    register = at = 0
    while True:
        code, if_true, if_false, value = filter_[at]
        at += 1
        if code == 0x06:
            return value
        if code == 0x20:
            register = int.from_bytes(data[value : value + 4], "little")
        else:
            holds = {0x15: register == value, 0x35: register >= value, 0x45: bool(register & value)}[code]
            at += if_true if holds else if_false


@pytest.mark.parametrize("writes", [False, True])
@pytest.mark.parametrize("processor", PROCESSORS)
def test_the_filter_denies_what_it_lists_and_lets_the_rest(processor: str, writes: bool) -> None:
    """Every number up to 500, on both processors: denied if a list has it, else let; a thread starts, a process not."""
    column, name, made = PROCESSORS.index(processor), NAMES[processor], program(processor, writes=writes)
    lists = [confine._NEVER, *([] if writes else [confine._FOR_FOLDERS])]
    denied = {numbers[column] for each in lists for numbers in each.values()}
    unknown = {numbers[column] for numbers in confine._UNREADABLE.values()}
    clone, prctl, limit = confine._CLONE[column], confine._PRCTL[column], confine._PRLIMIT[column]
    for number in set(range(500)) - {clone}:
        expected = ALLOW
        if number in denied:
            expected = deny(errno.EPERM)
        elif number in unknown:
            expected = deny(errno.ENOSYS)
        assert outcome(made, name, number) == expected, number
    assert outcome(made, name, clone, 0x00010000 | 0x100) == ALLOW
    assert outcome(made, name, clone, 17) == deny(errno.EPERM)
    assert outcome(made, name, prctl, 4, 1) == deny(errno.EPERM)
    assert outcome(made, name, prctl, 15) == ALLOW
    for address in (8, 1 << 32):
        assert outcome(made, name, limit, 0, 4, address) == deny(errno.EPERM)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_files_are_opened_for_reading_only_unless_some_are_to_be_written(processor: str) -> None:
    """Every flag that writes, makes or cuts a file is seen, in whatever company."""
    column, name = PROCESSORS.index(processor), NAMES[processor]
    for number, place in ((confine._OPENAT[column], 2), (confine._OPEN[column], 1)):
        if number is None:
            continue
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC | os.O_CLOEXEC, os.O_TMPFILE | os.O_RDWR):
            arguments = [0] * place + [flags]
            assert outcome(program(processor, writes=False), name, number, *arguments) == deny(errno.EPERM)
            assert outcome(program(processor, writes=True), name, number, *arguments) == ALLOW
        assert outcome(program(processor, writes=False), name, number, *[0] * place, os.O_CLOEXEC) == ALLOW


def test_calls_by_the_numbers_of_another_processor_end_the_process() -> None:
    """32-bit calls, whose numbers mean other things, end it; those of x32 fail."""
    for processor, other in zip(PROCESSORS, reversed(PROCESSORS), strict=True):
        assert outcome(program(processor, writes=True), NAMES[other], 0) == KILL
    assert outcome(program("x86_64", writes=True), 0x40000003, 0) == KILL
    assert outcome(program("x86_64", writes=True), NAMES["x86_64"], 0x40000000 + 59) == deny(errno.EPERM)


# What a process tries, each as a function; the same code runs hardened and not.
ATTEMPTS = """
import ctypes, json, os, resource, select, socket, subprocess, threading

def attempts(place, port):
    libc = ctypes.CDLL(None, use_errno=True)
    def call(*arguments):
        if libc.syscall(*arguments) < 0:
            raise OSError(ctypes.get_errno(), "")
    def start():
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
    def execute():
        # Waited for: its end is a signal, which would stop a process that is traced by then.
        os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
    def tcp():
        socket.create_connection(("127.0.0.1", port), 5).close()
    def write():
        with open(place + "/new", "w") as file:
            file.write("x")
    def change():
        os.rename(place + "/there", place + "/moved")
        os.rename(place + "/moved", place + "/there")
    def thread():
        made = threading.Thread(target=len, args=("",))
        made.start()
        made.join()
    tried = {
        "read a file": lambda: open(place + "/there").read(),
        "list a folder": lambda: os.listdir(place),
        "write a file": write,
        "rename a file": change,
        "change a mode": lambda: os.chmod(place + "/there", 0o600),
        "make a folder": lambda: os.rmdir(os.mkdir(place + "/folder") or place + "/folder"),
        "remove a file": lambda: os.unlink(place + "/gone"),
        "start a process": start,
        "start a program": execute,
        "connect": tcp,
        "make a pair of sockets": lambda: [each.close() for each in socket.socketpair()],
        "send a signal": lambda: os.kill(os.getppid(), 0),
        "trace": lambda: call(101 if os.uname().machine == "x86_64" else 117, 0, 0, 0, 0),
        "be dumpable": lambda: libc.prctl(4, 1, 0, 0, 0) and call(-1),
        "raise a limit": lambda: resource.setrlimit(resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE)),
        "start a thread": thread,
        "read a limit": lambda: resource.getrlimit(resource.RLIMIT_CORE),
        "import late": lambda: __import__("colorsys"),
        "use a codec late": lambda: "x".encode("cp037"),
        "wait": lambda: select.select([], [], [], 0),
    }
    outcomes = {}
    for name, attempt in tried.items():
        try:
            attempt()
            outcomes[name] = "done"
        except Exception as error:
            outcomes[name] = type(error).__name__
    return outcomes
"""
STAYS = ["start a thread", "read a limit", "import late", "use a codec late", "wait"]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with files to try things on."""
    folder = tmp_path / "place"
    folder.mkdir()
    for name in ("there", "gone"):
        (folder / name).write_text("kept")
    return folder


@pytest.fixture
def port() -> Iterator[int]:
    """Where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@linux_only
def test_all_that_is_denied_below_works_in_a_process_that_is_not_confined(place: Path, port: int) -> None:
    """The other tests rest on it."""
    script = f"{ATTEMPTS}\nprint(json.dumps(attempts({str(place)!r}, {port})))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert set(json.loads(ran.stdout).values()) == {"done"}
    assert not (place / "gone").exists()


def booted(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Let the opening processes of this test run code of ours in place of theirs: what came to run in one."""
    at = "from labelvault.contractor.{} import main"
    # Where coverage is measured, the name is asked for twice.
    boot = isolated._BOOT.replace("{0}", "{}")
    assert boot.count(at) == 1
    monkeypatch.setattr(isolated, "_BOOT", boot.replace(at, f"{code}; {at}").replace("{}", "child"))


def planted(tmp_path: Path, code: str) -> str:
    """Write code into a module that the opening process can import, and return how it does."""
    (tmp_path / "planted_in_a_test.py").write_text(f"{ATTEMPTS}\nfrom labelvault.contractor import child\n{code}\n")
    return f"sys.path.append({str(tmp_path)!r}); import planted_in_a_test"


@linux_only
def test_what_takes_over_an_opening_process_reaches_nothing(
    world: World, place: Path, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the task open: no file, folder, program, process, connection, signal or trace; threads and codecs work."""
    acts = f"child.render = lambda opened, *_, **__: json.dumps([opened.task.text, attempts({str(place)!r}, {port})])"
    booted(monkeypatch, planted(tmp_path, acts))
    me, _ = world.worker()
    with world.serving(), me.begin(world.task(), timeout_s=60) as opening:
        text, outcomes = json.loads(shown(opening))
    assert TASK in text
    assert {name for name, said in outcomes.items() if said == "done"} == set(STAYS)
    # `resource` says it in its own way.
    refused = {said for name, said in outcomes.items() if name not in STAYS}
    assert refused <= {"PermissionError", "OSError", "ValueError"}
    assert sorted(path.name for path in place.iterdir()) == ["gone", "there"]


def shown(opening: Any) -> str:
    """What an opening shows."""
    reader, writer = os.pipe()
    with os.fdopen(reader) as stream:
        opening.show(writer)
        os.close(writer)
        return stream.read()


@linux_only
def test_what_takes_over_while_files_are_written_reaches_no_other_folder(
    world: World, place: Path, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own folder it writes; beside that nothing is read, written, renamed, removed, started or connected to."""
    acts = (
        "def write_parts(directory, opened):\n"
        f"    directory.write('outcomes', json.dumps(attempts({str(place)!r}, {port})).encode())\n"
        "child.write_parts = write_parts"
    )
    booted(monkeypatch, planted(tmp_path, acts))
    me, _ = world.worker()
    with world.serving():
        opening = me.begin(world.task(), timeout_s=60, output=tmp_path / "out")
    outcomes = json.loads((tmp_path / "out" / "outcomes").read_text())
    assert {name for name, said in outcomes.items() if said == "done"} == set(STAYS)
    assert sorted(path.name for path in place.iterdir()) == ["gone", "there"]
    opening.close()
    assert not (tmp_path / "out").exists()


@linux_only
def test_G12_a_confined_process_that_fails_removes_what_it_wrote(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself, though it can remove nothing else: its parent, that would do it too, is kept from it."""
    acts = (
        "from labelvault.errors import TamperedError\n"
        "real = child.write_parts\n"
        "def write_parts(directory, opened):\n"
        "    real(directory, opened)\n"
        "    raise TamperedError('in the end')\n"
        "child.write_parts = write_parts"
    )
    booted(monkeypatch, planted(tmp_path, acts))
    monkeypatch.setattr(contractor, "erase_output", lambda *_: None)
    me, _ = world.worker()
    with world.serving(), pytest.raises(TamperedError, match="in the end"):
        me.begin(world.task(), timeout_s=60, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert [record.state for record in me.openings()] == ["closed"]


@linux_only
def test_a_kernel_without_any_of_it_is_named_and_opens_all_the_same(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No Landlock, a processor without a filter: steps that are not done, each with its reason, and the text shows."""
    code = (
        "from labelvault.contractor import confine\n"
        "confine._landlock_version = lambda: 0\nconfine.platform.machine = lambda: 'riscv64'"
    )
    booted(monkeypatch, planted(tmp_path, code))
    worker = Worker()
    worker.stop()
    missing = {step.name: step.why for step in worker.hardening if not step.done and "swapped" not in step.name}
    assert missing == {
        "no files but Python's own (Landlock)": "the kernel has no Landlock, or it is not switched on",
        "no TCP (Landlock)": "the kernel has no Landlock, or it is not switched on",
        "no programs, connections or tracing (seccomp)": "no filter is written for this processor (riscv64)",
    }
    me, _ = world.worker()
    with world.serving(), me.begin(world.task(), timeout_s=60) as opening:
        assert TASK in shown(opening)


@linux_only
@pytest.mark.parametrize(("version", "tcp"), [(1, False), (3, False), (4, True), (6, True)])
def test_older_versions_of_landlock_confine_what_they_know(
    version: int, tcp: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for no more than a version has, so that the kernel takes it; TCP from the fourth on."""
    code = f"from labelvault.contractor import confine\nconfine._landlock_version = lambda: {version}"
    booted(monkeypatch, planted(tmp_path, code))
    worker = Worker()
    worker.stop()
    done = {step.name: step.done for step in worker.hardening}
    assert done["no files but Python's own (Landlock)"]
    assert done["no TCP (Landlock)"] is tcp
    why = {step.name: step.why for step in worker.hardening}["no TCP (Landlock)"]
    assert why == ("" if tcp else f"the kernel's Landlock knows no TCP (version {version}; 4 does)")


@linux_only
def test_what_the_kernel_refuses_is_named_with_its_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose own filter forbids these calls."""
    code = (
        "from labelvault.contractor import confine\nimport os\n"
        "def refuse(number, *arguments):\n"
        "    if arguments[2:] == (1,): return 4\n"
        "    raise PermissionError(1, os.strerror(1))\n"
        "confine._call = refuse"
    )
    booted(monkeypatch, planted(tmp_path, code))
    worker = Worker()
    worker.stop()
    refused = [step.why for step in worker.hardening if "Landlock" in step.name or "seccomp" in step.name]
    assert refused == ["Operation not permitted"] * 3
