"""The client's facade: its home, contractors, grants, invites, revocation, and the ledger as a whole."""

import shutil
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from labelvault.client import Client, Limits, PassphraseRoot, Scope
from labelvault.client import home as home_module
from labelvault.crypto.sign import SigningKey
from labelvault.errors import (
    ClockError,
    EnrolmentError,
    ForkError,
    FormatError,
    GrantError,
    GrantRevokedError,
    GrantScopeError,
    KeystoreDamagedError,
    KeystoreError,
    KeystoreForeignError,
    KeystorePassphraseError,
    LabelVaultError,
    LedgerError,
    ProjectError,
    RelayError,
    SignatureError,
    StoreError,
)
from labelvault.ledger.entries import Certified, Enrolled, Frozen, Granted, Revoked
from labelvault.ledger.export import verify_export
from labelvault.wire.frame import open_frame, parse_frame, sign_message
from labelvault.wire.messages import Card, Grant, Invite
from tests.world import CHEAP, DAY, LIMITS, MS, PASSPHRASE, World, dump, entries, identity, state_of

# The home


def test_a_home_is_private_and_opens_with_its_passphrase(world: World) -> None:
    """0700 and 0600 throughout; opened anew it is the same client, with the same projects."""
    for path in (world.home, *world.home.rglob("*")):
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path
    again = world.open_client()
    assert again.client_id == world.lab.client_id
    assert again.fingerprint == world.lab.fingerprint
    assert [project.name for project in again.projects()] == ["eval"]
    assert again.vault == world.vault


def test_a_home_is_made_once(world: World) -> None:
    """A second `create` changes nothing; so does one with an unusable address."""
    before = state_of(world.home)
    with pytest.raises(KeystoreError, match="already"):
        world.create_client("client")
    assert state_of(world.home) == before
    for vault in ("", "x" * 1001):
        with pytest.raises(EnrolmentError):
            Client.create(world.folder / "new", PassphraseRoot(PASSPHRASE, parameters=CHEAP), vault)
        assert not (world.folder / "new").exists()


def test_a_wrong_passphrase_and_damaged_files_are_told_apart(world: World) -> None:
    """Each has its own error; nothing is changed by trying."""
    root = PassphraseRoot(PASSPHRASE, parameters=CHEAP)
    with pytest.raises(KeystorePassphraseError):
        Client.open(world.home, PassphraseRoot("wrong", parameters=CHEAP))
    with pytest.raises(KeystoreError, match="holds no client"):
        Client.open(world.folder / "nobody", root)
    assert not (world.folder / "nobody").exists()
    for name, damage, kind in (
        ("root.keystore", lambda data: data[:-1], KeystoreDamagedError),
        ("root.keystore", lambda data: b"something else", KeystoreForeignError),
        ("issuer.key", lambda data: data[:-1], KeystoreError),
        ("issuer.key", lambda data: (world.home / "identity.key").read_bytes(), KeystoreError),
        ("config.json", lambda data: b"{}", KeystoreError),
        ("config.json", lambda data: b"{", KeystoreError),
        ("config.json", lambda data: b"[" * 8000, KeystoreError),
        ("config.json", lambda data: b'{"vault": 3}', KeystoreError),
        ("client.db", lambda data: b"not a database" * 100, StoreError),
        ("client.db", lambda data: b"", StoreError),
    ):
        copy = world.folder / "copy"
        world.lab.close()
        shutil.copytree(world.home, copy)
        for side in copy.glob("client.db-*"):
            side.unlink()
        (copy / name).write_bytes(damage((copy / name).read_bytes()))
        with pytest.raises(kind):
            Client.open(copy, root)
        shutil.rmtree(copy)


def test_another_homes_files_are_foreign(world: World) -> None:
    """Keys of another client do not open here, though the passphrase is the same."""
    world.create_client("rival")
    rival = world.folder / "rival"
    for name in ("root.keystore", "issuer.key", "client.db"):
        copy = world.folder / "copy"
        world.lab.close()
        shutil.copytree(world.home, copy)
        for side in copy.glob("client.db-*"):
            side.unlink()
        with closing(sqlite3.connect(rival / "client.db")) as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        shutil.copy(rival / name, copy / name)
        with pytest.raises((KeystoreError, SignatureError, StoreError)):
            Client.open(copy, PassphraseRoot(PASSPHRASE, parameters=CHEAP))
        shutil.rmtree(copy)


@pytest.mark.parametrize("step", ["store_signing_key", "write_private", "_create_database", "Log"])
def test_an_interrupted_making_is_told_and_made_anew(world: World, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped at any step, the home opens as nothing, says what to do, and is made once it is removed."""

    def fail(*_: Any, **__: Any) -> None:
        raise StoreError("injected")

    with monkeypatch.context() as patched:
        patched.setattr(home_module, step, fail)
        with pytest.raises(StoreError, match="injected"):
            world.create_client("new")
    with pytest.raises(LabelVaultError):
        world.open_client("new")
    with pytest.raises(KeystoreError):
        world.create_client("new")
    shutil.rmtree(world.folder / "new")
    assert world.create_client("new").verify_ledger().size == 1


def test_the_identity_key_may_stay_offline(world: World) -> None:
    """Without `identity.key` the issuer works, and what needs the key says that it is missing."""
    me, _ = world.worker()
    (world.home / "identity.key").rename(world.folder / "offline")
    lab = world.open_client()
    with me.open_task(world.task(), exchange=world.issuer(lab).handle) as task:
        assert task.name == "one"
    with pytest.raises(KeystoreError):
        lab.project("eval").grant("ada", Scope(batches=["w1"]), expires_at=world.clock() + DAY, limits=LIMITS)
    (world.folder / "offline").rename(world.home / "identity.key")
    rival = world.create_client("rival")
    rival.close()
    shutil.copy(world.folder / "rival" / "identity.key", world.home / "identity.key")
    with pytest.raises(KeystoreError):
        lab.identity()


def test_an_unknown_vault_is_said(world: World) -> None:
    """The address is only used when it is needed, and never creates a vault."""
    lab = Client.create(
        world.folder / "lost", PassphraseRoot(PASSPHRASE, parameters=CHEAP), f"sqlite:///{world.folder}/none.db"
    )
    with pytest.raises(RelayError):
        lab.relay()
    assert not (world.folder / "none.db").exists()
    lab.close()


# Projects


@pytest.mark.parametrize(
    ("name", "floor"), [("", 256), ("  ", 256), ("x" * 201, 256), ("eval", 256), ("new", 255), ("new", 2**20 + 1)]
)
def test_bad_projects_are_refused(world: World, name: str, floor: int) -> None:
    """Empty, too long or taken names, and floors out of bounds: no KEK is made for them."""
    before = state_of(world.home)
    with pytest.raises(ProjectError):
        world.lab.create_project(name, floor_bytes=floor)
    assert state_of(world.home) == before


def test_unknown_names_are_refused(world: World) -> None:
    """Projects, contractors and grants that do not exist, and a kind that is none."""
    with pytest.raises(ProjectError):
        world.lab.project("nothing")
    with pytest.raises(ProjectError):
        world.lab.freeze("nothing")
    with pytest.raises(EnrolmentError):
        world.lab.contractor("nobody")
    with pytest.raises(EnrolmentError):
        world.lab.revoke_contractor("nobody")
    for act in (world.lab.revoke_grant, world.lab.invite):
        with pytest.raises(GrantError):
            act(bytes(16))
    with pytest.raises(FormatError):
        world.project.items("secret")


# Enrolment


def test_F8_enrolment_needs_the_cards_own_fingerprint(world: World) -> None:
    """Another card's, a client's, none, or a card that was changed on its way: refused, nothing recorded."""
    me, thief = world.contractor("ada"), world.contractor("ben")
    before = dump(world.client_db)
    for card, fingerprint in (
        (thief.card(), me.card_fingerprint),
        (me.card(), thief.card_fingerprint),
        (me.card(), world.lab.fingerprint),
        (me.card(), ""),
        (me.card()[:-1] + bytes([me.card()[-1] ^ 1]), me.card_fingerprint),
    ):
        with pytest.raises(EnrolmentError):
            world.lab.enroll(card, fingerprint=fingerprint, name="ada")
    for name in ("", "x" * 201):
        with pytest.raises(EnrolmentError):
            world.lab.enroll(me.card(), fingerprint=me.card_fingerprint, name=name)
    assert dump(world.client_db) == before
    record = world.lab.enroll(me.card(), fingerprint=me.card_fingerprint, name="ada")
    assert (record.key, record.tier, record.has_presence, record.revoked) == (me.public_key, "helper", False, False)
    (entry,) = [e for e in world.lab.ledger_entries() if isinstance(e, Enrolled)]
    assert (entry.contractor, entry.tier) == (me.public_key, "helper")


def test_a_name_and_a_key_are_enrolled_once(world: World) -> None:
    """The same card under another name, and another card under the same name, are refused."""
    me, other = world.contractor("ada"), world.contractor("ben")
    world.enrol(me, "ada")
    before = dump(world.client_db)
    with pytest.raises(EnrolmentError, match="already"):
        world.enrol(me, "ada again")
    with pytest.raises(EnrolmentError, match="already"):
        world.enrol(other, "ada")
    assert dump(world.client_db) == before


@pytest.mark.parametrize("fault", ["unsigned by device", "signed by another device", "own key as device", "helper's"])
def test_a_desks_card_is_signed_by_its_presence_device(world: World, fault: str) -> None:
    """A right fingerprint does not help a card whose keys did not both sign it."""
    from labelvault.keys.cards import card_fingerprint
    from labelvault.wire.frame import cosign

    desk, device, stranger = SigningKey.generate(), SigningKey.generate(), SigningKey.generate()
    card = Card("desk", "a host", device.public_key, world.clock())
    if fault == "unsigned by device":
        data = sign_message(card, desk).data
    elif fault == "signed by another device":
        data = sign_message(card, desk, cosign(card, desk.public_key, stranger)).data
    elif fault == "own key as device":
        card = replace(card, presence_key=desk.public_key)
        data = sign_message(card, desk, cosign(card, desk.public_key, desk)).data
    else:
        card = Card("helper", "a device", None, world.clock())
        data = sign_message(card, desk, cosign(card, desk.public_key, device)).data
    with pytest.raises(SignatureError):
        world.lab.enroll(data, fingerprint=card_fingerprint(data), name="desk")
    good = Card("desk", "a host", device.public_key, world.clock())
    data = sign_message(good, desk, cosign(good, desk.public_key, device)).data
    assert world.lab.enroll(data, fingerprint=card_fingerprint(data), name="desk").has_presence


# Grants


def test_a_grant_says_what_was_asked_for(world: World) -> None:
    """Scope in ids, limits, times, tier and presence; signed by the identity key, in the ledger and in the list."""
    me = world.contractor("ada")
    world.enrol(me, "ada")
    end = world.clock() + DAY
    scope = Scope(batches=["w1"], items=["four", world.task("five").hex()])
    record = world.project.grant("ada", scope, expires_at=end, limits=LIMITS, not_before=world.clock() + MS)
    invite = open_frame(world.lab.invite(record.grant_id), Invite, world.lab.identity_key).message
    grant = open_frame(invite.grant, Grant, world.lab.identity_key).message
    assert grant.scope.items == tuple(sorted([world.task("four"), world.task("five")]))
    assert len(grant.scope.batches) == 1
    assert (grant.limits, grant.expires_at, grant.not_before) == (LIMITS, end, world.clock() + MS)
    assert (grant.tier, grant.presence, grant.contractor) == ("helper", "device", me.public_key)
    assert invite.vault == world.vault
    assert world.lab.grants("eval") == world.lab.grants() == [record]
    assert world.lab.grants("other") == []
    assert (record.contractor, record.open, record.total, record.revoked) == ("ada", 0, 0, False)
    assert [e.grant_id for e in world.lab.ledger_entries() if isinstance(e, Granted)] == [record.grant_id]


@pytest.mark.parametrize(
    ("scope", "limits", "lasts", "waive", "error"),
    [
        (Scope(), LIMITS, DAY, False, GrantScopeError),
        (Scope(batches=["nothing"]), LIMITS, DAY, False, GrantScopeError),
        (Scope(batches=["gold"]), LIMITS, DAY, False, GrantScopeError),
        (Scope(items=["answers.jsonl"]), LIMITS, DAY, False, GrantScopeError),
        (Scope(items=["how.md"]), LIMITS, DAY, False, GrantScopeError),
        (Scope(items=["00" * 16]), LIMITS, DAY, False, GrantScopeError),
        (Scope(items=["w*"]), LIMITS, DAY, False, GrantScopeError),
        (Scope(batches=["w1"]), LIMITS, timedelta(0), False, GrantError),
        (Scope(batches=["w1"]), LIMITS, -DAY, False, GrantError),
        (Scope(batches=["w1"]), LIMITS, DAY, True, GrantError),
        (Scope(batches=["w1"]), replace(LIMITS, max_open=0), DAY, False, FormatError),
        (Scope(batches=["w1"]), replace(LIMITS, max_total=0), DAY, False, FormatError),
        (Scope(batches=["w1"]), replace(LIMITS, per_hour=0), DAY, False, FormatError),
        (Scope(batches=["w1"]), replace(LIMITS, lease_ttl_s=0), DAY, False, FormatError),
        (Scope(batches=["w1"]), replace(LIMITS, lease_ttl_s=7 * 86400 + 1), DAY, False, FormatError),
    ],
    ids=str,
)
def test_what_can_not_be_granted_is_refused(
    world: World, scope: Scope, limits: Limits, lasts: timedelta, waive: bool, error: type[Exception]
) -> None:
    """Nothing named, gold, guidelines, patterns, no time, no limit: refused, nothing recorded."""
    me = world.contractor("ada")
    world.enrol(me, "ada")
    before = dump(world.client_db)
    with pytest.raises(error):
        world.project.grant("ada", scope, expires_at=world.clock() + lasts, limits=limits, waive_presence=waive)
    assert dump(world.client_db) == before


def test_a_naive_time_is_refused(world: World) -> None:
    """An end without a time zone is no end."""
    world.enrol(world.contractor("ada"), "ada")
    with pytest.raises(FormatError):
        world.project.grant(
            "ada", Scope(batches=["w1"]), expires_at=(world.clock() + DAY).replace(tzinfo=None), limits=LIMITS
        )


def test_another_projects_names_and_ids_can_not_be_granted(world: World) -> None:
    """Names are looked up in this project, and an id must belong to it."""
    world.enrol(world.contractor("ada"), "ada")
    other = world.lab.create_project("other")
    for scope in (Scope(batches=["w1"]), Scope(items=["one"]), Scope(items=[world.task().hex()])):
        with pytest.raises(GrantScopeError):
            other.grant("ada", scope, expires_at=world.clock() + DAY, limits=LIMITS)


def test_an_ambiguous_name_is_not_guessed(world: World) -> None:
    """Two tasks of one name: the id decides."""
    from tests.world import rows, write_file

    write_file(world.source, "tasks/w3.jsonl", rows("one"))
    world.project.seal(world.source)
    world.enrol(world.contractor("ada"), "ada")
    with pytest.raises(GrantScopeError, match="2 tasks"):
        world.project.grant("ada", Scope(items=["one"]), expires_at=world.clock() + DAY, limits=LIMITS)


def test_a_desks_grant_names_its_device_or_says_waived(world: World) -> None:
    """Never absent: a desk without a device needs the waiver in so many words."""
    device = SigningKey.generate()
    world.enrol(world.contractor("with", tier="desk", presence=device), "with")
    world.enrol(world.contractor("without", tier="desk"), "without")
    end = world.clock() + DAY
    with pytest.raises(GrantError, match="presence"):
        world.project.grant("without", Scope(batches=["w1"]), expires_at=end, limits=LIMITS)
    for name, waive, presence, key in (
        ("with", False, "key", device.public_key),
        ("with", True, "waived", None),
        ("without", True, "waived", None),
    ):
        record = world.project.grant(name, Scope(batches=["w1"]), expires_at=end, limits=LIMITS, waive_presence=waive)
        invite = open_frame(world.lab.invite(record.grant_id), Invite, world.lab.identity_key).message
        grant = open_frame(invite.grant, Grant, world.lab.identity_key).message
        assert (grant.presence, grant.presence_key, record.presence) == (presence, key, presence)


def test_a_desk_is_revoked_and_a_person_of_that_name_left_alone(world: World) -> None:
    """A name that is not a desk's is refused, and nothing recorded."""
    world.desk("desk 7")
    me = world.contractor("ada")
    world.enrol(me, "ada")
    before = len(entries(world, Revoked))
    with pytest.raises(EnrolmentError, match="no desk"):
        world.lab.revoke_desk("ada")
    assert (len(entries(world, Revoked)), world.lab.contractor("ada").revoked) == (before, False)
    world.lab.revoke_desk("desk 7")
    assert world.lab.contractor("desk 7").revoked
    assert [grant.revoked for grant in world.lab.grants()] == [True]


def test_the_revoked_are_granted_nothing(world: World) -> None:
    """A revoked contractor stays revoked, also through a record that was kept from before."""
    me, joined = world.worker()
    kept = world.lab.contractor("ada")
    world.lab.revoke_contractor("ada")
    assert world.lab.contractor("ada").revoked
    assert [grant.revoked for grant in world.lab.grants()] == [True]
    for contractor in ("ada", kept):
        with pytest.raises(GrantRevokedError):
            world.project.grant(contractor, Scope(batches=["w1"]), expires_at=world.clock() + DAY, limits=LIMITS)
    assert [(e.kind, e.id) for e in world.lab.ledger_entries() if isinstance(e, Revoked)] == [
        ("contractor", me.public_key)
    ]
    assert joined.grant.message.contractor == me.public_key


def test_a_revoked_project_is_neither_granted_nor_said_to_open_again(world: World) -> None:
    """Nor do its grants look alive; nothing that was refused leaves a trace. It can still be frozen."""
    world.worker()
    world.lab.freeze("eval")
    world.lab.revoke_project("eval")
    assert [grant.revoked for grant in world.lab.grants()] == [True]
    before = dump(world.client_db)
    with pytest.raises(GrantRevokedError):
        world.lab.unfreeze("eval")
    with pytest.raises(GrantRevokedError):
        world.project.grant("ada", Scope(batches=["w1"]), expires_at=world.clock() + DAY, limits=LIMITS)
    assert dump(world.client_db) == before
    world.lab.freeze("eval")
    assert world.project.frozen


def test_freezing_is_recorded_and_undone(world: World) -> None:
    """Both directions stand in the ledger."""
    world.lab.freeze("eval")
    assert world.project.frozen
    world.lab.unfreeze("eval")
    assert not world.project.frozen
    assert [e.frozen for e in world.lab.ledger_entries() if isinstance(e, Frozen)] == [True, False]


def test_R4_the_clients_clock_never_runs_backwards(world: World) -> None:
    """Behind what was acted at already, nothing is granted or revoked, and nothing recorded."""
    me, joined = world.worker()
    world.clock.advance(-timedelta(minutes=10))
    before = dump(world.client_db)
    for act in (
        lambda: world.join(me, "ada"),
        lambda: world.lab.revoke_grant(joined.grant.message.grant_id),
        lambda: world.lab.freeze("eval"),
        lambda: world.project.seal(world.source),
    ):
        with pytest.raises(ClockError):
            act()
    assert dump(world.client_db) == before


# The ledger


def test_the_ledger_begins_with_its_certificate_and_verifies(world: World) -> None:
    """Origin, size and key are what an auditor needs; the export verifies with them alone."""
    first = world.lab.ledger_entries()[0]
    assert isinstance(first, Certified)
    assert first.certificate == world.lab.certificate.hash
    summary = world.lab.verify_ledger()
    assert summary.size == len(world.lab.ledger_entries())
    verified = verify_export(
        world.lab.export_ledger(),
        origin=summary.origin,
        name=summary.verifier_key.split("+")[0],
        public_key=world.lab.certificate.message.issuer,
    )
    assert list(verified.entries) == world.lab.ledger_entries()


def test_L2_an_older_checkpoint_is_continued(world: World) -> None:
    """A note kept from before holds against the grown ledger; another ledger's does not."""
    older = world.lab.verify_ledger().checkpoint
    world.worker()
    assert world.lab.verify_ledger(older).size > 0
    rival = world.create_client("rival")
    with pytest.raises(LedgerError):
        world.lab.verify_ledger(rival.verify_ledger().checkpoint)


@pytest.mark.parametrize(
    "damage", ["drop last", "drop middle", "alter", "swap", "add", "old checkpoint", "no checkpoint"]
)
def test_L2_a_damaged_ledger_is_noticed(world: World, damage: str) -> None:
    """Entries dropped, altered, swapped or added, and a checkpoint that is old or gone."""
    older = world.lab.verify_ledger().checkpoint
    world.worker()
    world.lab.verify_ledger(older)
    with closing(sqlite3.connect(world.client_db)) as db, db:
        size = db.execute("SELECT count(*) FROM ledger_entries").fetchone()[0]
        if damage == "drop last":
            db.execute("DELETE FROM ledger_entries WHERE number = ?", (size - 1,))
        elif damage == "drop middle":
            db.execute("DELETE FROM ledger_entries WHERE number = 3")
        elif damage == "alter":
            entry = db.execute("SELECT entry FROM ledger_entries WHERE number = 3").fetchone()[0]
            db.execute("UPDATE ledger_entries SET entry = ? WHERE number = 3", (entry[:-1] + b"x",))
        elif damage == "swap":
            db.execute("UPDATE ledger_entries SET number = -1 WHERE number = 3")
            db.execute("UPDATE ledger_entries SET number = 3 WHERE number = 4")
            db.execute("UPDATE ledger_entries SET number = 4 WHERE number = -1")
        elif damage == "add":
            third = "SELECT epoch, ?, entry FROM ledger_entries WHERE number = 3"
            db.execute(f"INSERT INTO ledger_entries {third}", (size,))
        elif damage == "old checkpoint":
            db.execute("UPDATE ledger_checkpoints SET note = ?", (older,))
        else:
            db.execute("DELETE FROM ledger_checkpoints")
    with pytest.raises((LedgerError, FormatError)):
        world.lab.verify_ledger()
    with pytest.raises((LedgerError, FormatError)):
        world.lab.export_ledger()


def test_L2_a_rolled_back_database_is_noticed_by_whoever_kept_a_note(world: World) -> None:
    """R2: a whole older `client.db`, which holds together by itself, does not continue the newer note."""
    world.lab.close()
    kept = world.folder / "kept.db"
    with closing(sqlite3.connect(world.client_db)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(world.client_db, kept)
    world.lab = world.open_client()
    world.project = world.lab.project("eval")
    world.worker()
    newer = world.lab.verify_ledger().checkpoint
    world.lab.close()
    for path in world.home.glob("client.db*"):
        path.unlink()
    shutil.copy(kept, world.client_db)
    back = world.open_client()
    back.verify_ledger()
    with pytest.raises(ForkError) as caught:
        back.verify_ledger(newer)
    assert newer in (caught.value.older, caught.value.newer)


def test_stated_names_what_lies_open(world: World) -> None:
    """From the ledger alone: by contractor, and for the vendor's host nothing while no desk is open."""
    me, _ = world.worker()
    issuer = world.issuer()
    start = world.clock()
    with me.open_task(world.task(), exchange=issuer.handle):
        issuer.answer()
        stated = world.lab.stated(["ada"], start, world.clock())
        assert {item.name for item in stated} == {"one", "how.md", "picture.png"}
        assert {item.contractor for item in stated} == {"ada"}
        assert world.lab.stated(None, start, world.clock()) == []
    with pytest.raises(EnrolmentError):
        world.lab.stated(["nobody"], start, start)


def test_an_invite_is_for_its_contractor_alone(world: World) -> None:
    """It holds the grant, the certificate and the address, all under the identity key's signature."""
    me, joined = world.worker()
    data = world.lab.invite(joined.grant.message.grant_id)
    assert parse_frame(data).signer == world.lab.identity_key
    assert identity(me).public_key == joined.grant.message.contractor


def test_folders_are_taken_as_text_too(world: World) -> None:
    """`create` and `seal` take what `Path` takes."""
    lab = Client.create(str(world.folder / "text"), PassphraseRoot(PASSPHRASE, parameters=CHEAP), world.vault)  # type: ignore[arg-type]
    assert lab.create_project("p").seal(str(world.source)).new == 9  # type: ignore[arg-type]
    lab.close()
    assert isinstance(world.source, Path)
