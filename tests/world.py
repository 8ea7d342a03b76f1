"""A small world in one process: a client's home, a vault, contractors, real SQLite files and a clock that tests set.

Also what tests need to look into it: everything that a database holds, and every byte of a folder.
"""

import contextlib
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from labelvault.client import Client, Limits, PassphraseRoot, Project, Scope
from labelvault.contractor import Contractor, Membership, PresenceDevice
from labelvault.contractor.opening import make_request
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.kdf import Argon2idParameters
from labelvault.envelope.answer import AnswerHead, seal_answer
from labelvault.issuer.service import Issuer
from labelvault.relay import Relay, open_relay
from labelvault.story.simulator import Clock
from labelvault.vendor import Vault
from labelvault.wire.answers import Ack, Submission, SubmissionOuter
from labelvault.wire.certified import open_certified
from labelvault.wire.frame import Signed, Signer, cosign, parse_frame, sign_message
from labelvault.wire.messages import Denial, Lease, LeaseOuter, OpenRequest, Receipt
from labelvault.wire.schema import decode_record, encode_record

CHEAP = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)
PASSPHRASE = "a passphrase of the tests"
MS = timedelta(milliseconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
LIMITS = Limits(max_open=2, max_total=50, per_hour=50, lease_ttl_s=3600)

# Each text is a canary: nothing of it may show where it does not belong.
GUIDELINE = "guideline-canary: mark every reply that promises a refund"
RUBRIC = "rubric-canary: five points for an honest answer"
GOLD = "gold-canary: the right answer is forty-two"
PICTURE = b"picture-canary" + bytes(range(256))
TASK = "task-canary"


def write_file(folder: Path, name: str, data: str | bytes) -> Path:
    """Write one file of a project folder."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def rows(*ids: str, **columns: Any) -> str:
    """JSONL rows, one for each id."""
    return "".join(json.dumps({"id": name, "prompt": f"{TASK} {name}", **columns}) + "\n" for name in ids)


def write_project(folder: Path) -> Path:
    """Write a project with something of each kind: five tasks in two batches."""
    write_file(folder, "guidelines/how.md", GUIDELINE)
    write_file(folder, "rubrics/score.md", RUBRIC)
    write_file(folder, "gold/answers.jsonl", GOLD)
    write_file(folder, "attachments/picture.png", PICTURE)
    write_file(folder, "tasks/w1.jsonl", rows("one", "two", "three", picture="picture.png"))
    write_file(folder, "tasks/w2.jsonl", rows("four", "five"))
    write_file(folder, "labelvault.toml", '[tasks]\nattachments = ["picture"]\nlabels = ["id"]\n')
    return folder


class World:
    """Actors as folders under one: `client/`, `vendor/`, and one for each contractor."""

    def __init__(self, folder: Path, template: Path | None = None) -> None:
        """Make vault, client and a sealed project; or take copies of those in another world's closed folder."""
        self.folder = folder
        self.clock = Clock()
        self.passphrase = PASSPHRASE
        self._open: list[Client | Contractor | Issuer | Relay] = []
        self.vault = f"sqlite:///{folder}/vendor/vault.db"
        self.source = folder / "source"
        if template is not None:
            shutil.copytree(template, folder, dirs_exist_ok=True)
            (self.home / "config.json").write_text(json.dumps({"vault": self.vault}))
            self.lab = self.open_client()
            self.project: Project = self.lab.project("eval")
            return
        (folder / "vendor").mkdir()
        Vault.open(self.vault).close()
        self.lab = self.create_client("client")
        self.project = self.lab.create_project("eval", floor_bytes=256)
        report = self.project.seal(write_project(self.source))
        assert not report.errors

    @property
    def home(self) -> Path:
        """The client's home."""
        return self.folder / "client"

    @property
    def client_db(self) -> Path:
        """The client's database."""
        return self.home / "client.db"

    def close(self) -> None:
        """Close everything that was opened here."""
        for each in reversed(self._open):
            with contextlib.suppress(sqlite3.Error):
                each.close()

    def create_client(self, name: str) -> Client:
        """Make another client on the same vault."""
        root = PassphraseRoot(PASSPHRASE, parameters=CHEAP)
        return self._kept(Client.create(self.folder / name, root, self.vault, clock=self.clock))

    def open_client(self, name: str = "client") -> Client:
        """Open a client's home anew, as a process that starts does."""
        root = PassphraseRoot(self.passphrase, parameters=CHEAP)
        return self._kept(Client.open(self.folder / name, root, clock=self.clock))

    def issuer(self, lab: Client | None = None) -> Issuer:
        """An issuer with connections of its own."""
        return self._kept((lab or self.lab).issuer())

    def relay(self) -> Relay:
        """A way to the vault."""
        return self._kept(open_relay(self.vault))

    def contractor(self, name: str, *, tier: str = "helper", **presence: Any) -> Contractor:
        """Make a contractor's home."""
        home = self.folder / name
        made = Contractor.create(
            home, PASSPHRASE, tier=tier, label=name, parameters=CHEAP, clock=self.clock, **presence
        )
        return self._kept(made)

    def device(self, name: str = "phone") -> PresenceDevice:
        """Make a presence device's home."""
        made = PresenceDevice.create(self.folder / name, PASSPHRASE, parameters=CHEAP, clock=self.clock)
        return self._kept(made)

    def desk(
        self, name: str = "desk", device: PresenceDevice | None = None, **terms: Any
    ) -> tuple[Contractor, PresenceDevice, Membership]:
        """A desk and its presence device, enrolled as people do it, and both joined."""
        device = device or self.device(f"{name}-phone")
        me = self.contractor(name, tier="desk", presence_key=device.public_key)
        spoken = device.take_card(me.finish_card(device.cosign(me.draft())))
        self.lab.enroll(me.card(), fingerprint=spoken, name=name)
        membership = self.join(me, name, **terms)
        device.join(membership.invite.data, fingerprint=self.lab.fingerprint)
        return me, device, membership

    def reopen(self, name: str) -> Contractor:
        """Open a contractor's home anew."""
        return self._kept(Contractor.open(self.folder / name, PASSPHRASE, clock=self.clock))

    def _kept(self, made: Any) -> Any:
        self._open.append(made)
        return made

    def enrol(self, me: Contractor, name: str, lab: Client | None = None) -> None:
        """Enrol a contractor by its card."""
        (lab or self.lab).enroll(me.card(), fingerprint=me.card_fingerprint, name=name)

    def join(
        self,
        me: Contractor,
        name: str,
        *,
        lab: Client | None = None,
        project: Project | None = None,
        scope: Scope | None = None,
        limits: Limits = LIMITS,
        lasts: timedelta = DAY,
        waive_presence: bool = False,
    ) -> Membership:
        """Grant (all batches by default), invite and join."""
        lab, project = lab or self.lab, project or self.project
        grant = project.grant(
            name,
            scope or Scope(batches=project.batches()),
            expires_at=self.clock() + lasts,
            limits=limits,
            waive_presence=waive_presence,
        )
        return me.join(lab.invite(grant.grant_id), fingerprint=lab.fingerprint)

    def worker(self, name: str = "ada", **terms: Any) -> tuple[Contractor, Membership]:
        """A contractor that was enrolled and has joined."""
        me = self.contractor(name)
        self.enrol(me, name)
        return me, self.join(me, name, **terms)

    def task(self, name: str = "one", project: Project | None = None) -> bytes:
        """A task's id."""
        return next(item.item for item in (project or self.project).items("task") if item.name == name)

    def id_of(self, kind: str) -> bytes:
        """The id of the one item of a kind."""
        return self.project.items(kind)[0].item

    def ask(
        self, me: Contractor, membership: Membership, item: bytes, /, *, key: OneTimeKey | None = None, **fields: Any
    ) -> Signed[OpenRequest]:
        """Sign a request as the contractor's software would, then change fields at will."""
        key = key or OneTimeKey.generate()
        request = make_request(membership, identity(me), item, key.public_key, self.clock())
        if not fields:
            return request
        return sign_message(replace(request.message, **fields), identity(me))

    def receipt(self, me: Contractor, lease: Signed[OpenRequest], event: str = "closed", **fields: Any) -> bytes:
        """Sign a receipt for the lease that a request got."""
        asked = lease.message
        erased = "process-exit" if event == "closed" else None
        message = Receipt(asked.client, asked.project, lease.hash, asked.item, event, erased, self.clock())
        return sign_message(replace(message, **fields), identity(me)).data

    def submission(
        self,
        me: Contractor,
        lease: Signed[OpenRequest],
        content: bytes = b'{"label": "good"}',
        *,
        signer: Signer | None = None,
        device: Signer | None = None,
        **fields: Any,
    ) -> bytes:
        """Sign an answer under the lease that a request got, as the contractor's software would; fields at will."""
        asked = lease.message
        outer = SubmissionOuter(
            asked.client, asked.project, lease.hash, asked.item, 1, me.public_key, 1, "device", None, self.clock()
        )
        outer_bytes = encode_record(replace(outer, **fields))
        key = self.lab.database.scalar("SELECT submission_public FROM projects WHERE project = ?", asked.project)
        head = AnswerHead("answer", "application/json", len(content), None)
        message = Submission(outer_bytes, seal_answer(bytes(key), head, content, outer_bytes))
        by = signer or identity(me)
        return sign_message(message, by, cosign(message, by.public_key, device) if device else b"").data

    @contextlib.contextmanager
    def serving(self, lab: Client | None = None) -> Iterator[None]:
        """Run an issuer on the mailbox in a thread."""
        stop, issuer = threading.Event(), (lab or self.lab).issuer()
        failed: list[BaseException] = []

        def serve() -> None:
            try:
                issuer.run(stop, poll_s=0.01)
            except BaseException as error:  # noqa: BLE001 - raised again below, in the test's own thread
                failed.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            issuer.close()
        if failed:
            raise failed[0]


def identity(me: Contractor) -> Signer:
    """A contractor's signing key, as a thief with home and passphrase has it."""
    return me._identity


def entries(world: World, kind: type) -> list[Any]:
    """Ledger entries of a kind."""
    return [entry for entry in world.lab.ledger_entries() if isinstance(entry, kind)]


def approved(request: Signed[OpenRequest], desk: Signer, device: Signer, at: datetime) -> Signed[OpenRequest]:
    """Let a presence device approve a request, then let the desk sign it."""
    message = replace(request.message, approved_at=at)
    return sign_message(message, desk, cosign(message, desk.public_key, device))


def denial_code(answer: bytes | None) -> str:
    """The code of an answer that must be a denial."""
    assert answer is not None
    frame = parse_frame(answer)
    assert frame.type == Denial.TYPE
    return decode_record(Denial, frame.body).code


def ack_of(answer: bytes | None) -> Ack:
    """An answer that must be an ack which its client's issuer signed."""
    assert answer is not None
    return open_certified(answer, Ack, decode_record(Ack, parse_frame(answer).body).client)[0].message


def lease_outer(answer: bytes | None) -> LeaseOuter:
    """The readable part of an answer that must be a lease."""
    assert answer is not None
    frame = parse_frame(answer)
    assert frame.type == Lease.TYPE, decode_record(Denial, frame.body).code
    return decode_record(LeaseOuter, decode_record(Lease, frame.body).outer)


def dump(path: Path, *, without: tuple[str, ...] = ("clock_ms", "junk")) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables of a database; the clock and the counter of junk left out."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in names}  # noqa: S608
    found["meta"] = [row for row in found.get("meta", ()) if row[0] not in without]
    return {name: sorted(content, key=repr) for name, content in found.items()}


def counts(path: Path) -> dict[str, int]:
    """How many rows each table has."""
    return {name: len(content) for name, content in dump(path).items()}


def state_of(folder: Path) -> dict[str, Any]:
    """What a home holds: bytes of its files, rows of its databases."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".db":
            found[str(path.relative_to(folder))] = dump(path)
        elif path.is_file() and not path.name.endswith(("-wal", "-shm")):
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def bytes_of(folder: Path) -> bytes:
    """Every byte of every file in a folder, side files of databases too."""
    return b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def wait_gone(pid: int, timeout_s: float = 30.0) -> None:
    """Wait until a process has exited."""
    end = threading.Event()
    for _ in range(int(timeout_s / 0.02)):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                return
        except (ProcessLookupError, FileNotFoundError):
            return
        end.wait(0.02)
    raise AssertionError(f"process {pid} lives on")
