"""The acts of the story, each one real commands by real actors."""

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from labelvault.client import Client, PassphraseRoot, StatedItem
from labelvault.story.cast import Cast, choose
from labelvault.story.findings import Theft
from labelvault.story.known import Known, write_known
from labelvault.story.telling import Act, Did, Said, Stolen, Tell
from labelvault.story.thefts import Loot, Tamper, carried_off, compare, drill, not_measured, present, steal
from labelvault.story.world import Actor, Ran, Running, StoryError, shown, wait_until
from labelvault.vendor import Vault

PROJECT: Final = "spring evaluation"
ADA: Final = "Ada (own laptop)"
DESK_SEVEN: Final = "Desk 7 (vendor site)"
"""What the client calls them; the drill looks for these names too, so they are like no other text."""
_LIMITS: Final = ("--per-hour", "20", "--lease-ttl", "30m")
_SHORT_S: Final = (4, 12, 40)
_HONEST_OPENINGS: Final = 2
_STOLEN_OPENINGS: Final = 2
_POLL_S: Final = 0.05
_EXCERPT_LINES: Final = 5


class Play:
    """The story on its stage.

    Attributes:
        sealed: items in the catalog.
        sealed_again: items that a second sealing sealed.
        vault_bytes: what the vault takes up at the end.
        denials: codes, in order.
        thefts: in order.
    """

    def __init__(self, folder: Path, project: Path, tell: Tell, tamper: Tamper | None, cleanup: ExitStack) -> None:
        """Set the stage.

        Args:
            folder: empty; holds one folder an actor.
            project: the folder to seal.
            tell: gets every event.
            tamper: see `labelvault.story.thefts.Tamper`.
            cleanup: ends what still runs when the story ends, however it ends.
        """
        self._folder = folder
        self._project = project
        self._tell = tell
        self._tamper = tamper
        self._cleanup = cleanup
        self.sealed = 0
        self.sealed_again = 0
        self.vault_bytes = 0
        self.denials: list[str] = []
        self.thefts: list[Theft] = []
        for name in ("thief", "drill"):
            (folder / name).mkdir(mode=0o700)
        self._vendor = Actor.create("vendor", folder / "vendor", "the vendor")
        self._client = Actor.create("client", folder / "client", "the client")
        self._contractor = Actor.create("contractor", folder / "contractor", "the contractor")
        self._desk = Actor.create("contractor", folder / "desk", "the desk")

    def perform(self) -> None:
        """Play all acts, in order."""
        known = self._seal()
        fingerprint = self._fingerprint
        cast = self._meet(fingerprint)
        self._open_and_close(cast)
        self._refusals(cast)
        self._theft_of_a_device(known)
        self._work_at_a_desk(cast, fingerprint, known)
        self._theft_with_a_live_key(cast, known)
        self._close_the_books()

    # --- what an act is made of ---

    def _do(self, actor: Actor, *words: str | Path, outcome: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
        ran = actor.run(*words)
        self._tell(Did(actor.name, shown(actor.role, words), outcome(ran.facts), facts=ran.facts))
        return ran.facts

    def _refused(self, actor: Actor, *words: str | Path, code: str) -> None:
        """Run a command that has to be denied with this code."""
        self._denied(actor, shown(actor.role, words), actor.run(*words, refused=True), code)

    def _denied(self, actor: Actor, command: str, ran: Ran, code: str) -> None:
        if ran.error.get("code") != code:
            raise StoryError(f"{command} was to be denied as {code}, not {ran.error}")
        self.denials.append(code)
        self._tell(Did(actor.name, command, f"denied: {code}", refused=True, facts=ran.facts))

    def _measured(self, theft: Theft) -> None:
        self.thefts.append(theft)
        self._tell(Stolen(theft))

    # --- acts ---

    def _seal(self) -> Known:
        self._tell(Act("The client seals its project, and the vendor stores what it can't read"))
        vendor, client = self._vendor, self._client
        vault = self._do(vendor, "init", outcome=lambda facts: "an empty vault")["vault"]
        facts = self._do(client, "init", "--vault", vault, outcome=lambda facts: f"fingerprint {facts['fingerprint']}")
        self._fingerprint = facts["fingerprint"]
        self._do(client, "project", "create", PROJECT, outcome=lambda facts: "a project with a key of its own")
        report = self._do(client, "seal", PROJECT, self._project, outcome=_sealed)
        self._tell(Said(_openings(report["openings"])))
        self.sealed_again = self._do(client, "seal", PROJECT, self._project, outcome=_sealed)["new"]
        self.sealed = sum(report[each] for each in ("new", "changed", "same"))
        self._ledger = self._cleanup.enter_context(Client.open(client.home, PassphraseRoot(client.passphrase)))
        names = [PROJECT, ADA, DESK_SEVEN]
        known = write_known(self._folder / "drill" / "known", self._project, names)
        self._tell(Act("Theft 1: the vendor's disk, all of it"))
        loot = self._stolen("1-vendor", {"vendor": vendor})
        self._drilled("the vault at rest", loot, [], known)
        return known

    def _meet(self, fingerprint: str) -> Cast:
        self._tell(Act("A contractor gets access: to one batch, with caps, until it expires"))
        tasks = self._client.run("ls", PROJECT, "--kind", "task").facts["items"]
        cast = choose(tasks)
        self._enrol(self._contractor, ADA, "helper", "a laptop at home")
        self._too_late(cast, fingerprint)
        caps = ("--max-open", "1", "--max-total", str(_HONEST_OPENINGS + _STOLEN_OPENINGS), *_LIMITS)
        self._admit(self._contractor, ADA, cast.scope, ("--expires", "7d", *caps), fingerprint)
        return cast

    def _enrol(self, actor: Actor, name: str, tier: str, label: str) -> None:
        words = ("init", "--tier", tier, "--label", label)
        fingerprint = self._do(actor, *words, outcome=lambda facts: f"fingerprint {facts['fingerprint']}")
        card = actor.home / "my.card"
        self._do(actor, "card", "-o", card, outcome=lambda facts: "goes to the client by any way")
        spoken = fingerprint["fingerprint"]
        self._do(
            self._client,
            "enroll",
            card,
            "--name",
            name,
            "--fingerprint",
            spoken,
            outcome=lambda facts: f"{facts['tier']}; the fingerprint was read out by phone",
        )

    def _admit(
        self, actor: Actor, name: str, scope: Sequence[str], terms: Sequence[str], fingerprint: str
    ) -> dict[str, Any]:
        """Grant, hand over the invite, and join."""
        invite = actor.home / "client.invite"
        words: tuple[str | Path, ...] = ("grant", PROJECT, name, *scope, *terms, "--invite", invite)
        grant = self._do(self._client, *words, outcome=lambda facts: f"until {facts['expires_at'][:16]}Z")
        self._do(
            actor,
            "join",
            invite,
            "--fingerprint",
            fingerprint,
            outcome=lambda facts: f"tier {facts['tier']}, presence {facts['presence']}",
        )
        return grant

    def _too_late(self, cast: Cast, fingerprint: str) -> None:
        """Show an expiry that the issuer's clock decides, and start the issuer.

        The issuer is down while the grant is alive, and finds the request when the grant has ended.
        """
        actor, client = self._contractor, self._client
        for expires_s in _SHORT_S:
            terms = ("--expires", f"{expires_s}s", "--max-open", "1", "--max-total", "1", *_LIMITS)
            self._admit(actor, ADA, ("--item", cast.inside[0]), terms, fingerprint)
            end = time.monotonic() + expires_s
            words = ("open", cast.inside[0], "--timeout", "60")
            asking = self._start(actor, *words, log=actor.home / "open.json")
            asked = self._posted(end)
            time.sleep(max(0.0, end - time.monotonic()))
            if asked:
                break
            # A machine so slow that the grant ended before it was used: a longer one shows the same.
            asking.kill()
        else:
            raise StoryError("this machine is too slow to use a grant before it expires")
        self._tell(
            Said("The request waits in the vault: the issuer is down. The grant expires, then the issuer comes up.")
        )
        self._issuer = self._start(client, "issuer", "run", log=client.home / "issuer.jsonl")
        self._tell(Did("the client", shown("client", ("issuer", "run")), "answers from now on"))
        self._denied(actor, shown("contractor", words), asking.result(), "expired")

    def _start(self, actor: Actor, *words: str | Path, log: Path) -> Running:
        running = actor.start(*words, log=log)
        self._cleanup.callback(running.kill)
        return running

    def _posted(self, end: float) -> bool:
        """Wait for a message to lie in the vault; return whether one did before the time."""
        with Vault.open(f"sqlite:///{self._vendor.home / 'vault.db'}") as vault:
            while time.monotonic() < end:
                if vault.status().pending_messages:
                    return True
                time.sleep(_POLL_S)
        return False

    def _open_and_close(self, cast: Cast) -> None:
        self._tell(Act("The contractor opens one task, reads it, and closes it"))
        actor, words = self._contractor, ("open", cast.inside[0])
        text = actor.read(*words)
        self._tell(Did(actor.name, shown("contractor", words), "shown in the contractor's own window, then closed"))
        self._tell(Said(f"{len(text)} lines were shown: what the task requires, then the task itself. It begins:"))
        for line in text[_first_of_task(text) :][:_EXCERPT_LINES]:
            self._tell(Said(f"| {line}"))
        self._wait_for_receipts(ADA)
        self._tell(Said("The key was for one opening. Its process has exited, and the receipt is in the ledger."))

    def _wait_for_receipts(self, name: str) -> None:
        """Wait until the issuer has recorded what was closed: until then the ledger states it as open."""
        wait_until(lambda: not self._stated([name]), "the issuer's record of a receipt")

    def _stated(self, names: list[str]) -> list[StatedItem]:
        now = present()
        return self._ledger.stated(names, now, now)

    def _refusals(self, cast: Cast) -> None:
        self._tell(Act("What the issuer refuses"))
        actor, first, second = self._contractor, cast.inside[0], cast.inside[1]
        self._refused(actor, "open", cast.outside, code="unknown")
        self._tell(Said("Out of scope, gold, or no such item: the answer is the same, so asking maps nothing out."))
        held = self._start(actor, "open", first, log=actor.home / "open.json")
        wait_until(lambda: held.ended or bool(self._stated([ADA])), "an opening")
        self._tell(Did(actor.name, shown("contractor", ("open", first)), "open, in another terminal"))
        self._refused(actor, "open", second, code="limit-open")
        held.say("")
        held.wait()
        self._wait_for_receipts(ADA)
        self._do(self._client, "freeze", PROJECT, outcome=lambda facts: "nothing more is released")
        self._refused(actor, "open", second, code="frozen")
        self._do(self._client, "unfreeze", PROJECT, outcome=lambda facts: "released again")

    # --- thefts ---

    def _stolen(self, name: str, homes: dict[str, Actor], live: int | None = None) -> Loot:
        return steal(name, self._folder / "thief" / name, homes, live=live, tamper=self._tamper)

    def _drilled(self, surface: str, loot: Loot, names: list[str], known: Known, note: str = "") -> None:
        """Let the drill loose, and hold what it finds against the ledger."""
        stated = self._ledger.stated(names, loot.start, loot.end)
        if loot.unmeasured:
            self._measured(not_measured(surface, stated, loot))
            return
        found = drill(loot, known, self._folder / "drill" / f"{loot.name}.json")
        self._measured(compare(surface, found, stated, known, note))

    def _theft_of_a_device(self, known: Known) -> None:
        self._tell(Act("Theft 2: the vendor's disk, and the contractor's device and passphrase"))
        homes = {"vendor": self._vendor, "contractor": self._contractor}
        loot = self._stolen("2-device", homes)
        self._drilled("the vault, and a contractor's device after closing", loot, [ADA], known)

    def _work_at_a_desk(self, cast: Cast, fingerprint: str, known: Known) -> None:
        self._tell(Act("A desk at the vendor's: two tasks are open while the thief is there"))
        desk = self._desk
        self._enrol(desk, DESK_SEVEN, "desk", "rendering host 7")
        caps = ("--max-open", "2", "--max-total", "10", *_LIMITS, "--waive-presence")
        grant = self._admit(desk, DESK_SEVEN, cast.scope, ("--expires", "7d", *caps), fingerprint)
        self._tell(Said(grant["statement"], warning=True))
        running = self._start(desk, "desk", log=desk.home / "desk.jsonl")
        running.next_event("ready")
        for item in cast.inside[:2]:
            running.say(f"open {item}")
            opened = running.next_event("opened")
            command = f"desk> open {item[:8]}..."
            self._tell(Did(desk.name, command, f"open in process {opened['pid']}, which alone holds key and text"))
        self._tell(Act("Theft 3: the vendor's disk, and the desk with its processes' memory"))
        loot = self._stolen("3-desk", {"vendor": self._vendor, "desk": desk}, live=running.pid)
        self._drilled("a desk with two tasks open", loot, [DESK_SEVEN], known)
        running.say("quit")
        running.wait()
        self._wait_for_receipts(DESK_SEVEN)
        self._tell(Did(desk.name, "desk> quit", "both closed; their processes have exited"))

    def _theft_with_a_live_key(self, cast: Cast, known: Known) -> None:
        self._tell(Act("Theft 4: a thief who goes on asking, from the contractor's device"))
        loot = self._stolen("4-thief", {"vendor": self._vendor, "contractor": self._contractor})
        thief = Actor("contractor", loot.folder / "contractor", name="the thief")
        wanted = (*cast.inside[1:], cast.inside[0])
        for number in range(_STOLEN_OPENINGS):
            words = ("open", wanted[number % len(wanted)], "--to", loot.folder / f"got-{number + 1}")
            lease = self._do(thief, *words, outcome=lambda facts: "the client can't tell him from the contractor")
            # max_open binds nobody who closes at once and keeps a copy.
            shutil.copytree(loot.folder / f"got-{number + 1}", thief.home / f"kept-{number + 1}")
            thief.run("close", lease["lease"])
        self._refused(thief, "open", wanted[0], code="limit-total")
        self._do(
            self._client,
            *("revoke", "contractor", ADA),
            outcome=lambda facts: "from now on nothing; what he has, he has",
        )
        self._refused(thief, "open", wanted[0], code="revoked")
        loot.end = present()
        note = "within the grant's caps, until it was revoked"
        stated = self._ledger.stated([ADA], loot.start, loot.end)
        found = drill(loot, known, self._folder / "drill" / f"{loot.name}.json")
        theft = compare("a thief with a contractor's device and passphrase", found, stated, known, note)
        self._measured(carried_off(theft, thief.home, known, stated))

    def _close_the_books(self) -> None:
        self._tell(Act("The books"))
        self._issuer.end()
        self._do(
            self._client,
            *("ledger", "verify"),
            outcome=lambda facts: f"{facts['size']} entries, and the tree fits its signed checkpoint",
        )
        status = self._do(
            self._vendor,
            "status",
            outcome=lambda facts: f"{facts['items']} sealed items, {facts['stored_bytes']:,} bytes",
        )
        self.vault_bytes = status["stored_bytes"]


def _first_of_task(lines: Sequence[str]) -> int:
    """Return where the task begins among the lines that were shown."""
    return next((number for number, line in enumerate(lines) if " task: " in line), 0)


def _sealed(report: dict[str, Any]) -> str:
    return f"{report['new']} new, {report['same']} same, {len(report['errors'])} with errors"


def _openings(openings: Sequence[dict[str, Any]]) -> str:
    tasks = sum(each["tasks"] for each in openings)
    most = max((len(each["requires"]) for each in openings), default=0)
    return f"{tasks} tasks; opening one opens at most {most} other items that it requires, and nothing else."
