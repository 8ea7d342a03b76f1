"""`labelvault client issuer run` with its watchers, as a process: events, numbers, alarms, and a webhook."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from labelvault.cli.webhook import Webhook
from labelvault.client import Event
from labelvault.errors import OutputError
from labelvault.relay.local import utc_now
from labelvault.wire.times import to_ms, truncate

TOKEN = "a-token-in-the-address"


class Receiver(ThreadingHTTPServer):
    """Takes what is posted to it, and answers as it is told."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.got = []
        self.status = 204
        self.trickle = self.over = False

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}/hook/{TOKEN}"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((self.path, self.headers, body))
        if self.server.trickle:
            # One byte of a header now and then, so that no single read takes long.
            give_up = time.monotonic() + 60
            while time.monotonic() < give_up and not self.server.over:
                try:
                    self.wfile.write(b"H")
                except OSError:
                    return
                time.sleep(0.2)
            return
        self.send_response(self.server.status)
        self.send_header("location", "http://127.0.0.1:9/elsewhere")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def receiver():
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.over = True
    server.shutdown()
    thread.join()
    server.server_close()


def address_file(folder, address, mode=0o600):
    """An address as a file of its owner's."""
    file = folder / "webhook"
    file.write_text(address + "\n", encoding="ascii")
    file.chmod(mode)
    return file


@contextmanager
def running(world, *options):
    """An issuer in a process of its own; it must be told to end inside."""
    where = ["--home", str(world.folder / "client"), "--passphrase-file", str(world.passphrase_file)]
    process = subprocess.Popen(
        [sys.executable, "-m", "labelvault", "client", "issuer", "run", *map(str, options), *where],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def planted(world):
    """Plant a decoy and have it sealed, with a guideline that is new."""
    assert world.client("honey", "plant", "ferry", "-n", 1).code == 0
    source = world.folder / "more"
    (source / "guidelines").mkdir(parents=True)
    (source / "guidelines" / "more.md").write_text("more of it", encoding="utf-8")
    ran = world.client("seal", "ferry", source, "--json")
    assert ran.json["honey"] == {"sealed": 1, "pending": 0}
    (found,) = world.client("honey", "ls", "ferry", "--json").json["honey"]
    return found["item"]


def events_of(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_decoy_is_asked_for_and_everybody_hears_of_it(world, receiver):
    """Denied as ever; shown, logged, counted, posted, frozen, and the exit code; the address with its token nowhere."""
    item = planted(world)
    world.admit(max_open=3)
    log, prom = world.folder / "events.jsonl", world.folder / "lv.prom"
    hook = address_file(world.folder, receiver.address)
    options = ("--freeze-on-alarm", "--event-log", log, "--metrics", prom, "--webhook-file", hook)
    with running(world, *options) as issuer:
        assert world.contractor("open", world.tasks["fa-1041"], "--json").code == 0
        ran = world.contractor("open", item, "--json")
        assert (ran.code, ran.json["error"]["code"]) == (3, "unknown")
        assert world.contractor("open", world.tasks["fa-1041"], "--json").json["error"]["code"] == "frozen"
        with open(f"/proc/{issuer.pid}/cmdline", "rb") as arguments:
            assert TOKEN.encode() not in arguments.read()
        issuer.send_signal(signal.SIGTERM)
        out, err = issuer.communicate(timeout=60)
    assert issuer.returncode == 11, err
    assert f"asked for a decoy, {item}" in err.replace("\n", " ").replace("  ", " ")
    assert TOKEN not in out + err
    kinds = [event["event"] for event in events_of(log)]
    assert [kind for kind in kinds if kind != "status"] == ["release", "denial", "alarm", "freeze", "denial"]
    assert kinds.count("status") >= 2
    (alarm,) = [event for event in events_of(log) if event["event"] == "alarm"]
    ((path, headers, body),) = receiver.got
    assert path == f"/hook/{TOKEN}"
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {"events": [alarm]}
    assert alarm["item"] == item
    assert 'about="honey"} 1' in prom.read_text(encoding="ascii")
    assert TOKEN not in log.read_text(encoding="utf-8") + prom.read_text(encoding="ascii")
    lines = world.client("ledger", "show", "--type", "alarm", "--json").json["entries"]
    assert [line["item"] for line in lines] == [item]
    # A run without an alarm exits with 0 again, and posts nothing twice.
    assert world.client("issuer", "run", "--once", *options).code == 0
    assert len(receiver.got) == 1


def test_once_exits_with_11_after_an_alarm_and_delivers_it_before_it_ends(world, receiver):
    """For who runs it from a timer: what was asked for, in the order of the ledger."""
    item = planted(world)
    world.admit()
    hook = address_file(world.folder, receiver.address)
    assert world.client("issuer", "run", "--once", "--webhook-file", hook).code == 0
    # Nobody answers yet, so this one gives up; its request waits.
    assert world.contractor("open", item, "--json", "--timeout", 1).code == 6
    ran = world.client("issuer", "run", "--once", "--webhook-file", hook, "--json")
    assert (ran.code, ran.json["alarms"], ran.json["denied"]) == (11, {"honey": 1}, {"unknown": 1})
    ((_, _, body),) = receiver.got
    assert [event["event"] for event in json.loads(body)["events"]] == ["alarm"]
    assert not world.client("ls", "--json").json["projects"][0]["frozen"]


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_webhook_that_fails_stops_nothing_and_is_tried_by_the_next_issuer(world, receiver, status):
    """Said without its address, and an event; redirects are not followed."""
    item = planted(world)
    world.admit()
    log, hook = world.folder / "events.jsonl", address_file(world.folder, receiver.address)
    options = ("--once", "--event-log", log, "--webhook-file", hook)
    assert world.client("issuer", "run", *options).code == 0
    world.contractor("open", item, "--json", "--timeout", 1)
    receiver.status = status
    ran = world.client("issuer", "run", *options)
    assert ran.code == 11
    assert f"status {status}" in ran.err
    assert TOKEN not in ran.err
    assert [event["event"] for event in events_of(log)][-2:] == ["alarm", "webhook"]
    receiver.status = 200
    assert world.client("issuer", "run", *options).code == 0
    assert [json.loads(body)["events"][0]["event"] for _, _, body in receiver.got] == ["alarm", "alarm"]
    assert receiver.got[0][2] == receiver.got[1][2]


def test_a_clock_that_runs_behind_ends_the_issuer_with_an_event(world):
    """Exit code 8, as before, and one line for the SIEM."""
    log = world.folder / "events.jsonl"
    assert world.client("issuer", "run", "--once", "--event-log", log).code == 0
    with world.library() as client, client.database.transaction():
        client.database.set_meta("clock_ms", (to_ms(truncate(utc_now())) + 86_400_000).to_bytes(8, "big"))
    assert world.client("issuer", "run", "--event-log", log, "--json").code == 8
    assert [event["event"] for event in events_of(log)] == ["clock"]


def test_a_ledger_that_was_set_back_ends_the_issuer_with_an_event(world):
    """Exit code 4: it is not authentic."""
    log = world.folder / "events.jsonl"
    assert world.client("issuer", "run", "--once", "--event-log", log).code == 0
    position = log.with_name("events.jsonl.position")
    mark = json.loads(position.read_text(encoding="utf-8"))
    position.write_text(json.dumps({**mark, "size": mark["size"] + 5}), encoding="utf-8")
    assert world.client("issuer", "run", "--event-log", log).code == 4
    assert [event["event"] for event in events_of(log)] == ["fork"]


@pytest.mark.parametrize(
    ("address", "mode"),
    [
        ("https://host.example/hook", 0o644),
        ("http://host.example/hook", 0o600),
        ("https://user:password@host.example/hook", 0o600),
        ("https://host.example/hook#part", 0o600),
        ("https://", 0o600),
        ("ftp://host.example/", 0o600),
        ("https://host.example/a b", 0o600),
        ("https://host.example/one\nhttps://host.example/two", 0o600),
        ("https://[::1/", 0o600),
        ("", 0o600),
    ],
)
def test_an_address_that_is_none_or_not_private_is_refused_unsaid(world, address, mode):
    """Wrong usage, before anything is answered; what stands in the file is not repeated."""
    file = address_file(world.folder, address, mode)
    ran = world.client("issuer", "run", "--once", "--webhook-file", file)
    assert ran.code == 2
    assert "example" not in ran.err
    assert not (world.folder / "client" / "webhook.position").exists()


def test_no_server_and_one_that_trickles_are_given_up_in_bounded_time(tmp_path, receiver, monkeypatch):
    """A connection that is refused, and an answer that never ends although each read is quick."""
    event = Event("alarm", truncate(utc_now()), {})
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(OutputError, match="ConnectError"):
        Webhook(address_file(tmp_path, f"http://127.0.0.1:{port}/{TOKEN}")).post([event])
    receiver.trickle = True
    monkeypatch.setattr("labelvault.cli.webhook._WHOLE_S", 1.0)
    begun = time.monotonic()
    hook = Webhook(address_file(tmp_path, receiver.address))
    with pytest.raises(OutputError, match="no answer in time") as late:
        hook.post([event])
    assert time.monotonic() - begun < 5
    assert TOKEN not in str(late.value)
    assert TOKEN not in repr(hook)


def test_options_of_an_issuer_that_watch_are_refused_before_it_answers(world):
    """A log that others can read, and a folder that is not there: nothing was answered or made."""
    log = world.folder / "events.jsonl"
    log.write_text("", encoding="utf-8")
    log.chmod(0o644)
    assert world.client("issuer", "run", "--once", "--event-log", log).code == 7
    assert world.client("issuer", "run", "--once", "--metrics", world.folder / "none" / "lv.prom").code == 7
    assert os.listdir(world.folder).count("none") == 0


def test_decoys_are_listed_and_counted_for_people(world):
    """What waits, and what went along, in words."""
    ran = world.client("honey", "plant", "ferry", "-n", 2)
    assert "2 planted; 2 wait for new items that are no tasks" in ran.out
    assert "waits" in world.client("honey", "ls", "ferry").out
    source = world.folder / "more"
    (source / "guidelines").mkdir(parents=True)
    (source / "guidelines" / "more.md").write_text("more of it", encoding="utf-8")
    ran = world.client("seal", "ferry", source, "--dry-run")
    assert "Decoys: 1 more would go along, 1 would wait" in ran.out
    assert "Decoys: 1 went along, 1 wait for new items that are no tasks" in world.client("seal", "ferry", source).out
    assert "1 at the vault, 1 wait." in world.client("honey", "ls", "ferry").out
    assert world.client("honey", "plant", "none", "-n", 1).code == 7
    assert world.client("honey", "plant", "ferry", "-n", 0).code == 2
