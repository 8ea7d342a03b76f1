"""docs/events.md and the JSON schema beside it say what the code tells: kinds, fields, metrics, urgent ones."""

import json
import re
from pathlib import Path

from labelvault.client import deliveries, events, metrics
from labelvault.wire.messages import DENIAL_CODES

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "events.md").read_text(encoding="utf-8")
SHAPES = {
    each["properties"]["event"]["const"]: each
    for each in json.loads((DOCS / "events.schema.json").read_text(encoding="utf-8"))["oneOf"]
}


def rows_of(heading: str) -> list[list[str]]:
    """The rows of the table under a heading, cell by cell."""
    part = PAGE.partition(heading)[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def test_the_page_and_the_schema_have_every_kind_and_field():
    """The table's fields are the schema's, but for the three that all have."""
    kinds = {*events.LEDGER_KINDS, *events.OTHER_KINDS}
    table = {row[0].strip("`"): set(re.findall(r"`([a-z]+)`", row[2])) for row in rows_of("## The event log")}
    assert table.keys() == SHAPES.keys() == kinds
    for kind, shape in SHAPES.items():
        fields = shape["properties"].keys() - {"event", "time", "client"}
        assert shape["required"] == list(shape["properties"])
        assert shape["additionalProperties"] is False
        if kind == "cap-reached":
            assert fields == SHAPES["denial"]["properties"].keys() - {"event", "time", "client", "code"} | {"cap"}
        else:
            assert fields <= table[kind], kind


def test_the_schema_has_every_code_and_cap():
    """A new code of denials has to be published here too."""
    codes = set(SHAPES["denial"]["properties"]["code"]["enum"])
    assert codes | events.CAPS.keys() == set(DENIAL_CODES)
    assert set(SHAPES["cap-reached"]["properties"]["cap"]["enum"]) == set(events.CAPS.values())


def test_the_page_has_every_metric_with_its_type():
    """In the order of the file."""
    assert [(row[0].strip("`"), row[1]) for row in rows_of("## Numbers")] == [
        (name, kind) for name, (kind, _) in metrics.METRICS.items()
    ]


def test_the_page_names_what_is_posted():
    """Urgent kinds, in its own words."""
    said = re.search(r"urgent events \(([^)]*)\)", PAGE)
    assert said is not None
    assert set(re.findall(r"`([a-z]+)`", said[1])) == deliveries.URGENT
