"""A dry run says what sealing then does, and touches nothing."""

from collections import Counter
from pathlib import Path

import pytest

from labelvault.client import QueueSummary, SealPlan
from labelvault.client import files as files_module
from labelvault.client import importing as importing_module
from labelvault.errors import ProjectError
from tests.world import World, rows, write_file, write_project


def everything(world: World) -> dict[str, bytes]:
    """Every byte of client and vendor."""
    folders = (world.home, world.folder / "vendor")
    return {str(p): p.read_bytes() for folder in folders for p in sorted(folder.rglob("*")) if p.is_file()}


def change(source: Path) -> None:
    """Make something new, changed, gone, faulty, and required anew."""
    write_file(source, "guidelines/how.md", "another guideline")
    write_file(source, "rubrics/extra.md", "x" * 5000)
    write_file(source, "tasks/w2.jsonl", rows("four", "six") + "{bad\n")
    write_file(source, "tasks/w3.csv", "id,needs\n1,rubrics/extra.md\n2,nothing.md\n")
    write_file(source, "tasks/notes/a.md", "a task")
    write_file(
        source,
        "labelvault.toml",
        '[tasks]\nattachments = ["picture"]\nlabels = ["id"]\nrequires_column = "needs"\n'
        '[requires]\n"rubrics/extra.md" = ["rubrics/score.md"]\n',
    )


def test_a_plan_touches_neither_vault_nor_catalog_nor_ledger(world: World) -> None:
    """Byte for byte, with every kind of change to plan for; also where the clock has moved on."""
    change(world.source)
    before = everything(world)
    world.clock.advance(world.clock.time - world.clock.time.replace(hour=0))
    assert world.project.plan(world.source).new
    assert everything(world) == before


def test_a_plan_needs_no_vault(world: World) -> None:
    """It is not even opened."""
    (world.folder / "vendor").rename(world.folder / "elsewhere")
    assert world.open_client().project("eval").plan(world.source).same == 9
    assert not (world.folder / "vendor").exists()


def test_a_plan_is_what_sealing_then_does(world: World) -> None:
    """Counts, errors, openings, sizes and queues, as the report, the catalog and the vault then have them."""
    change(world.source)
    before = {(item.item, item.version) for item in world.project.items()}
    plan = world.project.plan(world.source)
    assert plan.changed == ("guidelines/how.md",)
    assert plan.new == ("rubrics/extra.md", "tasks/notes/a.md", "tasks/w2.jsonl#six", "tasks/w3.csv#1")
    assert plan.queues == (
        QueueSummary("notes", 1, 1),
        QueueSummary("w1", 3, 0),
        QueueSummary("w2", 2, 1),
        QueueSummary("w3", 1, 1),
    )
    report = world.project.seal(world.source)
    assert (len(plan.new), len(plan.changed), plan.same, plan.gone) == (
        report.new,
        report.changed,
        report.same,
        report.gone,
    )
    assert [str(error) for error in plan.errors] == [str(error) for error in report.errors]
    assert len(plan.errors) == 2
    assert plan.openings == report.openings
    assert ("extra.md", "how.md", "score.md") in [each.requires for each in plan.openings]
    sealed = [item for item in world.project.items() if (item.item, item.version) not in before]
    assert plan.sizes == tuple(sorted(Counter(item.payload_bytes for item in sealed).items()))
    assert summary(world.project.plan(world.source)) == ((), (), report.new + report.changed + report.same, report.gone)


def summary(plan: SealPlan) -> tuple[object, ...]:
    return plan.new, plan.changed, plan.same, plan.gone


def test_what_requires_something_new_is_changed(world: World) -> None:
    """A new guideline changes every task, as its metadata names it."""
    write_file(world.source, "guidelines/second.md", "x")
    plan = world.project.plan(world.source)
    assert plan.new == ("guidelines/second.md",)
    assert len(plan.changed) == 5
    report = world.project.seal(world.source)
    assert (report.new, report.changed) == (1, 5)


def test_large_files_are_planned_with_their_size(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """New ones are not read; known ones are compared."""
    monkeypatch.setattr(importing_module, "STREAM_ABOVE_BYTES", 1000)
    write_file(world.source, "attachments/film.bin", b"x" * 5000)
    plan = world.project.plan(world.source)
    assert plan.new == ("attachments/film.bin",)
    world.project.seal(world.source)
    (film,) = [item for item in world.project.items() if item.name == "film.bin"]
    assert plan.sizes == ((film.payload_bytes, 1),)
    assert world.project.plan(world.source).same == 10
    write_file(world.source, "attachments/film.bin", b"y" * 5000)
    assert world.project.plan(world.source).changed == ("attachments/film.bin",)
    assert files_module.STREAM_ABOVE_BYTES > 1000


def test_too_many_for_one_opening_are_told_as_sealing_tells_them(world: World, tmp_path: Path) -> None:
    """The same words, before anything is sealed."""
    folder = write_project(tmp_path / "wide")
    names = [f"rubrics/r{n}.md" for n in range(254)]
    for name in names:
        write_file(folder, name, name)
    write_file(folder, "labelvault.toml", f"[requires]\n'guidelines/how.md' = {names!r}\n")
    project = world.lab.create_project("wide", floor_bytes=256)
    assert project.plan(folder).errors == ()
    write_file(folder, "labelvault.toml", f"[requires]\n'guidelines/how.md' = {[*names, 'rubrics/score.md']!r}\n")
    plan = project.plan(folder)
    report = project.seal(folder)
    assert [str(error) for error in plan.errors] == [str(error) for error in report.errors]
    assert len(plan.errors) == 2
    assert plan.openings == ()


def test_metadata_over_its_bounds_is_told(world: World) -> None:
    """As sealing tells it, with the row's line, and the rest is planned."""
    columns = {f"c{n}": "x" * 1000 for n in range(60)}
    write_file(world.source, "labelvault.toml", f"[tasks]\nlabels = {['id', *columns]!r}\nattachments = ['picture']\n")
    write_file(world.source, "tasks/w9.jsonl", rows("big", **columns))
    plan = world.project.plan(world.source)
    assert [(error.file, error.line) for error in plan.errors] == [("tasks/w9.jsonl", 1)]
    assert [str(error) for error in world.project.seal(world.source).errors] == [str(error) for error in plan.errors]
    assert plan.same == 9


def test_a_folder_that_can_not_be_used_is_refused(world: World) -> None:
    """As for sealing."""
    with pytest.raises(ProjectError):
        world.project.plan(world.folder / "nothing")
