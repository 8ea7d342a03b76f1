"""The way back against a model: whatever happens in between, each accepted answer is collected once, and acked."""

import json
import shutil
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from labelvault.client import collecting
from labelvault.crypto.sign import SigningKey
from labelvault.errors import KeystoreError, LeaseError, OutputError
from labelvault.vendor import Vault
from labelvault.wire.answers import SUBMISSION_GRACE, Submission, SubmissionOuter
from labelvault.wire.frame import frame_hash, parse_frame, sign_message
from labelvault.wire.ids import issuer_mailbox
from labelvault.wire.schema import decode_record
from tests.world import World, dump, identity


class ReturnPath(RuleBasedStateMachine):
    """A contractor with two leases, another one who forges, a vault that loses and repeats, and a client."""

    def __init__(self, folder: Path, template: Path) -> None:
        super().__init__()
        self.world = World(folder, template)
        self.me, _ = self.world.worker()
        self.thief, _ = self.world.worker("ben")
        self.leases, self.ends = [], {}
        for task in ("one", "two"):
            with self.me.open_task(self.world.task(task), exchange=self.world.issuer().handle) as opened:
                self.leases.append(opened.lease_id)
                self.ends[opened.lease_id] = opened.expires_at
        self.relay = self.world.relay()
        self.box = issuer_mailbox(self.world.lab.client_id)
        self.to = folder / "answers"
        self.answers: dict[bytes, Any] = {}
        self.frames: list[bytes] = []
        self.verdicts: dict[bytes, str] = {}
        self.taken: set[tuple[bytes, int]] = set()
        self.backup: Path | None = None

    # What happens

    @rule(which=st.integers(0, 1), number=st.integers(), large=st.booleans())
    def submit(self, which: int, number: int, large: bool) -> None:
        """Small answers are numbers, larger ones texts that go as items of their own."""
        answer = f"{number} " * 10_000 if large else number
        with suppress(LeaseError):  # too late, or too many
            record = self.me.submit(self.leases[which], answer)
            row = self.me._log.outbox._database.rows(
                "SELECT hash FROM submissions WHERE lease_id = ? AND sequence = ?", record.lease_id, record.sequence
            )
            self.answers[bytes(row[0][0])] = answer
            self._see()

    def _see(self) -> None:
        self.frames += [data for data in self._waiting() if data not in self.frames]

    def _waiting(self) -> list[bytes]:
        found = [data for _, data in self.relay.fetch(self.box, limit=1000)]
        return [data for data in found if parse_frame(data).type == Submission.TYPE]

    @rule()
    def lose(self) -> None:
        """The vault drops what waits for the issuer."""
        for number, _ in self.relay.fetch(self.box, limit=1000):
            self.relay.ack(self.box, number)

    @precondition(lambda self: self.frames)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The vault delivers something once more."""
        self.relay.post(self.box, data.draw(st.sampled_from(self.frames)))

    @precondition(lambda self: self.frames)
    @rule(data=st.data(), enrolled=st.booleans())
    def forge(self, data: st.DataObject, enrolled: bool) -> None:
        """Somebody signs another's answer: another contractor, or nobody known."""
        body = decode_record(Submission, parse_frame(data.draw(st.sampled_from(self.frames))).body)
        signer = identity(self.thief) if enrolled else SigningKey.generate()
        self.relay.post(self.box, sign_message(body, signer).data)

    @rule(minutes=st.sampled_from([1, 30, 90]))
    def wait(self, minutes: int) -> None:
        """Time passes; leases end, and their grace."""
        self.world.clock.advance(timedelta(minutes=minutes))

    @rule()
    def close_again(self) -> None:
        """A close changes nothing for answers."""
        self.me.close_opening(self.leases[0])

    @rule()
    def back_up(self) -> None:
        """Keep a copy of the contractor's home."""
        self.me.close()
        self.backup = self.world.folder / "backup"
        shutil.rmtree(self.backup, ignore_errors=True)
        shutil.copytree(self.world.folder / "ada", self.backup)
        self.me = self.world.reopen("ada")

    @precondition(lambda self: self.backup is not None)
    @rule()
    def restore(self) -> None:
        """Go back to the copy."""
        assert self.backup is not None
        self.me.close()
        shutil.rmtree(self.world.folder / "ada")
        shutil.copytree(self.backup, self.world.folder / "ada")
        self.me = self.world.reopen("ada")

    @rule()
    def sync(self) -> None:
        """The contractor posts again what got no ack, and reads the acks: they are what the model says."""
        self.me.sync()
        self._see()
        for lease, sequence, each, *_, verdict, _ in dump(self.world.folder / "ada" / "state.db")["submissions"]:
            if verdict is not None:
                assert self.verdicts[bytes(each)] == verdict, (lease, sequence)

    @rule()
    def pass_(self) -> None:
        """The issuer takes what waits."""
        self._judge()
        self.world.issuer().answer()

    def _judge(self) -> None:
        """The model's verdicts on what waits, in its order."""
        for data in self._waiting():
            frame, each = parse_frame(data), frame_hash(data)
            outer = decode_record(SubmissionOuter, decode_record(Submission, frame.body).outer)
            key = outer.lease_id, outer.sequence
            if each in self.verdicts or frame.signer not in (self.me.public_key, self.thief.public_key):
                continue
            if frame.signer != self.me.public_key:
                self.verdicts[each] = "misbound"
            elif key in self.taken:
                self.verdicts[each] = "replayed"
            else:
                late = outer.at >= self.ends[outer.lease_id] + SUBMISSION_GRACE
                self.verdicts[each] = "late" if late else "accepted"
                self.taken.add(key)

    @rule(stop=st.sampled_from([None, "before", "after"]))
    def collect(self, stop: str | None) -> None:
        """Collect, and perhaps fail before or after a file has its name."""
        self._judge()
        with pytest.MonkeyPatch.context() as patch:
            if stop is not None:
                real = vars(collecting)["write_private"]

                def broken(*arguments: Any, **options: Any) -> None:
                    if stop == "after":
                        real(*arguments, **options)
                    raise KeystoreError("stopped")

                patch.setattr(collecting, "write_private", broken)
            with suppress(OutputError):
                self.world.project.collect(self.to)

    # What holds at the end

    def teardown(self) -> None:
        """One more pass and run; then files, database, vault and model say the same."""
        try:
            self.sync()
            self.collect(None)
            kept = dump(self.world.client_db)["submissions"]
            assert {bytes(row[0]): row[5] for row in kept} == self.verdicts
            accepted = {each for each, verdict in self.verdicts.items() if verdict == "accepted"}
            expected = sorted(
                (row[2].hex(), row[3], self.answers[bytes(row[0])]) for row in kept if bytes(row[0]) in accepted
            )
            found = []
            for path in self.to.glob("*.jsonl"):
                for line in map(json.loads, path.read_text().splitlines()):
                    answer = (self.to / line["file"]).read_text() if line["file"] else line["answer"]
                    found.append((line["lease"], line["sequence"], answer))
            assert sorted(found, key=repr) == sorted(expected, key=repr)
            with Vault.open(self.world.vault) as vault:
                acks = [(each.of, each.verdict) for each in vault.acks() if each.event == "answer"]
            assert len(acks) == len(set(acks))
            assert dict(acks) == self.verdicts
        finally:
            self.world.close()


def test_C1_R1_each_accepted_answer_is_collected_once_and_acked_whatever_happens(
    template: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any order of submit, lose, repeat, replay, forge, close, expire, restore, collect and stop."""
    run_state_machine_as_test(
        lambda: ReturnPath(tmp_path_factory.mktemp("returns"), template),  # type: ignore[arg-type]
        settings=settings(
            max_examples=12,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
