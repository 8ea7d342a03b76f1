"""The acts of the story, each one real commands by real actors."""

import os
import shutil
import time
from collections.abc import Sequence
from typing import Any, Final

from labelvault.story.ahead import BEN, works_ahead
from labelvault.story.approved import DESK_EIGHT, approved_desk
from labelvault.story.cast import PROJECT, Cast, choose
from labelvault.story.known import Known
from labelvault.story.stage import Stage
from labelvault.story.telling import Act, Did, Said
from labelvault.story.thefts import capture_before, carried_off, compare, present
from labelvault.story.world import Actor, StoryError, shown, wait_until

ADA: Final = "Ada (own laptop)"
DESK_SEVEN: Final = "Desk 7 (vendor site)"
"""What the client calls contractors; the drill looks for these names too, so they are like no other text."""
_LIMITS: Final = ("--per-hour", "20", "--lease-ttl", "30m")
_SHORT_S: Final = (4, 12, 40)
_HONEST_OPENINGS: Final = 2
_STOLEN_OPENINGS: Final = 2
_EXCERPT_LINES: Final = 2
_EXCERPT_LEAST: Final = 24


class Play(Stage):
    """The story on its stage."""

    def perform(self) -> None:
        """Play all acts, in order."""
        known, fingerprint = self._seal()
        cast = self._meet(fingerprint)
        self._open_and_close(cast)
        self._refusals(cast)
        self._theft_of_a_device(known)
        self._work_at_a_desk(cast, fingerprint, known)
        self._theft_with_a_live_key(cast, known)
        approved_desk(self, cast, fingerprint, known)
        works_ahead(self, cast, fingerprint, known)
        self._close_the_books()

    def _seal(self) -> tuple[Known, str]:
        self.tell(Act("The client seals its project, and the vendor stores what it can't read"))
        vendor, client = self.vendor, self.client
        vault = self.do(vendor, "init", outcome=lambda facts: "an empty vault")["vault"]
        facts = self.do(client, "init", "--vault", vault, outcome=lambda facts: f"fingerprint {facts['fingerprint']}")
        self.do(client, "project", "create", PROJECT, outcome=lambda facts: "a project with a key of its own")
        report = self.do(client, "seal", PROJECT, self.project, outcome=_sealed)
        self.tell(Said(_openings(report["openings"])))
        self.sealed_again = self.do(client, "seal", PROJECT, self.project, outcome=_sealed)["new"]
        self.sealed = sum(report[each] for each in ("new", "changed", "same"))
        names = [PROJECT, ADA, DESK_SEVEN, DESK_EIGHT, BEN]
        known = Known(self.project, names)
        self.tell(Act("Theft 1: the vendor's disk, all of it"))
        loot = self.stolen("1-vendor", {"vendor": vendor})
        self.drilled("the vault at rest", loot, [], known)
        return known, facts["fingerprint"]

    def _meet(self, fingerprint: str) -> Cast:
        self.tell(Act("A contractor gets access: to one batch, with caps, until it expires"))
        tasks = self.client.run("ls", PROJECT, "--kind", "task").facts["items"]
        cast = choose(tasks)
        self.enrol(self.contractor, ADA, "helper", "a laptop at home")
        self._too_late(cast, fingerprint)
        caps = ("--max-open", "1", "--max-total", str(_HONEST_OPENINGS + _STOLEN_OPENINGS), *_LIMITS)
        self.admit(self.contractor, ADA, cast.scope, ("--expires", "7d", *caps), fingerprint)
        return cast

    def _too_late(self, cast: Cast, fingerprint: str) -> None:
        """Show an expiry that the issuer's clock decides, and start the issuer.

        The issuer is down while the grant is alive, and finds the request when the grant has ended.
        """
        actor = self.contractor
        for expires_s in _SHORT_S:
            terms = ("--expires", f"{expires_s}s", "--max-open", "1", "--max-total", "1", *_LIMITS)
            self.admit(actor, ADA, ("--item", cast.inside[0]), terms, fingerprint)
            end = time.monotonic() + expires_s
            words = ("open", cast.inside[0], "--timeout", "60")
            asking = self.start(actor, *words, log=actor.home / "open.json")
            asked = self.posted(end)
            time.sleep(max(0.0, end - time.monotonic()))
            if asked:
                break
            # A machine so slow that the grant ended before it was used: a longer one shows the same.
            asking.kill()
        else:
            raise StoryError("this machine is too slow to use a grant before it expires")
        self.tell(
            Said("The request waits in the vault: the issuer is down. The grant expires, then the issuer comes up.")
        )
        self.start_issuer()
        self.denied(actor, shown("contractor", words), asking.result(), "expired")

    def _open_and_close(self, cast: Cast) -> None:
        self.tell(Act("The contractor opens one task, reads it, and closes it"))
        actor, words = self.contractor, ("open", cast.inside[0])
        text = actor.read(*words)
        self.tell(Did(actor.name, shown("contractor", words), "shown in the contractor's own window, then closed"))
        self.tell(Said(f"{len(text)} lines were shown: what the task requires, then the task itself:"))
        for line in _excerpt(text):
            self.tell(Said(f"| {line}"))
        self.wait_for_receipts(ADA)
        self.tell(Said("The key was for one opening. Its process has exited, and the receipt is in the ledger."))

    def _refusals(self, cast: Cast) -> None:
        self.tell(Act("What the issuer refuses"))
        actor, first, second = self.contractor, cast.inside[0], cast.inside[1]
        self.refused(actor, "open", cast.outside, code="unknown")
        self.tell(Said("Out of scope, gold, or no such item: the answer is the same, so asking maps nothing out."))
        held = self.start(actor, "open", first, log=actor.home / "open.json")
        wait_until(lambda: held.ended or bool(self.stated([ADA])), "an opening")
        self.tell(Did(actor.name, shown("contractor", ("open", first)), "open, in another terminal"))
        self.refused(actor, "open", second, code="limit-open")
        held.say("")
        held.wait()
        self.wait_for_receipts(ADA)
        self.do(self.client, "freeze", PROJECT, outcome=lambda facts: "nothing more is released")
        self.refused(actor, "open", second, code="frozen")
        self.do(self.client, "unfreeze", PROJECT, outcome=lambda facts: "released again")

    def _theft_of_a_device(self, known: Known) -> None:
        self.tell(Act("Theft 2: the vendor's disk, and the contractor's device and passphrase"))
        homes = {"vendor": self.vendor, "contractor": self.contractor}
        loot = self.stolen("2-device", homes)
        self.drilled("the vault, and a contractor's device after closing", loot, [ADA], known)

    def _work_at_a_desk(self, cast: Cast, fingerprint: str, known: Known) -> None:
        self.tell(Act("A desk at the vendor's: two tasks are open while the thief is there"))
        desk = self.desk
        self.enrol(desk, DESK_SEVEN, "desk", "rendering host 7")
        caps = ("--max-open", "2", "--max-total", "10", *_LIMITS, "--waive-presence")
        grant = self.admit(desk, DESK_SEVEN, cast.scope, ("--expires", "7d", *caps), fingerprint)
        self.tell(Said(grant["statement"], warning=True))
        # Only root can read a hardened process: another thief gets one that is not, or there were nothing to measure.
        readable = () if os.geteuid() == 0 else ("--readable-memory",)
        running = self.start(desk, "desk", *readable, log=desk.home / "desk.jsonl")
        running.next_event("ready")
        baseline = capture_before(running.pid, self.folder / "drill" / "desk-before.mem")
        for item in cast.inside[:2]:
            running.say(f"open {item}")
            opened = running.next_event("opened")
            command = f"desk> open {item[:8]}..."
            self.tell(Did(desk.name, command, f"open in process {opened['pid']}, which alone holds key and text"))
        self.tell(Act("Theft 3: the vendor's disk, and the desk with its processes' memory"))
        loot = self.stolen("3-desk", {"vendor": self.vendor, "desk": desk}, live=running.pid)
        self.drilled("a desk with two tasks open", loot, [DESK_SEVEN], known, baseline)
        running.say("quit")
        running.wait()
        self.wait_for_receipts(DESK_SEVEN)
        self.tell(Did(desk.name, "desk> quit", "both closed; their processes have exited"))

    def _theft_with_a_live_key(self, cast: Cast, known: Known) -> None:
        self.tell(Act("Theft 4: a thief who goes on asking, from the contractor's device"))
        loot = self.stolen("4-thief", {"vendor": self.vendor, "contractor": self.contractor})
        thief = Actor("contractor", loot.folder / "contractor", name="the thief")
        wanted = (*cast.inside[1:], cast.inside[0])
        for number in range(_STOLEN_OPENINGS):
            words = ("open", wanted[number % len(wanted)], "--to", loot.folder / f"got-{number + 1}")
            lease = self.do(thief, *words, outcome=lambda facts: "the client can't tell him from the contractor")
            # max_open binds nobody who closes at once and keeps a copy.
            shutil.copytree(loot.folder / f"got-{number + 1}", thief.home / f"kept-{number + 1}")
            thief.run("close", lease["lease"])
        self.refused(thief, "open", wanted[0], code="limit-total")
        self.do(
            self.client,
            *("revoke", "contractor", ADA),
            outcome=lambda facts: "from now on nothing; what he has, he has",
        )
        self.refused(thief, "open", wanted[0], code="revoked")
        loot.end = present()
        note = "within the grant's caps, until it was revoked"
        stated = self.ledger.stated([ADA], loot.start, loot.end)
        found, told = self.drill(loot, known, stated)
        theft = compare("a thief with a contractor's device and passphrase", found, stated, told, note)
        self.measured(carried_off(theft, thief.home, known, stated))

    def _close_the_books(self) -> None:
        self.tell(Act("The books"))
        self.issuer.end()
        self.do(
            self.client,
            *("ledger", "verify"),
            outcome=lambda facts: f"{facts['size']} entries, and the tree fits its signed checkpoint",
        )
        status = self.do(
            self.vendor,
            "status",
            outcome=lambda facts: f"{facts['items']} sealed items, {facts['stored_bytes']:,} bytes",
        )
        self.vault_bytes = status["stored_bytes"]


def _excerpt(lines: Sequence[str]) -> list[str]:
    """Return the first lines of the task that say something."""
    begin = next((number for number, line in enumerate(lines) if " task: " in line), 0)
    telling = [line.strip() for line in lines[begin + 1 :] if len(line.strip()) >= _EXCERPT_LEAST]
    return telling[:_EXCERPT_LINES]


def _sealed(report: dict[str, Any]) -> str:
    return f"{report['new']} new, {report['same']} same, {len(report['errors'])} with errors"


def _openings(openings: Sequence[dict[str, Any]]) -> str:
    tasks = sum(each["tasks"] for each in openings)
    most = max((len(each["requires"]) for each in openings), default=0)
    return f"{tasks} tasks; opening one opens at most {most} other items that it requires, and nothing else."
