"""An exposure statement as CSV: a line for each item version and interval, safe to open in a spreadsheet."""

import csv
import io
import re
from typing import Final

from labelvault.client.exposure import ExposureStatement, ItemVerdict, StatedInterval, StatedVersion
from labelvault.client.exposure_words import interval_words

_HEADER: Final = (
    *("project", "item", "name", "kind", "batch", "item_verdict", "version", "verdict", "sealed_at", "tasks"),
    *("contractor", "tier", "presence_waived", "task", "leases", "since", "until", "erasure", "reason", "words"),
)
_FORMULA: Final = tuple("=+-@|%\t\r\n＝＋－＠")
"""What a spreadsheet may take for the beginning of a formula, also behind blanks; some take wide forms, too."""
_INNER: Final = re.compile(r"(;[\s\"']*)(?=[=+\-@|%＝＋－＠])")
"""Where a cell would begin in a spreadsheet that takes semicolons for separators, as those of many countries do."""


def statement_csv(stated: ExposureStatement) -> bytes:
    """Return the statement's rows as UTF-8 CSV; an item that has several versions or intervals has several lines."""
    text = io.StringIO(newline="")
    # A byte order mark, without which spreadsheets take UTF-8 for something else.
    text.write("\ufeff")
    writer = csv.writer(text, lineterminator="\r\n", quoting=csv.QUOTE_ALL)
    writer.writerow(_HEADER)
    for item in stated.items:
        for version in item.versions:
            for interval in version.intervals or (None,):
                writer.writerow([_safe(each) for each in _line(item, version, interval)])
    return text.getvalue().encode()


def _line(item: ItemVerdict, version: StatedVersion, interval: StatedInterval | None) -> list[object]:
    line: list[object] = [
        *(item.project, item.item.hex(), item.name, item.kind, item.batch or "", item.verdict),
        *(version.version, version.verdict, version.sealed_at.isoformat(), version.tasks),
    ]
    if interval is None:
        return line + [""] * (len(_HEADER) - len(line))
    return [
        *line,
        *(
            interval.contractor or "several",
            interval.tier,
            "yes" if interval.waived else "no",
            interval.task or "several",
        ),
        *(interval.leases, interval.since.isoformat(), interval.until.isoformat(), interval.erasure, interval.reason),
        interval_words(interval, item.name),
    ]


def _safe(value: object) -> str:
    """Keep names from acting as formulas, and from hiding what they are."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value))
    text = _INNER.sub(r"\1'", text)
    return "'" + text if text.lstrip().startswith(_FORMULA) or str(value).startswith(_FORMULA) else text
