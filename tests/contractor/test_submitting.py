"""Submitting from a contractor's home: sealed at once, posted when the vault is there, and acked."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from labelvault.contractor import Approving, Contractor, SubmissionRecord
from labelvault.contractor.answering import content_of
from labelvault.contractor.outbox import RESEND_AFTER
from labelvault.crypto.sign import SigningKey
from labelvault.envelope.answer import MAX_INLINE_BYTES
from labelvault.errors import ApprovalTimeoutError, FormatError, LeaseError, LeaseExpiredError
from labelvault.vendor import Vault
from labelvault.wire.answers import MAX_SUBMISSIONS, SUBMISSION_GRACE, Submission
from labelvault.wire.frame import cosign, open_frame, parse_frame, sign_message
from labelvault.wire.ids import contractor_mailbox, issuer_mailbox
from labelvault.wire.messages import OpenRequest
from labelvault.wire.presence import Approval, ApprovalRequest
from labelvault.wire.schema import decode_record
from tests.world import World, ack_of, bytes_of, counts, dump, identity

SECRET = "answer-canary: seventeen"


def opened(world: World, me: Contractor, task: str = "one") -> bytes:
    """Open a task and close it again; return its lease."""
    with me.open_task(world.task(task), exchange=world.issuer().handle) as task_:
        return task_.lease_id


def posted(world: World) -> list[bytes]:
    """Submissions that wait in the issuer's mailbox."""
    found = [data for _, data in world.relay().fetch(issuer_mailbox(world.lab.client_id), limit=1000)]
    return [data for data in found if parse_frame(data).type == Submission.TYPE]


def states(me: Contractor) -> list[str]:
    """How far the answers are."""
    return [each.state for each in me.submissions()]


def away(world: World) -> Path:
    """Take the vault away."""
    vault = world.folder / "vendor"
    return vault.rename(world.folder / "vendor-away")


def back(world: World, folder: Path) -> None:
    """Bring it back."""
    folder.rename(world.folder / "vendor")


def test_an_answer_is_submitted_acked_and_listed(world: World) -> None:
    """From the open task: sealed, posted with its receipt, accepted; the issuer's word comes with the next sync."""
    me, _ = world.worker()
    with me.open_task(world.task(), exchange=world.issuer().handle) as task:
        record = task.submit({"label": "good", "why": SECRET})
        assert (record.lease_id, record.item, record.sequence) == (task.lease_id, world.task(), 1)
    assert (record.presence, record.state) == ("device", "sent")
    assert world.issuer().answer().submissions == {"accepted": 1}
    assert me.sync() == 0
    (record,) = me.submissions()
    assert (record.state, record.acked_at) == ("accepted", world.clock())
    with Vault.open(world.vault) as vault:
        assert [each.event for each in vault.receipts()] == ["opened", "submitted", "closed"]
        assert sorted((each.event, each.verdict) for each in vault.acks()) == [
            ("answer", "accepted"),
            ("closed", "accepted"),
            ("submitted", "accepted"),
        ]


def test_G10_no_answer_rests_in_clear_at_the_contractor_or_the_vault(world: World) -> None:
    """Small or large, posted or waiting, named or not."""
    me, _ = world.worker()
    lease = opened(world, me)
    me.close()
    folder, me = away(world), world.reopen("ada")
    for answer in (SECRET, SECRET * 5000):
        assert me.submit(lease, answer, name="name-canary", media_type="type/canary").state == "queued"
    waiting = bytes_of(world.folder / "ada")
    back(world, folder)
    assert me.sync() == 0
    for each in (
        waiting,
        bytes_of(world.folder / "ada"),
        bytes_of(world.folder / "vendor"),
        world.client_db.read_bytes(),
    ):
        assert b"canary" not in each


@pytest.mark.parametrize("size", [10, MAX_INLINE_BYTES + 1, 3_000_000])
def test_what_the_vault_did_not_take_is_posted_later_once(world: World, size: int) -> None:
    """Also after a restart; a large answer's item goes before its submission, and leaves nothing behind."""
    me, _ = world.worker()
    lease = opened(world, me)
    me.close()
    folder, me = away(world), world.reopen("ada")
    assert me.submit(lease, bytes(size)).state == "queued"
    assert me.post_due_receipts() == 2
    me.close()
    back(world, folder)
    again = world.reopen("ada")
    assert again.post_due_receipts() == 0
    assert states(again) == ["sent"]
    assert len(posted(world)) == 1
    assert not list((world.folder / "ada").glob("outbox/*"))
    assert again.post_due_receipts() == 0
    assert len(posted(world)) == 1
    with Vault.open(world.vault) as vault:
        extra = [each for each in vault.items(client=world.lab.client_id) if each.queue is None]
        assert len(extra) == 4 + (size > MAX_INLINE_BYTES)


def test_C7_without_an_ack_the_same_bytes_are_posted_again(world: World) -> None:
    """A minute later; the issuer gives its one verdict, and there is one answer."""
    me, _ = world.worker()
    lease = opened(world, me)
    me.submit(lease, "one")
    (first,) = posted(world)
    relay, box = world.relay(), issuer_mailbox(world.lab.client_id)
    for number, _ in relay.fetch(box):
        relay.ack(box, number)  # the vault loses all
    me.sync()
    assert posted(world) == []
    world.clock.advance(RESEND_AFTER)
    me.sync()
    assert posted(world) == [first]
    assert world.issuer().answer().submissions == {"accepted": 1}
    me.sync()
    assert states(me) == ["accepted"]
    world.clock.advance(RESEND_AFTER)
    me.sync()
    assert posted(world) == []


def test_acks_neither_fill_the_mailbox_nor_are_lost(world: World) -> None:
    """The next opening takes them in; what is made up is dropped, and believed by nobody."""
    me, _ = world.worker()
    lease = opened(world, me)
    me.submit(lease, "one")
    relay, box = world.relay(), contractor_mailbox(world.lab.client_id, me.public_key)
    (data,) = posted(world)
    true = ack_of(world.issuer().handle(data))
    relay.post(box, sign_message(true, SigningKey.generate()).data)
    relay.post(box, sign_message(true, identity(me)).data)
    me.sync()
    assert states(me) == ["sent"]
    assert relay.fetch(box) == []
    world.issuer().answer()
    assert len(relay.fetch(box)) == 3
    with world.serving():
        me.open_task(world.task("two")).close()
    assert states(me) == ["accepted"]
    me.sync()
    assert relay.fetch(box) == []


def test_answers_are_revised_up_to_sixteen_times(world: World) -> None:
    """Numbers rise from durable state, also across restarts; one more is refused and changes nothing."""
    me, _ = world.worker()
    lease = opened(world, me)
    for number in range(MAX_SUBMISSIONS):
        home = world.reopen("ada")
        assert home.submit(lease, number).sequence == number + 1
        home.close()
    before = dump(world.folder / "ada" / "state.db")
    with pytest.raises(LeaseError):
        me.submit(lease, "one more")
    assert dump(world.folder / "ada" / "state.db") == before
    assert world.issuer().answer().submissions == {"accepted": MAX_SUBMISSIONS}


def test_R1_a_restored_home_never_passes_another_answer_for_the_first(world: World) -> None:
    """The backup counts from where it was: its answer is `replayed`, the next one is accepted."""
    me, _ = world.worker()
    lease = opened(world, me)
    me.close()
    shutil.copytree(world.folder / "ada", world.folder / "backup")
    me = world.reopen("ada")
    me.submit(lease, "first")
    me.close()
    shutil.rmtree(world.folder / "ada")
    (world.folder / "backup").rename(world.folder / "ada")
    me = world.reopen("ada")
    me.submit(lease, "another")
    assert world.issuer().answer().submissions == {"accepted": 1, "replayed": 1}
    me.sync()
    assert states(me) == ["replayed"]
    assert me.submit(lease, "another").sequence == 2
    assert world.issuer().answer().submissions == {"accepted": 1}


@pytest.mark.parametrize("late", [False, True])
def test_an_answer_is_taken_until_the_grace_is_over(world: World, late: bool) -> None:
    """After the lease's end, also offline and closed; later it is refused here, and nothing is kept."""
    me, _ = world.worker()
    lease = opened(world, me)
    world.clock.advance(timedelta(hours=1) + SUBMISSION_GRACE - timedelta(seconds=0 if late else 1))
    if late:
        with pytest.raises(LeaseExpiredError):
            me.submit(lease, "late")
        assert counts(world.folder / "ada" / "state.db")["submissions"] == 0
        return
    me.submit(lease, "in time")
    world.clock.advance(timedelta(days=2))
    assert world.issuer().answer().submissions == {"accepted": 1}


def test_a_clock_that_was_set_back_loses_no_answer(world: World) -> None:
    """It is dated at the latest issuer time that was seen."""
    me, _ = world.worker()
    lease = opened(world, me)
    issued = world.clock()
    world.clock.advance(-timedelta(days=1))
    assert me.submit(lease, "one").at == issued
    world.clock.advance(timedelta(days=1))
    assert world.issuer().answer().submissions == {"accepted": 1}


def test_only_what_was_opened_here_can_be_answered(world: World) -> None:
    """Another lease, or one whose opening failed, is refused and leaves nothing."""
    me, _ = world.worker()
    with pytest.raises(LeaseError):
        me.submit(bytes(32), "answer")
    request = world.ask(me, me.memberships()[0], world.task())
    world.issuer().handle(request.data)
    with pytest.raises(LeaseError):
        me.submit(request.hash, "answer")
    assert counts(world.folder / "ada" / "state.db")["submissions"] == 0


@pytest.mark.parametrize("answer", [object(), float("nan"), "\ud800", {"a": "\ud800"}, {1, 2}, Path("/no/such/file")])
def test_what_has_no_form_is_refused_before_anything_is_kept(world: World, answer: Any) -> None:
    """No row, no number spent, and the error does not quote it."""
    me, _ = world.worker()
    lease = opened(world, me)
    with pytest.raises(FormatError):
        me.submit(lease, answer)
    assert me.submissions() == []
    assert me.submit(lease, "text").sequence == 1


def test_an_answer_is_submitted_from_an_opening_in_a_child(world: World) -> None:
    """The parent, which never held the task, knows the version that it answers."""
    me, _ = world.worker()
    with world.serving(), me.begin(world.task()) as opening:
        record: SubmissionRecord = opening.submit({"label": "bad"})
        assert record.lease_id == opening.lease_id
    world.issuer().answer()
    me.sync()
    assert states(me) == ["accepted"]


def test_F14_a_desks_answer_is_approved_by_its_device_or_says_that_it_is_not(world: World) -> None:
    """Signed with the device's cosignature, or `unapproved` on request; nobody there, nothing submitted."""
    device = SigningKey.generate()
    me = world.contractor("desk", tier="desk", presence=device)
    world.enrol(me, "desk")
    world.join(me, "desk")
    agree = Approving(way=lambda data: approve(data, device))
    with me.open_task(world.task(), exchange=world.issuer().handle, approving=agree) as task:
        assert task.submit("approved", approving=agree).presence == "key"
        with pytest.raises(ApprovalTimeoutError):
            task.submit("nobody there", approving=Approving(way=lambda _: None))
        assert task.submit("unapproved", approving=None).presence == "unapproved"
    assert [each.sequence for each in me.submissions()] == [1, 2]
    assert world.issuer().answer().submissions == {"accepted": 2}


def approve(data: bytes, device: SigningKey) -> bytes:
    """A device that cosigns whatever it is shown."""
    frame = parse_frame(data)
    asked = open_frame(data, ApprovalRequest, frame.signer)
    kind: type[Any] = {OpenRequest.TYPE: OpenRequest, Submission.TYPE: Submission}[asked.message.asks]
    signature = cosign(decode_record(kind, asked.message.body), frame.signer, device)
    message = asked.message
    answer = Approval(message.client, message.project, frame.signer, asked.hash, signature, message.at)
    return sign_message(answer, device).data


def test_json_is_what_went_in(world: World) -> None:
    """A JSON answer is one, also if it comes as text with that type."""
    made = content_of({"a": ["ä", 1.5, None, True]}, None, None)
    assert (made.name, made.media_type, json.loads(made.data)) == (
        "answer",
        "application/json",
        {"a": ["ä", 1.5, None, True]},
    )
    file = world.folder / "notes.md"
    file.write_text("# ä")
    made = content_of(file, None, None)
    assert (made.name, made.media_type, made.data) == ("notes.md", "text/markdown", "# ä".encode())
