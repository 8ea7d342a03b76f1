"""Taking answers and receipts: bound to a lease, kept sealed, acked; what is not accepted is kept aside, bounded."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from labelvault.client import Scope
from labelvault.contractor import Contractor, Membership
from labelvault.crypto.sign import SigningKey
from labelvault.errors import FormatError, SignatureError
from labelvault.issuer.authorize import PRESENCE_MAX_AGE
from labelvault.issuer.receiving import MAX_ASIDE
from labelvault.issuer.service import Issuer
from labelvault.wire.answers import MAX_SUBMISSIONS, SUBMISSION_GRACE, Ack, Submission, SubmissionOuter
from labelvault.wire.frame import Signed, Signer, frame_hash, open_frame, parse_frame, sign_message
from labelvault.wire.ids import contractor_mailbox, issuer_mailbox
from labelvault.wire.messages import OpenRequest
from labelvault.wire.schema import decode_record, encode_record
from tests.world import MINUTE, MS, World, ack_of, approved, counts, dump, identity

SECOND = timedelta(seconds=1)


def leased(world: World, name: str = "ada", task: str = "one", **terms: Any) -> tuple[Contractor, Signed[OpenRequest]]:
    """A contractor that holds a lease of a task."""
    me, joined = world.worker(name, **terms)
    return me, ask(world, me, joined, task)


def ask(world: World, me: Contractor, joined: Membership, task: str) -> Signed[OpenRequest]:
    """Get a lease."""
    request = world.ask(me, joined, world.task(task))
    assert world.issuer().handle(request.data)
    return request


def kept(world: World) -> list[tuple[str, bytes]]:
    """Verdict and frame of all that was kept."""
    return [(row[5], row[7]) for row in dump(world.client_db)["submissions"]]


def test_an_answer_is_kept_sealed_and_acked(world: World) -> None:
    """The ack names client, project, contractor, lease, item and the frame; content is nowhere in `client.db`."""
    me, request = leased(world)
    data = world.submission(me, request, b'{"secret": "answer-canary"}')
    ack = ack_of(world.issuer().handle(data))
    assert (ack.client, ack.project, ack.contractor) == (world.lab.client_id, world.project.project_id, me.public_key)
    assert (ack.lease_id, ack.item, ack.event) == (request.hash, world.task(), "answer")
    assert (ack.of, ack.verdict, ack.at) == (frame_hash(data), "accepted", world.clock())
    assert kept(world) == [("accepted", data)]
    assert b"answer-canary" not in world.client_db.read_bytes()


def test_R1_C7_the_same_bytes_get_the_same_ack_and_change_nothing(world: World) -> None:
    """Also a day later, after a restart, a close and a revocation."""
    me, request = leased(world)
    data = world.submission(me, request)
    first = world.issuer().handle(data)
    world.issuer().handle(world.receipt(me, request))
    world.lab.revoke_contractor("ada")
    world.clock.advance(timedelta(days=1))
    before = dump(world.client_db)
    assert world.issuer().handle(data) == first
    assert dump(world.client_db) == before


def test_R1_another_frame_under_the_same_sequence_is_replayed(world: World) -> None:
    """The first one stands; the second is kept aside, and its own repeat says the same."""
    me, request = leased(world)
    issuer = world.issuer()
    data, other = (world.submission(me, request, content) for content in (b"1", b"2"))
    assert ack_of(issuer.handle(data)).verdict == "accepted"
    refused = issuer.handle(other)
    assert ack_of(refused).verdict == "replayed"
    assert issuer.handle(other) == refused
    assert sorted(kept(world)) == sorted([("accepted", data), ("replayed", other)])


def test_revisions_are_accepted_in_any_order_up_to_sixteen(world: World) -> None:
    """A vault may deliver them as it likes; which one counts, their sequence says."""
    me, request = leased(world)
    issuer = world.issuer()
    for sequence in (MAX_SUBMISSIONS, 1, 2):
        assert ack_of(issuer.handle(world.submission(me, request, sequence=sequence))).verdict == "accepted"
    with pytest.raises(FormatError):
        world.submission(me, request, sequence=MAX_SUBMISSIONS + 1)


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("client", bytes(32)),
        ("project", bytes(16)),
        ("lease_id", bytes(32)),
        ("item", bytes(16)),
        ("version", 2),
        ("contractor", bytes(32)),
        ("presence", "unapproved"),
    ],
)
def test_F4_F12_an_answer_is_bound_to_client_project_lease_item_version_and_contractor(
    world: World, change: str, value: Any
) -> None:
    """One field of another: misbound, kept aside, and the true answer is accepted after it."""
    me, request = leased(world)
    issuer = world.issuer()
    wrong = world.submission(me, request, **{change: value})
    ack = ack_of(issuer.handle(wrong))
    assert (ack.verdict, ack.client, ack.contractor) == ("misbound", world.lab.client_id, me.public_key)
    assert kept(world) == [("misbound", wrong)]
    assert ack_of(issuer.handle(world.submission(me, request))).verdict == "accepted"


def test_F4_nobody_answers_under_anothers_lease(world: World) -> None:
    """A second contractor of the same client takes no sequence number of the first one's."""
    me, request = leased(world)
    thief, _ = leased(world, "ben", "two")
    issuer = world.issuer()
    stolen = world.submission(thief, request)
    relabelled = world.submission(me, request, signer=identity(thief))
    assert [ack_of(issuer.handle(each)).verdict for each in (stolen, relabelled)] == ["misbound"] * 2
    assert ack_of(issuer.handle(world.submission(me, request))).verdict == "accepted"


def test_L6_what_no_enrolled_key_signed_or_has_no_outer_part_leaves_a_counter_only(world: World) -> None:
    """A stranger's answer, a flipped signature, and an outer part that is no record."""
    me, request = leased(world)
    issuer = world.issuer()
    data = world.submission(me, request)
    shapeless = sign_message(Submission(b"outer", b"sealed"), identity(me)).data
    before = dump(world.client_db)
    for bad in (
        world.submission(me, request, signer=SigningKey.generate()),
        data[:-40] + bytes([data[-40] ^ 1]) + data[-39:],
        shapeless,
    ):
        assert issuer.handle(bad) is None
    assert dump(world.client_db) == before


@pytest.mark.parametrize(
    ("dated", "verdict"),
    [(-MS, "accepted"), (timedelta(0), "late"), (timedelta(days=9), "late")],
)
def test_an_answer_counts_until_the_grace_after_its_lease(world: World, dated: timedelta, verdict: str) -> None:
    """By the contractor's own time, however late it comes."""
    me, request = leased(world)
    end = world.clock() + timedelta(hours=1) + SUBMISSION_GRACE
    world.clock.advance(timedelta(days=20))
    data = world.submission(me, request, at=end + dated)
    assert ack_of(world.issuer().handle(data)).verdict == verdict
    assert kept(world) == [(verdict, data)]


def test_a_time_ahead_of_the_clients_clock_is_its_clock(world: World) -> None:
    """What is here was signed by now, whatever it says; and a time before the lease is of no answer to it."""
    me, request = leased(world)
    issuer = world.issuer()
    ahead = world.submission(me, request, at=world.clock() + timedelta(days=3))
    before = world.submission(me, request, sequence=2, at=world.clock() - 3 * MINUTE)
    assert [ack_of(issuer.handle(each)).verdict for each in (ahead, before)] == ["accepted", "misbound"]


@pytest.mark.parametrize("what", ["contractor", "grant"])
def test_an_answer_after_revocation_is_kept_aside(world: World, what: str) -> None:
    """Revoked, and so said; the client may look at it."""
    me, request = leased(world)
    if what == "contractor":
        world.lab.revoke_contractor("ada")
    else:
        world.lab.revoke_grant(me.memberships()[0].grant.message.grant_id)
    data = world.submission(me, request)
    assert ack_of(world.issuer().handle(data)).verdict == "revoked"
    assert kept(world) == [("revoked", data)]


@pytest.mark.parametrize("what", ["batch", "project"])
def test_an_answer_is_taken_after_its_tasks_and_not_its_contractor_were_revoked(world: World, what: str) -> None:
    """Work that was done before stays welcome: nothing says that whoever did it is not to be trusted."""
    me, request = leased(world)
    if what == "batch":
        world.lab.revoke_batch("eval", "w1")
    else:
        world.lab.revoke_project("eval")
    data = world.submission(me, request)
    assert ack_of(world.issuer().handle(data)).verdict == "accepted"
    assert kept(world) == [("accepted", data)]


def test_L6_what_is_kept_aside_is_bounded_per_contractor(world: World) -> None:
    """A flood of misbound answers grows to a bound, gets no more acks, and costs nobody else anything."""
    me, request = leased(world)
    other, theirs = leased(world, "ben", "two")
    issuer = world.issuer()
    acks = [issuer.handle(world.submission(me, request, version=2 + n)) for n in range(MAX_ASIDE + 3)]
    assert [ack is None for ack in acks] == [False] * MAX_ASIDE + [True] * 3
    size = counts(world.client_db)["submissions"]
    assert size == MAX_ASIDE
    assert issuer.handle(world.submission(me, request, version=1000)) is None
    assert counts(world.client_db)["submissions"] == size
    assert ack_of(issuer.handle(world.submission(me, request))).verdict == "accepted"
    assert ack_of(issuer.handle(world.submission(other, theirs, version=9))).verdict == "misbound"


def test_closing_and_submitting_receipts_are_acked_once_each(world: World) -> None:
    """The same bytes get the same ack; another receipt of the event, and `opened`, get none."""
    me, request = leased(world)
    issuer = world.issuer()
    assert issuer.handle(world.receipt(me, request, "opened")) is None
    for event in ("submitted", "closed"):
        data = world.receipt(me, request, event)
        first = issuer.handle(data)
        ack = ack_of(first)
        assert (ack.event, ack.of, ack.verdict, ack.lease_id) == (event, frame_hash(data), "accepted", request.hash)
        assert issuer.handle(data) == first
        world.clock.advance(SECOND)
        assert issuer.handle(data) == first
        assert issuer.handle(world.receipt(me, request, event)) is None


def desk(world: World, *, waived: bool) -> tuple[Contractor, Signed[OpenRequest], SigningKey]:
    """A desk with a lease, and its presence device."""
    device = SigningKey.generate()
    me = world.contractor("desk", tier="desk", presence=device)
    world.enrol(me, "desk")
    joined = world.join(me, "desk", waive_presence=waived, scope=Scope(batches=world.project.batches()))
    request = world.ask(me, joined, world.task())
    if not waived:
        request = approved(request, identity(me), device, world.clock())
    assert world.issuer().handle(request.data)
    return me, request, device


KEY = {"presence": "key"}


@pytest.mark.parametrize("waived", [True, False])
def test_F14_presence_of_a_desks_answer_is_what_its_device_says(world: World, waived: bool) -> None:
    """Unapproved is taken and said; `key` counts with the granted device's own fresh cosignature only."""
    me, request, device = desk(world, waived=waived)
    issuer, now = world.issuer(), world.clock()

    def verdict(sequence: int, by: Signer | None = device, **fields: Any) -> str:
        return ack_of(issuer.handle(world.submission(me, request, sequence=sequence, device=by, **fields))).verdict

    assert verdict(1, by=None, presence="unapproved") == "accepted"
    assert verdict(2, by=None, presence="device") == "misbound"
    assert verdict(3, presence="unapproved") == "misbound"
    assert verdict(4, by=SigningKey.generate(), presence="key", approved_at=now) == "misbound"
    assert verdict(5, by=None, presence="key", approved_at=now) == "misbound"
    for sequence, approved_at in ((6, now - PRESENCE_MAX_AGE - MS), (7, now + 2 * MINUTE + MS)):
        assert verdict(sequence, presence="key", approved_at=approved_at) == "misbound"
    expected = "misbound" if waived else "accepted"
    assert verdict(8, presence="key", approved_at=now - PRESENCE_MAX_AGE) == expected


def test_F14_an_approval_covers_one_answer_alone(world: World) -> None:
    """Moved to another answer, or to another lease's, the cosignature does not fit."""
    me, request, device = desk(world, waived=False)
    issuer, now = world.issuer(), world.clock()
    good = world.submission(me, request, device=device, presence="key", approved_at=now)
    signed = open_frame(good, Submission, me.public_key)
    outer = decode_record(SubmissionOuter, signed.message.outer)
    moved = replace(signed.message, outer=encode_record(replace(outer, sequence=2)))
    assert ack_of(issuer.handle(sign_message(moved, identity(me), signed.frame.cosignature).data)).verdict == "misbound"
    assert ack_of(issuer.handle(good)).verdict == "accepted"


def test_C7_an_ack_that_was_lost_is_posted_again(world: World) -> None:
    """Through the mailbox: the ack reaches the contractor's, and the same message posted again gets it again."""
    me, request = leased(world)
    relay, client = world.relay(), world.lab.client_id
    data, box = world.submission(me, request), contractor_mailbox(world.lab.client_id, me.public_key)

    def round_trip(issuer: Issuer) -> list[bytes]:
        relay.post(issuer_mailbox(client), data)
        issuer.answer()
        found = relay.fetch(box)
        for number, _ in found:
            relay.ack(box, number)
        return [each for _, each in found if parse_frame(each).type == Ack.TYPE]

    first = round_trip(world.issuer())
    assert len(first) == 1
    assert round_trip(world.issuer()) == first
    assert len(kept(world)) == 1


def test_a_pass_without_releases_takes_answers_and_leaves_requests_waiting(world: World) -> None:
    """So that collecting opens nothing."""
    me, request = leased(world)
    relay, client = world.relay(), world.lab.client_id
    waiting = world.ask(me, me.memberships()[0], world.task("two"))
    for data in (waiting.data, world.submission(me, request), world.receipt(me, request), b"junk"):
        relay.post(issuer_mailbox(client), data)
    report = world.issuer().answer(release=False)
    assert (report.released, report.receipts, report.submissions, report.junk) == (0, 1, {"accepted": 1}, 0)
    assert [data for _, data in relay.fetch(issuer_mailbox(client))] == [waiting.data, b"junk"]


@pytest.mark.parametrize("changed", [None, "client", "contractor", "of"])
def test_F1_an_ack_is_its_issuers_only(world: World, changed: str | None) -> None:
    """Signed again by the contractor, with or without a change, it verifies for nobody."""
    me, request = leased(world)
    ack = ack_of(world.issuer().handle(world.submission(me, request)))
    change: dict[str, Any] = {} if changed is None else {changed: bytes(32)}
    forged = replace(ack, **change)
    with pytest.raises(SignatureError):
        ack_of(sign_message(forged, identity(me)).data)
