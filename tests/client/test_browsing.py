"""Catalog and ledger in pages: filters, order, totals, and names for what the ledger names."""

from datetime import timedelta

import pytest

from labelvault.client import ItemFilter
from labelvault.errors import FormatError, ProjectError
from labelvault.ledger.entries import KINDS


@pytest.fixture
def project(world):
    """A project with everything that a folder can hold."""
    return world.project


def walk(project, wanted, limit):
    """Read all parts, and check that the first says how many there are."""
    found, after = [], None
    while True:
        page = project.page(wanted, after, limit)
        assert len(page.items) <= limit
        found += page.items
        assert page.total == (project.page(wanted).total if after is None else None)
        if page.next is None:
            return found
        assert page.next == page.items[-1].item
        after = page.next


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_parts_make_the_whole_in_order(project, limit):
    """Nothing twice, nothing left out, whatever the size of a part."""
    assert walk(project, ItemFilter(), limit) == project.items()
    assert project.page(ItemFilter()).total == len(project.items())


def test_filters_let_through_what_they_say(project):
    """By kind, by batch, by a part of a name, by pattern, by time."""
    everything = project.items()
    task = project.items("task")[0]
    assert [each.kind for each in project.page(ItemFilter(kind="task")).items] == ["task"] * len(project.items("task"))
    assert {each.batch for each in project.page(ItemFilter(batch=task.batch)).items} == {task.batch}
    assert task in project.page(ItemFilter(name=task.name[1:-1])).items
    assert task in project.page(ItemFilter(name=f"{task.name[:2]}*")).items
    assert project.page(ItemFilter(name=f"{task.name[1:]}*")).items == ()
    assert project.page(ItemFilter(name="tasks/")).total == len(project.items("task"))
    assert project.page(ItemFilter(changed_since=max(each.sealed_at for each in everything))).total >= 1
    assert project.page(ItemFilter(changed_since=everything[0].sealed_at + timedelta(days=900))).total == 0


def test_what_is_no_kind_or_batch_is_refused(project):
    """An empty list would look like an answer."""
    with pytest.raises(FormatError):
        project.page(ItemFilter(kind="bogus"))
    with pytest.raises(ProjectError, match="no batch"):
        project.page(ItemFilter(batch="bogus"))


def test_an_item_is_found_by_the_beginning_of_its_id(project):
    """Eight digits or more; fewer are a name like any other."""
    item = project.items("task")[0].item
    assert project.find(item.hex()) == item
    assert project.find(item.hex()[:12].upper()) == item
    for name in (item.hex()[:7], "0" * 32, "f" * 12):
        with pytest.raises(ProjectError, match="no item"):
            project.find(name)


def test_projects_say_what_they_have(world, project):
    """Counts and sizes are the catalog's; a frozen one says so."""
    (record,) = world.lab.project_records()
    assert (record.name, record.frozen, record.items) == (project.name, False, len(project.items()))
    assert record.batches == len(project.batches())
    assert record.payload_bytes == sum(each.payload_bytes for each in project.items())
    assert record.grants == len(world.lab.grants())
    world.lab.freeze(project.name)
    assert world.lab.project_records()[0].frozen


def test_the_newest_ledger_entries_have_names(world, project):
    """Oldest of them first, as many as asked for, of one kind if asked for."""
    everything = world.lab.ledger_lines(10_000)
    assert [each.entry for each in everything] == world.lab.ledger_entries()
    assert [each.number for each in everything] == list(range(len(everything)))
    assert world.lab.ledger_lines(3) == everything[-3:]
    sealed = world.lab.ledger_lines(2, "sealed")
    assert sealed == [each for each in everything if each.kind == "sealed"][-2:]
    assert sealed[0].names["project"] == project.name
    names = {each.item: each.name for each in project.items()}
    assert sealed[0].names["item"] == names[sealed[0].entry.item]
    with pytest.raises(FormatError):
        world.lab.ledger_lines(1, "bogus")
    assert world.lab.ledger_lines(5, "junk") == []
    assert {each.kind for each in everything} <= set(KINDS)
