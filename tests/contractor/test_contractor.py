"""The contractor's facade over a real vault: joining, opening, closing, clocks, and nothing left behind."""

import base64
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from labelvault.client import Limits, Scope
from labelvault.contractor import Contractor, exchange, joining
from labelvault.contractor import clock as clock_module
from labelvault.contractor import contractor as module
from labelvault.contractor import post as post_module
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.random import random_bytes
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.database import Database
from labelvault.envelope.seal import open_item
from labelvault.errors import (
    ClockError,
    DeniedError,
    EnrolmentError,
    FormatError,
    GrantError,
    GrantExpiredError,
    GrantNotYetValidError,
    KeystoreDamagedError,
    KeystoreError,
    KeystorePassphraseError,
    LabelVaultError,
    LeaseClosedError,
    LeaseError,
    LeaseExpiredError,
    RelayError,
    RequestTimeoutError,
    RollbackError,
    SignatureError,
    StoreError,
)
from labelvault.issuer.log import Log
from labelvault.issuer.schema import CLIENT_SCHEMA
from labelvault.keys.files import write_private
from labelvault.ledger.checkpoint import issuer_key_name
from labelvault.ledger.entries import Certified, ReceiptEntry, Released
from labelvault.wire.frame import frame_hash, parse_frame, sign_message
from labelvault.wire.ids import contractor_mailbox
from labelvault.wire.messages import Card
from tests.world import (
    DAY,
    GUIDELINE,
    MINUTE,
    MS,
    PASSPHRASE,
    PICTURE,
    TASK,
    World,
    bytes_of,
    dump,
    entries,
    state_of,
)


def test_a_home_is_made_once_and_opens_with_its_passphrase(world: World) -> None:
    """Made twice, opened with another passphrase, damaged or absent: each its own error, nothing changed."""
    me = world.contractor("ada")
    card, before = me.card(), state_of(world.folder / "ada")
    me.close()
    with pytest.raises(KeystoreError, match="already"):
        world.contractor("ada")
    with pytest.raises(KeystorePassphraseError):
        Contractor.open(world.folder / "ada", "another passphrase")
    with pytest.raises(KeystoreError, match="holds no contractor"):
        Contractor.open(world.folder / "nobody", PASSPHRASE)
    assert not (world.folder / "nobody").exists()
    assert state_of(world.folder / "ada") == before
    with world.reopen("ada") as again:
        assert again.card() == card
    key = world.folder / "ada" / "identity.key"
    key.write_bytes(key.read_bytes()[:-1])
    with pytest.raises(KeystoreDamagedError):
        Contractor.open(world.folder / "ada", PASSPHRASE)


def test_an_interrupted_making_says_what_to_do(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home without its last file is named unfinished, by open and by another try; removed, it is made."""
    for stop in ("CardFile.make", "OpeningLog"):

        def fail(*_: object, **__: object) -> None:
            raise KeystoreError("injected")

        with monkeypatch.context() as patched:
            patched.setattr(f"{module.__name__}.{stop}", fail)
            with pytest.raises(KeystoreError, match="injected"):
                world.contractor("new")
        with pytest.raises(KeystoreError, match="remove the home"):
            world.contractor("new")
        with pytest.raises(KeystoreError, match="remove the home"):
            world.reopen("new")
        shutil.rmtree(world.folder / "new")
    assert world.contractor("new").card()


def test_another_homes_card_is_not_shown_as_ours(world: World) -> None:
    """A card that was swapped on disk is refused before anyone enrols it."""
    me, thief = world.contractor("ada"), world.contractor("ben")
    (world.folder / "ada" / "card").write_bytes(thief.card())
    with pytest.raises(KeystoreError, match="not this identity's"):
        me.card()


def test_a_bad_tier_or_label_makes_no_home(world: World) -> None:
    """Bounds are checked before anything is written."""
    for tier, label in (("admin", "x"), ("helper", ""), ("helper", "x" * 81)):
        with pytest.raises(FormatError):
            Contractor.create(world.folder / "new", PASSPHRASE, tier=tier, label=label)
        assert not (world.folder / "new" / "identity.key").exists()


# Joining


def _invited(world: World, name: str = "ada") -> tuple[Contractor, bytes]:
    me = world.contractor(name)
    world.enrol(me, name)
    grant = world.project.grant(
        name,
        Scope(batches=["w1"]),
        expires_at=world.clock() + DAY,
        limits=Limits(max_open=1, max_total=9, per_hour=9, lease_ttl_s=600),
    )
    return me, world.lab.invite(grant.grant_id)


def test_joining_needs_the_fingerprint_once(world: World) -> None:
    """Without it, or with another client's, nothing is pinned; later invites of the same client need none."""
    me, invite = _invited(world)
    rival = world.create_client("rival")
    before = state_of(world.folder / "ada")
    for fingerprint in (None, rival.fingerprint, me.card_fingerprint, "not a fingerprint"):
        with pytest.raises(EnrolmentError):
            me.join(invite, fingerprint=fingerprint)
    assert me.joined is None
    assert state_of(world.folder / "ada") == before
    assert me.join(invite, fingerprint=world.lab.fingerprint).client == world.lab.client_id
    assert me.join(invite).grant.hash == me.join(invite, fingerprint=world.lab.fingerprint).grant.hash
    assert me.joined is not None
    assert (me.joined.tier, me.joined.presence, me.joined.vault) == ("helper", "device", world.vault)


def test_F4_an_identity_is_bound_to_one_client_for_ever(world: World) -> None:
    """Another client's invite is refused later, with and without that client's fingerprint, also after a restart."""
    me, joined = world.worker()
    rival = world.create_client("rival")
    rival.create_project("eval").seal(world.source)
    world.enrol(me, "ada", rival)
    project = rival.project("eval")
    grant = project.grant(
        "ada", Scope(batches=["w1"]), expires_at=world.clock() + DAY, limits=joined.grant.message.limits
    )
    before = state_of(world.folder / "ada")
    for each in (me, world.reopen("ada")):
        with pytest.raises(EnrolmentError, match="another client"):
            each.join(rival.invite(grant.grant_id), fingerprint=rival.fingerprint)
        with pytest.raises(SignatureError):
            each.join(rival.invite(grant.grant_id))
        with pytest.raises(EnrolmentError):
            each.join(rival.invite(grant.grant_id), fingerprint=world.lab.fingerprint)
    assert state_of(world.folder / "ada") == before


def test_an_invite_for_another_contractor_or_tier_is_refused(world: World) -> None:
    """Intercepted, it joins nobody else; and a desk's grant does not make a helper."""
    _, invite = _invited(world)
    thief = world.contractor("ben")
    with pytest.raises(EnrolmentError, match="another contractor"):
        thief.join(invite, fingerprint=world.lab.fingerprint)
    assert thief.joined is None


def test_F1_a_forged_or_flipped_invite_is_refused(world: World) -> None:
    """Resigned by someone else, or one bit off anywhere in a sample: nothing is pinned."""
    me, invite = _invited(world)
    before = state_of(world.folder / "ada")
    for at in range(0, len(invite), 41):
        bad = bytearray(invite)
        bad[at] ^= 4
        with pytest.raises((FormatError, SignatureError, EnrolmentError)):
            me.join(bytes(bad), fingerprint=world.lab.fingerprint)
    assert state_of(world.folder / "ada") == before
    assert me.joined is None


@pytest.mark.parametrize("part", ["certificate of another client", "grant of another client", "project", "vault only"])
def test_an_invite_of_parts_that_do_not_belong_together_is_refused(world: World, part: str) -> None:
    """Even the client's own signature joins only parts of one client, project and issuer."""
    from labelvault.contractor.membership import read_invite
    from labelvault.wire.messages import Invite

    me, joined = world.worker()
    rival = world.create_client("rival")
    message = joined.invite.message
    if part == "certificate of another client":
        message = replace(message, certificate=rival.certificate.data)
    elif part == "grant of another client":
        foreign = sign_message(joined.grant.message, rival.identity())
        message = replace(message, grant=foreign.data)
    elif part == "project":
        message = replace(message, project=bytes(16))
    else:
        message = replace(message, vault="sqlite:///elsewhere")
    signed = sign_message(message, world.lab.identity())
    assert isinstance(signed.message, Invite)
    if part == "vault only":
        assert read_invite(signed.data, world.lab.identity_key, me.public_key).vault == "sqlite:///elsewhere"
        return
    with pytest.raises((EnrolmentError, SignatureError)):
        me.join(signed.data)


def _certify(world: World, serial: int, **fields: Any) -> bytes:
    """Another certificate of the same issuer key."""
    message = replace(world.lab.certificate.message, serial=serial, **fields)
    return sign_message(message, world.lab.identity()).data


def test_R2_an_older_certificate_is_a_rollback(world: World) -> None:
    """Serials only rise: an invite with a lower one is refused by name, as is the same serial on other bytes."""
    me, joined = world.worker()

    def invite(certificate: bytes) -> bytes:
        return sign_message(replace(joined.invite.message, certificate=certificate), world.lab.identity()).data

    me.join(invite(_certify(world, 5)))
    before = state_of(world.folder / "ada")
    for each in (me, world.reopen("ada")):
        with pytest.raises(RollbackError):
            each.join(invite(_certify(world, 4)))
        with pytest.raises(RollbackError):
            each.join(joined.invite.data)
        with pytest.raises(SignatureError, match="one serial"):
            each.join(invite(_certify(world, 5, expires_at=world.clock() + DAY)))
    assert state_of(world.folder / "ada") == before
    assert me.joined is not None
    assert me.joined.certificate.message.serial == 5


def test_an_interrupted_join_is_completed_by_the_next_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped before any of its writes, it leaves a home that joins; nothing half-joined is listed."""
    me, invite = _invited(world)
    real = write_private
    for stop_at in (0, 1, 1):  # pin, certificate, and with the pin kept: the invite
        calls: list[Path] = []

        def write(path: Path, data: bytes, *, replace: bool, stop: int = stop_at, seen: list[Path] = calls) -> None:
            seen.append(path)
            if len(seen) > stop:
                raise KeystoreError("injected")
            real(path, data, replace=replace)

        with monkeypatch.context() as patched:
            patched.setattr(joining, "write_private", write)
            with pytest.raises(KeystoreError, match="injected"):
                me.join(invite, fingerprint=world.lab.fingerprint)
        assert me.joined is None
        with pytest.raises(GrantError, match="nothing was joined"):
            me.open_task(world.task(), exchange=world.issuer().handle)
    assert me.join(invite, fingerprint=world.lab.fingerprint).client == world.lab.client_id


# Opening and closing


def test_a_task_opens_with_what_it_requires_and_closes(world: World) -> None:
    """In process: content, names, labels; after the close nothing is handed out, and the ledger has the receipts."""
    me, _ = world.worker()
    issuer = world.issuer()
    with me.open_task(world.task(), exchange=issuer.handle) as task:
        assert TASK in task.text
        assert (task.name, task.kind, task.media_type, task.labels) == (
            "one",
            "task",
            "application/json",
            {"id": "one"},
        )
        assert {part.name: part.content for part in task.required} == {
            "how.md": GUIDELINE.encode(),
            "picture.png": PICTURE,
        }
        assert 0 < task.remaining_s() <= 3600
        assert me.openings()[0].state == "open"
    for read in (lambda: task.text, lambda: task.content, lambda: task.required, lambda: task.name):
        with pytest.raises(LeaseClosedError):
            read()
    task.close()
    issuer.answer()
    assert [(e.event, e.erased) for e in entries(world, ReceiptEntry)] == [("opened", None), ("closed", "best-effort")]
    (record,) = me.openings()
    assert (record.state, record.erased, record.lease_id) == ("closed", "best-effort", task.lease_id)
    assert me.post_due_receipts() == 0


def test_an_id_may_be_text_and_a_wrong_one_asks_nothing(world: World) -> None:
    """Hex digits work; other lengths are refused before anything is sent."""
    me, _ = world.worker()
    issuer = world.issuer()
    me.open_task(world.task().hex(), exchange=issuer.handle).close()

    def never(data: bytes) -> bytes | None:
        raise AssertionError("it was sent")

    for wrong in ("", "zz", world.task().hex()[:-2]):
        with pytest.raises(FormatError):
            me.open_task(wrong, exchange=never)
    with pytest.raises(LeaseError):
        me.open_task(b"short", exchange=never)
    with pytest.raises(GrantError, match="no grant of this id"):
        me.open_task(world.task(), grant_id=bytes(16), exchange=never)


def test_denials_come_as_errors_with_their_code(world: World) -> None:
    """Nothing is opened, and nothing is remembered as open."""
    me, _ = world.worker(scope=Scope(batches=["w1"]))
    issuer = world.issuer()
    for item, code in ((world.task("four"), "unknown"), (world.id_of("gold"), "unknown")):
        with pytest.raises(DeniedError) as denied:
            me.open_task(item, exchange=issuer.handle)
        assert denied.value.code == code
    world.lab.freeze("eval")
    with pytest.raises(DeniedError, match="frozen"):
        me.open_task(world.task(), exchange=issuer.handle)
    assert me.openings() == []


def test_closing_while_the_vault_is_away_keeps_the_receipt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task closes, the receipt waits, also over a restart; the next request says it first, so its slot is free."""
    me, _ = world.worker(limits=Limits(max_open=1, max_total=9, per_hour=9, lease_ttl_s=3600))
    with world.serving():
        task = me.open_task(world.task())

        def away(address: str, **_: object) -> None:
            raise RelayError("away")

        with monkeypatch.context() as patched:
            for relay in me._post._relays.values():
                relay.close()
            me._post._relays.clear()
            patched.setattr(post_module, "open_relay", away)
            task.close()
            assert me.post_due_receipts() == 1
            with pytest.raises(RelayError):
                me.open_task(world.task("two"))
        me.close()
        again = world.reopen("ada")
        assert [record.state for record in again.openings()] == ["closed"]
        with again.open_task(world.task("two")):
            pass
    world.issuer().answer()
    assert [e.event for e in entries(world, ReceiptEntry)] == ["opened", "closed"] * 2
    assert again.post_due_receipts() == 0


def test_a_receipt_whose_invite_is_gone_waits_and_blocks_no_other(world: World) -> None:
    """A home without the invite of an old lease still closes what is open under another project."""
    me, joined = world.worker()
    other = world.lab.create_project("other")
    other.seal(world.source)
    issuer = world.issuer()
    world.clock.advance(MS)
    newer = world.join(me, "ada", project=other)
    task = me.open_task(world.task(), grant_id=joined.grant.message.grant_id, exchange=issuer.handle)
    invite = world.folder / "ada" / "invites" / f"{joined.grant.message.grant_id.hex()}.invite"
    kept = invite.read_bytes()
    invite.unlink()
    task.close()
    me.open_task(world.task("one", other), exchange=issuer.handle).close()
    assert newer.grant.hash == me.memberships()[0].grant.hash
    assert me.post_due_receipts() == 1
    invite.write_bytes(kept)
    assert me.post_due_receipts() == 0


def test_a_lease_that_can_not_be_opened_is_given_back(world: World) -> None:
    """The vault lost an item: the error says so, and the slot is free again for the next task."""
    me, _ = world.worker(limits=Limits(max_open=1, max_total=9, per_hour=9, lease_ttl_s=3600))
    issuer = world.issuer()
    with closing(sqlite3.connect(world.folder / "vendor" / "vault.db")) as db:
        db.execute("PRAGMA foreign_keys=OFF")
        with db:
            db.execute("DELETE FROM items WHERE item = ?", (world.task(),))
    with pytest.raises(StoreError):
        me.open_task(world.task(), exchange=issuer.handle)
    assert [record.state for record in me.openings()] == ["closed"]
    issuer.answer()
    with me.open_task(world.task("two"), exchange=issuer.handle) as task:
        assert task.name == "two"


def test_C7_a_late_lease_that_nobody_waits_for_frees_its_slot(world: World) -> None:
    """Given up after the timeout, the request is answered later all the same: the receipt behind it ends that lease."""
    me, _ = world.worker(limits=Limits(max_open=1, max_total=9, per_hour=9, lease_ttl_s=3600))
    with pytest.raises(RequestTimeoutError):
        me.open_task(world.task(), timeout_s=0)
    with pytest.raises(RequestTimeoutError):
        me.begin(world.task(), timeout_s=0)
    report = world.issuer().answer()
    assert (report.released, report.receipts, report.denied) == (2, 2, {})
    assert [grant.open for grant in world.lab.grants()] == [0]
    with me.open_task(world.task("two"), exchange=world.issuer().handle) as task:
        assert task.name == "two"
    assert [(e.event, e.erased) for e in entries(world, ReceiptEntry)] == [("closed", "best-effort")] * 2


def test_an_error_right_after_opening_gives_the_lease_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at the wrong moment leaves no lease open and no task in hand."""
    me, _ = world.worker()

    def full(*_: object) -> None:
        raise StoreError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(me._log, "opened", full)
        with pytest.raises(StoreError, match="disk full"):
            me.open_task(world.task(), exchange=world.issuer().handle)
    assert [record.state for record in me.openings()] == ["closed"]


def test_a_new_epoch_is_followed_with_a_new_one_time_key(world: World) -> None:
    """The denial brings the certificate; the second request has the new epoch, and a key that no denial spent."""
    me, _ = world.worker()
    renewed = _certify(world, 2, epoch=b"n" * 16)
    client = world.lab.client_id
    with closing(Database(world.client_db, CLIENT_SCHEMA)) as db, db.transaction():
        db.execute("INSERT INTO certificates VALUES (2, ?)", renewed)
        log = Log(db, client, b"n" * 16)
        signer = world.lab.issuer_identity.signer
        log.append(Certified(world.clock(), signer.public_key, 2, frame_hash(renewed), log.epoch))
        log.sign(issuer_key_name(client), signer)
    issuer = world.issuer(world.open_client())
    asked: list[bytes] = []

    def handle(data: bytes) -> bytes | None:
        asked.append(data)
        return issuer.handle(data)

    with me.open_task(world.task(), exchange=handle) as task:
        assert task.name == "one"
    assert len(asked) == 2
    assert me.joined is not None
    assert me.joined.certificate.data == renewed
    asked.clear()
    me.open_task(world.task("two"), exchange=handle).close()
    assert len(asked) == 1


# Time


def test_R3_an_expired_grant_or_certificate_is_not_asked_with(world: World) -> None:
    """The contractor knows by itself; at equality it is over."""
    me, joined = world.worker(lasts=400 * DAY)

    def never(data: bytes) -> bytes | None:
        raise AssertionError("it was sent")

    start = world.clock()
    for at, kind in (
        (joined.expires_at, GrantExpiredError),
        (joined.certificate.message.expires_at, GrantExpiredError),
        (start + 3650 * DAY, GrantExpiredError),
        (start - timedelta(seconds=120) - MS, GrantNotYetValidError),
        (start - 30 * DAY, GrantNotYetValidError),
    ):
        world.clock.time = at
        with pytest.raises(kind):
            me.open_task(world.task(), exchange=never)
    world.clock.time = start
    me.open_task(world.task(), exchange=world.issuer().handle).close()


@pytest.mark.parametrize("restart", [False, True])
def test_R4_a_clock_set_back_behind_the_issuers_time_opens_nothing(world: World, restart: bool) -> None:
    """The high-water mark is the issuer's time, and survives a restart; within the tolerance it goes on."""
    me, _ = world.worker()
    issuer = world.issuer()
    high = world.clock.advance(MINUTE)
    me.open_task(world.task(), exchange=issuer.handle).close()
    if restart:
        me.close()
        me = world.reopen("ada")
    world.clock.time = high - timedelta(seconds=120) - MS
    before = dump(world.folder / "ada" / "state.db")
    with pytest.raises(ClockError):
        me.open_task(world.task("two"), exchange=issuer.handle)
    with pytest.raises(ClockError):
        me.begin(world.task("two"))
    assert dump(world.folder / "ada" / "state.db") == before
    world.clock.time = high
    me.open_task(world.task("two"), exchange=issuer.handle).close()


def test_R4_a_clock_far_ahead_poisons_nothing(world: World) -> None:
    """Ten years ahead opens nothing; set right again, everything works: only issuer times raise the mark."""
    me, _ = world.worker()
    start = world.clock()
    world.clock.advance(3650 * DAY)
    with pytest.raises(GrantExpiredError):
        me.open_task(world.task())
    world.clock.time = start
    me.open_task(world.task(), exchange=world.issuer().handle).close()


@pytest.mark.parametrize("back", [timedelta(minutes=4), DAY])
def test_R4_a_contractors_slow_clock_gets_no_lease_from_a_right_issuer(world: World, back: timedelta) -> None:
    """Its requests are stale, or its lease lies in the future: nothing opens either way."""
    me, joined = world.worker(lasts=10 * DAY)
    issuer = world.issuer()
    right = world.clock.advance(2 * DAY)

    def ask_then(data: bytes) -> bytes | None:
        slow = world.clock()
        world.clock.time = right
        try:
            return issuer.handle(data)
        finally:
            world.clock.time = slow

    world.clock.time = right - back
    assert joined.grant.message.not_before < world.clock()
    with pytest.raises((DeniedError, ClockError)):
        me.open_task(world.task(), exchange=ask_then)
    assert [record.state for record in me.openings()] in ([], ["closed"])


def test_R4_a_task_ends_with_its_lease_and_never_gains_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wall clock back: no gain. Ahead and back: what was lost stays lost. Elapsed time alone ends it too."""
    me, _ = world.worker()
    issuer = world.issuer()
    elapsed = [1000.0]
    monkeypatch.setattr(clock_module, "elapsed_s", lambda: elapsed[0])
    monkeypatch.setattr(module, "elapsed_s", lambda: elapsed[0])
    task = me.open_task(world.task(), exchange=issuer.handle)
    assert task.remaining_s() == 3600
    world.clock.advance(-30 * DAY)
    assert task.remaining_s() == 3600
    elapsed[0] += 600
    assert task.remaining_s() == 3000
    world.clock.advance(30 * DAY + timedelta(minutes=50))
    assert task.remaining_s() == 600
    world.clock.advance(-timedelta(minutes=50))
    assert task.remaining_s() == 600
    assert TASK in task.text
    elapsed[0] += 600
    assert task.remaining_s() == 0
    with pytest.raises(LeaseExpiredError):
        assert task.text
    with pytest.raises(LeaseClosedError):
        assert task.text
    issuer.answer()
    assert [e.event for e in entries(world, ReceiptEntry)] == ["opened", "closed"]


def test_R4_a_jump_past_the_end_closes_for_good(world: World) -> None:
    """Content is refused after expiry, at equality, and stays refused when the clock is set back."""
    me, _ = world.worker()
    task = me.open_task(world.task(), exchange=world.issuer().handle)
    world.clock.time = task.expires_at - MS
    assert TASK in task.text
    world.clock.time = task.expires_at
    with pytest.raises(LeaseExpiredError):
        assert task.content
    world.clock.advance(-MINUTE)
    with pytest.raises(LeaseClosedError):
        assert task.content
    assert me.openings()[0].state == "closed"


def test_R4_a_close_stands_whatever_the_clock_says(world: World) -> None:
    """A clock that was set back during the lease stops no close."""
    me, _ = world.worker()
    issuer = world.issuer()
    with me.open_task(world.task(), exchange=issuer.handle):
        world.clock.advance(-30 * DAY)
    assert me.openings()[0].state == "closed"
    world.clock.advance(30 * DAY)
    issuer.answer()
    assert [e.event for e in entries(world, ReceiptEntry)] == ["opened", "closed"]


# Nothing left


def _spy_secrets(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Record every one-time seed and DEK that this process comes to hold."""
    from labelvault.contractor import opening

    seen: list[bytes] = []

    def generate() -> OneTimeKey:
        seed = random_bytes(32)
        seen.append(seed)
        return OneTimeKey(SecretBytes(seed))

    real = open_item

    def opened(header: bytes, payload: bytes, dek: SecretBytes, **named: Any) -> object:
        seen.append(dek.reveal())
        return real(header, payload, dek, **named)

    monkeypatch.setattr(OneTimeKey, "generate", generate)
    monkeypatch.setattr(opening, "open_item", opened)
    return seen


def test_C6_no_secret_of_a_lease_ever_rests_on_the_device(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While open, after the close and after a failure: no DEK, one-time seed or plaintext in any file, -wal too."""
    me, _ = world.worker()
    issuer = world.issuer()
    secrets = _spy_secrets(monkeypatch)

    def check() -> None:
        held = bytes_of(world.folder / "ada")
        for secret in secrets:
            for form in (secret, secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret)[:40]):
                assert form not in held
        for text in (TASK.encode(), GUIDELINE.encode(), PICTURE, b"how.md", b"picture.png"):
            assert text not in held

    with me.open_task(world.task(), exchange=issuer.handle) as task:
        assert TASK in task.text
        check()
    check()
    with closing(sqlite3.connect(world.folder / "vendor" / "vault.db")) as db, db:
        db.execute("UPDATE items SET header = zeroblob(length(header)) WHERE item = ?", (world.id_of("attachment"),))
    with pytest.raises(LabelVaultError):
        me.open_task(world.task("two"), exchange=issuer.handle)
    check()
    assert len(secrets) >= 6
    assert (world.folder / "ada" / "state.db-wal").exists()


def test_G3_recorded_traffic_and_a_stolen_identity_open_nothing_closed(world: World) -> None:
    """With passphrase and home, the thief asks anew: the recorded lease stays shut, and the ledger has the release."""
    me, _ = world.worker()
    issuer, answers = world.issuer(), []

    def handle(data: bytes) -> bytes | None:
        answers.append((data, issuer.handle(data)))
        return answers[-1][1]

    me.open_task(world.task(), exchange=handle).close()
    issuer.answer()
    thief = world.reopen("ada")
    request, lease = answers[0]
    assert lease is not None
    with pytest.raises(RequestTimeoutError):
        thief.open_task(world.task(), exchange=lambda data: lease)
    before = len(entries(world, Released))
    with pytest.raises(RequestTimeoutError):
        thief.open_task(world.task(), exchange=lambda data: issuer.handle(request))
    assert len(entries(world, Released)) == before
    thief.open_task(world.task(), exchange=issuer.handle).close()
    assert len(entries(world, Released)) == before + 1


def test_R2_an_older_invite_does_not_replace_a_newer_one(world: World) -> None:
    """It would bring back the address of a vault that the client has left."""
    me, joined = world.worker()
    older = joined.invite.data
    world.clock.advance(timedelta(minutes=1))
    newer = world.lab.invite(joined.grant.message.grant_id)
    me.join(newer)
    with pytest.raises(RollbackError, match="newer invite"):
        me.join(older)
    assert me.memberships()[0].invite.data == newer
    me.join(newer)


def test_messages_that_the_issuer_did_not_sign_do_not_stay(world: World) -> None:
    """Whoever may post can't fill a contractor's mailbox for good: what is not the issuer's is acknowledged unread."""
    me, joined = world.worker()
    relay = world.relay()
    mailbox = contractor_mailbox(joined.client, me.public_key)
    thief = SigningKey.generate()
    for number in range(5):
        card = Card("helper", f"flood {number}", None, world.clock())
        relay.post(mailbox, sign_message(card, thief).data)
    relay.post(mailbox, b"junk")
    with world.serving():
        me.open_task(world.task(), timeout_s=60).close()
    # The issuer may have acked the receipts meanwhile, and those wait for the next look.
    assert {parse_frame(data).type for _, data in relay.fetch(mailbox)} <= {"ack"}


def test_an_answer_behind_other_messages_is_found_without_a_pause(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits and is not the answer, such as the ack of the last close, holds nothing up.

    It is taken with the first receipt, and the vault then has nothing to deliver that was read.
    """
    me, joined = world.worker()
    relay, pauses = world.relay(), list[float]()
    mailbox = contractor_mailbox(joined.client, me.public_key)
    monkeypatch.setattr(exchange, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append))
    relay.post(mailbox, b"junk")
    with world.serving(), me.open_task(world.task(), timeout_s=60):
        assert relay.fetch(mailbox) == []
    assert pauses == []


def test_an_opening_that_its_vault_heard_of_waits_for_nothing(world: World) -> None:
    """The receipt is at the vault before the opening is on record, so nothing is queued; without a vault, it is."""
    me, _ = world.worker()
    issuer = world.issuer()
    with me.open_task(world.task(), exchange=issuer.handle):
        assert me._log.receipts_due() == []
        assert [entry.state for entry in me.openings()] == ["open"]
    vault = Path(world.vault.removeprefix("sqlite:///"))
    away = vault.with_suffix(".away")
    me._post.close()
    vault.rename(away)
    with pytest.raises(RelayError):
        me.open_task(world.task("two"), exchange=issuer.handle)
    away.rename(vault)
    assert {entry.state for entry in me.openings()} == {"closed"}
    assert len(me._log.receipts_due()) == 1
    assert me.post_due_receipts() == 0
