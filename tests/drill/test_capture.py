"""Real memory of real processes: what a live one holds is found, and gone once it has exited."""

import base64
import os
import subprocess
import sys

import pytest

from labelvault.drill import capture, run
from labelvault.drill.capture import MAGIC, capture_process, capture_tree, descendants, text_section
from labelvault.errors import DrillError
from tests.drill.world import TEXTS, build_world

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read through Linux's /proc")

HOLDER = """
import sys
held = bytes.fromhex(sys.stdin.readline().strip())
text = sys.stdin.readline()
print("ready", flush=True)
sys.stdin.read()
"""
PARENT = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {HOLDER!r}], stdin=sys.stdin)
child.wait()
"""


class Holder:
    """A process that holds what it is told, until it is let go."""

    def __init__(self, code=HOLDER, key="", text="", **options):
        command = [sys.executable, "-c", code, *options.pop("arguments", [])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
        told, answer = self.process.stdin, self.process.stdout
        assert told is not None
        assert answer is not None
        told.write(f"{key}\n{text}\n")
        told.flush()
        assert answer.readline() == "ready\n"

    def __enter__(self):
        return self.process.pid

    def __exit__(self, *_):
        self.process.communicate(timeout=30)


def captured(folder, name, **held):
    """Capture a process that holds something."""
    target = folder / f"{name}.mem"
    with Holder(**held) as pid:
        assert capture_process(pid, target) > 1_000_000
    assert target.stat().st_mode & 0o777 == 0o600
    return target


@linux
@pytest.mark.parametrize("sort", ["dek", "one-time"])
def test_C6_C9_a_key_in_a_live_process_is_found_and_gone_after_its_exit(tmp_path, sort):
    """A key held as Python bytes is found in a scan of the process; not in another, once that one has exited."""
    world = build_world(tmp_path)
    key = world.deks[0] if sort == "dek" else world.seeds[0]
    other = captured(tmp_path, "before", key=os.urandom(32).hex())
    live = captured(tmp_path, "live", key=key.hex())
    after = captured(tmp_path, "after", key=os.urandom(32).hex())
    found = run(world.url, captures=[live], baseline=[other])
    assert [each.name for each in found.opened] == ["task-0000"]
    assert {(each.sort, each.place) for each in found.keys_found} == {(sort, "capture/live.mem")}
    found = run(world.url, captures=[after], baseline=[other])
    assert (found.opened, found.keys_found) == ((), ())


@linux
def test_C9_text_in_a_live_process_is_found(tmp_path):
    """A task's text in memory is found, also without a baseline; the twin's is not."""
    world = build_world(tmp_path, openings=0)
    (tmp_path / "known").mkdir()
    (tmp_path / "known" / "task.md").write_text(TEXTS[4])
    live = captured(tmp_path, "live", text=TEXTS[4])
    twin = captured(tmp_path, "twin", text=TEXTS[4][::-1])
    assert run(world.url, captures=[live], known=tmp_path / "known").plaintext_hits > 0
    assert run(world.url, captures=[twin], known=tmp_path / "known").plaintext_hits == 0


@linux
def test_keys_in_arguments_and_environment_are_found(tmp_path):
    """The command line and the environment are part of a capture."""
    world = build_world(tmp_path)
    secret = base64.urlsafe_b64encode(world.deks[1]).decode()
    target = captured(
        tmp_path, "live", arguments=[f"--key={world.deks[0].hex()}"], env={**os.environ, "SECRET": secret}
    )
    texts, regions = text_section(target.read_bytes())
    assert f"--key={world.deks[0].hex()}".encode() in texts
    assert f"SECRET={secret}".encode() in texts
    assert regions % 4096 == 0
    assert [each.name for each in run(world.url, captures=[target]).opened] == ["task-0000", "task-0001"]


@linux
def test_children_are_captured_with_their_parent(tmp_path):
    """The key that only the child holds is found in a desk's captures."""
    world = build_world(tmp_path)
    desk = tmp_path / "desk"
    with Holder(PARENT, key=world.deks[2].hex()) as pid:
        (child,) = descendants(pid)
        files = capture_tree(pid, desk / "captures")
    assert files == [desk / "captures" / f"{each}.mem" for each in (pid, child)]
    found = run(world.url, desks=[desk])
    assert [each.name for each in found.opened] == ["task-0002"]
    assert f"desk/captures/{child}.mem" in {each.place for each in found.keys_found}
    assert found.captured_bytes == sum(file.stat().st_size for file in files)


@linux
def test_what_can_not_be_captured_is_an_error_and_leaves_no_file(tmp_path):
    """No such process, one that has exited, an existing file: DrillError, and nothing half written."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with pytest.raises(DrillError):
        capture_process(gone.pid, tmp_path / "gone.mem")
    exited = subprocess.Popen([sys.executable, "-c", "print('x')"], stdout=subprocess.PIPE)
    while os.waitid(os.P_PID, exited.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
        pass
    with pytest.raises(DrillError):
        capture_tree(exited.pid, tmp_path / "captures")
    exited.communicate()
    (tmp_path / "there.mem").write_bytes(b"kept")
    with pytest.raises(DrillError):
        capture_process(os.getpid(), tmp_path / "there.mem")
    assert (tmp_path / "there.mem").read_bytes() == b"kept"
    with pytest.raises(DrillError):
        capture_tree(os.getpid(), tmp_path / "there.mem")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["captures", "there.mem"]


def test_elsewhere_than_on_linux_it_says_so(tmp_path, monkeypatch):
    """A clear error in place of an empty capture."""
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(DrillError, match="Linux"):
        capture_process(os.getpid(), tmp_path / "file.mem")
    assert not list(tmp_path.iterdir())


def test_a_text_section_that_claims_too_much_is_bounded():
    """A capture is hostile input like any other."""
    assert text_section(b"no capture of ours") == (b"", 0)
    texts, regions = text_section(MAGIC + b"\xff" * 8 + b"texts")
    assert texts == b"texts"
    assert regions % 4096 == 0


@linux
def test_a_child_that_exits_meanwhile_is_left_out_and_one_that_lives_is_not(tmp_path, monkeypatch):
    """Only what has no memory any more may be missing from a capture."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with Holder() as pid:
        monkeypatch.setattr(capture, "descendants", lambda _: [gone.pid])
        assert capture_tree(pid, tmp_path / "one") == [tmp_path / "one" / f"{pid}.mem"]
        monkeypatch.setattr(capture, "descendants", lambda _: [os.getpid()])
        (tmp_path / "two").mkdir()
        (tmp_path / "two" / f"{os.getpid()}.mem").write_bytes(b"in the way")
        with pytest.raises(DrillError):
            capture_tree(pid, tmp_path / "two")


@linux
def test_an_empty_capture_is_an_error(tmp_path, monkeypatch):
    """A process of which nothing could be read must not pass for one that holds nothing."""
    monkeypatch.setattr(capture, "_memory", lambda _: iter(()))
    with pytest.raises(DrillError):
        capture_process(os.getpid(), tmp_path / "file.mem")
    assert not list(tmp_path.iterdir())
