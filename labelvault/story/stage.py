"""What every act of the story is made of: commands that are told, thefts that are measured."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from labelvault.client import Client, PassphraseRoot, StatedItem
from labelvault.story.cast import PROJECT
from labelvault.story.findings import Theft
from labelvault.story.known import Known, Told
from labelvault.story.telling import Did, Stolen, Tell
from labelvault.story.thefts import Loot, Tamper, compare, drill, item_names, not_measured, present, steal
from labelvault.story.world import Actor, Ran, Running, StoryError, shown, wait_until
from labelvault.vendor import Vault

_POLL_S: Final = 0.05


class Stage:
    """Four actors, their folders, and what the story has come to so far.

    Attributes:
        sealed: items in the catalog.
        sealed_again: items that a second sealing sealed.
        vault_bytes: what the vault takes up at the end.
        denials: codes, in order.
        thefts: in order.
        answers: that were collected, each as it was submitted.
        to_pay: tasks that the vendor pays, by accepted acks.
    """

    issuer: Running

    def __init__(self, folder: Path, project: Path, tell: Tell, tamper: Tamper | None, cleanup: ExitStack) -> None:
        """Set the stage.

        Args:
            folder: empty; holds one folder an actor.
            project: the folder to seal.
            tell: gets every event.
            tamper: see `labelvault.story.thefts.Tamper`.
            cleanup: ends what still runs when the story ends, however it ends.
        """
        self.folder = folder
        self.project = project
        self.tell = tell
        self.tamper = tamper
        self.cleanup = cleanup
        self.sealed = 0
        self.sealed_again = 0
        self.vault_bytes = 0
        self.denials: list[str] = []
        self.thefts: list[Theft] = []
        self.answers = 0
        self.to_pay = 0
        for kept in ("thief", "drill"):
            (folder / kept).mkdir(mode=0o700)
        self.vendor = Actor.create("vendor", folder / "vendor", "the vendor")
        self.client = Actor.create("client", folder / "client", "the client")
        self.contractor = Actor.create("contractor", folder / "contractor", "the contractor")
        self.desk = Actor.create("contractor", folder / "desk", "the desk")
        self._ledger: Client | None = None

    @property
    def ledger(self) -> Client:
        """The client's own view, in this process: it has exactly what the client's home has."""
        if self._ledger is None:
            client = Client.open(self.client.home, PassphraseRoot(self.client.passphrase))
            self._ledger = self.cleanup.enter_context(client)
        return self._ledger

    def do(self, actor: Actor, *words: str | Path, outcome: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
        """Run a command, tell it with its outcome, and return what it reported."""
        ran = actor.run(*words)
        self.tell(Did(actor.name, shown(actor.role, words), outcome(ran.facts), facts=ran.facts))
        return ran.facts

    def enrol(self, actor: Actor, name: str, tier: str, label: str) -> None:
        """Make a contractor's home, and enrol its card at the client."""
        words = ("init", "--tier", tier, "--label", label)
        fingerprint = self.do(actor, *words, outcome=lambda facts: f"fingerprint {facts['fingerprint']}")
        card = actor.home / "my.card"
        self.do(actor, "card", "-o", card, outcome=lambda facts: "goes to the client by any way")
        spoken = fingerprint["fingerprint"]
        self.do(
            self.client,
            "enroll",
            card,
            "--name",
            name,
            "--fingerprint",
            spoken,
            outcome=lambda facts: f"{facts['tier']}; the fingerprint was read out by phone",
        )

    def admit(
        self, actor: Actor, name: str, scope: Sequence[str], terms: Sequence[str], fingerprint: str
    ) -> dict[str, Any]:
        """Grant, hand over the invite, and join."""
        invite = actor.home / "client.invite"
        words: tuple[str | Path, ...] = ("grant", PROJECT, name, *scope, *terms, "--invite", invite)
        grant = self.do(self.client, *words, outcome=lambda facts: f"until {facts['expires_at'][:16]}Z")
        self.do(
            actor,
            "join",
            invite,
            "--fingerprint",
            fingerprint,
            outcome=lambda facts: f"tier {facts['tier']}, presence {facts['presence']}",
        )
        return grant

    def refused(self, actor: Actor, *words: str | Path, code: str) -> None:
        """Run a command that has to be denied with this code."""
        self.denied(actor, shown(actor.role, words), actor.run(*words, refused=True), code)

    def denied(self, actor: Actor, command: str, ran: Ran, code: str) -> None:
        """Tell a denial.

        Raises:
            StoryError: it was none, or another one.
        """
        if ran.error.get("code") != code:
            raise StoryError(f"{command} was to be denied as {code}, not {ran.error}")
        self.denials.append(code)
        self.tell(Did(actor.name, command, f"denied: {code}", refused=True, facts=ran.facts))

    def measured(self, theft: Theft) -> None:
        """Keep and tell what a theft came to."""
        self.thefts.append(theft)
        self.tell(Stolen(theft))

    def start(self, actor: Actor, *words: str | Path, log: Path) -> Running:
        """Start a command that stays up, and see that it ends with the story."""
        running = actor.start(*words, log=log)
        self.cleanup.callback(running.kill)
        return running

    def start_issuer(self) -> None:
        """Start the client's issuer; `self.issuer.end()` ends it."""
        self.issuer = self.start(self.client, "issuer", "run", log=self.client.home / "issuer.jsonl")
        self.tell(Did(self.client.name, shown("client", ("issuer", "run")), "answers from now on"))

    def posted(self, end: float) -> bool:
        """Wait for a message to lie in the vault; return whether one did before the time."""
        with Vault.open(f"sqlite:///{self.vendor.home / 'vault.db'}") as vault:
            while time.monotonic() < end:
                if vault.status().pending_messages:
                    return True
                time.sleep(_POLL_S)
        return False

    def wait_for_receipts(self, name: str) -> None:
        """Wait until the issuer has recorded what was closed: until then the ledger states it as open."""
        wait_until(lambda: not self.stated([name]), "the issuer's record of a receipt")

    def wait_for_only(self, name: str, task: str) -> None:
        """Wait until the ledger states just one task of a contractor's as open: the issuer has taken other closes."""

        def alone() -> bool:
            return {each.item.hex() for each in self.stated([name]) if each.kind == "task"} == {task}

        wait_until(alone, "the issuer's record of a receipt")

    def stated(self, names: list[str]) -> list[StatedItem]:
        """Return what the ledger states as open now, for contractors by name."""
        now = present()
        return self.ledger.stated(names, now, now)

    def stolen(self, name: str, homes: dict[str, Actor], live: int | None = None) -> Loot:
        """Steal; see `labelvault.story.thefts.steal`."""
        return steal(name, self.folder / "thief" / name, homes, live=live, tamper=self.tamper)

    def drilled(self, surface: str, loot: Loot, names: list[str], known: Known, baseline: Path | None = None) -> None:
        """Let the drill loose, and hold what it finds against the ledger."""
        stated = self.ledger.stated(names, loot.start, loot.end)
        if loot.unmeasured:
            self.measured(not_measured(surface, stated, loot))
            return
        found, told = self.drill(loot, known, stated, baseline)
        self.measured(compare(surface, found, stated, told))

    def drill(
        self, loot: Loot, known: Known, stated: Sequence[StatedItem], baseline: Path | None = None
    ) -> tuple[dict[str, Any], Told]:
        """Run the drill on a theft; return its report and what it was told."""
        folder = self.folder / "drill"
        told = known.write(folder / f"{loot.name}-known", item_names(stated))
        return drill(loot, told, folder / f"{loot.name}.json", baseline), told
