"""A breach, played: a poisoned package runs at the vendor's and on a contractor's laptop; it is stated, then contained.

What is left in `report/` is what whoever answers for it has on that day: statements, a page for people, the plan, what
was done, and what the thief opens afterwards.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from labelvault.story.cast import PROJECT, Cast, choose
from labelvault.story.findings import Incident
from labelvault.story.stage import Stage
from labelvault.story.telling import Act, Did, Said
from labelvault.story.thefts import Loot, capture_before, present
from labelvault.story.world import PASSPHRASE_FILE, Actor, StoryError, anyone

DESK: Final = "Desk 7 (vendor site)"
NEW_DESK: Final = "Desk 7, new machine"
BEN: Final = "Ben (works on the train)"
REPORT: Final = "report"
_LIMITS: Final = ("--per-hour", "20", "--lease-ttl", "30m")
_VENDOR: Final = "vendor"
_LAPTOP: Final = "laptop"


class Breach(Stage):
    """The story of one bad day."""

    def perform(self) -> Incident:
        """Play it, and return what it came to."""
        self.report = self.folder / REPORT
        self.report.mkdir(mode=0o700)
        fingerprint = self._seal()
        cast = choose(self.client.run("ls", PROJECT, "--kind", "task").facts["items"])
        ben = self._ordinary_week(cast, fingerprint)
        host, laptop = self._breach(cast, ben)
        stated = self._first_hour(host, fingerprint)
        contained = self._contain(host, stated)
        device = self._the_laptop(host, laptop)
        self._afterwards(cast, host, fingerprint)
        finding = contained["finding"]
        return Incident(
            report=self.report,
            headline=stated["headline"],
            totals=stated["totals"],
            counts=contained["plan"]["counts"],
            stated=finding["stated"],
            renewed=finding["renewed"],
            opened=tuple(each["name"] for each in finding["opened"]),
            dropped=device["left"]["counts"]["drop"]["done"],
            denials=tuple(self.denials),
            measured=not host.unmeasured,
            holds=contained["holds"] and device["holds"],
        )

    def _seal(self) -> str:
        self.tell(Act("An ordinary week: the client's project is sealed, and people work"))
        vault = self.do(self.vendor, "init", outcome=lambda facts: "an empty vault")["vault"]
        words = ("init", "--vault", vault)
        facts = self.do(self.client, *words, outcome=lambda facts: f"fingerprint {facts['fingerprint']}")
        self.do(self.client, "project", "create", PROJECT, outcome=lambda facts: "a project with a key of its own")
        self.do(self.client, "seal", PROJECT, self.project, outcome=lambda facts: f"{facts['new']} items")
        return str(facts["fingerprint"])

    def _ordinary_week(self, cast: Cast, fingerprint: str) -> Actor:
        self.enrol(self.desk, DESK, "desk", "rendering host 7")
        waived = ("--max-open", "3", "--max-total", "10", *_LIMITS, "--waive-presence")
        grant = self.admit(self.desk, DESK, cast.scope, ("--expires", "7d", *waived), fingerprint)
        self.tell(Said(grant["statement"], warning=True))
        ben = Actor.create("contractor", self.folder / "laptop", "the traveller")
        self.enrol(ben, BEN, "helper", "a laptop on the train")
        self.admit(
            ben, BEN, cast.scope, ("--expires", "7d", "--max-open", "2", "--max-total", "2", *_LIMITS), fingerprint
        )
        prekeys = ben.home / "ben.prekeys"
        self.do(ben, "prekeys", "-n", "2", "-o", prekeys, outcome=lambda facts: "one-time keys; their halves stay here")
        tasks = [word for item in cast.inside[:2] for word in ("--item", item)]
        words: tuple[str | Path, ...] = ("issue", "--contractor", BEN, *tasks, "--prekeys", prekeys, "--post")
        self.do(self.client, *words, outcome=lambda facts: "two leases wait at the vault, and nobody fetched them yet")
        self.start_issuer()
        return ben

    def _breach(self, cast: Cast, ben: Actor) -> tuple[Loot, Loot]:
        # Only root can read a hardened process: another thief gets one that is not, or there were nothing to measure.
        readable = () if os.geteuid() == 0 else ("--readable-memory",)
        running = self.start(self.desk, "desk", *readable, log=self.desk.home / "desk.jsonl")
        running.next_event("ready")
        self.baseline = capture_before(running.pid, self.folder / "drill" / "desk-before.mem")
        first, *others = cast.inside
        # Closed before anybody was there: its process has exited, and the receipt is in.
        running.say(f"open {first}")
        opened = running.next_event("opened")
        running.say(f"close {opened['lease'][:12]}")
        running.next_event("closed")
        self.wait_for_receipts(DESK)
        self.tell(Did(self.desk.name, f"desk> open {first[:8]}...", "read, answered by word of mouth, and closed"))
        self.tell(Act("A poisoned release of a package runs at every start of Python, at the vendor's and on a laptop"))
        running.say(f"open {others[0]}")
        running.next_event("opened")
        self.tell(Did(self.desk.name, f"desk> open {others[0][:8]}...", "open, as on any day; the thief is there"))
        host = self.stolen(_VENDOR, {"vendor": self.vendor, "desk": self.desk}, live=running.pid)
        thief = Actor("contractor", host.folder / "desk", name="the thief")
        if len(others) > 1:
            words = ("open", others[1], "--to", host.folder / "desk" / "taken")
            self.do(thief, *words, outcome=lambda facts: "presence was waived, so the desk's key is enough")
        laptop = self.stolen(_LAPTOP, {"contractor": ben})
        host.end = laptop.end = present()
        running.say("quit")
        running.wait()
        return host, laptop

    def _first_hour(self, host: Loot, fingerprint: str) -> dict[str, Any]:
        self.tell(Act("The first hour: freeze, then state what could be read"))
        self.do(self.client, "freeze", PROJECT, outcome=lambda facts: "nothing more is released")
        stated = self._stated(_VENDOR, "vendor", host)
        ledger = self.report / "ledger.jsonl"
        self.do(self.client, "ledger", "export", "-o", ledger, outcome=lambda facts: "entries and signed checkpoint")
        words = ("verify-statement", self.report / f"{_VENDOR}.statement", "--ledger", ledger, "--client", fingerprint)
        verified = anyone(*words)
        if verified.code != 0:
            raise StoryError(f"the auditor does not get what the client stated: {verified.error}")
        self.tell(Did("an auditor", "labelvault verify-statement ...", "computed anew: exactly what the ledger gives"))
        return stated

    def _stated(self, name: str, surface: str, loot: Loot) -> dict[str, Any]:
        words = ("exposure", "--surface", surface, "--from", loot.start.isoformat(), "--to", loot.end.isoformat())
        files = ("-o", self.report / f"{name}.statement", "--html", self.report / f"{name}.html")
        stated = self.do(self.client, *words, *files, outcome=lambda facts: facts["headline"])
        if not stated["complete"]:
            raise StoryError("the statement is not complete, though the project was frozen after the window")
        self._keep(f"{name}.exposure", stated)
        return stated

    def _keep(self, name: str, facts: dict[str, Any]) -> None:
        (self.report / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")

    def _contain(self, host: Loot, stated: dict[str, Any]) -> dict[str, Any]:
        self.tell(Act("Contain: the plan first, then all of it, then the thief once more"))
        words = ("contain", "--statement", self.report / f"{_VENDOR}.statement")
        fresh = Actor.create("contractor", self.folder / "new-desk", "the new desk")
        self.enrol(fresh, NEW_DESK, "desk", "rendering host 7, made anew")
        self.new_desk = fresh
        allow = ("--allow", DESK, NEW_DESK)
        plan = self.do(self.client, *words, *allow, "--dry-run", outcome=lambda facts: _counted(facts["counts"]))
        self._keep("plan", plan)
        done = self._contained(words, allow, (host.folder / "vendor", host.folder / "desk"), self.baseline)
        self._keep("contained", done)
        self._keep("finding", done["finding"])
        unrenewed = done["finding"]["renewed"] != plan["counts"]["rekey"]["to_do"]
        if unrenewed or len(done["granted"]) != 1 or not stated["totals"]["exposed"]:
            raise StoryError("containment did something else than its plan said")
        return done

    def _contained(
        self,
        words: Sequence[str | Path],
        allow: Sequence[str],
        folders: Sequence[Path],
        baseline: Path | None = None,
    ) -> dict[str, Any]:
        loot: list[str | Path] = [word for folder in folders for word in ("--loot", folder)]
        # The worst case: whoever took a home also read its passphrase.
        found = [folder / PASSPHRASE_FILE for folder in folders]
        loot += [word for file in found if file.exists() for word in ("--loot-passphrase-file", file)]
        if baseline is not None:
            loot += ["--loot-baseline", baseline]
        done = self.do(self.client, *words, *allow, outcome=_told)
        # All was done, so another run of the same is the drill alone.
        ran = self.client.attempt(*words, *allow, *loot)
        drilled = ran.facts
        if not drilled.get("finding"):
            raise StoryError(f"the drill after containment ended with {ran.code}: {ran.error}")
        self.tell(Did("the thief", "tries all that he stole on the vault as it is now", _drilled(drilled)))
        if not drilled["plan"]["is_done"]:
            raise StoryError("a second run of the containment found something to do")
        return {**done, "finding": drilled["finding"], "holds": drilled["holds"], "left": drilled["left"]}

    def _the_laptop(self, host: Loot, laptop: Loot) -> dict[str, Any]:
        self.tell(Act("The laptop that was infected too: its leases wait at the vault, and are dropped"))
        self._stated(_LAPTOP, f"contractor:{BEN}", laptop)
        words = ("contain", "--statement", self.report / f"{_LAPTOP}.statement")
        done = self._contained(words, (), (host.folder / "vendor", laptop.folder / "contractor"))
        self._keep("laptop.contained", done)
        if done["left"]["counts"]["drop"] != {"to_do": 0, "done": 2}:
            raise StoryError("the leases that waited for the stolen laptop were not dropped")
        return done

    def _afterwards(self, cast: Cast, host: Loot, fingerprint: str) -> None:
        self.tell(Act("Afterwards: the thief asks in vain, and the work goes on elsewhere"))
        self.do(self.client, "unfreeze", PROJECT, outcome=lambda facts: "released again, to those who are left")
        thief = Actor("contractor", host.folder / "desk", name="the thief")
        self.refused(thief, "open", cast.inside[0], code="revoked")
        grants = self.client.run("grants").facts["grants"]
        (grant,) = (each for each in grants if each["contractor"] == NEW_DESK)
        invite = self.new_desk.home / "client.invite"
        words = ("invite", grant["grant"], "-o", invite)
        self.do(self.client, *words, outcome=lambda facts: "the same scope and end, and what was left of its openings")
        joining = ("join", invite, "--fingerprint", fingerprint)
        self.do(self.new_desk, *joining, outcome=lambda facts: f"tier {facts['tier']}, presence {facts['presence']}")
        text = self.new_desk.read("open", cast.inside[1])
        self.tell(Did(self.new_desk.name, "open a task that was cut off", f"{len(text)} lines, under a new key"))
        self.issuer.end()
        self.do(self.client, "ledger", "verify", outcome=lambda facts: f"{facts['size']} entries, and the tree fits")


def _counted(counts: dict[str, dict[str, int]]) -> str:
    return ", ".join(f"{step} {each['to_do']}" for step, each in counts.items())


def _told(facts: dict[str, Any]) -> str:
    sealed = sum(len(each["items"]) for each in facts["rekeyed"])
    return f"{len(facts['revoked'])} revoked, {sealed} sealed again, {len(facts['granted'])} passed on"


def _drilled(facts: dict[str, Any]) -> str:
    finding = facts["finding"]
    opened = ", ".join(each["name"] for each in finding["opened"]) or "nothing"
    new = sum(each["current"] and not each["stated"] for each in finding["opened"])
    verdict = "as stated" if finding["holds"] else "MORE than stated"
    return f"opens {opened}: {verdict}; of {finding['renewed']} renewed versions {new or 'none'}"
