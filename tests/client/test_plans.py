"""Every list is read along an index: a part of it costs what it holds, however much there is before and behind it."""

import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from labelvault.client import ItemFilter
from labelvault.vendor import Vault
from labelvault.wire.ids import issuer_mailbox
from tests.world import DAY, World

FEW = {"b", "p", "queues", "contractors", "certificates", "grants"}
"""Tables with a row a batch, project or grant, by the names that queries give them; others may have millions."""


class Explaining(sqlite3.Connection):
    """A connection that keeps the plan of each query that it runs."""

    plans: list[list[str]] = []

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        """Run a statement; keep how, if it reads."""
        if sql.startswith("SELECT"):
            self.plans.append([row[3] for row in super().execute(f"EXPLAIN QUERY PLAN {sql}", parameters)])
        return super().execute(sql, parameters)


@pytest.fixture
def explained(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The world, whose connections from now on are explaining ones."""
    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Explaining))
    return world


def plans_of(read: Callable[[], object]) -> list[str]:
    """Return the steps of all queries that a call runs."""
    Explaining.plans.clear()
    read()
    assert Explaining.plans, "nothing was asked"
    return [step for plan in Explaining.plans for step in plan]


def assert_along_indexes(steps: list[str]) -> None:
    """Check that nothing is sorted, and no table of many rows is searched through from its beginning."""
    for step in steps:
        assert "TEMP B-TREE" not in step, steps
        scanned = step.split()[1] if step.startswith("SCAN") else None
        assert scanned in (None, "CONSTANT", *FEW), steps


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (ItemFilter(), "sqlite_autoindex_items_2"),
        (ItemFilter(kind="task"), "sqlite_autoindex_items_2"),
        (ItemFilter(name="f*"), "sqlite_autoindex_items_2"),
        (ItemFilter(batch="w1"), "items_by_batch"),
        (ItemFilter(batch="w1", kind="task", name="o"), "items_by_batch"),
    ],
)
def test_a_part_of_the_items_is_read_along_an_index(explained, wanted, index):
    """From the item on behind which it begins, in the order that is listed."""
    project = explained.open_client().project("eval")
    first = project.items("task")[0]
    for after in (None, first.item):
        steps = plans_of(partial(project.page, wanted, after, 1))
        assert_along_indexes(steps)
        assert any(f"{index} (" in step and "source>" in step for step in steps), steps


def test_what_the_client_looks_up_is_searched_for(explained):
    """Ids by their beginning, sources, the newest ledger entries, what came into the ledger since."""
    lab = explained.open_client()
    project, log = lab.project("eval"), lab._log
    item = project.items("task")[0].item
    for read in (
        lambda: project.find(item.hex()),
        lambda: project.find(item.hex()[:12]),
        lambda: project.find("tasks/w1.jsonl#one"),
        lambda: project.versions(item),
        lambda: lab.ledger_lines(3),
        lambda: log.page(5, 3),
        lambda: list(log.stream(5, 2)),
        project.batches,
    ):
        assert_along_indexes(plans_of(read))


def test_what_is_stated_is_named_along_an_index(explained):
    """Ledger, catalog and names: nothing is sorted, and each item is searched for or comes in its turn."""
    lab = explained.open_client()
    now = explained.clock()
    steps = plans_of(lambda: list(lab.statement("all", now - DAY, now).items))
    assert_along_indexes(steps)
    assert any("sqlite_autoindex_items_2 (project=? AND source>?)" in step for step in steps)


def test_a_part_of_what_the_vault_lists_is_read_along_an_index(explained):
    """Items, tasks, receipts, acks, queues and mailboxes; and a claim finds its task so."""
    client, project = explained.lab.client_id, explained.project.project_id
    relay = explained.relay()
    with Vault.open(explained.vault) as vault:
        item, task = next(iter(vault.items())), next(iter(vault.tasks()))
        queue = vault.queues()[0]
        for read in (
            lambda: vault.items(),
            lambda: vault.items(after=item),
            lambda: vault.items(client=client, after=item),
            lambda: vault.items(client=client, project=project),
            lambda: vault.tasks(after=task),
            lambda: vault.tasks(after=task, stuck_s=60),
            lambda: list(vault.receipts(after=3)),
            lambda: list(vault.acks(after=3)),
            lambda: vault.claim(queue, "ada", ttl_s=60),
            lambda: relay.fetch(issuer_mailbox(client), after=3),
        ):
            assert_along_indexes(plans_of(read))
        # Counted along an index, and only queues are sorted, by whoever asks.
        steps = plans_of(vault.queues)
        assert_along_indexes(steps)
        assert any("COVERING INDEX tasks_by_queue" in step for step in steps)


def test_the_vault_lists_one_client_without_reading_others(explained):
    """What a client has lies between others', and a list that begins behind another's items is right all the same."""
    other = explained.create_client("other")
    second = other.create_project("eval", floor_bytes=256)
    assert not second.seal(explained.source).errors
    with Vault.open(explained.vault) as vault:
        everything = list(vault.items())
        for client in (explained.lab.client_id, other.client_id):
            mine = [each for each in everything if each.client == client]
            assert vault.items(client=client) == mine
            for place in (everything[0], everything[-1], mine[1]):
                key = (place.client, place.item, place.version)
                behind = [each for each in mine if (each.client, each.item, each.version) > key]
                assert vault.items(client=client, after=place) == behind


def test_totals_come_with_the_first_part_only(world):
    """All are counted for them; and a part can't begin behind what is not there."""
    first = world.project.page(ItemFilter(), limit=2)
    assert first.total == len(world.project.items())
    later = world.project.page(ItemFilter(), after=first.next, limit=2)
    assert later.total is None
    since = ItemFilter(changed_since=world.clock() - DAY)
    assert world.project.page(since, limit=2).total == first.total
