"""What containing a breach takes, plans and reports: plain values."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from labelvault.client.key_records import RekeyPlan, RekeyReport
from labelvault.errors import LabelVaultError
from labelvault.ledger.statement import Statement
from labelvault.wire.messages import Limits


@dataclass(frozen=True, slots=True)
class Orders:
    """What whoever contains a breach decides; nothing of it by default.

    Attributes:
        allow: (name on the surface, name of its successor): who takes over whose open work.
        only_needed: seal again only what unfinished work still needs.
        unfreeze: at the end, thaw the projects that this containment froze.
    """

    allow: tuple[tuple[str, str], ...] = ()
    only_needed: bool = False
    unfreeze: bool = False


NO_ORDERS: Final = Orders()


@dataclass(frozen=True, slots=True)
class FreezeStep:
    """A project of which something was exposed, or in which an identity on the surface has a grant.

    Attributes:
        frozen: nothing of it is released now.
        done: it is frozen, or nothing of it is left to be revoked or sealed again.
    """

    project: str
    project_id: bytes
    frozen: bool
    done: bool


@dataclass(frozen=True, slots=True)
class RevokeStep:
    """An identity that lay on the surface.

    Attributes:
        grants: of this contractor that have not expired, in all projects.
        done: it is revoked.
    """

    contractor: str
    key: bytes
    tier: str
    grants: int
    done: bool


@dataclass(frozen=True, slots=True)
class DropStep:
    """Leases that were issued ahead to an identity on the surface, and of which no receipt ever came.

    Attributes:
        leases: how many have not ended.
        until: when the last of them ends, if nobody drops it.
        done: the vault has a status that revokes them, so an honest one has dropped them.
    """

    contractor: str
    leases: int
    until: datetime
    done: bool


@dataclass(frozen=True, slots=True)
class RekeyStep:
    """What was exposed of a project.

    Attributes:
        plan: what would be sealed again, and how much has newer versions already.
        spared: current versions that no unfinished work needs.
        missing: exposed items that the catalog does not have: sealed after the backup that it was restored from.
    """

    project: str
    plan: RekeyPlan
    spared: int
    missing: int


@dataclass(frozen=True, slots=True)
class ReissueStep:
    """A grant that is passed on to a successor, as the tasks under it were open.

    Attributes:
        contractor: who had it.
        successor: who gets one like it.
        old: id of the grant that ended, 16 bytes.
        grant_id: of the new one, which follows from the old one's: a grant is passed on once, ever.
        tasks: names of the tasks that were open, or leased ahead, and are not answered.
        limits: the old ones; of `max_total` what was left, and the openings that were cut off.
        expires_at: the old one's end.
        done: there is such a grant.
    """

    project: str
    contractor: str
    successor: str
    old: bytes
    grant_id: bytes
    tasks: tuple[str, ...]
    limits: Limits
    expires_at: datetime
    done: bool


@dataclass(frozen=True, slots=True)
class ContainmentPlan:
    """What containing comes to now: what is to be done, and what is done already.

    Attributes:
        statement: what it stands on.
        later: item versions that the ledger states today for the same question, and the statement does not.
        told: whether the vault has a status that says all that is revoked; None if it could not be asked.
        unfreeze: projects that would be thawed at the end.
        elsewhere: projects that the statement is not about, in which revoked identities have grants that end with them.
    """

    statement: Statement
    later: int
    freeze: tuple[FreezeStep, ...]
    revoke: tuple[RevokeStep, ...]
    drop: tuple[DropStep, ...]
    told: bool | None
    rekey: tuple[RekeyStep, ...]
    reissue: tuple[ReissueStep, ...]
    unfreeze: tuple[str, ...]
    elsewhere: tuple[str, ...]

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """(to do, done) of each step, in their order: projects, identities, leases, item versions, grants, projects."""
        return {
            "freeze": _split((1, each.done) for each in self.freeze),
            "revoke": _split((1, each.done) for each in self.revoke),
            "drop": _split((each.leases, each.done) for each in self.drop),
            "rekey": (sum(len(each.plan.versions) for each in self.rekey), sum(each.plan.done for each in self.rekey)),
            "reissue": _split((1, each.done) for each in self.reissue),
            "unfreeze": (len(self.unfreeze), 0),
        }

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do."""
        return self.told is True and not any(todo for todo, _ in self.counts.values())


def _split(parts: Iterator[tuple[int, bool]]) -> tuple[int, int]:
    found = list(parts)
    return sum(count for count, done in found if not done), sum(count for count, done in found if done)


@dataclass(frozen=True, slots=True)
class ContainmentFault:
    """A part of a step that could not be done; it is as it was, and the next run tries it again.

    Attributes:
        step: its name, as in `ContainmentPlan.counts`.
        what: project, contractor or item.
    """

    step: str
    what: str
    error: LabelVaultError


@dataclass(frozen=True, slots=True)
class OpenedAfter:
    """An item version that the drill opened after containment.

    Attributes:
        stated: whether the statement, or the ledger today, calls it exposed.
        current: whether it is the version that is released from now on.
    """

    name: str
    kind: str
    item: bytes
    version: int
    stated: bool
    current: bool


@dataclass(frozen=True, slots=True)
class ContainmentFinding:
    """What an attacker opens with what was stolen, of the vault as it is after containment.

    Attributes:
        stated: item versions that are stated as exposed.
        renewed: current item versions in the place of exposed ones, which the attacker had, sealed, from the vault.
        opened: what he opened of this client's.
        foreign: item versions of other clients that he opened: theirs to state.
        payloads: sealed item versions that he had.
        leases: that he had.
        candidates: how many stretches of bytes he tried as keys, each on everything.
        keys: how many keys he found, by sort.
    """

    stated: int
    renewed: int
    opened: tuple[OpenedAfter, ...]
    foreign: int
    payloads: int
    leases: int
    candidates: int
    keys: dict[str, int]

    @property
    def more(self) -> tuple[OpenedAfter, ...]:
        """What opened and is not stated: renewed versions among them."""
        return tuple(each for each in self.opened if not each.stated)

    @property
    def still_current(self) -> tuple[OpenedAfter, ...]:
        """What is stated, opened, and still released as it is: it was not sealed again."""
        return tuple(each for each in self.opened if each.stated and each.current)

    @property
    def holds(self) -> bool:
        """Whether nothing opened but what is stated."""
        return not self.more


@dataclass(frozen=True, slots=True)
class ContainmentReport:
    """What a containment did.

    Attributes:
        plan: as it was at the beginning.
        frozen: names of projects that this run froze.
        revoked: names of identities that this run revoked.
        rekeyed: by project, what this run sealed again.
        granted: what this run passed on.
        faults: what it could not do.
        finding: the drill's; None where nothing stolen was given to it.
        thawed: names of projects that this run thawed.
        left: the plan as it is now.
    """

    plan: ContainmentPlan
    frozen: tuple[str, ...]
    revoked: tuple[str, ...]
    rekeyed: tuple[tuple[str, RekeyReport], ...]
    granted: tuple[ReissueStep, ...]
    faults: tuple[ContainmentFault, ...]
    finding: ContainmentFinding | None
    thawed: tuple[str, ...]
    left: ContainmentPlan

    @property
    def holds(self) -> bool:
        """Whether all was done, and the drill, if there was one, opened nothing but what is stated."""
        return not self.faults and self.left.told is True and (self.finding is None or self.finding.holds)
