"""The act of a contractor who works while the issuer is switched off: bundle in, leases out, by file alone."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from labelvault.story.cast import PROJECT, Cast
from labelvault.story.known import Known
from labelvault.story.telling import Act, Did, Said
from labelvault.story.world import Actor, StoryError, shown

if TYPE_CHECKING:
    from labelvault.story.acts import Play

BEN: Final = "Ben (works on the train)"
_CAPS: Final = ("--max-open", "2", "--max-total", "2", "--per-hour", "20", "--lease-ttl", "2h")
ANSWER: Final = {"verdict": "the second answer", "because": "the first one contradicts its own table"}
"""What is submitted, and has to come out at the client's."""


def works_ahead(play: "Play", cast: Cast, fingerprint: str, known: Known) -> None:
    """Issue two leases to prekeys while nothing is online, open one, answer it, and steal the device."""
    play.tell(Act("A contractor works ahead: the issuer is switched off, and a file goes there and back"))
    ben = Actor.create("contractor", play.folder / "ahead", "the traveller")
    play.enrol(ben, BEN, "helper", "a laptop on the train")
    play.admit(ben, BEN, cast.scope, ("--expires", "7d", *_CAPS), fingerprint)
    play.issuer.end()
    play.tell(Said("The issuer goes off. From here on, client and contractor meet by two files only."))
    first, second = cast.inside[:2]
    prekeys, leases = ben.home / "ben.prekeys", ben.home / "ben.leases"
    play.do(ben, "prekeys", "-n", "3", "-o", prekeys, outcome=lambda facts: "one-time keys; their halves stay here")
    tasks = ("--item", first, "--item", second)
    words: tuple[str | Path, ...] = ("issue", "--contractor", BEN, *tasks, "--prekeys", prekeys, "--to", leases)
    play.do(play.client, *words, outcome=lambda facts: "two leases, in the ledger before they are in the file")
    play.do(ben, "import", leases, outcome=lambda facts: "sealed to keys that this device alone has")
    opened = play.do(ben, "open", first, "--offline", outcome=lambda facts: "opened and closed, with nobody asked")
    answer = ben.home / "answer.json"
    answer.write_text(json.dumps(ANSWER), encoding="utf-8")
    play.do(ben, "submit", opened["lease"], answer, outcome=lambda facts: "sealed to the client, left at the vault")
    play.tell(Act("Theft 6: the vendor's disk, and that device and passphrase, with one lease still unopened"))
    play.start_issuer()
    # The first one's close has been taken then; the second counts from its issue.
    play.wait_for_only(BEN, second)
    loot = play.stolen("6-ahead", {"vendor": play.vendor, "contractor": ben})
    play.drilled("a device with a lease that was issued ahead", loot, [BEN], known)
    _come_back(play, ben)


def _come_back(play: "Play", ben: Actor) -> None:
    """Let the answer reach the client, and the vendor pay on what the client's issuer signed.

    Raises:
        StoryError: another answer came out than went in, or it came twice.
    """
    play.tell(Act("The answer comes back sealed, and the vendor pays on the client's word for it"))
    folder = play.client.home / "answers"
    words: tuple[str | Path, ...] = ("collect", PROJECT, "--to", folder)
    first = play.do(play.client, *words, outcome=lambda facts: f"{facts['answers']} answer, opened at the client's")
    again = play.do(play.client, *words, outcome=lambda facts: "nothing new: each is written exactly once")
    rows = [json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]
    if [row["answer"] for row in rows] != [ANSWER] or (first["answers"], again["answers"]) != (1, 0):
        raise StoryError(f"{len(rows)} answers were collected, or others than the one that was submitted")
    play.answers = len(rows)
    acks = play.do(play.vendor, "acks", outcome=lambda facts: f"{len(facts['acks'])}, signed by the client's issuer")
    paid = {(each["contractor"], each["item"]) for each in acks["acks"] if _is_payable(each)}
    play.to_pay = len(paid)
    play.tell(Said(f"To pay: {len(paid)} task, once for each contractor and item, however many acks there are."))
    heard = ben.run("sync").facts["submissions"]
    if [each["state"] for each in heard] != ["accepted"]:
        raise StoryError("the contractor did not hear that the answer was accepted")
    play.tell(Did(ben.name, shown("contractor", ("sync",)), "accepted, says the client"))


def _is_payable(ack: dict[str, Any]) -> bool:
    return bool(ack["verdict"] == "accepted" and ack["event"] == "answer")
