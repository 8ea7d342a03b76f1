"""Ahead of time on the command line: prekeys out, leases in, open without an issuer; and what is said if it fails."""

import stat

from labelvault.cli import exits


def test_a_file_goes_out_and_comes_back_and_opens_with_no_issuer(world):
    """Bundle in, leases out, both private files; twice the same; the task opens, once."""
    world.admit(max_open=2)
    bundle, leases = world.folder / "ada.prekeys", world.folder / "ada.leases"
    made = world.contractor("prekeys", "-n", "3", "-o", bundle, "--json").json
    assert (made["made"], made["left"]) == (3, 3)
    words = ("issue", "--contractor", "ada", "--item", world.tasks["fa-1042"], "--prekeys", bundle, "--to", leases)
    first = world.client(*words, "--json").json
    assert [each["again"] for each in first["leases"]] == [False]
    assert stat.S_IMODE(leases.stat().st_mode) == 0o600
    again = world.client(*words, "--json").json
    assert [each["again"] for each in again["leases"]] == [True]
    assert "1 as before" in world.client(*words).out
    taken = world.contractor("import", leases, "--json").json
    assert (taken["taken"], taken["over"], taken["status_older"]) == (1, 0, False)
    (at_hand,) = world.contractor("list", "--json").json["at_hand"]
    assert at_hand["item"] == world.tasks["fa-1042"]
    assert "Leases at hand" in world.contractor("list").out
    assert world.tasks["fa-1042"] in world.contractor("open", "--json").json["error"]["message"]
    ran = world.contractor("open", world.tasks["fa-1042"], "--offline")
    assert ran.code == exits.OK, ran
    assert world.contractor("list", "--json").json["at_hand"] == []
    assert "taxi around the whole fjord" in ran.out
    once = world.contractor("open", world.tasks["fa-1042"], "--offline")
    assert once.code == exits.REFUSED
    assert "contractor import FILE" in once.err
    assert "1 are over" in world.contractor("import", leases).out


def test_through_the_vault_a_lease_waits_for_its_claim(world):
    """Posted prekeys, posted leases; the status is fetched; a revoked grant opens nothing."""
    world.admit(max_open=2)
    assert world.contractor("prekeys", "-n", "1", "--post").code == exits.OK
    assert world.client("issue", "--contractor", "ada", "--item", "fa-1042", "--post").code == exits.OK
    known = world.contractor("status", "--json").json
    assert known["status_at"] is not None
    assert known["prekeys_left"] == 1
    refused = world.contractor("open", world.tasks["fa-1042"], "--offline")
    assert refused.code == exits.REFUSED
    assert world.client("status", "--post", "--json").json["revoked"] == 0
    assert world.client("revoke", "batch", "ferry", "week-14").code == exits.OK
    assert world.client("status", "--post", "--json").json["revoked"] == 1
    assert world.contractor("prekeys", "--erase", "--json").json == {"erased": 1}


def test_refusals_say_what_to_do(world):
    """Too many open, too few prekeys, no prekeys, nothing named: exit codes and the next step."""
    world.admit(max_open=1)
    bundle, leases = world.folder / "ada.prekeys", world.folder / "ada.leases"
    world.contractor("prekeys", "-n", "2", "-o", bundle)
    words = ("issue", "--contractor", "ada", "--prekeys", bundle, "--to", leases)
    ran = world.client(*words, "--item", "fa-1041", "--item", "fa-1042")
    assert ran.code == exits.REFUSED
    assert "Grant max_open more" in ran.err
    assert world.tasks["fa-1042"] in ran.err
    assert not leases.exists()
    facts = world.client("issue", "--contractor", "ada", "--item", "fa-1041", "--to", leases, "--json")
    assert facts.code == exits.REFUSED
    assert facts.json["error"]["kind"] == "PrekeysUsedError"
    assert "contractor prekeys -n N" in facts.json["error"]["next"]
    for wrong in (
        ("issue", "--contractor", "ada", "--to", leases),
        ("issue", "--contractor", "ada", "--item", "fa-1041"),
        ("status",),
    ):
        assert world.client(*wrong).code == exits.USAGE
    for unusable in (("prekeys",), ("prekeys", "-n", "1"), ("prekeys", "--erase", "-n", "1")):
        assert world.contractor(*unusable).code == exits.USAGE
