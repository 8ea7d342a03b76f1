"""The presence device: how it is enrolled, what it approves and refuses, and what a desk opens with it."""

import threading
import time
from dataclasses import replace

import pytest

from labelvault.client import Scope
from labelvault.contractor import Approving, PresenceDevice
from labelvault.contractor.approval import APPROVAL_WAIT_S, DirectDevice, FolderDevice, ask_device
from labelvault.contractor.opening import make_request
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.sign import SigningKey
from labelvault.errors import (
    ApprovalRefusedError,
    ApprovalTimeoutError,
    ClockError,
    EnrolmentError,
    FormatError,
    GrantError,
    GrantExpiredError,
    GrantRevokedError,
    GrantScopeError,
    KeystoreError,
    KeystorePassphraseError,
    PresenceError,
    SignatureError,
)
from labelvault.keys.cards import card_fingerprint
from labelvault.wire.answers import Submission, SubmissionOuter
from labelvault.wire.frame import cosign, frame_hash, parse_frame, sign_message
from labelvault.wire.ids import presence_mailbox
from labelvault.wire.messages import OpenRequest
from labelvault.wire.presence import Approval, ApprovalRequest, Assignment
from labelvault.wire.schema import decode_record, encode_record
from tests.world import CHEAP, DAY, MINUTE, MS, PASSPHRASE, denial_code, identity, lease_outer, state_of


def asked(world, me, membership, item, *, record=None, **fields):
    """A request for approval, as the desk's software sends it, or as a thief at the desk would."""
    record = record or replace(
        make_request(membership, identity(me), item, OneTimeKey.generate().public_key, world.clock()).message,
        approved_at=world.clock(),
    )
    message = ApprovalRequest(
        client=membership.client,
        project=membership.project,
        presence_key=membership.grant.message.presence_key,
        asks=record.TYPE,
        body=encode_record(record),
        at=world.clock(),
    )
    return sign_message(replace(message, **fields), identity(me))


def body(world, me, membership, item, **fields):
    """The body of an honest open request, then changed at will."""
    key = OneTimeKey.generate().public_key
    message = make_request(membership, identity(me), item, key, world.clock()).message
    return replace(message, approved_at=world.clock(), **fields)


def answer(world, membership, item, me, **fields):
    """The record of an answer, to be approved."""
    outer = SubmissionOuter(
        client=membership.client,
        project=membership.project,
        lease_id=bytes(32),
        item=item,
        version=1,
        contractor=me.public_key,
        sequence=1,
        presence="key",
        approved_at=world.clock(),
        at=world.clock(),
    )
    return Submission(encode_record(replace(outer, **fields)), bytes(64))


def refused(device, data, reason):
    """Assert that a device refuses for this reason, and remembers nothing of it."""
    before = state_of(device._home)
    with pytest.raises(ApprovalRefusedError) as caught:
        device.examine(data)
    assert caught.value.reason == reason
    assert state_of(device._home) == before


def approves(device):
    """A person who says yes to whatever the device shows."""

    def handle(data):
        return device.approve(device.examine(data))

    return handle


# Enrolment


def test_a_desk_is_enrolled_by_the_fingerprint_that_its_device_shows(world):
    """Key to the desk, draft to the device, cosignature back, card to both: one fingerprint, read from the device."""
    device = world.device()
    me = world.contractor("desk", tier="desk", presence_key=device.public_key)
    assert device.read_draft(me.draft()).message.host_label == "desk"
    with pytest.raises(EnrolmentError, match="unfinished"):
        me.card()
    card = me.finish_card(device.cosign(me.draft()))
    assert me.finish_card(device.cosign(me.draft())) == card == me.card()
    fingerprint = device.take_card(card)
    assert fingerprint == me.card_fingerprint
    assert world.lab.enroll(card, fingerprint=fingerprint, name="desk").has_presence
    assert [(desk.key, desk.label, list(desk.memberships)) for desk in device.desks()] == [(me.public_key, "desk", [])]


def test_a_draft_is_no_card(world):
    """Neither client nor device takes a draft for a card: it lacks the device's cosignature."""
    device = world.device()
    me = world.contractor("desk", tier="desk", presence_key=device.public_key)
    with pytest.raises(SignatureError):
        world.lab.enroll(me.draft(), fingerprint=card_fingerprint(me.draft()), name="desk")
    with pytest.raises(SignatureError):
        device.take_card(me.draft())
    assert (device.desks(), world.lab.contractors()) == ([], [])


def test_a_cosignature_of_another_device_or_draft_finishes_no_card(world):
    """What finishes a card is this device's cosignature over this draft, or the home stays as it was."""
    device, other = world.device(), world.device("other")
    me = world.contractor("desk", tier="desk", presence_key=device.public_key)
    second = world.contractor("desk-2", tier="desk", presence_key=device.public_key)
    before = state_of(world.folder / "desk")
    draft = device.read_draft(me.draft())
    for cosignature in (
        cosign(draft.message, me.public_key, other._key),
        device.cosign(second.draft()),
        bytes(64),
    ):
        with pytest.raises(SignatureError):
            me.finish_card(cosignature)
    with pytest.raises(FormatError):
        me.finish_card(b"short")
    assert state_of(world.folder / "desk") == before


def test_a_device_cosigns_and_takes_in_nothing_that_names_another_device(world):
    """A desk that a thief made with his own device gets neither cosignature nor fingerprint from this one."""
    device, thief = world.device(), world.device("thief")
    me = world.contractor("desk", tier="desk", presence_key=thief.public_key)
    helper = world.contractor("helper")
    before = state_of(world.folder / "phone")
    with pytest.raises(EnrolmentError):
        device.cosign(me.draft())
    for card in (me.finish_card(thief.cosign(me.draft())), helper.card()):
        with pytest.raises(EnrolmentError):
            device.take_card(card)
    assert state_of(world.folder / "phone") == before


def test_a_device_joins_with_its_desks_invite_only(world):
    """Another client's fingerprint, an unknown desk's invite, or a grant that waives presence: nothing is kept."""
    me, device, membership = world.desk()
    fresh = world.device("fresh")
    before = state_of(world.folder / "fresh")
    with pytest.raises(EnrolmentError, match="fingerprint"):
        fresh.join(membership.invite.data)
    with pytest.raises(EnrolmentError, match="does not know"):
        fresh.join(membership.invite.data, fingerprint=world.lab.fingerprint)
    other = world.create_client("other")
    with pytest.raises(EnrolmentError, match="differ"):
        fresh.join(membership.invite.data, fingerprint=other.fingerprint)
    assert state_of(world.folder / "fresh") == before
    before = state_of(device._home)
    waived = world.join(me, "desk", waive_presence=True)
    with pytest.raises(EnrolmentError, match="does not name"):
        device.join(waived.invite.data)
    project = other.create_project("theirs", floor_bytes=256)
    project.seal(world.source)
    other.enroll(me.card(), fingerprint=me.card_fingerprint, name="desk")
    theirs = project.grant(
        "desk", Scope(batches=project.batches()), expires_at=world.clock() + DAY, limits=membership.grant.message.limits
    )
    with pytest.raises(EnrolmentError):
        device.join(other.invite(theirs.grant_id), fingerprint=other.fingerprint)
    with pytest.raises(EnrolmentError):
        device.join(other.invite(theirs.grant_id))
    assert state_of(device._home) == before


def test_a_device_serves_several_desks_of_one_client(world):
    """Each desk has its own card and grant on the device; the second join needs no fingerprint."""
    me, device, membership = world.desk()
    second = world.contractor("desk-2", tier="desk", presence_key=device.public_key)
    world.lab.enroll(second.finish_card(device.cosign(second.draft())), fingerprint=second.card_fingerprint, name="d2")
    device.take_card(second.card())
    joined = world.join(second, "d2")
    assert device.join(joined.invite.data).grant.hash == joined.grant.hash
    assert {desk.key: desk.memberships[0].grant.hash for desk in device.desks()} == {
        me.public_key: membership.grant.hash,
        second.public_key: joined.grant.hash,
    }


def test_a_home_whose_making_was_interrupted_is_told_apart(world):
    """A home without its database is unfinished; one that is whole is not made over; a wrong passphrase is said."""
    device = world.device()
    key = device.public_key
    device.close()
    home = world.folder / "phone"
    with pytest.raises(KeystoreError, match="already"):
        PresenceDevice.create(home, PASSPHRASE, parameters=CHEAP)
    with pytest.raises(KeystorePassphraseError):
        PresenceDevice.open(home, "another")
    with PresenceDevice.open(home, PASSPHRASE) as again:
        assert again.public_key == key
    (home / "device.db").unlink()
    for attempt in (lambda: PresenceDevice.open(home, PASSPHRASE), lambda: PresenceDevice.create(home, PASSPHRASE)):
        with pytest.raises(KeystoreError, match="unfinished"):
            attempt()
    with pytest.raises(KeystoreError, match="holds no"):
        PresenceDevice.open(world.folder / "nowhere", PASSPHRASE)


# Approving


def test_a_task_opens_with_an_approval_and_not_without(world):
    """The real issuer releases what the device approved; a device that says nothing leaves the issuer unasked."""
    me, device, _ = world.desk()
    issuer, item = world.issuer(), world.task()
    with me.open_task(item, exchange=issuer.handle, approving=Approving(approves(device))) as task:
        assert "one" in task.text
    before = state_of(world.home)
    with pytest.raises(ApprovalTimeoutError):
        me.open_task(item, exchange=issuer.handle, approving=Approving(lambda data: None))
    assert state_of(world.home) == before
    assert [each.state for each in me.openings()] == ["closed"]


def test_F14_the_desk_alone_opens_nothing(world):
    """The desk's key without the device's: no cosignature, its own, or one of another device is denied."""
    me, _, membership = world.desk()
    issuer, item = world.issuer(), world.task()
    thief = SigningKey.generate()
    for cosigner in (None, identity(me), thief):
        message = body(world, me, membership, item)
        cosignature = b"" if cosigner is None else cosign(message, me.public_key, cosigner)
        request = sign_message(message, identity(me), cosignature)
        assert denial_code(issuer.handle(request.data)) == "presence"
    assert not world.lab.stated(["desk"], world.clock(), world.clock())


def test_what_came_back_is_no_approval_unless_the_device_cosigned_this_body(world):
    """An approval of another request, another body, by another key, or garbage: nothing is asked of the issuer."""
    me, device, membership = world.desk()
    other = approves(device)(asked(world, me, membership, world.task("two")).data)
    approval = decode_record(Approval, parse_frame(other).body)

    def by_another(data):
        """The right answer in all but who signed it."""
        return sign_message(replace(approval, request_hash=frame_hash(data)), SigningKey.generate()).data

    def of_another_body(data):
        """Of our device, for our request, but the cosignature is over another body."""
        return sign_message(replace(approval, request_hash=frame_hash(data)), device._key).data

    issuer = world.issuer()
    before = state_of(world.home)
    for handle in (lambda data: other, by_another, of_another_body, lambda data: b"junk"):
        with pytest.raises(PresenceError):
            me.open_task(world.task(), exchange=issuer.handle, approving=Approving(handle))
    assert state_of(world.home) == before


def test_F14_an_approval_is_for_one_opening(world):
    """The same body, asked for again in the same or in another message, is not approved a second time."""
    me, device, membership = world.desk()
    first = asked(world, me, membership, world.task())
    device.approve(device.examine(first.data))
    refused(device, first.data, "repeated")
    again = asked(world, me, membership, world.task(), record=decode_record(OpenRequest, first.message.body))
    refused(device, again.data, "repeated")
    world.clock.advance(MINUTE)
    later = asked(world, me, membership, world.task())
    assert device.times_approved(device.examine(later.data)) == 1


def test_F14_a_question_shown_and_answered_too_late_is_not_approved(world):
    """The device looks at its clock again when its owner says yes."""
    me, device, membership = world.desk()
    question = device.examine(asked(world, me, membership, world.task()).data)
    world.clock.advance(2 * MINUTE + MS)
    with pytest.raises(ApprovalRefusedError) as caught:
        device.approve(question)
    assert caught.value.reason == "clock"


@pytest.mark.parametrize("off", [2 * MINUTE + MS, -2 * MINUTE - MS], ids=["ahead", "behind"])
def test_F14_an_approval_can_not_be_hoarded(world, off):
    """What is dated ahead or behind the device's clock by more than two minutes is refused; at two it is not."""
    me, device, membership = world.desk()
    late = body(world, me, membership, world.task())
    record = replace(late, approved_at=world.clock() + off)
    refused(device, asked(world, me, membership, world.task(), record=record).data, "clock")
    refused(device, asked(world, me, membership, world.task(), record=replace(late, approved_at=None)).data, "clock")
    edge = replace(late, approved_at=world.clock() + off * (2 * MINUTE / abs(off)))
    assert device.examine(asked(world, me, membership, world.task(), record=edge).data).item == world.task()


def test_F14_five_minutes_after_approval_the_issuer_refuses(world):
    """A hoarded approval is denied, at five minutes and a millisecond; the request itself would still live."""
    me, device, membership = world.desk()
    record = body(world, me, membership, world.task(), expires_at=world.clock() + 9 * MINUTE)
    approval = decode_record(
        Approval, parse_frame(approves(device)(asked(world, me, membership, world.task(), record=record).data)).body
    )
    request = sign_message(record, identity(me), approval.cosignature)
    world.clock.advance(5 * MINUTE + MS)
    assert denial_code(world.issuer().handle(request.data)) == "presence"


def test_F14_an_approval_moves_to_nothing_else(world):
    """To another desk, item, grant, key or time: the real issuer denies each, and then releases the true one."""
    device = world.device("phone")
    me, _, membership = world.desk("desk", device)
    other, _, theirs = world.desk("desk-2", device)
    second = world.join(me, "desk")
    issuer = world.issuer()

    def approved(**fields):
        record = body(world, me, membership, world.task(), **fields)
        frame = approves(device)(asked(world, me, membership, world.task(), record=record).data)
        return record, decode_record(Approval, parse_frame(frame).body).cosignature

    # Each with an approval of its own: a denial spends its one-time key.
    for change, desk, code in (
        ({"item": world.task("two")}, me, "presence"),
        ({"grant_hash": second.grant.hash}, me, "presence"),
        ({"one_time_key": OneTimeKey.generate().public_key}, me, "presence"),
        ({"approved_at": world.clock() + MINUTE}, me, "presence"),
        ({}, other, "unknown"),
        ({"grant_hash": theirs.grant.hash}, other, "presence"),
    ):
        record, cosignature = approved()
        moved = sign_message(replace(record, **change), identity(desk), cosignature)
        assert denial_code(issuer.handle(moved.data)) == code, change
    assert not world.lab.stated(["desk", "desk-2"], world.clock(), world.clock())
    record, cosignature = approved()
    assert lease_outer(issuer.handle(sign_message(record, identity(me), cosignature).data)).item == world.task()


def test_F14_a_device_refuses_what_it_does_not_know(world):
    """An unknown desk, another device, client, project or grant, and an expired grant: each has its reason."""
    me, device, membership = world.desk(lasts=DAY)
    item = world.task()
    stranger = world.contractor("stranger", tier="desk", presence_key=device.public_key)
    refused(device, sign_message(asked(world, me, membership, item).message, identity(stranger)).data, "desk")
    refused(device, asked(world, me, membership, item, presence_key=bytes(32)).data, "device")
    refused(device, asked(world, me, membership, item, client=bytes(32)).data, "client")
    refused(device, asked(world, me, membership, item, project=bytes(16)).data, "grant")
    for fields, reason in (
        ({"client": bytes(32)}, "client"),
        ({"project": bytes(16)}, "grant"),
        ({"grant_hash": bytes(32)}, "grant"),
    ):
        record = body(world, me, membership, item, **fields)
        refused(device, asked(world, me, membership, item, record=record).data, reason)
    newer = world.join(me, "desk")
    refused(device, asked(world, me, newer, item).data, "grant")
    world.clock.advance(DAY)
    refused(device, asked(world, me, membership, item).data, "expired")


def test_F14_nothing_but_openings_and_answers_is_approved(world):
    """A card, a grant or raw bytes in the name of an open request are malformed; so is a forged signature."""
    me, device, membership = world.desk()
    request = asked(world, me, membership, world.task())
    for data in (
        sign_message(replace(request.message, body=encode_record(membership.grant.message.scope)), identity(me)).data,
        sign_message(replace(request.message, body=b"\xc0"), identity(me)).data,
        sign_message(replace(request.message, asks="submission"), identity(me)).data,
        membership.invite.data,
        b"junk",
    ):
        with pytest.raises((FormatError, ApprovalRefusedError)):
            device.examine(data)
    with pytest.raises(FormatError):
        sign_message(replace(request.message, asks="card"), identity(me))
    flipped = bytearray(request.data)
    flipped[-20] ^= 1
    with pytest.raises((SignatureError, FormatError, ApprovalRefusedError)):
        device.examine(bytes(flipped))


def test_a_desk_has_answers_cosigned_by_the_same_device(world):
    """An answer is approved under the grant of its project, for this desk only, at the present time."""
    me, device, membership = world.desk()
    item = world.task()
    record = answer(world, membership, item, me)
    cosignature = ask_device(record, membership, identity(me), DirectDevice(approves(device)), world.clock())
    sign_message(record, identity(me), cosignature).frame.verify_cosignature(device.public_key)
    for fields, reason in (
        ({"contractor": bytes(32)}, "grant"),
        ({"client": bytes(32)}, "client"),
        ({"project": bytes(16)}, "grant"),
        ({"approved_at": world.clock() - 3 * MINUTE}, "clock"),
        ({"presence": "unapproved", "approved_at": None}, "clock"),
    ):
        changed = answer(world, membership, item, me, **fields)
        refused(device, asked(world, me, membership, item, record=changed).data, reason)


def test_a_device_whose_clock_was_set_back_approves_nothing(world):
    """It has seen later times, so an approval dated now would be of the past."""
    me, device, membership = world.desk()
    device.approve(device.examine(asked(world, me, membership, world.task()).data))
    world.clock.advance(-3 * MINUTE)
    with pytest.raises(ClockError):
        device.examine(asked(world, me, membership, world.task()).data)


# Through the vault


class Person(threading.Thread):
    """Somebody at the device who says yes to each question, until told to stop."""

    def __init__(self, home, clock):
        super().__init__()
        self.stop, self.failed = threading.Event(), None
        self._home, self._clock = home, clock

    def run(self):
        try:
            with PresenceDevice.open(self._home, PASSPHRASE, clock=self._clock) as device:
                while not self.stop.is_set():
                    for waiting in device.waiting():
                        if waiting.question is not None:
                            device.send(device.approve(waiting.question), waiting)
                    time.sleep(0.02)
        except BaseException as error:  # noqa: BLE001 - looked at by the test's own thread
            self.failed = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.stop.set()
        self.join()
        assert self.failed is None


def test_a_desk_opens_through_the_vaults_mailboxes(world):
    """Desk, device and issuer each reach the vault only; the opening is a process of its own."""
    me, device, _ = world.desk()
    told: list[ApprovalRequest] = []
    with world.serving(), Person(device._home, world.clock):
        opening = me.begin(world.task(), approving=Approving(timeout_s=20, on_wait=told.append))
        opening.close()
    assert opening.erased == "process-exit"
    assert [each.asks for each in told] == ["open-request"]


def test_what_waits_at_the_vault_is_shown_refused_or_passed_over(world):
    """Junk and strangers vanish; a desk of ours that asks for what can't be approved is told of."""
    me, device, membership = world.desk()
    relay, mailbox = world.relay(), presence_mailbox(membership.client, device.public_key)
    relay.post(mailbox, b"junk")
    relay.post(mailbox, sign_message(asked(world, me, membership, world.task()).message, SigningKey.generate()).data)
    relay.post(mailbox, asked(world, me, membership, world.task()).data)
    late = body(world, me, membership, world.task())
    relay.post(
        mailbox,
        asked(world, me, membership, world.task(), record=replace(late, approved_at=world.clock() + 3 * MINUTE)).data,
    )
    found = list(device.waiting())
    assert [(each.question is not None, getattr(each.refused, "reason", None)) for each in found] == [
        (True, None),
        (False, "clock"),
    ]
    assert len(relay.fetch(mailbox)) == 2
    for each in found:
        each.done()
    assert relay.fetch(mailbox) == []


def test_nobody_approves_and_the_issuer_is_never_asked(world):
    """The wait ends with its own error; the request for approval lies in the device's mailbox only."""
    me, device, membership = world.desk()
    with pytest.raises(ApprovalTimeoutError) as caught:
        me.begin(world.task(), approving=Approving(timeout_s=0.1))
    assert caught.value.timeout_s == 0.1
    assert world.issuer().answer().handled == 0
    assert len(list(device.waiting())) == 1


def test_a_folder_that_both_reach_will_do(world, tmp_path):
    """The request goes in as a file, the approval comes as one, and neither is left."""
    me, device, _ = world.desk()
    folder = tmp_path / "stick"

    def person():
        while not (found := list(folder.glob("*.ask")) if folder.exists() else []):
            time.sleep(0.02)
        approval = device.approve(device.examine(found[0].read_bytes()))
        found[0].with_suffix(".tmp").write_bytes(approval)
        found[0].with_suffix(".tmp").rename(found[0].with_suffix(".approval"))

    thread = threading.Thread(target=person)
    thread.start()
    way = Approving(FolderDevice(folder), timeout_s=20)
    with me.open_task(world.task(), exchange=world.issuer().handle, approving=way) as task:
        assert task.text
    thread.join()
    assert list(folder.iterdir()) == []


def test_a_waived_grant_asks_no_device(world):
    """Presence is asked for exactly where the grant says so."""
    me, _, _ = world.desk()
    world.clock.advance(MS)
    world.join(me, "desk", waive_presence=True)
    way = Approving(lambda data: pytest.fail("the device was asked"))
    with me.open_task(world.task(), exchange=world.issuer().handle, approving=way) as task:
        assert task.text


def test_the_wait_is_as_long_as_an_approval_can_be_given():
    """After two minutes the device would refuse anyway."""
    assert APPROVAL_WAIT_S == 120


# Assignments


def test_an_assignment_tells_the_device_which_task_it_approves(world):
    """Through the vault, found beside the question even if it came later; its label is opaque unless chosen."""
    me, device, membership = world.desk()
    relay, mailbox = world.relay(), presence_mailbox(membership.client, device.public_key)
    relay.post(mailbox, asked(world, me, membership, world.task()).data)
    (made,) = world.project.assign("desk", ["one"], expires_at=world.clock() + DAY)
    assert (made.item, made.label) == (world.task(), world.task().hex()[:8])
    taken, question = device.waiting()
    assert taken.assigned is not None
    assert question.question.assignment == taken.assigned
    world.project.assign("desk", [world.task()], expires_at=world.clock() + DAY, label="no. 17", post=True)
    world.clock.advance(MINUTE)
    assert [each.assigned.label for each in device.waiting() if each.assigned] == [made.label, "no. 17"]
    assert [each.label for each in device.assignments()] == ["no. 17"]


def test_F14_a_device_that_demands_assignments_approves_nothing_else(world):
    """The setting stays; another item, another desk's assignment, and one that is over don't count."""
    device = world.device("phone")
    me, _, membership = world.desk("desk", device)
    other, _, _ = world.desk("desk-2", device)
    device.require_assignment = True
    with PresenceDevice.open(device._home, PASSPHRASE, clock=world.clock) as again:
        assert again.require_assignment
    refused(device, asked(world, me, membership, world.task()).data, "unassigned")
    expires_at = world.clock() + 10 * MINUTE
    for desk, name in (("desk-2", "one"), ("desk", "two")):
        (made,) = world.project.assign(desk, [name], expires_at=expires_at, post=False)
        device.take_assignments([made.frame])
    refused(device, asked(world, me, membership, world.task()).data, "unassigned")
    refused(
        device,
        asked(world, me, membership, world.task(), record=answer(world, membership, world.task(), me)).data,
        "unassigned",
    )
    (made,) = world.project.assign("desk", ["one"], expires_at=expires_at, post=False)
    device.take_assignments([made.frame])
    assert device.examine(asked(world, me, membership, world.task()).data).assignment.label == made.label
    world.clock.advance(10 * MINUTE)
    refused(device, asked(world, me, membership, world.task()).data, "unassigned")
    assert (device.assignments(), other.public_key == me.public_key) == ([], False)


def test_F14_an_assignment_counts_under_the_pinned_key_only(world):
    """By another issuer, client or desk, altered, over, or from the future: each is refused, nothing is kept."""
    me, device, membership = world.desk()
    (made,) = world.project.assign("desk", ["one"], expires_at=world.clock() + DAY, post=False)
    message = decode_record(Assignment, parse_frame(made.frame).body)
    issuer = world.lab.issuer_identity.signer
    thief, thiefs = world.create_client("thief"), SigningKey.generate()
    before = state_of(device._home)
    for frame, kind in (
        (sign_message(message, thiefs), SignatureError),
        (
            sign_message(replace(message, certificate=thief.certificate.data), thief.issuer_identity.signer),
            SignatureError,
        ),
        (sign_message(message, identity(me)), SignatureError),
        (sign_message(replace(message, client=bytes(32)), issuer), EnrolmentError),
        (sign_message(replace(message, project=bytes(16)), issuer), EnrolmentError),
        (sign_message(replace(message, contractor=thiefs.public_key), issuer), EnrolmentError),
        (sign_message(replace(message, at=message.at - DAY, expires_at=message.at), issuer), GrantExpiredError),
        (sign_message(replace(message, at=message.at - 3650 * DAY), issuer), GrantExpiredError),
        (sign_message(replace(message, at=message.at + 3 * MINUTE), issuer), ClockError),
        (membership.invite, FormatError),
    ):
        with pytest.raises(kind):
            device.take_assignments([frame.data])
    assert state_of(device._home) == before
    assert device.take_assignments([made.frame]) == [message]


def test_of_two_assignments_of_one_task_the_later_made_counts(world):
    """An older one, kept back and played again, does not bring back an older end or label."""
    _, device, _ = world.desk()
    (old,) = world.project.assign("desk", ["one"], expires_at=world.clock() + DAY, label="old", post=False)
    world.clock.advance(MINUTE)
    (new,) = world.project.assign("desk", ["one"], expires_at=world.clock() + MINUTE, label="new", post=False)
    for each in (old, new, old):
        device.take_assignments([each.frame])
    assert [each.label for each in device.assignments()] == ["new"]


def test_nothing_is_assigned_that_is_not_granted_with_presence(world):
    """A helper, a desk without a grant, a task out of scope, gold, a name that is none, a time that is over."""
    world.worker("ada")
    _, device, _ = world.desk(scope=Scope(items=["one"]))
    with pytest.raises(EnrolmentError):
        world.project.assign("nobody", ["one"], expires_at=world.clock() + DAY)
    later = world.clock() + DAY
    for name, item, expires_at, kind in (
        ("ada", "one", later, GrantError),
        ("desk", "two", later, GrantScopeError),
        ("desk", world.id_of("gold"), later, GrantScopeError),
        ("desk", "none of these", later, GrantScopeError),
        ("desk", "one", world.clock(), GrantExpiredError),
    ):
        with pytest.raises(kind):
            world.project.assign(name, ["one", item] if name == "desk" else [item], expires_at=expires_at)
    with pytest.raises(FormatError):
        world.project.assign("desk", ["one"], expires_at=later, label="x" * 201)
    world.lab.revoke_contractor("desk")
    with pytest.raises(GrantRevokedError):
        world.project.assign("desk", ["one"], expires_at=later)
    assert world.relay().fetch(presence_mailbox(world.lab.client_id, device.public_key)) == []
