"""Writes docs/keys.svg and docs/opening.svg: `make docs`.

Plain SVG without scripts, links or fonts of its own, on a background of its own, so that it reads the same on light and
dark pages. Positions are pixels; what a diagram says is in the tables below the helpers.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

DOCS: Final = Path(__file__).resolve().parent
_STYLE: Final = """
    text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1c2733; }
    .title { font-size: 19px; font-weight: 600; }
    .name { font-size: 15px; font-weight: 600; }
    .text { font-size: 13.5px; }
    .small { font-size: 12.5px; fill: #4a5866; }
    .middle { text-anchor: middle; }
    .page { fill: #fbfcfd; }
    .own { fill: #eaf4ee; stroke: #3d7d5a; stroke-width: 1.5; }
    .host { fill: #fdf0ee; stroke: #b4483a; stroke-width: 1.5; stroke-dasharray: 7 5; }
    .key { fill: #fff6d8; stroke: #b08a1e; stroke-width: 1.2; }
    .part { fill: #ffffff; stroke: #8b98a5; stroke-width: 1; }
    .line { stroke: #34506b; stroke-width: 1.6; fill: none; }
    .spoken { stroke: #6a4c93; stroke-width: 1.6; stroke-dasharray: 2 5; stroke-linecap: round; fill: none; }
    .life { stroke: #9aa6b2; stroke-width: 1.2; stroke-dasharray: 4 4; }
    .alive { fill: #fff6d8; stroke: #b08a1e; stroke-width: 1.2; }
    .label { fill: #fbfcfd; }
    .head { fill: #34506b; }
    .voice { fill: #6a4c93; }
"""
_HEAD: Final = (
    '<marker id="{0}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8"'
    ' orient="auto-start-reverse"><path class="{0}" d="M0 0L10 5L0 10z"/></marker>'
)


def drawing(width: int, height: int, title: str, told: str, parts: Iterable[str]) -> str:
    """Return an SVG document.

    Args:
        width: pixels.
        height: pixels.
        title: what it is.
        told: all that it shows, for those who don't see it.
        parts: elements.
    """
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
            ' role="img" aria-labelledby="title told">',
            f'  <title id="title">{escape(title)}</title>',
            f'  <desc id="told">{escape(" ".join(told.split()))}</desc>',
            f"  <style>{_STYLE}  </style>",
            f"  <defs>{_HEAD.format('head')}{_HEAD.format('voice')}</defs>",
            f'  <rect class="page" width="{width}" height="{height}" rx="10"/>',
            *(f"  {part}" for part in parts),
            "</svg>\n",
        ]
    )


def text(x: float, y: float, words: str, kind: str = "text") -> str:
    """Return one line of text; `kind` names classes."""
    return f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(words)}</text>'


def headed(x: float, y: float, name: str, says: str) -> str:
    """Return a name, and after it what is to be said about it."""
    words = f'<tspan class="name">{escape(name)}</tspan><tspan class="small" dx="9">{escape(says)}</tspan>'
    return f'<text x="{x:g}" y="{y:g}">{words}</text>'


def lines(x: float, y: float, words: Sequence[str], kind: str = "text", step: float = 18) -> list[str]:
    """Return lines of text under each other."""
    return [text(x, y + step * at, each, kind) for at, each in enumerate(words)]


def box(x: float, y: float, width: float, height: float, kind: str, radius: int = 8) -> str:
    """Return a rectangle."""
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius}"/>'


def key(x: float, y: float, width: float, name: str, *says: str) -> list[str]:
    """Return a key: a box with a key's sign, its name and what is to be said about it."""
    height = 30 + 17 * len(says) + (4 if says else 0)
    sign = (
        f'<g transform="translate({x + 12:g} {y + 10:g})" fill="none" stroke="#b08a1e" stroke-width="2">'
        '<circle cx="5" cy="5" r="4.2"/><path d="M9.2 5H21M17 5v5M21 5v4"/></g>'
    )
    return [
        box(x, y, width, height, "key"),
        sign,
        text(x + 42, y + 20, name, "name"),
        *lines(x + 42, y + 39, says, "small", 17),
    ]


def arrow(path: str, kind: str = "line") -> str:
    """Return a path with a head at its end."""
    return f'<path class="{kind}" d="{path}" marker-end="url(#{"voice" if kind == "spoken" else "head"})"/>'


# --- who holds which key ---

KEYS_TITLE: Final = "Who holds which key"
KEYS_TOLD: Final = """
Three places. At the client, the AI lab: the root key, which wraps one project key (KEK) a project, which wraps one
item key (DEK) an item version; the wrapped item keys stay in the client's catalog. Also an identity key, which
signs certificates, grants and invites, and the issuer, which holds unwrapped project keys while it runs and a
signing key of its own; and the ledger. At the vendor: no key at all, but sealed items, mailboxes with sealed or
signed messages, queues, claims and receipts. On the contractor's device: an identity key that only signs; and for
one opening, in a process of its own, a one-time key and the item keys of the task that is open, which end with that
process. Between client and vendor, and vendor and contractor, pass: sealed items to the contractor, signed open
requests to the client, leases that are sealed to the one-time key to the contractor, signed receipts to the client.
Fingerprints are read out between client and contractor by phone or in person, and never pass the vendor.
"""


def keys() -> str:
    """Return the diagram of actors, the keys that they hold, and what crosses the vendor."""
    parts = [
        text(30, 40, KEYS_TITLE, "title"),
        *_at_the_client(30),
        *_at_the_vendor(550),
        *_at_the_contractor(1000),
        # Never through the vendor:
        '<path class="spoken" d="M210 110V82H1155V110" marker-start="url(#voice)" marker-end="url(#voice)"/>',
        box(470, 66, 450, 32, "label", 0),
        text(695, 87, "fingerprints, by phone or in person: never through the vendor", "text middle"),
    ]
    crossing = [
        (240, ["sealed items"], True),
        (342, ["open request,", "signed"], False),
        (400, ["lease, sealed to", "the one-time key"], True),
        (566, ["receipt, signed"], False),
    ]
    for y, words, to_the_contractor in crossing:
        ways = ((390, 550), (840, 1000)) if to_the_contractor else ((550, 390), (1000, 840))
        for start, end in ways:
            parts.append(arrow(f"M{start} {y}H{end}"))
            parts += lines((start + end) / 2, y - 8 - 15 * (len(words) - 1), words, "small middle", 15)
    return drawing(1340, 730, KEYS_TITLE, KEYS_TOLD, parts)


def _at_the_client(x: int) -> list[str]:
    return [
        box(x, 110, 360, 590, "own", 12),
        headed(x + 20, 138, "Client", "the AI lab"),
        *key(
            x + 20, 154, 320, "root key", "in a keystore under a passphrase;", "wraps the keys below, and never leaves"
        ),
        *key(x + 40, 238, 300, "project key (KEK)", "one a project; wrapped by the root key"),
        *key(
            x + 60, 306, 280, "item key (DEK)", "one an item version; wrapped by", "the project key, in client.db only"
        ),
        f'<path class="line" d="M{x + 30} 222V258H{x + 40}M{x + 50} 289V330H{x + 60}"/>',
        *key(
            x + 20,
            392,
            320,
            "identity key",
            "signs certificates, grants and invites;",
            "may stay offline between those",
        ),
        box(x + 20, 478, 320, 128, "part"),
        headed(x + 36, 502, "Issuer", "the one place that releases item keys"),
        *key(x + 36, 514, 288, "signing key", "certified by the identity key"),
        text(x + 36, 588, "unwrapped project keys, while it runs"),
        box(x + 20, 620, 320, 62, "part"),
        headed(x + 36, 644, "Ledger", "every release and denial,"),
        text(x + 36, 664, "written before it is answered", "small"),
    ]


def _at_the_vendor(x: int) -> list[str]:
    parts = [
        box(x, 110, 290, 590, "host", 12),
        headed(x + 20, 138, "Vendor", "the platform; may be stolen"),
        text(x + 145, 174, "no key", "title middle"),
        text(x + 145, 194, "a thief finds nothing that opens", "small middle"),
    ]
    stored = [
        (214, "Items", ["sealed, padded, under random ids"]),
        (324, "Mailboxes", ["requests and receipts: signed", "leases: signed and sealed"]),
        (440, "Queues and claims", ["which task waits, who works on it;", "a claim opens nothing"]),
        (540, "Receipts", ["signed: what to pay for"]),
    ]
    for y, name, says in stored:
        parts += [box(x + 20, y, 250, 34 + 18 * len(says), "part"), text(x + 36, y + 22, name, "name")]
        parts += lines(x + 36, y + 42, says, "small")
    says = ["It can withhold, delay and delete.", "It sees ids, times and padded sizes."]
    return [*parts, *lines(x + 20, 640, says, "small", 18)]


def _at_the_contractor(x: int) -> list[str]:
    later = ["Stolen later, passphrase included: it asks", "until it is revoked, and opens nothing", "that was closed."]
    desk = [
        "Tier helper, as shown. At a desk, all this",
        "is a process at the vendor: a thief there",
        "gets the tasks that are open; presence",
        "waived, as many as the caps let through.",
    ]
    return [
        box(x, 110, 310, 590, "own", 12),
        headed(x + 20, 138, "Contractor", "a labeler's own device"),
        *key(x + 20, 154, 270, "identity key", "one a client; only signs"),
        box(x + 20, 250, 270, 256, "part"),
        headed(x + 36, 276, "One opening", "a process of its own"),
        *key(x + 36, 292, 238, "one-time key", "made for this opening;", "the lease is sealed to it"),
        *key(x + 36, 376, 238, "item keys (DEK)", "of the task and what it", "requires, while it is open"),
        *lines(x + 36, 472, ["At the close the process exits,", "and all of this is gone."]),
        *lines(x + 20, 536, later, "small", 17),
        *lines(x + 20, 614, desk, "small", 17),
    ]


# --- the life of one opening ---

OPENING_TITLE: Final = "The life of one opening"
OPENING_TOLD: Final = """
A sequence between the contractor's device, the process of one opening on it, the vendor, and the client's issuer.
1. The contractor asks the vendor for a task; the vendor claims one and answers with its id, which opens nothing. 2.
The opening's process makes a one-time key. 3. The device signs an open request with the one-time public key, and
posts it to the issuer's mailbox at the vendor, where the issuer fetches it. 4. The issuer checks signatures, grant,
scope, time, limits, revocation, freeze and replay; and commits the release to the ledger. 5. Only then the lease
leaves through the contractor's mailbox: item keys, sealed to the one-time key, signed by the issuer. 6. The process
fetches the sealed items, checks them against the lease, and shows the text. The device posts a receipt: opened. 7.
At the close, or at the lease's end, the process exits; key and text are gone. 8. Then the device signs the receipt
closed, with how it was erased. The vendor pays by it, and the issuer records it in the ledger.
"""
LANES: Final = (
    ("Contractor's device", "signs"),
    ("One opening", "a process of its own"),
    ("Vendor", "holds no key"),
    ("Issuer", "at the client"),
)
_AT: Final = (140, 420, 750, 1080)
_BAR: Final = 14


def opening() -> str:
    """Return the sequence diagram from claim to receipt."""
    device, process, vendor, issuer = _AT
    parts = [text(30, 40, OPENING_TITLE, "title")]
    for x, (name, says) in zip(_AT, LANES, strict=True):
        parts += [box(x - 105, 62, 210, 50, "host" if x == vendor else "own")]
        parts += [text(x, 83, name, "name middle"), text(x, 102, says, "small middle")]
        if x != process:
            parts.append(f'<path class="life" d="M{x} 112V880"/>')
    parts.append(box(process - _BAR / 2, 252, _BAR, 470, "alive", 3))
    steps = [
        (150, device, vendor, "1. a task, please"),
        (190, vendor, device, "a claim: the task's id, which opens nothing"),
        (252, device, process, "2. starts"),
        (328, device, vendor, "3. open request with the one-time public key, signed"),
        (353, vendor, issuer, "from the issuer's mailbox"),
        (480, issuer, vendor, "5. lease: item keys, sealed and signed"),
        (505, vendor, device, "from the contractor's mailbox"),
        (530, device, process, "handed on"),
        (575, vendor, process, "6. sealed items"),
        (655, device, vendor, "receipt: opened, signed"),
        (680, vendor, issuer, "into the ledger"),
        (800, device, vendor, "8. receipt: closed, erased by process exit, signed"),
        (825, vendor, issuer, "into the ledger"),
    ]
    for y, start, end, words in steps:
        parts += _step(y, start, end, words)
    checks = ["4. checks signatures, grant, scope, time, limits,", "revocation, freeze and replay; writes the release"]
    gone = ["7. close, or the lease's end: the process exits;", "one-time key, item keys and text are gone"]
    parts += _note(process, 270, 180, ["makes a one-time key"])
    parts += _note(issuer, 376, 380, [*checks, "to the ledger, and only then answers"])
    parts += _note(process, 592, 330, ["checks them against the lease, shows the text"])
    parts += _note(process, 716, 350, gone)
    parts += _note(vendor, 843, 220, ["finishes the task, and pays"])
    limits = "The vendor sees ids, times and padded sizes. It can withhold or delay each step; "
    limits += "it can't forge a request, a lease or a receipt."
    return drawing(1290, 930, OPENING_TITLE, OPENING_TOLD, [*parts, text(30, 908, limits, "small")])


def _step(y: int, start: int, end: int, words: str) -> list[str]:
    """Return a message: an arrow between two lanes with words above it, clear of the bar of the process."""
    ahead = 1 if end > start else -1
    first, last = (each + way * (_BAR / 2 if each == _AT[1] else 0) for each, way in ((start, ahead), (end, -ahead)))
    # Words of messages that pass the process's lane stand before or behind its bar.
    passes = min(start, end) < _AT[1] < max(start, end) and 252 < y < 722
    middle = (_AT[1] + max(start, end)) / 2 if passes and len(words) < 40 else (first + last) / 2
    width = 7 * len(words) + 8
    label = [box(middle - width / 2, y - 21, width, 15, "label", 2)] if passes else []
    return [arrow(f"M{first:g} {y}H{last:g}"), *label, text(middle, y - 9, words, "text middle")]


def _note(middle: int, y: int, width: int, says: Sequence[str]) -> list[str]:
    height = 6 + 19 * len(says)
    shape = box(middle - width / 2, y, width, height, "part", 4)
    return [shape, *lines(middle, y + 17, says, "text middle", 19)]


def diagrams() -> dict[str, str]:
    """Return file names and contents."""
    return {"keys.svg": keys(), "opening.svg": opening()}


def main() -> None:
    """Write both."""
    for name, content in diagrams().items():
        (DOCS / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
