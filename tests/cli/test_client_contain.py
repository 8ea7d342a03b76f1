"""`labelvault client contain`: the plan with counts, the run, the drill's finding, and what each ends with."""

import contextlib
import shutil
import sqlite3

import pytest

from labelvault.contractor import Contractor
from labelvault.contractor.opening import make_request
from labelvault.crypto.hpke import OneTimeKey
from tests.cli.conftest import PASSPHRASE
from tests.client.test_rekeying import dek
from tests.world import identity, lease_outer


class Stolen:
    """Desk 7 opened two tasks while a thief was there; he carried off vault and desk, with one task's key in memory."""

    def __init__(self, world):
        self.world = world
        world.admit("desk-7", tier="desk", max_open=5)
        self.start = self._now()
        with (
            world.library() as client,
            client.issuer() as issuer,
            Contractor.open(world.folder / "desk-7", PASSPHRASE) as me,
        ):
            (joined,) = me.memberships()
            for name in ("fa-1041", "fa-1042"):
                item, key = bytes.fromhex(world.tasks[name]), OneTimeKey.generate()
                lease_outer(issuer.handle(make_request(joined, identity(me), item, key.public_key, me.now()).data))
        self.loot = world.folder / "loot"
        for name in ("vendor", "desk-7"):
            shutil.copytree(world.folder / name, self.loot / name, symlinks=True)
        self.plant("fa-1041", 1)
        self.statement = world.folder / "vendor.statement"
        window = ("--from", self.start.isoformat(), "--to", "now")
        assert world.client("freeze", "ferry").code == 0
        assert world.client("exposure", "--surface", "vendor", *window, "-o", self.statement).code == 0
        assert world.client("unfreeze", "ferry").code == 0

    def _now(self):
        with self.world.library() as client:
            return client.now()

    def plant(self, name, version):
        """Put the key of an item's version among what was stolen, as a capture of memory would have it."""
        with self.world.library() as client:
            key = dek(client, bytes.fromhex(self.world.tasks[name]), version)[2]
        captures = self.loot / "desk-7" / "captures"
        captures.mkdir(exist_ok=True)
        (captures / f"{name}-{version}.mem").write_bytes(bytes(64) + key + bytes(64))

    def contain(self, *more, **options):
        """Run the command."""
        return self.world.client("contain", "--statement", self.statement, *more, **options)


@pytest.fixture
def stolen(world):
    return Stolen(world)


def test_the_plan_shows_each_step_with_counts_and_changes_nothing(stolen):
    """People see steps, identities and items; scripts get the same as JSON; nothing is frozen after it."""
    ran = stolen.contain("--dry-run")
    assert ran.code == 0
    for words in ("freeze", "revoke", "drop", "rekey", "reissue", "unfreeze", "desk-7", "tasks/week-14.jsonl#fa-1041"):
        assert words in ran.out
    assert "Nothing was changed." in ran.out
    facts = stolen.contain("--dry-run", "--json").json
    assert (facts["dry_run"], facts["is_done"]) == (True, False)
    assert facts["counts"]["revoke"] == {"to_do": 1, "done": 0}
    assert facts["counts"]["rekey"]["to_do"] == len(facts["rekey"][0]["items"]) >= 4
    with stolen.world.library() as client:
        assert not client.project("ferry").frozen
        assert not client.contractor("desk-7").revoked


def test_it_contains_and_drills_and_a_second_run_is_the_drill_alone(stolen, tmp_path):
    """What the thief has opens the old version of what it stated, and nothing new; then a successor is invited."""
    stolen.world.enrol("desk-8", tier="desk")
    allow = tmp_path / "allow.csv"
    allow.write_text("desk-7,desk-8\n")
    ran = stolen.contain("--allow-file", allow)
    assert ran.code == 0
    assert "The drill was not run: it needs copies of what was stolen." in ran.out.replace("\n", " ")
    assert "labelvault client invite" in ran.out
    assert "what was read stays read" in ran.out
    assert "Still frozen: ferry. When you are content: labelvault client unfreeze ferry" in ran.out.replace("\n", " ")
    ran = stolen.contain("--loot", stolen.loot, "--loot-passphrase-file", stolen.world.passphrase_file, "--unfreeze")
    assert ran.code == 0, ran
    assert "0 projects frozen, 0 revoked, 0 item versions sealed again" in ran.out.replace("\n", " ")
    assert "stated, and replaced" in ran.out
    left = stolen.world.folder / "client" / "drill-killed"
    (left / "vault.db.payloads").mkdir(parents=True)
    facts = stolen.contain("--loot", stolen.loot, "--json").json
    finding = facts["finding"]
    assert (facts["holds"], finding["holds"]) == (True, True)
    assert [(each["name"], each["version"], each["stated"], each["current"]) for each in finding["opened"]] == [
        ("fa-1041", 1, True, False)
    ]
    # Not vacuous: the renewed versions were among what he tried everything on.
    assert finding["renewed"] >= 4
    assert finding["payloads"] >= 13 + finding["renewed"]
    with stolen.world.library() as client:
        assert not client.project("ferry").frozen
        assert "desk-8" in [each.contractor for each in client.grants()]
    assert not list((stolen.world.folder / "client").glob("drill-*"))


def test_C9_a_renewed_version_that_opens_fails_and_nothing_is_thawed(stolen):
    """The key of a new version is planted among the loot: exit 9, in words and in JSON; the project stays frozen."""
    assert stolen.contain().code == 0
    stolen.plant("fa-1042", 2)
    ran = stolen.contain("--loot", stolen.loot, "--unfreeze")
    assert ran.code == 9
    assert "MORE than stated: 1 item version opened." in ran.out
    assert "NOT stated" in ran.out
    ran = stolen.contain("--loot", stolen.loot, "--unfreeze", "--json")
    assert (ran.code, ran.json["holds"], ran.json["thawed"]) == (9, False, [])
    with stolen.world.library() as client:
        assert client.project("ferry").frozen


def test_what_was_spared_still_opens_and_is_told_apart(stolen):
    """With --only-needed an answered task and its picture stay as they are: the stolen key opens what is current."""
    with stolen.world.library() as client:
        lease, project = client.database.rows(
            "SELECT l.lease_id, g.project FROM leases l JOIN grants g ON g.hash = l.grant_hash WHERE l.item = ?",
            bytes.fromhex(stolen.world.tasks["fa-1041"]),
        )[0]
        with client.database.transaction():
            client.database.execute(
                "INSERT INTO submissions VALUES (?, ?, ?, 1, ?, 'accepted', 0, x'', NULL, NULL)",
                bytes(32),
                project,
                lease,
                client.contractor("desk-7").key,
            )
    ran = stolen.contain("--only-needed", "--loot", stolen.loot)
    assert ran.code == 0, ran
    assert "Opened 1 of 6 stated versions, and none of the 4" in ran.out.replace("\n", " ")
    assert "stated, and still current" in ran.out


def test_a_vault_that_is_away_is_said_and_ends_with_6(stolen):
    """What was done stands and is told; what is left is said to be done by the same command."""
    (stolen.world.folder / "vendor").rename(stolen.world.folder / "away")
    ran = stolen.contain("--unfreeze")
    assert ran.code == 6
    assert "1 project frozen, 1 revoked" in ran.out
    err = ran.err.replace("\n", " ")
    assert "rekey, ferry:" in err
    assert "the vault did not take the news of what is revoked; run this again" in err
    assert "not all was done, so nothing was thawed" in err
    (stolen.world.folder / "away").rename(stolen.world.folder / "vendor")
    ran = stolen.contain("--unfreeze", "--json")
    assert (ran.code, ran.json["left"]["is_done"], ran.json["thawed"]) == (0, True, ["ferry"])


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--allow", "desk-7", "desk-7"), 3, "lay on this surface"),
        (("--allow", "desk-7", "nobody"), 5, "is enrolled"),
        (("--loot-passphrase-file", "PASSPHRASE"), 2, "--loot"),
        (("--allow-file", "PASSPHRASE"), 7, "OLD,NEW"),
    ],
)
def test_wrong_orders_are_refused_before_anything_is_done(stolen, words, code, says):
    """By name, and nothing is frozen, revoked or sealed."""
    words = [stolen.world.passphrase_file if word == "PASSPHRASE" else word for word in words]
    ran = stolen.contain(*words)
    assert ran.code == code
    assert says in ran.err
    with stolen.world.library() as client:
        assert not client.project("ferry").frozen
        assert not client.contractor("desk-7").revoked


def test_loot_that_can_not_be_read_is_told_after_all_else_was_done(stolen):
    """A stolen vault that lacks a payload's file could hide anything: the drill refuses it, the containment stays."""
    with contextlib.closing(sqlite3.connect(stolen.loot / "vendor" / "vault.db")) as vault, vault:
        vault.execute("DELETE FROM pieces WHERE number = (SELECT min(number) FROM pieces)")
    ran = stolen.contain("--loot", stolen.loot)
    assert ran.code == 7
    assert "is not among what was stolen" in ran.err
    with stolen.world.library() as client:
        assert client.contractor("desk-7").revoked
        assert client.project("ferry").frozen
    assert not list((stolen.world.folder / "client").glob("drill-*"))
