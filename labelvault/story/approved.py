"""The act at a desk with a presence device: a thief who holds all of the desk gets what is open there, and no more."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from labelvault.contractor.exchange import MailboxExchange, acceptor
from labelvault.contractor.joining import Joined
from labelvault.contractor.opening import make_request
from labelvault.crypto.hpke import OneTimeKey
from labelvault.errors import DeniedError
from labelvault.keys.identity import open_identity
from labelvault.relay import open_relay
from labelvault.story.cast import Cast
from labelvault.story.known import Known
from labelvault.story.telling import Act, Did, Said
from labelvault.story.thefts import capture_before, present
from labelvault.story.world import Actor, Running, StoryError

if TYPE_CHECKING:
    from labelvault.story.acts import Play

DESK_EIGHT: Final = "Desk 8 (approved by phone)"
_TIMEOUT_S: Final = 30.0
_IMPATIENT: Final = ("--approval-timeout", "4")


def approved_desk(play: "Play", cast: Cast, fingerprint: str, known: Known) -> None:
    """Enrol a desk with its phone, open one task, steal the desk alive, and let the thief ask for another."""
    play.tell(Act("A desk whose openings are approved on the contractor's own phone"))
    desk = Actor.create("contractor", play.folder / "desk-8", "desk 8")
    phone = Actor.create("contractor", play.folder / "phone", "the phone")
    _enrol(play, desk, phone)
    caps = ("--max-open", "2", "--max-total", "10", "--per-hour", "20", "--lease-ttl", "30m")
    grant = play.admit(desk, DESK_EIGHT, cast.scope, ("--expires", "7d", *caps), fingerprint)
    play.tell(Said(grant["statement"]))
    invite = desk.home / "client.invite"
    phone.run("device", "join", invite, "--fingerprint", fingerprint)
    person = play.start(phone, "approve", "--watch", log=phone.home / "approve.jsonl")
    person.next_event("ready")
    running = play.start(desk, "desk", log=desk.home / "desk.jsonl")
    running.next_event("ready")
    baseline = capture_before(running.pid, play.folder / "drill" / "desk-8-before.mem")
    first, second = cast.inside[:2]
    running.say(f"open {first}")
    _answered(person, "y", "approved")
    running.next_event("opened")
    play.tell(Did(desk.name, f"desk> open {first[:8]}...", "open, once the person at the phone had said yes"))
    play.tell(Act("Theft 5: the vendor's disk, and that desk alive, its signing key and old approvals included"))
    loot = play.stolen("5-approved-desk", {"vendor": play.vendor, "desk": desk}, live=running.pid)
    thief = Actor("contractor", loot.folder / "desk", name="the thief")
    asking = play.start(thief, "open", second, *_IMPATIENT, log=thief.home / "open.json")
    _answered(person, "n", "declined")
    kind = asking.result().error.get("kind")
    if kind != "ApprovalTimeoutError":
        raise StoryError(f"a thief who was not approved got {kind}")
    play.tell(Did(thief.name, f"open {second[:8]}...", "the phone asks its owner, who says no", refused=True))
    code = _ask_unapproved(thief.home, thief.passphrase, second)
    play.denials.append(code)
    play.tell(Did(thief.name, "the same with a program of his own, unapproved", f"denied: {code}", refused=True))
    loot.end = present()
    play.drilled("a desk with a presence device, one task open", loot, [DESK_EIGHT], known, baseline)
    running.say("quit")
    running.wait()
    play.wait_for_receipts(DESK_EIGHT)
    person.end()


def _enrol(play: "Play", desk: Actor, phone: Actor) -> None:
    key = play.do(phone, "device", "init", outcome=lambda facts: f"a key; check words {facts['check']}")["presence_key"]
    words: tuple[str | Path, ...] = ("init", "--tier", "desk", "--label", "rendering host 8", "--presence-key", key)
    play.do(desk, *words, outcome=lambda facts: f"the same check words: {facts['check']}")
    draft, cosignature, card = (desk.home / f"desk.{kind}" for kind in ("draft", "cosignature", "card-file"))
    desk.run("card", "--draft", "-o", draft)
    play.do(phone, "device", "cosign", draft, "-o", cosignature, "--yes", outcome=lambda facts: "the phone agrees")
    desk.run("card", "--cosigned", cosignature, "-o", card)
    spoken = play.do(phone, "device", "card", card, outcome=lambda facts: f"fingerprint {facts['fingerprint']}")
    words = ("enroll", card, "--name", DESK_EIGHT, "--fingerprint", spoken["fingerprint"])
    play.do(play.client, *words, outcome=lambda facts: "the fingerprint was read out from the phone")


def _answered(person: Running, answer: str, event: str) -> None:
    person.next_event("asked")
    person.say(answer)
    person.next_event(event)


def _ask_unapproved(home: Path, passphrase: str, item: str) -> str:
    """Ask for a task with a desk's stolen key and without its phone; return the denial's code.

    Raises:
        StoryError: it was not denied.
    """
    identity = open_identity(home / "identity.key", passphrase)
    membership = Joined(home, identity.public_key).find(None)
    relay = open_relay(membership.vault)
    try:
        key = OneTimeKey.generate().public_key
        request = make_request(membership, identity, bytes.fromhex(item), key, present())
        MailboxExchange(relay, membership).ask(request, acceptor(request, membership, present), _TIMEOUT_S)
    except DeniedError as denied:
        return denied.code
    finally:
        relay.close()
    raise StoryError("a thief opened a task that nobody approved")
