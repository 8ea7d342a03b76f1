"""Is a contractor's home in order? Every look says what it found and how to mend it; nothing is changed."""

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from labelvault.contractor.agent_client import agent_status
from labelvault.contractor.joining import Joined
from labelvault.contractor.membership import Membership
from labelvault.contractor.records import OpeningLog, OpeningRecord
from labelvault.contractor.steps import SWAPPED, Step
from labelvault.contractor.worker import Worker
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import LabelVaultError
from labelvault.health import Check, ok, problem, warning
from labelvault.health.machine import machine
from labelvault.health.places import private, room
from labelvault.keys.cards import read_card
from labelvault.keys.doctor import hybrid_kem, key_file, opens, reach
from labelvault.keys.files import read_private
from labelvault.keys.identity import open_identity
from labelvault.wire.codec import MAX_BYTES
from labelvault.wire.ids import contractor_mailbox
from labelvault.wire.times import truncate

_SOON: Final = timedelta(days=1)
_LOCK_MEMORY: Final = "Raise the limit of locked memory (ulimit -l), or encrypt the swap; off Linux less can be done."
_NEWER_KERNEL: Final = "Use Linux 6.7 or later, in a container that forbids neither Landlock nor seccomp."
_NEW_GRANT: Final = "Ask the client for a new grant and join with its invite."


def examine_contractor(home: Path, now: datetime, passphrase: str | SecretBytes | None = None) -> list[Check]:
    """Look at a contractor's home, its machine and its way to the vault.

    Args:
        home: the contractor's.
        now: what this machine's clock says, aware UTC.
        passphrase: opens the identity too; without it the file is only looked at from outside.
    """
    home, now = Path(home), truncate(now)
    if not (home / "identity.key").is_file():
        what = "has no identity.key" if home.is_dir() else "is missing"
        mend = "Give --home DIR if it is elsewhere, or make one: labelvault contractor init --label LABEL."
        return [*machine(now, None), hybrid_kem(), problem("home", f"{home} {what}", mend)]
    try:
        log = OpeningLog(home / "state.db")
    except LabelVaultError as error:
        mend = error.next_step or "Remove the home and make it again: its identity can't be used."
        return [*machine(now, None), hybrid_kem(), problem("state.db", str(error), mend)]
    with closing(log):
        checks = machine(now, log.high_water())
        checks += [hybrid_kem(), private("home", home), room(home), key_file(home / "identity.key", "identity")]
        checks += _openings(log, now)
        checks += _processes(home)
    try:
        key = read_card(read_private(home / "card", MAX_BYTES)).frame.signer
        if passphrase is not None:
            checks.append(_identity(home, passphrase, key))
        checks += _memberships(home, Joined(home, key).memberships(), key, now)
    except LabelVaultError as error:
        mend = error.next_step or "Put the home's files back from a copy, or make a new home and enrol anew."
        checks.append(problem("card and invites", str(error), mend))
    return checks


def _processes(home: Path) -> Iterator[Check]:
    """Start an opening process, and have it say how each step of its hardening came out; look for the agent."""
    try:
        worker = Worker()
        worker.stop()
        for step in worker.hardening:
            yield _hardened("hardening", "opening processes", (step,))
        agent = agent_status(home)
    except LabelVaultError as error:
        yield problem("processes", str(error), error.next_step or "Look at what runs on this machine.")
        return
    if agent is None:
        yield ok("agent", "none runs; each command asks for the passphrase")
    else:
        yield _hardened("agent", f"it runs for {agent.left_s // 60} min at most, process {agent.pid}", agent.hardening)


def _hardened(name: str, what: str, steps: tuple[Step, ...]) -> Check:
    missing = [step for step in steps if not step.done]
    if missing:
        mend = _LOCK_MEMORY if any(step.name == SWAPPED for step in missing) else _NEWER_KERNEL
        return warning(name, f"{what}; {'; '.join(f'{step.name}: no, {step.why}' for step in missing)}", mend)
    return ok(name, f"{what}; {'; '.join(step.name for step in steps)}")


def _identity(home: Path, passphrase: str | SecretBytes, key: bytes) -> Check:
    try:
        if open_identity(home / "identity.key", passphrase).public_key != key:
            return problem("keys", "the card is not this identity's", "Put identity.key and card back together.")
    except LabelVaultError as error:
        return opens("keys", error)
    return ok("keys", "the passphrase opens the identity, and it is the card's")


def _memberships(home: Path, found: list[Membership], key: bytes, now: datetime) -> Iterator[Check]:
    if not found:
        yield warning("grants", "nothing was joined yet", "Run: labelvault contractor join INVITE")
        return
    for address in dict.fromkeys(each.vault for each in found):
        yield reach(home, address, contractor_mailbox(found[0].client, key))
    newest = found[0]
    if newest.certificate.message.expires_at <= now:
        yield problem("certificate", "the issuer's certificate has expired", "Ask the client for a new invite.")
    left = newest.expires_at - now
    text = f"{len(found)} joined; the newest ends {newest.expires_at:%Y-%m-%d %H:%M}Z"
    if left <= timedelta(0):
        yield problem("grants", f"{text}: it has expired", _NEW_GRANT)
    elif newest.grant.message.not_before > now:
        yield warning("grants", f"{text}: it has not begun", "Wait until it begins, or ask the client.")
    else:
        yield warning("grants", text, _NEW_GRANT) if left < _SOON else ok("grants", text)


def _openings(log: OpeningLog, now: datetime) -> Iterator[Check]:
    held = [each for each in log.all() if each.state == "open"]
    over = [each for each in held if each.expires_at <= now]
    for each in over:
        left = f"its files are still in {each.folder}" if _on_disk(each) else "it was never closed"
        close = f"Run: labelvault contractor close {each.lease_id.hex()[:12]}"
        yield problem("openings", f"the lease of task {each.item.hex()[:12]} is over, and {left}", close)
    if not over:
        yield ok("openings", f"{len(held)} are open, none beyond its time")
    due = len(log.receipts_due())
    if due:
        mend = "They go out with the next opening or close, once the vault answers."
        yield warning("receipts", f"{due} were not posted yet", mend)
    else:
        yield ok("receipts", "all were posted")


def _on_disk(record: OpeningRecord) -> bool:
    return record.folder is not None and record.folder.exists()
