"""A vault that swaps, truncates, replays and forges: nothing false is opened, and the true answer is still found."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from labelvault.client import Limits, Project
from labelvault.contractor import Membership
from labelvault.contractor.exchange import is_outdated
from labelvault.contractor.opening import open_lease, read_denial, read_lease
from labelvault.crypto import hpke
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.sign import SigningKey
from labelvault.envelope.metadata import Metadata
from labelvault.envelope.seal import SealedItem, seal_item
from labelvault.errors import (
    ClockError,
    DecryptionError,
    DeniedError,
    EnrolmentError,
    FormatError,
    LabelVaultError,
    LeaseError,
    LeaseExpiredError,
    NotFoundError,
    RequestTimeoutError,
    SignatureError,
    TamperedError,
)
from labelvault.relay import ItemPart
from labelvault.wire.frame import Signer, open_frame, parse_frame, sign_message
from labelvault.wire.ids import ClientId, contractor_mailbox, issuer_mailbox
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from labelvault.wire.messages import (
    LEASE_INFO_LABEL,
    Denial,
    Lease,
    LeasedItem,
    LeaseOuter,
    LeaseSecrets,
    OpenRequest,
)
from labelvault.wire.schema import decode_record, encode_record
from tests.world import MS, TASK, World, identity, state_of

LIMITS = Limits(max_open=50, max_total=90, per_hour=90, lease_ttl_s=3600)
Serve = Callable[[ItemPart, ItemHeader], ItemPart]


@pytest.fixture
def hostile(world: World, monkeypatch: pytest.MonkeyPatch) -> "Hostile":
    """A contractor whose relay a test can corrupt."""
    return Hostile(world, monkeypatch)


class Hostile:
    """A contractor behind a relay that serves items as the test says."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.me, self.joined = world.worker(limits=LIMITS)
        self.issuer = world.issuer()
        self._monkeypatch = monkeypatch

    def serve(self, change: Serve) -> None:
        """From now on the vault serves what `change` makes of each item."""
        relay = self.me._post.relay(self.joined)
        true = type(relay).read_item

        def read_item(client: bytes, item: bytes, version: int, offset: int = 0, length: int | None = None) -> ItemPart:
            part = true(relay, client, item, version, offset, length)
            return change(part, ItemHeader(ITEM_FORMAT, client, self.joined.project, item, version))

        self._monkeypatch.setattr(relay, "read_item", read_item)

    def read(self, item: bytes, version: int = 1) -> ItemPart:
        return self.world.relay().read_item(self.world.lab.client_id, item, version)

    def open(self, name: str = "one") -> Any:
        return self.me.open_task(self.world.task(name), exchange=self.issuer.handle)

    def refused(self, *errors: type[LabelVaultError]) -> None:
        """Opening fails with one of these errors, and leaves nothing open."""
        with pytest.raises(errors):
            self.open()
        assert {record.state for record in self.me.openings()} == {"closed"}


def altered(part: ItemPart, data: bytes) -> ItemPart:
    return ItemPart(part.header, len(data), data)


def test_the_true_vault_is_believed(hostile: Hostile) -> None:
    """The twin of all below: unchanged, it opens."""
    hostile.serve(lambda part, header: part)
    with hostile.open() as task:
        assert TASK in task.text


ALTERATIONS: dict[str, Serve] = {
    "first bit": lambda part, header: altered(part, bytes([part.data[0] ^ 1]) + part.data[1:]),
    "last bit": lambda part, header: altered(part, part.data[:-1] + bytes([part.data[-1] ^ 128])),
    "cut": lambda part, header: altered(part, part.data[:-1]),
    "halved": lambda part, header: altered(part, part.data[: part.size // 2]),
    "emptied": lambda part, header: altered(part, b""),
    "extended": lambda part, header: altered(part, part.data + b"\0"),
    "doubled": lambda part, header: altered(part, part.data * 2),
    "size too big": lambda part, header: ItemPart(part.header, part.size + 1, part.data),
    "size too small": lambda part, header: ItemPart(part.header, part.size - 1, part.data),
    "header cut": lambda part, header: ItemPart(part.header[:-1], part.size, part.data),
    "header empty": lambda part, header: ItemPart(b"", part.size, part.data),
    "header of another version": lambda part, header: ItemPart(
        replace(header, version=header.version + 1).encode(), part.size, part.data
    ),
    "header of another project": lambda part, header: ItemPart(
        replace(header, project=bytes(16)).encode(), part.size, part.data
    ),
    "header of another client": lambda part, header: ItemPart(
        replace(header, client=bytes(32)).encode(), part.size, part.data
    ),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_G6_altered_bytes_are_found_before_any_decryption(hostile: Hostile, name: str) -> None:
    """F1, F2: one bit, a cut, an extension, a false size or header: TamperedError, nothing opened."""
    hostile.serve(ALTERATIONS[name])
    hostile.refused(TamperedError)


@pytest.mark.parametrize("part", ["payload", "header", "both"])
@pytest.mark.parametrize("other", ["two", "guideline"])
def test_F3_another_items_bytes_are_refused(hostile: Hostile, part: str, other: str) -> None:
    """Another item of the same project and client, of the same kind and of another one."""
    world = hostile.world
    swapped = hostile.read(world.id_of("guideline") if other == "guideline" else world.task(other))

    def swap(served: ItemPart, header: ItemHeader) -> ItemPart:
        if header.item != world.task("one"):
            return served
        head = swapped.header if part in ("header", "both") else served.header
        data = swapped.data if part in ("payload", "both") else served.data
        return ItemPart(head, len(data), data)

    hostile.serve(swap)
    hostile.refused(TamperedError)


def test_R2_an_older_version_is_refused(hostile: Hostile) -> None:
    """The vault serves version 1, header and all, where the lease says version 2; so it does when 2 is gone."""
    world = hostile.world
    old = hostile.read(world.task("one"))
    path = world.source / "tasks" / "w1.jsonl"
    path.write_text(path.read_text().replace(f"{TASK} one", "one, changed"))
    assert world.project.seal(world.source).changed == 1
    hostile.serve(lambda part, header: old if header.item == world.task("one") else part)
    hostile.refused(TamperedError)

    def gone(part: ItemPart, header: ItemHeader) -> ItemPart:
        raise NotFoundError("nothing is stored under this name")

    hostile.serve(gone)
    hostile.refused(NotFoundError)
    hostile.serve(lambda part, header: part)
    with hostile.open() as task:
        assert "one, changed" in task.text


def test_G6_a_forged_body_under_the_true_key_is_refused(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another contractor who knows the DEK, and the vault's help, can't put words into the client's mouth."""
    from labelvault.contractor import opening
    from labelvault.crypto import aead

    world, deks = hostile.world, {}
    real = opening.open_item  # type: ignore[attr-defined]

    def spy(header: bytes, payload: bytes, dek: Any, **named: Any) -> Any:
        deks[header] = dek
        return real(header, payload, dek, **named)

    with monkeypatch.context() as patched:
        patched.setattr(opening, "open_item", spy)
        hostile.open().close()

    def forge(served: ItemPart, header: ItemHeader) -> ItemPart:
        if header.item != world.task("one"):
            return served
        context = b"labelvault/v1/payload\0" + served.header
        plaintext = aead.open_payload(deks[served.header], served.data, context)
        forged = plaintext.replace(TASK.encode(), b"X" * len(TASK))
        assert forged != plaintext
        return altered(served, aead.seal_payload(deks[served.header], forged, context))

    hostile.serve(forge)
    hostile.refused(TamperedError)


# Leases


class Exchange:
    """One request and its true lease, and the keys to make false ones."""

    def __init__(self, hostile: Hostile, name: str = "one") -> None:
        self.hostile, self.world = hostile, hostile.world
        self.key = OneTimeKey.generate()
        self.request = self.world.ask(hostile.me, hostile.joined, self.world.task(name), key=self.key)
        answer = hostile.issuer.handle(self.request.data)
        assert answer is not None
        self.lease = answer
        frame = parse_frame(answer)
        message = decode_record(Lease, frame.body)
        self.outer = decode_record(LeaseOuter, message.outer)
        self.secrets = decode_record(LeaseSecrets, self.key.open(message.sealed, LEASE_INFO_LABEL + message.outer))
        self.issuer_key: SigningKey = self.world.lab.issuer_identity.signer  # type: ignore[assignment]

    def forged(
        self,
        *,
        outer: dict[str, Any] | None = None,
        secrets: LeaseSecrets | None = None,
        signer: Signer | None = None,
        bound_to: bytes | None = None,
    ) -> bytes:
        """A lease as the issuer would make it, but for what is said."""
        outer_bytes = encode_record(replace(self.outer, **outer or {}))
        sealed = hpke.seal(
            self.key.public_key,
            encode_record(secrets or self.secrets),
            LEASE_INFO_LABEL + (outer_bytes if bound_to is None else bound_to),
        )
        return sign_message(Lease(outer_bytes, sealed), signer or self.issuer_key).data

    def open(self, data: bytes, key: OneTimeKey | None = None) -> Any:
        """Check and open a lease as the contractor does."""
        joined = self.hostile.joined
        lease, outer = read_lease(data, self.request, joined, self.world.clock())
        read = self.world.relay().read_item
        return open_lease(lease, outer, key or self.key, joined, lambda h: read(h.client, h.item, h.version))


def test_F9_a_lease_that_the_client_did_not_sign_is_refused(hostile: Hostile) -> None:
    """HPKE says nothing of who sent it: a stranger's, the contractor's own and the identity key's are no leases."""
    case = Exchange(hostile)
    assert case.open(case.lease).task.name == "one"
    assert case.open(case.forged()).task.name == "one"
    for signer in (SigningKey.generate(), identity(hostile.me), hostile.world.lab.identity()):
        with pytest.raises(SignatureError):
            case.open(case.forged(signer=signer))


def test_F1_any_flipped_bit_of_a_lease_is_refused(hostile: Hostile) -> None:
    """A sample over the whole frame: typed error, nothing opened."""
    case = Exchange(hostile)
    for at in range(0, len(case.lease), 23):
        bad = bytearray(case.lease)
        bad[at] ^= 1 << at % 8
        with pytest.raises((FormatError, SignatureError, LeaseError)):
            case.open(bytes(bad))


@pytest.mark.parametrize(
    "outer",
    [
        {"client": bytes(32)},
        {"project": bytes(16)},
        {"lease_id": bytes(32)},
        {"item": bytes(16)},
        {"certificate_hash": bytes(32)},
        {"contractor": bytes(32)},
        {"grant_hash": bytes(32)},
        {"tier": "desk"},
    ],
    ids=lambda outer: next(iter(outer)),
)
def test_F4_a_signed_lease_for_anything_else_is_refused(hostile: Hostile, outer: dict[str, Any]) -> None:
    """Also one that the true issuer signed, with any one field of another request."""
    case = Exchange(hostile)
    with pytest.raises(LeaseError, match="another request"):
        case.open(case.forged(outer=outer))


def test_a_lease_that_lives_too_long_or_not_yet_is_refused(hostile: Hostile) -> None:
    """Longer than the ttl, past the grant's end, or over: refused; the exact bounds are taken."""
    case = Exchange(hostile)
    with pytest.raises(LeaseError, match="longer"):
        case.open(case.forged(outer={"expires_at": case.outer.expires_at + MS}))
    assert case.open(case.forged(outer={"expires_at": case.outer.expires_at - MS})).task
    hostile.world.clock.time = case.outer.expires_at
    with pytest.raises(LeaseError, match="expired"):
        case.open(case.lease)
    hostile.world.clock.time = case.outer.expires_at - MS
    assert case.open(case.lease).task.name == "one"


def test_a_lease_past_its_grants_end_is_refused(hostile: Hostile) -> None:
    """Within the ttl, and yet longer than the grant itself; up to its end it is taken."""
    hostile.joined = hostile.world.join(hostile.me, "ada", limits=LIMITS, lasts=timedelta(minutes=30))
    case = Exchange(hostile)
    end = hostile.joined.expires_at
    assert case.outer.expires_at == end
    with pytest.raises(LeaseError, match="longer"):
        case.open(case.forged(outer={"expires_at": end + MS}))
    assert case.open(case.forged(outer={"expires_at": end})).task.name == "one"


def test_the_sealed_part_is_bound_to_the_outer_one(hostile: Hostile) -> None:
    """Keys sealed beside another outer part do not open beside this one, though all is signed."""
    case = Exchange(hostile)
    other = encode_record(replace(case.outer, expires_at=case.outer.expires_at - MS))
    with pytest.raises(DecryptionError):
        case.open(case.forged(bound_to=other))
    with pytest.raises(DecryptionError):
        case.open(case.lease, OneTimeKey.generate())


def _with(case: Exchange, *items: LeasedItem, **fields: Any) -> bytes:
    return case.forged(secrets=replace(case.secrets, items=items or case.secrets.items, **fields))


def _item(old: LeasedItem, **fields: Any) -> LeasedItem:
    values = {name: getattr(old, name) for name in ("item", "version", "digest", "dek")}
    return LeasedItem(**{**values, **fields})


def test_F9_deks_that_do_not_open_the_committed_items_are_refused(hostile: Hostile) -> None:
    """A wrong DEK, digest or version in a properly signed lease."""
    case = Exchange(hostile)
    task, *rest = case.secrets.items
    assert case.open(_with(case, task, *rest)).task.name == "one"
    with pytest.raises(DecryptionError):
        case.open(_with(case, _item(task, dek=bytes(32)), *rest))
    with pytest.raises(DecryptionError):
        case.open(_with(case, _item(task, dek=rest[0].dek), *rest))
    with pytest.raises(TamperedError):
        case.open(_with(case, _item(task, digest=rest[0].digest), *rest))
    with pytest.raises(NotFoundError):
        case.open(_with(case, _item(task, version=9), *rest))


def test_a_lease_holds_its_task_first_and_all_that_it_requires(hostile: Hostile) -> None:
    """Another order, an item twice, one missing, a second task or gold: not what the task needs."""
    case = Exchange(hostile)
    other = Exchange(hostile, "two").secrets.items[0]
    task, *rest = case.secrets.items
    for items in ([*rest, task], [task, *rest, rest[0]], [task, *rest[1:]], [task], [task, *rest, other]):
        with pytest.raises(LeaseError):
            case.open(_with(case, *items))
    # Another task, whole with all that it requires, is not the one that was asked for.
    with pytest.raises(LeaseError, match="begin with its task"):
        case.open(_with(case, *Exchange(hostile, "two").secrets.items))
    with pytest.raises(LeaseError, match="epoch"):
        case.open(_with(case, epoch=bytes(16)))


def test_a_guideline_is_not_opened_as_a_task(hostile: Hostile) -> None:
    """Even where request and lease agree on it."""
    case = Exchange(hostile)
    guideline = next(i for i in case.secrets.items if i.item == hostile.world.id_of("guideline"))
    case.request = hostile.world.ask(hostile.me, hostile.joined, guideline.item, key=case.key)
    case.outer = replace(case.outer, item=guideline.item, lease_id=case.request.hash)
    with pytest.raises(LeaseError, match="kinds"):
        case.open(_with(case, guideline))


def test_a_lease_from_the_future_is_a_wrong_clock(hostile: Hostile) -> None:
    """Two minutes of skew are allowed, to the millisecond."""
    case = Exchange(hostile)
    skew = timedelta(seconds=120)
    for ahead, opens in ((skew, True), (skew + MS, False)):
        start = case.world.clock() + ahead
        data = case.forged(outer={"issued_at": start, "expires_at": start + MS})
        if opens:
            assert case.open(data).task.name == "one"
        else:
            with pytest.raises(ClockError):
                case.open(data)


def test_gold_in_a_lease_is_refused(hostile: Hostile) -> None:
    """Even if an issuer went astray: a contractor's software does not open gold beside a task, nor as a task."""
    case = Exchange(hostile)
    metadata = Metadata("gold", "answers", "text/plain", 0, (), ())
    header = ItemHeader(ITEM_FORMAT, hostile.world.lab.client_id, hostile.joined.project, b"g" * 16, 1)
    sealed, dek = seal_item(header, metadata, b"forty-two", floor_bytes=256)
    gold = LeasedItem(header.item, 1, sealed.digest, dek.reveal())
    lease, outer = read_lease(_with(case, *case.secrets.items, gold), case.request, hostile.joined, case.world.clock())
    read = _reader(case, header, sealed)
    with pytest.raises(LeaseError, match="kinds"):
        open_lease(lease, outer, case.key, hostile.joined, read)


def _reader(case: Exchange, header: ItemHeader, sealed: SealedItem) -> Callable[[ItemHeader], ItemPart]:
    def read(wanted: ItemHeader) -> ItemPart:
        if wanted == header:
            return ItemPart(sealed.header, len(sealed.payload), sealed.payload)
        return case.world.relay().read_item(wanted.client, wanted.item, wanted.version)

    return read


# Denials


def test_denials_are_believed_for_their_signature_and_their_request(hostile: Hostile) -> None:
    """A stranger's, another request's, another client's: refused; the issuer's own for this request: taken."""
    world, joined = hostile.world, hostile.joined
    request = world.ask(hostile.me, joined, bytes(16))
    answer = hostile.issuer.handle(request.data)
    assert answer is not None
    denial, _ = read_denial(answer, request, joined)
    assert denial.code == "unknown"
    signer: Any = world.lab.issuer_identity.signer
    with pytest.raises(SignatureError):
        read_denial(sign_message(denial, SigningKey.generate()).data, request, joined)
    changes: list[dict[str, Any]] = [{"request_hash": bytes(32)}, {"client": bytes(32)}]
    for change in changes:
        with pytest.raises(LeaseError):
            read_denial(sign_message(replace(denial, **change), signer).data, request, joined)
    own = world.create_client("rival")
    with pytest.raises((SignatureError, EnrolmentError)):
        read_denial(sign_message(replace(denial, certificate=own.certificate.data), signer).data, request, joined)
    with pytest.raises(FormatError):
        read_denial(hostile.me.card(), request, joined)


# The mailbox


def _mailbox(hostile: Hostile) -> bytes:
    return contractor_mailbox(hostile.world.lab.client_id, hostile.me.public_key)


def _plant_before_the_answer(hostile: Hostile, monkeypatch: pytest.MonkeyPatch, make: Callable[[bytes], list]) -> None:
    """When the contractor's request comes in, put forged answers before the true one."""
    relay = hostile.me._post.relay(hostile.joined)
    post = relay.post
    box = issuer_mailbox(hostile.world.lab.client_id)

    def posted(mailbox: bytes, message: bytes) -> None:
        post(mailbox, message)
        if mailbox == box and parse_frame(message).type == OpenRequest.TYPE:
            for forged in make(message):
                post(_mailbox(hostile), forged)
            hostile.issuer.answer()

    monkeypatch.setattr(relay, "post", posted)


def test_forged_answers_are_passed_over_and_the_true_one_is_found(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R1: noise, old leases, forged leases and denials, denials of other requests: none of them decides."""
    world = hostile.world
    old = Exchange(hostile)
    stranger = SigningKey.generate()
    signer: Any = world.lab.issuer_identity.signer

    def forge(message: bytes) -> list[bytes]:
        request = open_frame(message, OpenRequest, hostile.me.public_key)
        outer = replace(old.outer, lease_id=request.hash, item=request.message.item)
        sealed = decode_record(Lease, parse_frame(old.lease).body).sealed
        denial = Denial(outer.client, outer.project, request.hash, "revoked", world.lab.certificate.data, world.clock())
        stale = sign_message(replace(world.lab.certificate.message, serial=1), SigningKey.generate()).data
        return [
            b"noise",
            old.lease,
            request.data,
            sign_message(Lease(encode_record(outer), sealed), stranger).data,
            sign_message(Lease(b"\x80", sealed), stranger).data,
            sign_message(denial, stranger).data,
            sign_message(replace(denial, certificate=stale), stranger).data,
            sign_message(replace(denial, certificate=b"junk"), stranger).data,
            sign_message(replace(denial, request_hash=old.request.hash), signer).data,
        ]

    _plant_before_the_answer(hostile, monkeypatch, forge)
    with hostile.me.open_task(world.task("two"), timeout_s=60) as task:
        assert task.name == "two"
    with pytest.raises(DeniedError, match="unknown"):
        hostile.me.open_task(bytes(16), timeout_s=60)


def test_R2_an_old_certificate_in_a_forged_denial_hides_nothing(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A true older certificate around a forged denial is passed over like any forgery."""
    world = hostile.world
    older = hostile.joined.certificate
    newer = sign_message(replace(older.message, serial=2), world.lab.identity())
    invite = replace(hostile.joined.invite.message, certificate=newer.data)
    hostile.me.join(sign_message(invite, world.lab.identity()).data)
    monkeypatch.setattr(hostile.issuer, "_identity", replace(hostile.issuer._identity, certificate=newer), raising=True)

    def forge(message: bytes) -> list[bytes]:
        request = open_frame(message, OpenRequest, hostile.me.public_key)
        denial = Denial(world.lab.client_id, hostile.joined.project, request.hash, "revoked", older.data, world.clock())
        return [sign_message(denial, SigningKey.generate()).data]

    _plant_before_the_answer(hostile, monkeypatch, forge)
    with hostile.me.open_task(world.task("two"), timeout_s=60) as task:
        assert task.name == "two"


def test_what_only_fills_the_mailbox_is_told_from_what_may_be_an_answer(hostile: Hostile) -> None:
    """Dead leases, old denials and noise; not a live lease, nor a denial of the last ten minutes."""
    case, world = Exchange(hostile), hostile.world
    now, signer = world.clock(), SigningKey.generate()
    denial = Denial(world.lab.client_id, bytes(16), bytes(32), "unknown", b"certificate", now)
    old = sign_message(denial, signer).data
    ten_minutes = timedelta(minutes=10)
    assert not is_outdated(case.lease, case.outer.expires_at)
    assert is_outdated(case.lease, case.outer.expires_at + MS)
    assert not is_outdated(old, now + ten_minutes)
    assert is_outdated(old, now + ten_minutes + MS)
    assert is_outdated(b"noise", now)
    assert not is_outdated(hostile.me.card(), now)


def test_a_signed_lease_that_is_wrong_is_passed_over_and_one_that_is_over_is_told(
    hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer gone astray hides no true answer; a lease that is over by this clock is no reason to wait on."""
    case = Exchange(hostile)

    def wrong(message: bytes) -> list[bytes]:
        request = open_frame(message, OpenRequest, hostile.me.public_key)
        return [case.forged(outer={"lease_id": request.hash, "item": bytes(16)})]

    _plant_before_the_answer(hostile, monkeypatch, wrong)
    with hostile.me.open_task(hostile.world.task("two"), timeout_s=60) as task:
        assert task.name == "two"
    monkeypatch.undo()

    def over(message: bytes) -> list[bytes]:
        request = open_frame(message, OpenRequest, hostile.me.public_key)
        now = hostile.world.clock()
        fields = {"lease_id": request.hash, "item": request.message.item, "issued_at": now - 2 * MS}
        return [case.forged(outer={**fields, "expires_at": now - MS})]

    _plant_before_the_answer(hostile, monkeypatch, over)
    with pytest.raises(LeaseExpiredError):
        hostile.me.open_task(hostile.world.task("two"), timeout_s=60)


def test_many_forged_answers_do_not_hide_the_true_one(hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than a page of them; they are not fetched again and again."""
    from labelvault.contractor import exchange

    monkeypatch.setattr(exchange, "_PAGE", 10)
    old = Exchange(hostile)
    stranger = SigningKey.generate()
    forged = [
        sign_message(replace(decode_record(Lease, parse_frame(old.lease).body), sealed=bytes([n])), stranger).data
        for n in range(35)
    ]
    _plant_before_the_answer(hostile, monkeypatch, lambda message: forged)
    with hostile.me.open_task(hostile.world.task("two"), timeout_s=60) as task:
        assert task.name == "two"


def test_R3_silence_ends_with_a_timeout_and_nothing_open(hostile: Hostile) -> None:
    """A vault that withholds everything is reported; the request may be asked again."""
    with pytest.raises(RequestTimeoutError):
        hostile.me.open_task(hostile.world.task(), timeout_s=0.1)
    assert hostile.me.openings() == []


def test_taken_and_dead_answers_do_not_pile_up(hostile: Hostile) -> None:
    """What was taken is acknowledged, denials too, and so are dead answers to requests that were given up."""
    world, me = hostile.world, hostile.me
    with pytest.raises(RequestTimeoutError):
        me.open_task(world.task(), timeout_s=0)
    hostile.issuer.answer()
    # The dead lease, and the ack of the receipt that gave it up.
    assert len(world.relay().fetch(_mailbox(hostile))) == 2
    world.clock.time = world.clock() + 2 * 3600 * 1000 * MS
    with world.serving():
        with me.open_task(world.task("two"), timeout_s=60):
            pass
        with pytest.raises(DeniedError):
            me.open_task(bytes(16), timeout_s=60)
    assert world.relay().fetch(_mailbox(hostile)) == []


# Two clients


class TwoClients:
    """Two clients on one vault, with equal ids, and a person who works for both from two homes."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.rival = world.create_client("rival")
        self._collide(monkeypatch)
        self.project: Project = self.rival.create_project("eval", floor_bytes=256)
        self.project.seal(world.source)
        monkeypatch.undo()
        self.mine, self.joined = world.worker("ada", limits=LIMITS)
        self.other = world.contractor("ada for the rival")
        world.enrol(self.other, "ada", self.rival)
        self.rival_joined = world.join(self.other, "ada", lab=self.rival, project=self.project, limits=LIMITS)

    def _collide(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give the rival's project, items and batches the very ids that the first client's have."""
        from labelvault.client import client, sealing, versions

        world = self.world
        items = {item.name: item.item for item in world.project.items()}
        monkeypatch.setattr(client, "random_bytes", lambda size: bytes(world.project.project_id))
        order = iter(self._in_sealing_order(items))
        for module in (sealing, versions):
            monkeypatch.setattr(module, "random_bytes", lambda size: next(order))

    def _in_sealing_order(self, items: dict[str, bytes]) -> list[bytes]:
        import sqlite3
        from contextlib import closing

        with closing(sqlite3.connect(self.world.client_db)) as db:
            batches = {
                (name, gold): bytes(batch) for batch, name, gold in db.execute("SELECT batch, name, gold FROM batches")
            }
        found = [items["picture.png"], items["how.md"], items["score.md"], items["answers.jsonl"], batches["gold", 1]]
        for batch, names in (("w1", ("one", "two", "three")), ("w2", ("four", "five"))):
            found += [items[names[0]], batches[batch, 0], *(items[name] for name in names[1:])]
        return found

    def handles(self) -> tuple[Any, Any]:
        return self.world.issuer(), self.world.issuer(self.rival)


@pytest.fixture
def two(world: World, monkeypatch: pytest.MonkeyPatch) -> TwoClients:
    """Two clients with equal ids."""
    return TwoClients(world, monkeypatch)


def test_G7_equal_ids_stay_apart(two: TwoClients) -> None:
    """Project, items and batches collide; each contractor home opens its own client's bytes."""
    world = two.world
    assert two.project.project_id == world.project.project_id
    assert {i.item for i in two.project.items()} == {i.item for i in world.project.items()}
    ours, theirs = two.handles()
    with two.mine.open_task(world.task(), exchange=ours.handle) as task:
        assert task.name == "one"
    with two.other.open_task(world.task(), exchange=theirs.handle) as task:
        assert task.name == "one"


def test_F4_every_cross_use_of_two_clients_is_refused(two: TwoClients) -> None:
    """Requests at the other issuer, grants and leases in the other session, receipts and items: all for nothing."""
    world = two.world
    ours, theirs = two.handles()
    task = world.task()
    states = state_of(world.folder / "rival"), state_of(world.folder / "client")
    # One client's request at the other's issuer, as it is and with the other's names put in.
    request = world.ask(two.mine, two.joined, task)
    assert theirs.handle(request.data) is None
    world.enrol(two.mine, "ada's other key", two.rival)
    states = state_of(world.folder / "rival"), states[1]
    assert theirs.handle(request.data) is None
    assert (state_of(world.folder / "rival"), state_of(world.folder / "client")) == states
    renamed = world.ask(
        two.mine,
        two.joined,
        task,
        client=two.rival.client_id,
        epoch=two.rival.certificate.message.epoch,
    )
    assert decode_record(Denial, parse_frame(theirs.handle(renamed.data)).body).code == "unknown"
    # The rival's lease in our session: its issuer is not ours.
    key = OneTimeKey.generate()
    asked = world.ask(two.other, two.rival_joined, task, key=key)
    lease = theirs.handle(asked.data)
    with pytest.raises(RequestTimeoutError):
        two.mine.open_task(task, exchange=lambda data: lease)
    with pytest.raises(SignatureError):
        read_lease(lease, asked, two.joined, world.clock())
    with pytest.raises(LeaseError):
        read_lease(lease, world.ask(two.mine, two.joined, task), two.rival_joined, world.clock())
    # The rival's grant in our session, and ours in theirs.
    with pytest.raises(LabelVaultError):
        two.mine.join(two.rival_joined.invite.data)
    mixed = Membership(two.joined.identity_key, two.joined.invite, two.joined.certificate, two.rival_joined.grant)
    crossed = world.ask(two.mine, mixed, task)
    assert decode_record(Denial, parse_frame(ours.handle(crossed.data)).body).code == "unknown"


def test_G7_the_others_stored_item_under_the_same_id_is_refused(
    two: TwoClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vault serves the rival's version 1 of the same item and project: another client stands in its header."""
    world = two.world
    ours, _ = two.handles()
    relay = two.mine._post.relay(two.joined)
    read = relay.read_item

    def crossed(client: bytes, item: bytes, version: int, offset: int = 0, length: int | None = None) -> ItemPart:
        return read(two.rival.client_id, item, version, offset, length)

    monkeypatch.setattr(relay, "read_item", crossed)
    with pytest.raises(TamperedError):
        two.mine.open_task(world.task(), exchange=ours.handle)


def test_G7_mailboxes_of_two_clients_are_apart(two: TwoClients) -> None:
    """A request in the wrong issuer's mailbox is junk, an answer in the wrong contractor's is passed over."""
    world = two.world
    ours, theirs = two.handles()
    relay = world.relay()
    request = world.ask(two.mine, two.joined, world.task())
    relay.post(issuer_mailbox(ClientId(two.rival.client_id)), request.data)
    assert theirs.answer().junk == 1
    assert ours.answer().handled == 0
