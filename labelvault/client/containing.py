"""Containing a breach: freeze, revoke, drop, seal again, pass on, drill, thaw (docs/spec.md, section 11.7).

Written new, read back, then swapped: until an item's new version is current, its old one is. A step that fails leaves
its part as it was, and the steps behind it are done all the same, because a vendor whose host is down must not keep its
client from freezing and revoking.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from labelvault.client import access
from labelvault.client.containment_plan import Case, make_plan, read_case
from labelvault.client.containment_records import (
    ContainmentFault,
    ContainmentFinding,
    ContainmentPlan,
    ContainmentReport,
    Orders,
    ReissueStep,
)
from labelvault.client.grants import GrantTerms, add_grant
from labelvault.client.key_records import RekeyReport
from labelvault.client.records import Progress
from labelvault.errors import LabelVaultError
from labelvault.wire.frame import open_frame
from labelvault.wire.messages import Grant

if TYPE_CHECKING:
    from labelvault.client.client import Client

Drill = Callable[[Case], ContainmentFinding]
"""Lets an attacker loose on what was stolen and on the vault as it is now."""


def contain(
    client: "Client",
    statement: bytes,
    orders: Orders,
    drill: Drill | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> ContainmentReport:
    """Contain what a statement states; see `Client.contain`."""
    run = _Run(client, statement, orders, progress)
    run.freeze()
    run.revoke()
    run.rekey()
    run.reissue()
    finding = None if drill is None else drill(run.case)
    run.unfreeze(finding)
    return run.report(finding)


class _Run:
    """One run, with what it did and could not do."""

    def __init__(
        self, client: "Client", statement: bytes, orders: Orders, progress: Callable[[Progress], None] | None
    ) -> None:
        self._client = client
        self._statement = statement
        self._orders = orders
        self._progress = progress
        self._changed = True
        self._first = self._planned()
        self._frozen: list[str] = []
        self._revoked: list[str] = []
        self._rekeyed: list[tuple[str, RekeyReport]] = []
        self._granted: list[ReissueStep] = []
        self._thawed: list[str] = []
        self._faults: list[ContainmentFault] = []

    def _planned(self) -> ContainmentPlan:
        """Return the plan as it is now; the ledger is read again only after something was changed."""
        if self._changed:
            self.case = read_case(self._client, self._statement)
            self._plan = make_plan(self._client, self.case, self._orders)
            self._changed = False
        return self._plan

    def freeze(self) -> None:
        """Stop releases, of all projects at once."""
        todo = [each for each in self._planned().freeze if not each.done]
        if not todo:
            return
        self._changed = True
        with self._client.database.transaction():
            for step in todo:
                access.set_frozen(self._client, step.project_id, frozen=True, contains=self.case.hash)
        self._frozen = [step.project for step in todo]

    def revoke(self) -> None:
        """Refuse the identities that lay on the surface, all at once, and let the vault drop what waits for them.

        From here on nothing can be added to what the surface could read; so what it could is asked once more.
        """
        todo = [each for each in self._plan.revoke if not each.done]
        if todo:
            with self._client.database.transaction():
                for step in todo:
                    access.revoke(self._client, "contractors", "key", "contractor", step.key)
            self._revoked = [step.contractor for step in todo]
        if todo or self._frozen or self._plan.told is not True:
            access.announced(self._client)
            self._changed = True

    def rekey(self) -> None:
        """Seal again what was exposed, project by project."""
        for step in self._planned().rekey:
            if not step.plan.versions:
                continue
            self._changed = True
            try:
                report = self._client.project(step.project).rekey(step.plan.versions, self._progress)
            except LabelVaultError as error:
                self._faults.append(ContainmentFault("rekey", step.project, error))
                continue
            self._rekeyed.append((step.project, report))
            self._faults += [ContainmentFault("rekey", each.source, each.error) for each in report.faults]

    def reissue(self) -> None:
        """Pass grants on to those who are allowed."""
        for step in self._plan.reissue:
            # Another run, at the same time, may have been faster.
            if step.done or self._client.database.row("SELECT 1 FROM grants WHERE grant_id = ?", step.grant_id):
                continue
            self._changed = True
            try:
                self._pass_on(step)
            except LabelVaultError as error:
                self._faults.append(ContainmentFault("reissue", step.successor, error))
                continue
            self._granted.append(step)

    def _pass_on(self, step: ReissueStep) -> None:
        client, now = self._client, self._client.now()
        project, frame = client.database.rows("SELECT project, frame FROM grants WHERE grant_id = ?", step.old)[0]
        old = open_frame(bytes(frame), Grant, client.identity_key).message
        new = client.contractor(step.successor)
        waived = new.tier == "desk" and old.presence == "waived"
        terms = GrantTerms(step.limits, now, step.expires_at, waived)
        add_grant(client, bytes(project), new, old.scope, terms, now=now, grant_id=step.grant_id)

    def unfreeze(self, finding: ContainmentFinding | None) -> None:
        """Thaw what this containment froze, if all was done and nothing opened that should not."""
        if not self._orders.unfreeze or self._faults or (finding is not None and not finding.holds):
            return
        todo = self._planned().unfreeze
        for name in todo:
            access.set_frozen(self._client, self._client.project(name).project_id, frozen=False)
        if todo:
            access.announced(self._client)
            self._changed = True
        self._thawed = list(todo)

    def report(self, finding: ContainmentFinding | None) -> ContainmentReport:
        """Return what was done, and what is left."""
        return ContainmentReport(
            plan=self._first,
            frozen=tuple(self._frozen),
            revoked=tuple(self._revoked),
            rekeyed=tuple(self._rekeyed),
            granted=tuple(self._granted),
            faults=tuple(self._faults),
            finding=finding,
            thawed=tuple(self._thawed),
            left=self._planned(),
        )
