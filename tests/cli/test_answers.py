"""The way back on the command line: submit, sync, collect, and what the vendor sees of it."""

import csv
import io
import json

import pytest

from labelvault.cli import exits
from labelvault.vendor import Vault


def vendor(world, *words):
    """Run a vendor's command."""
    return world._cli("vendor", *words, "--vault", world.vault)


@pytest.fixture
def lease(world, issuer):
    """A task that was opened and closed."""
    world.admit()
    opened = world.contractor("open", world.tasks["fa-1041"], "--to", world.folder / "task", "--json").json
    assert world.contractor("close", opened["lease"]).code == exits.OK
    return opened["lease"]


def test_an_answer_goes_all_the_way(world, lease):
    """From a file and from stdin, to two lines at the client; the vendor sees acks and no word."""
    file = world.folder / "answer.json"
    file.write_text('{"label": "answer-canary"}')
    facts = world.contractor("submit", lease[:8], file, "--json").json
    assert (facts["sequence"], facts["state"], facts["presence"]) == (1, "sent", "device")
    ran = world.contractor("submit", lease, "-", stdin="in words")
    assert ran.out == f"Submitted: answer 2 of {lease[:16]}.\n"
    to = world.folder / "answers"
    facts = world.client("collect", "ferry", "--to", to, "--json").json
    assert (facts["answers"], facts["aside"], facts["files"]) == (2, 0, [str(to / "answers-0001.jsonl")])
    lines = [json.loads(line) for line in (to / "answers-0001.jsonl").read_text().splitlines()]
    assert {line["sequence"]: line["answer"] for line in lines} == {1: {"label": "answer-canary"}, 2: "in words"}
    assert {line["name"] for line in lines} == {"fa-1041"}
    assert world.client("collect", "ferry", "--to", to).out == "Nothing new.\n"
    assert "accepted" in world.contractor("sync").out
    found = world.contractor("list", "--json").json["submissions"]
    assert [each["state"] for each in found] == ["accepted", "accepted"]
    acks = vendor(world, "acks", "--json").json["acks"]
    assert sorted(each["event"] for each in acks) == ["answer", "answer", "closed", "submitted"]
    rows = list(csv.DictReader(io.StringIO(vendor(world, "acks", "--csv").out)))
    assert [row["of"] for row in rows] == [each["of"] for each in acks]
    receipts = vendor(world, "receipts", "--json").json["receipts"]
    assert [each["event"] for each in receipts] == ["opened", "closed", "submitted"]
    assert vendor(world, "receipts", "--after", receipts[-1]["number"], "--json").json["receipts"] == []
    assert b"canary" not in (world.folder / "vendor" / "vault.db").read_bytes()


def test_what_was_refused_is_listed_aside(world, lease):
    """After a revocation the answer is kept aside, and each side is told why."""
    assert world.client("revoke", "contractor", "ada").code == exits.OK
    assert world.contractor("submit", lease, "-", stdin="late").code == exits.OK
    to = world.folder / "answers"
    assert world.client("collect", "ferry", "--to", to, "--json").json["answers"] == 0
    (aside,) = world.client("collect", "ferry", "--aside", "--json").json["aside"]
    assert (aside["reason"], aside["contractor"], aside["lease"]) == ("revoked", "ada", lease)
    assert "revoked" in world.client("collect", "ferry", "--aside").out
    assert "revoked" in world.contractor("sync").out


def test_stuck_tasks_are_found(world):
    """Claimed and not done; a task that nobody claimed is not stuck."""
    queue = vendor(world, "ls", "--json").json["queues"][0]["queue"]
    with Vault.open(world.vault) as vault:
        claim = vault.claim(queue, "ada", ttl_s=900)
    assert claim is not None
    found = vendor(world, "tasks", "--json").json["tasks"]
    assert len(found) == len(world.tasks)
    assert [each["item"] for each in found if each["state"] == "claimed"] == [claim.item.hex()]
    assert vendor(world, "tasks", "--stuck", "2h", "--json").json["tasks"] == []
    assert "claimed" in vendor(world, "tasks").out


@pytest.mark.parametrize(
    "words",
    [
        ("collect", "ferry"),
        ("collect", "ferry", "--aside", "--to", "x"),
        ("collect", "ferry", "--aside", "--again", "1"),
    ],
)
def test_collect_is_told_what_to_do(world, words):
    """Either a folder or --aside; nothing is made otherwise."""
    assert world.client(*words).code == exits.USAGE
    assert vendor(world, "acks", "--csv", "--json").code == exits.USAGE


def test_a_lease_that_is_not_here_is_refused(world):
    """With what to do about it."""
    world.admit()
    ran = world.contractor("submit", "00" * 32, "-", stdin="x")
    assert ran.code == exits.USAGE
    assert "contractor list" in ran.err
