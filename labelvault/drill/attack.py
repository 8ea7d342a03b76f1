"""The attack from end to end: collect, recognise, open, search."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Final

from labelvault.crypto.recognise import PayloadRecogniser
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.drill.candidates import Candidate, batches
from labelvault.drill.entropy import KEY_BYTES
from labelvault.drill.evidence import Loot, Source, collect, map_file
from labelvault.drill.explained import Explained
from labelvault.drill.known import Entry, KnownSearch, Run, read_known
from labelvault.drill.records import Messages, SealedRecord, StolenPrekey, read_databases, read_prekeys
from labelvault.drill.report import MAX_LISTED, Finding, KeyFound, KnownText, Opened, TextHit
from labelvault.drill.trial import Match, leased_keys, open_record, recorded, try_keys
from labelvault.envelope.digest import payload_leaves
from labelvault.errors import DecryptionError, KeystoreError
from labelvault.keys.identity import Identity
from labelvault.keys.keystore import MAGIC as KEYSTORE_MAGIC
from labelvault.keys.keystore import MAX_FILE_BYTES, KeystoreKind, open_keystore
from labelvault.keys.prekeys import open_prekey

_KEYSTORE_KINDS: Final[tuple[KeystoreKind, ...]] = ("identity", "root")


@dataclass(slots=True)
class _Tally:
    """What was found so far."""

    opened: set[Opened] = field(default_factory=set)
    keys: list[KeyFound] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    identities: set[str] = field(default_factory=set)
    candidates: int = 0


def run(
    vault: str | Path,
    *,
    contractors: Sequence[Path] = (),
    desks: Sequence[Path] = (),
    captures: Sequence[Path] = (),
    folders: Sequence[Path] = (),
    known: Path | None = None,
    baseline: Sequence[Path] = (),
    passphrases: Sequence[SecretBytes] = (),
    surface: str | None = None,
) -> Finding:
    """Find out what a thief can read.

    Args:
        vault: the stolen vault's folder, or the `sqlite:///` address of the database in it: then the files
            beside it were stolen, and folders were not.
        contractors: stolen homes of contractors, captures of their processes in `captures/*.mem`.
        desks: stolen homes of desks, the same.
        captures: further captures of live processes.
        folders: anything else that was stolen; captures in it as in a home.
        known: a folder of plaintext to look for, see `labelvault.drill.known.read_known`.
        baseline: captures of processes that ran the same code and never held plaintext or keys; what stands
            there too is neither a key nor a find. It saves most of the work on captures.
        passphrases: stolen ones, tried on every key file.
        surface: what the report calls the theft.

    Raises:
        DrillError: something that was named is not there, or can't be read.
    """
    loot = Loot(vault, contractors, desks, captures, folders)
    with ExitStack() as stack:
        sources = collect(loot, stack)
        clean = [Source(str(path), map_file(path, stack), "capture", path) for path in baseline]
        entries = [] if known is None else read_known(known)
        items, rows = read_databases(sources)
        messages = Messages()
        for source in [*sources, *rows]:
            messages.carve(source.data)
        prekeys = read_prekeys(sources)
        messages.one_time_keys |= {prekey.record.public_key for prekey in prekeys}
        tally = _Tally()
        explained = Explained(_explanations(items, messages, entries))
        guesses = batches([*sources, *rows], explained, clean)
        for count, matches in try_keys(
            chain([_from_keystores(sources, passphrases)], guesses), recorded(items, messages)
        ):
            tally.candidates += count
            for match in matches:
                _follow(match, items, messages, prekeys, tally)
        search = KnownSearch(entries, [source.data for source in clean])
        runs = search.search([*sources, *rows])
        sizes = Counter[str]()
        for source in sources:
            sizes[source.kind] += len(source.data)
    return Finding(
        surface=surface or _surface(loot),
        stolen_bytes=sizes["file"],
        captured_bytes=sizes["capture"],
        payloads=len(items),
        messages=len(messages.frames),
        leases=len(messages.leases),
        candidates=tally.candidates,
        opened=tuple(sorted(tally.opened)),
        keys_found=tuple(tally.keys[:MAX_LISTED]),
        key_counts=dict(tally.counts),
        identity_keys=tuple(sorted(tally.identities)),
        plaintext_hits=len(runs),
        plaintext=_by_known_file(runs),
        hits=tuple(TextHit(run.place, run.offset, run.length, run.labels) for run in runs[:MAX_LISTED]),
    )


def _explanations(items: Sequence[SealedRecord], messages: Messages, entries: Sequence[Entry]) -> Iterator[bytes]:
    """Yield what is known to be no key."""
    for item in items:
        yield item.payload
        yield from payload_leaves(item.payload)
        yield from (item.header.client, item.header.project, item.header.item)
    yield from messages.signers
    # A key that hid in a known text would be no secret.
    yield from (entry.data for entry in entries)


def _from_keystores(sources: Sequence[Source], passphrases: Sequence[SecretBytes]) -> list[Candidate]:
    """Open every key file with every stolen passphrase."""
    found = []
    for source in sources:
        if len(source.data) > MAX_FILE_BYTES or source.data[: len(KEYSTORE_MAGIC)] != KEYSTORE_MAGIC:
            continue
        for passphrase in passphrases:
            for kind in _KEYSTORE_KINDS:
                try:
                    secret = open_keystore(kind, source.data[:], passphrase)
                except KeystoreError:
                    # Another passphrase's, another kind's, or torn: a thief tries the next.
                    continue
                if len(secret) == KEY_BYTES:
                    found.append(Candidate(secret.reveal(), source.place, 0, "keystore"))
    return found


def _follow(
    match: Match,
    items: Sequence[SealedRecord],
    messages: Messages,
    prekeys: Sequence[StolenPrekey],
    tally: _Tally,
) -> None:
    """Open whatever a guess that fits leads to."""
    key = match.candidate.key
    if match.payloads:
        opened = {_opened(items[index], key) for index in match.payloads} - {None}
        _record(tally, "dek", match.candidate, opened)
    if match.one_time:
        deks = leased_keys(key, messages)
        recogniser = PayloadRecogniser(recorded(items, messages).payloads)
        opened = {_opened(items[index], dek) for dek in deks for index in recogniser.matches(dek)} - {None}
        _record(tally, "one-time", match.candidate, opened)
    if match.identity is not None:
        tally.identities.add(match.identity.hex())
        _record(tally, "identity", match.candidate, set())
        for seed in _unlocked(key, prekeys):
            _follow(Match(seed, (), one_time=True, identity=None), items, messages, (), tally)


def _unlocked(identity: bytes, prekeys: Sequence[StolenPrekey]) -> Iterator[Candidate]:
    """Open prekeys' files with an identity's seed."""
    owner = Identity(SigningKey(SecretBytes(identity)))
    for prekey in prekeys:
        try:
            seed = open_prekey(owner, prekey.record)
        except DecryptionError:
            # Another identity's.
            continue
        yield Candidate(seed.reveal(), prekey.place, 0, "prekey file")


def _opened(item: SealedRecord, key: bytes) -> Opened | None:
    plain = open_record(item, key)
    if plain is None:
        return None
    header = item.header
    return Opened(plain.metadata.name, plain.metadata.kind, header.item.hex(), header.version, header.client.hex())


def _record(tally: _Tally, sort: str, candidate: Candidate, opened: set[Opened | None]) -> None:
    tally.opened |= {each for each in opened if each is not None}
    tally.counts[sort] += 1
    tally.keys.append(KeyFound(sort, candidate.place, candidate.offset, candidate.encoding, len(opened)))


def _by_known_file(runs: Sequence[Run]) -> tuple[KnownText, ...]:
    grouped: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for run in runs:
        grouped[run.labels].append(run.length)
    return tuple(KnownText(labels, len(found), max(found)) for labels, found in sorted(grouped.items()))


def _surface(loot: Loot) -> str:
    parts = ["vault", *["contractor"] * len(loot.contractors), *["desk"] * len(loot.desks)]
    return " + ".join(parts + ["capture"] * len(loot.captures) + ["folder"] * len(loot.folders))
