"""What the drill found: values, and how they are written down."""

from dataclasses import asdict, dataclass
from typing import Any, Final

MAX_LISTED: Final = 100
"""Finds of one sort that are listed one by one; counts are never cut."""


@dataclass(frozen=True, slots=True, order=True)
class Opened:
    """An item that was decrypted with a key that was found.

    Attributes:
        name: out of the sealed metadata.
        kind: guideline, rubric, gold, task or attachment.
        item: item id in hex.
        version: from 1 upward.
        client: client id in hex.
    """

    name: str
    kind: str
    item: str
    version: int
    client: str


@dataclass(frozen=True, slots=True)
class KeyFound:
    """A key that opened something or gives a recorded public key. The key itself is not in the report.

    Attributes:
        sort: `dek`, `one-time` or `identity`.
        place: the file, capture or row.
        offset: in it, in bytes.
        encoding: raw, msgpack, hex, base64, literal, numbers, or keystore.
        opens: how many item versions it led to.
    """

    sort: str
    place: str
    offset: int
    encoding: str
    opens: int


@dataclass(frozen=True, slots=True)
class TextHit:
    """A run of known plaintext.

    Attributes:
        place: the file, capture or row.
        offset: in it, in bytes.
        length: in bytes.
        known: the known files that hold this run; several, if they share it.
    """

    place: str
    offset: int
    length: int
    known: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KnownText:
    """All finds that point to the same known files.

    Attributes:
        known: the known files that share the runs. One of them was in the loot; if several share a run, which
            one is open.
        runs: how many finds.
        longest: the longest one, in bytes.
    """

    known: tuple[str, ...]
    runs: int
    longest: int


@dataclass(frozen=True, slots=True)
class Finding:
    """What one theft comes to.

    Attributes:
        surface: what was stolen, in a word or two.
        stolen_bytes: size of all files.
        captured_bytes: size of all captures.
        payloads: item versions in the stolen vault.
        messages: distinct signed messages, purged ones included where their bytes remain.
        leases: how many of them are leases.
        candidates: how many distinct guesses were tried on everything.
        opened: what was decrypted.
        keys_found: keys, at most `MAX_LISTED`.
        key_counts: how many keys of each sort.
        identity_keys: public keys, in hex, whose private half was found; they open nothing by themselves.
        plaintext_hits: how many runs of known plaintext.
        plaintext: the same by known file.
        hits: the same one by one, at most `MAX_LISTED`.
    """

    surface: str
    stolen_bytes: int
    captured_bytes: int
    payloads: int
    messages: int
    leases: int
    candidates: int
    opened: tuple[Opened, ...]
    keys_found: tuple[KeyFound, ...]
    key_counts: dict[str, int]
    identity_keys: tuple[str, ...]
    plaintext_hits: int
    plaintext: tuple[KnownText, ...]
    hits: tuple[TextHit, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the finding as JSON values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return the finding as text for a terminal."""
        text = [
            f"Stolen: {self.surface}: {self.stolen_bytes:,} bytes of files, {self.captured_bytes:,} of memory",
            f"Holds:  {self.payloads} sealed items, {self.messages} messages, {self.leases} of them leases",
            f"Tried:  {self.candidates:,} stretches of bytes that could be a key, each on everything",
            f"Opened: {len(self.opened)} items" + (":" if self.opened else ""),
        ]
        text += [f"  {each.kind:<10} {each.name!r} (item {each.item}, version {each.version})" for each in self.opened]
        text.append(f"Keys:   {sum(self.key_counts.values())} found" + (":" if self.keys_found else ""))
        text += [
            f"  {each.sort:<10} {each.encoding} at byte {each.offset} of {each.place}, opens {each.opens}"
            for each in self.keys_found
        ]
        text.append(f"Plaintext: {self.plaintext_hits} runs of known text" + (":" if self.plaintext else ""))
        text += [
            f"  {' or '.join(each.known)}: {each.runs} runs, the longest of {each.longest} bytes"
            for each in self.plaintext
        ]
        return text
