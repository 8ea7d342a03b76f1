"""Exhaustive search of the protocol's model within stated bounds, and the mutants that it has to catch."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("labelvault.maude")


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may happen at most.

    Attributes:
        ticks: of time, of four minutes each.
        events: what may happen besides time, once for each word; the model's `Token`s.
        insider: one more contractor belongs to the attacker from the start.
    """

    ticks: int
    events: str
    insider: bool = False


@dataclass(frozen=True, slots=True)
class Mutant:
    """One condition that is turned off, where that shows, and the claim that it breaks first."""

    bounds: str
    claim: str
    without: str


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        states: different ones that were looked at; all of them, if no claim broke.
        rules: that led to them.
        seen: the witnesses among them.
        broken: the claims that do not hold in the last state.
        path: the rules on the shortest way there.
    """

    states: int
    rules: frozenset[str]
    seen: frozenset[str]
    broken: tuple[str, ...]
    path: tuple[str, ...]


BOUNDS = {
    "helper": Bounds(2, "ask(ada) ask(ada) steal(ada)"),
    "thief": Bounds(3, "ask(ada) steal(ada) forge revoke(ada)"),
    "erasure": Bounds(3, "ask(ada) sloppy steal(ada) leave(ada) fake"),
    "leaver": Bounds(2, "ask(ada) steal(ada) leave(ada) forge"),
    "crash": Bounds(2, "ask(ada) crash revoke(ada) freeze"),
    "renewal": Bounds(3, "ask(ada) renew(ada) renew(ada)"),
    "insider": Bounds(2, "ask(ada) forge forge fake", insider=True),
    "receipts": Bounds(2, "ask(ada) forge fake steal(ada)", insider=True),
    "desk": Bounds(3, "ask(dex) steal(dex) approve approve forge"),
    "desk-left": Bounds(3, "ask(dex) steal(dex) leave(dex) approve forge"),
    "desk-twice": Bounds(2, "ask(dex) steal(dex) leave(dex) approve forge forge"),
    "ahead": Bounds(2, "ahead(ada) ahead(dex) forge steal(ada) steal(dex)"),
}

MUTANTS = {
    "in-state": Mutant("insider", "G4-granted", "the grant must be in the issuer's own state"),
    "parties": Mutant("thief", "G4-granted", "the signer must be the grant's contractor"),
    "scope": Mutant("thief", "G4-scope", "the task must be in scope"),
    "validity": Mutant("insider", "G4-valid", "the grant must be valid now"),
    "request-age": Mutant("thief", "G4-valid", "a request expires"),
    "revocation": Mutant("thief", "G4-revoked", "nothing is released after a revocation"),
    "freeze": Mutant("crash", "G4-frozen", "nothing is released while frozen"),
    "max-open": Mutant("helper", "G4-max-open", "live leases are capped"),
    "max-total": Mutant("insider", "G4-max-total", "leases ever are capped"),
    "rate": Mutant("renewal", "G4-rate", "releases an hour are capped, renewals included"),
    "presence": Mutant("desk", "G4-presence", "a desk's request needs a cosignature"),
    "presence-bound": Mutant("desk-twice", "G4-presence", "it is over this very body"),
    "presence-fresh": Mutant("desk", "G4-presence", "it is at most five minutes old"),
    "device-clock": Mutant("desk", "G4-presence", "the device compares the approval's time with its clock"),
    "desk-prekeys": Mutant("ahead", "G4-presence", "nothing is issued ahead to a desk"),
    "key-once": Mutant("thief", "C4-one-key-one-lease", "a one-time key works once"),
    "replay": Mutant("helper", "R1-one-lease", "a request that was answered is not decided anew, and its key is spent"),
    "stored-answer": Mutant("crash", "R1-not-after-the-end", "a stored lease is given out only while it lives"),
    "denial-spends": Mutant("helper", "R7-denied-stays-denied", "a denial spends its request"),
    "replaces-same": Mutant("thief", "F15-renewal", "a renewal is of the same grant, contractor and task"),
    "replaces-live": Mutant("thief", "F15-renewal", "what is renewed must live"),
    "ledger-first": Mutant("crash", "G5-ledger-first", "the entry is committed before the answer leaves"),
    "erase-on-close": Mutant("helper", "G3-closed-stays-closed", "the one-time key is gone after the close"),
    "exit-before-receipt": Mutant("helper", "G5-statement-covers", "`process-exit` is signed after the exit"),
    "receipt-bound": Mutant("receipts", "G5-statement-covers", "a receipt is of the lease's own contractor"),
    "thief-receipts": Mutant("helper", "G5-statement-covers", "receipts entered after a theft end nothing"),
    "not-erased": Mutant("erasure", "G5-statement-covers", "`best-effort` ends nothing"),
    "key-taken": Mutant("leaver", "G5-statement-covers", "releases to a copied key count after the thief has left"),
    "approved-before": Mutant(
        "desk-left", "G5-statement-covers", "an approval from before he left counts for ten minutes"
    ),
    "wraps-only": Mutant("helper", "G5-statement-covers", "`client.db` holds wraps, and no KEK"),
    "person-alert": Mutant(
        "desk-left", "G5-statement-covers", "nobody approves what a thief who has left still asks for"
    ),
}

WITNESSES = {
    "honest-run": "helper",
    "thief-reads-what-is-open": "helper",
    "renewed-run": "renewal",
    "late-answer": "crash",
    "desk-run": "desk",
    "thief-gets-one-approved": "desk",
    "ahead-run": "ahead",
}


@cache
def module() -> Any:
    """Load the model once a process."""
    import maude

    maude.init(advise=False)
    if not maude.load(str(SOURCE)):
        raise FileNotFoundError(SOURCE)
    return maude.getModule("PROTOCOL")


def rules() -> frozenset[str]:
    """Return the names of all rules of the model."""
    return frozenset(rule.getLabel() for rule in module().getRules())


def explore(bounds: Bounds, flag: str = "intact") -> Found:
    """Look at every state that can be reached, the nearest first, until a claim breaks."""
    import maude

    model = module()
    text = f"start({bounds.ticks}, {flag}, {bounds.events})"
    first = model.parseTerm(f"insider({text})" if bounds.insider else text)
    if first is None:
        raise ValueError(f"not a state of the model: {text}")
    state = model.findSort("State").kind()
    broken = model.findSymbol("broken", [state], model.findSort("Claims").kind())
    seeing = model.findSymbol("seen", [state], model.findSort("Sights").kind())
    wanted = {name for name, where in WITNESSES.items() if BOUNDS[where] == bounds}
    states = 0
    fired: set[str] = set()
    seen: set[str] = set()
    search = first.search(maude.ANY_STEPS, model.parseTerm("S:State"))
    for found, _, path, _ in search:
        states += 1
        if states > 1:  # no rule leads to the first
            fired.add(search.getRule().getLabel())
        claims = broken(found)
        claims.reduce()
        if str(claims) != "fine":
            names, way = tuple(sorted(set(str(claims).split()))), tuple(step.getLabel() for step in path()[1::2])
            return Found(states, frozenset(fired), frozenset(seen & wanted), names, way)
        if wanted - seen:
            sights = seeing(found)
            sights.reduce()
            seen.update(str(sights).split())
    return Found(states, frozenset(fired), frozenset(seen & wanted), (), ())
