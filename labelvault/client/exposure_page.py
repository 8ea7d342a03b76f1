"""An exposure statement as one HTML file for people: no script, nothing fetched, every name escaped.

The page may be shown to whoever decides, printed and kept; it proves nothing by itself. What proves it is the signed
file, and the page says how to check that.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from html import escape
from importlib.resources import files
from itertools import islice
from typing import Final

from labelvault.client.exposure import ExposureStatement, ItemVerdict
from labelvault.client.exposure_plot import SERIES, plot, timeline
from labelvault.client.exposure_words import (
    LABELS,
    LIMITS,
    MEANINGS,
    RULES,
    between,
    count,
    grade,
    headline,
    moment,
    remarks,
    verifying,
    where,
    why,
)
from labelvault.ledger.verdicts import VERDICTS

MAX_ROWS: Final = 2000
"""Of one verdict on the page; the rest is in the CSV and in the signed file."""
_OPEN_ROWS: Final = 40
_TOLD: Final = ("exposed", "unconfirmed")


def statement_html(stated: ExposureStatement) -> bytes:
    """Return the page, UTF-8."""
    style = files("labelvault.client").joinpath("exposure_page.css").read_text(encoding="utf-8")
    hashed = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{hashed}'; "
        "base-uri 'none'; form-action 'none'\">",
        '<meta name="referrer" content="no-referrer">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>Exposure statement: {_text(where(stated))}</title>",
        f"<style>{style}</style></head><body><main>",
        *_head(stated),
        *_totals(stated),
        *_timeline(stated),
        *_details(stated),
        *_rules(stated),
        "</main></body></html>\n",
    ]
    return "\n".join(parts).encode()


def _head(stated: ExposureStatement) -> Iterator[str]:
    statement = stated.statement
    yield '<header><p class="eyebrow">Exposure statement</p>'
    yield f'<h1 class="{grade(stated)}">{_text(headline(stated))}</h1>'
    for remark in remarks(stated):
        loud = ' class="loud"' if remark.startswith("INCOMPLETE") else ""
        yield f"<p{loud}>{_text(remark)}</p>"
    facts = [
        ("Surface", f"{where(stated)} ({count(len(stated.contractors), 'key')})"),
        ("Window", f"{between(statement.start, statement.end)}, both included"),
        ("Project", stated.project or "all"),
        ("Complete", "yes" if statement.complete else "NO"),
        ("Stated at", moment(statement.at)),
        ("Client", stated.fingerprint),
    ]
    yield "<dl>"
    for name, value in facts:
        yield f"<div><dt>{name}</dt><dd>{_text(value)}</dd></div>"
    yield "</dl></header>"


def _totals(stated: ExposureStatement) -> Iterator[str]:
    totals = stated.totals()
    kinds = stated.items.kinds
    yield "<section><h2>Totals</h2>"
    yield '<svg class="bar" viewBox="0 0 1000 18" preserveAspectRatio="none" aria-hidden="true">'
    left = 0.0
    for verdict in VERDICTS:
        width = 1000 * totals[verdict] / max(1, len(stated.items))
        yield f'<rect class="v-{verdict}" x="{left:.2f}" y="0" width="{width:.2f}" height="18"/>'
        left += width
    yield '</svg><div class="wide"><table class="totals"><thead><tr><th scope="col">Verdict</th>'
    yield '<th scope="col" class="n">Items</th>'
    yield from (f'<th scope="col" class="n">{kind}</th>' for kind in kinds)
    yield '<th scope="col" class="what">What it means</th></tr></thead><tbody>'
    by_kind = {kind: stated.totals(kind) for kind in kinds}
    for verdict in VERDICTS:
        yield f'<tr class="{"some" if totals[verdict] else "none"}"><th scope="row">'
        yield f'<span class="chip v-{verdict}"></span>{LABELS[verdict]}</th><td class="n">{totals[verdict]:,}</td>'
        yield from (f'<td class="n">{by_kind[kind][verdict]:,}</td>' for kind in kinds)
        yield f'<td class="what">{escape(MEANINGS[verdict])}</td></tr>'
    yield f'<tr><th scope="row">all</th><td class="n">{len(stated.items):,}</td>'
    yield from (f'<td class="n">{sum(by_kind[kind].values()):,}</td>' for kind in kinds)
    versions = count(stated.statement.totals.rows, "version")
    yield f'<td class="what">An item has the worst verdict of its versions; these are {versions}.</td></tr>'
    yield "</tbody></table></div></section>"


def _timeline(stated: ExposureStatement) -> Iterator[str]:
    line = timeline(stated)
    shown = [name for name, counts in line.counts.items() if any(counts)]
    yield "<section><h2>What lay open, over time</h2><figure>"
    yield plot(stated)
    if shown:
        yield '<figcaption><ul class="legend">'
        yield from (f'<li><span class="chip s-{name}"></span>{escape(SERIES[name])}</li>' for name in shown)
        yield "</ul></figcaption>"
    else:
        yield "<figcaption>Nothing that the statement counts lay open.</figcaption>"
    yield "</figure><p>Item versions that the surface could give away at each time, by the leases that this statement "
    yield "counts: what was closed for good before the window is not drawn.</p></section>"


def _details(stated: ExposureStatement) -> Iterator[str]:
    yield "<section><h2>Item by item</h2>"
    for verdict in VERDICTS:
        number = stated.items.count(verdict)
        if not number:
            continue
        opened = " open" if verdict in _TOLD and number <= _OPEN_ROWS else ""
        yield f'<details{opened}><summary><span class="chip v-{verdict}"></span>{LABELS[verdict]}: '
        yield f"{count(number, 'item')}</summary><p>{escape(MEANINGS[verdict].capitalize())}.</p>"
        items = islice(stated.items.of(verdict), MAX_ROWS)
        yield from _table(items, told=verdict in _TOLD, project=stated.project is None)
        if number > MAX_ROWS:
            yield f"<p>… and {count(number - MAX_ROWS, 'more item')}, in the CSV and in the signed file.</p>"
        yield "</details>"
    yield "</section>"


def _table(items: Iterable[ItemVerdict], *, told: bool, project: bool) -> Iterator[str]:
    columns = ["Item", "Kind", "Batch", *(["Project"] if project else []), "Versions", *(["How"] if told else [])]
    yield '<table class="items"><thead><tr>'
    yield from (f'<th scope="col">{column}</th>' for column in columns)
    yield "</tr></thead><tbody>"
    for item in items:
        cells = [item.name, item.kind, item.batch or "", *([item.project] if project else []), str(len(item.versions))]
        yield "<tr>"
        yield from (
            f'<td data-label="{column}"{" class=empty" if not value else ""}>{_text(value)}</td>'
            for column, value in zip(columns, cells, strict=False)
        )
        if told:
            lines = "".join(f"<li>{_text(line)}</li>" for line in why(item))
            yield f'<td data-label="How"><ul>{lines}</ul></td>'
        yield "</tr>"
    yield "</tbody></table>"


def _rules(stated: ExposureStatement) -> Iterator[str]:
    yield "<section><h2>How to read it</h2>"
    yield from _list(RULES)
    yield "<h2>What it does not say</h2>"
    yield from _list(LIMITS)
    yield "<h2>How to verify it</h2><p>This page is a rendering. What counts is the signed statement, a file apart."
    yield "Whoever has it, an export of the ledger (<code>labelvault client ledger export</code>) and the client's"
    yield "fingerprint recomputes all of it with public keys only; have the fingerprint read out, not sent along:</p>"
    yield f"<pre>{escape(verifying(stated))}</pre><dl>"
    for ledger in stated.statement.ledgers:
        yield f"<div><dt>Ledger {ledger.epoch.hex()}</dt><dd>{ledger.size:,} entries, root "
        yield f"<code>{ledger.root.hex()}</code></dd></div>"
    yield f"<div><dt>Root over all rows</dt><dd><code>{stated.statement.root.hex()}</code></dd></div></dl></section>"


def _list(lines: Iterable[str]) -> Iterator[str]:
    yield "<ul>"
    yield from (f"<li>{escape(line)}</li>" for line in lines)
    yield "</ul>"


def _text(text: str) -> str:
    """Escape a text, and show marks that hide or reorder it as what they are."""
    return escape("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text))
