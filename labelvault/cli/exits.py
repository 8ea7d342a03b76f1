"""What a command exits with and tells its user to do next, for every error that the library raises."""

from dataclasses import dataclass
from typing import Final

from labelvault import errors

OK: Final = 0
UNEXPECTED: Final = 1
USAGE: Final = 2
REFUSED: Final = 3
AUTHENTICITY: Final = 4
KEYS: Final = 5
UNREACHABLE: Final = 6
BAD_INPUT: Final = 7
CLOCK: Final = 8
MORE_THAN_STATED: Final = 9
UNWELL: Final = 10
ALARM: Final = 11
INTERRUPTED: Final = 130

MEANINGS: Final = {
    OK: "done",
    UNEXPECTED: "an unexpected error: please report it",
    USAGE: "wrong usage: an option, an argument, or a passphrase that nobody can be asked for",
    REFUSED: "refused: the issuer denied it, or a grant or lease does not allow it",
    AUTHENTICITY: "not authentic: a signature, a decryption, a ledger or a version does not hold",
    KEYS: "a key file, passphrase, card, invite or fingerprint does not fit",
    UNREACHABLE: "the vault or a database can't be reached, refused, or nobody answered in time",
    BAD_INPUT: "a file can't be used as it stands, or can't be written where it should go",
    CLOCK: "this machine's clock is wrong",
    MORE_THAN_STATED: "demo and contain: more opened than the ledger states; drill: anything was found at all",
    UNWELL: "the doctor found a problem",
    ALARM: "the issuer raised an alarm: somebody asked for a decoy, or for what is no task",
    INTERRUPTED: "interrupted",
}
"""Every exit code and its meaning; `labelvault --help` prints this table."""

DENIALS: Final = {
    "unknown": "Ask the client whether this task is in your grant; nothing more can be said from here.",
    "not-yet-valid": "Wait until the grant begins, or ask the client.",
    "expired": "Ask the client for a new grant and join with its invite.",
    "revoked": "The client has revoked this access; ask the client.",
    "frozen": "The client has frozen the project; try again when it tells you to.",
    "limit-open": "Close an open task first: labelvault contractor list, then contractor close LEASE.",
    "limit-total": "The grant's tasks are used up; ask the client for a new grant.",
    "limit-rate": "Too many tasks within one hour; try again later.",
    "stale": "Check this machine's clock, then open the task again.",
    "epoch": "The client has restored its ledger; open the task again, or ask for a new invite.",
    "presence": "Approve on the presence device within five minutes, or ask the client for another grant.",
    "replayed": "Open the task again; a request counts once.",
    "replaces": "Close the old opening and open the task again.",
    "unavailable": "Tell the client: the task can't be released as it stands.",
}
"""What to do after each denial code."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one error means to the user.

    Attributes:
        code: the exit code.
        next: one line that says what to do now.
    """

    code: int
    next: str


_OUTCOMES: Final[tuple[tuple[type[Exception], Outcome], ...]] = (
    (errors.GrantNotYetValidError, Outcome(REFUSED, "Wait until the grant begins, or ask the client.")),
    (errors.GrantExpiredError, Outcome(REFUSED, "Ask the client for a new grant and join with its invite.")),
    (
        errors.GrantScopeError,
        Outcome(
            REFUSED,
            "Name batches or tasks that labelvault client ls PROJECT lists; gold is never granted.",
        ),
    ),
    (
        errors.GrantRevokedError,
        Outcome(REFUSED, "The access was revoked; only the client can grant anew."),
    ),
    (
        errors.GrantLimitError,
        Outcome(REFUSED, "Choose other limits: labelvault client grant --help."),
    ),
    (
        errors.GrantFrozenError,
        Outcome(
            REFUSED, "Ask the client; once it has thawed the project, labelvault contractor status fetches the news."
        ),
    ),
    (errors.GrantError, Outcome(REFUSED, "Check the grant: labelvault client ls.")),
    (
        errors.StatusStaleError,
        Outcome(
            REFUSED,
            "Fetch the newest status: labelvault contractor status; or import a file that the client wrote today.",
        ),
    ),
    (
        errors.PrekeyExpiredError,
        Outcome(REFUSED, "Ask the contractor for new ones: labelvault contractor prekeys."),
    ),
    (
        errors.PrekeysUsedError,
        Outcome(REFUSED, "Ask the contractor for more: labelvault contractor prekeys -n N; or name fewer tasks."),
    ),
    (errors.PrekeyError, Outcome(REFUSED, "Have new ones made: labelvault contractor prekeys.")),
    (errors.LeaseExpiredError, Outcome(REFUSED, "Open the task again: labelvault contractor open ITEM.")),
    (errors.LeaseClosedError, Outcome(REFUSED, "Open the task again: labelvault contractor open ITEM.")),
    (errors.LeaseError, Outcome(REFUSED, "See what is open: labelvault contractor list.")),
    (errors.LargePartError, Outcome(BAD_INPUT, "Get it as a file: labelvault contractor open ITEM --to DIR.")),
    (
        errors.SignatureError,
        Outcome(AUTHENTICITY, "Don't go on; get the file again from its sender, another way than before."),
    ),
    (
        errors.DecryptionError,
        Outcome(AUTHENTICITY, "The bytes are not what the client sealed, or not for you; tell the client."),
    ),
    (
        errors.TamperedError,
        Outcome(AUTHENTICITY, "The vault serves altered bytes; tell the client and keep a copy."),
    ),
    (
        errors.RollbackError,
        Outcome(AUTHENTICITY, "Something older was served than seen before; tell the client."),
    ),
    (errors.ReplayError, Outcome(AUTHENTICITY, "This was used before; make a new one.")),
    (
        errors.LedgerError,
        Outcome(AUTHENTICITY, "Don't rely on this ledger; compare an older export."),
    ),
    (errors.BackupError, Outcome(AUTHENTICITY, "Take another copy of the backup, or an older one.")),
    (errors.KeystorePassphraseError, Outcome(KEYS, "Try the passphrase again; nothing was changed.")),
    (errors.KeystoreDamagedError, Outcome(KEYS, "Put the file back from its backup; nothing was changed.")),
    (errors.KeystoreForeignError, Outcome(KEYS, "Check --home; run the actor's init first if it is new.")),
    (
        errors.KeystoreError,
        Outcome(KEYS, "Check --home and its permissions; a new one needs init first."),
    ),
    (
        errors.EnrolmentError,
        Outcome(KEYS, "Have the fingerprint read out again, in person or by phone, not through the vendor."),
    ),
    (
        errors.ApprovalTimeoutError,
        Outcome(UNREACHABLE, "On the presence device run labelvault contractor approve --watch; then ask again."),
    ),
    (
        errors.ApprovalRefusedError,
        Outcome(REFUSED, "See what this device knows, and under which grants: labelvault contractor device list."),
    ),
    (errors.PresenceError, Outcome(REFUSED, "Ask again, and approve on the presence device that the grant names.")),
    (
        errors.RequestTimeoutError,
        Outcome(UNREACHABLE, "Ask the client whether its issuer runs (labelvault client issuer run), then try again."),
    ),
    (errors.RelayError, Outcome(UNREACHABLE, "Find out why: labelvault doctor checks address, connection and token.")),
    (
        errors.ConflictError,
        Outcome(UNREACHABLE, "Something else has this name; nothing was changed."),
    ),
    (errors.NotFoundError, Outcome(UNREACHABLE, "Check the name or id with the command ls or list.")),
    (errors.StoreError, Outcome(UNREACHABLE, "Check the disk, the permissions and that init has run.")),
    (
        errors.FormatError,
        Outcome(BAD_INPUT, "Check that it is the right file, complete, and made by this version."),
    ),
    (
        errors.ProjectError,
        Outcome(BAD_INPUT, "Mend the file and run it again; what is right stays sealed."),
    ),
    (
        errors.ShreddedError,
        Outcome(REFUSED, "Its keys are gone for good; what is needed has to be sealed anew."),
    ),
    (errors.OutputError, Outcome(BAD_INPUT, "Choose a new or empty place that you may write to.")),
    (errors.DrillError, Outcome(BAD_INPUT, "Check what was handed to the drill: labelvault drill --help.")),
    (errors.ClockError, Outcome(CLOCK, "Set the clock of this machine right, then try again.")),
)


ISSUE_REFUSALS: Final = {
    "unknown": "Name tasks that the grant's scope covers: labelvault client ls PROJECT, labelvault client grants.",
    "limit-open": "Grant max_open more, or wait until leases are closed or expire.",
    "limit-total": "Grant max_total more.",
    "limit-rate": "Grant per_hour more, or issue the rest an hour from now.",
    "revoked": "Grant anew; what is revoked stays so.",
    "frozen": "Thaw the project first: labelvault client unfreeze PROJECT.",
    "presence": "A desk gets no leases ahead, since nobody can be present in advance; it has to ask for each task.",
    "epoch": "Have new prekeys made: labelvault contractor prekeys.",
    "stale": "Check both machines' clocks, then have new prekeys made.",
    "expired": "Make a new grant.",
    "not-yet-valid": "Wait until the grant begins.",
    "unavailable": "Check the catalog with labelvault client doctor, and have new prekeys made.",
}
"""What to do when a lease can't be issued ahead, by the code of the refusal."""


def outcome_of(error: errors.LabelVaultError) -> Outcome:
    """Return the exit code and the advice for an error; the most special kind that fits decides.

    What the error itself says to do goes before what its kind does.
    """
    if isinstance(error, errors.DeniedError):
        return Outcome(REFUSED, DENIALS.get(error.code, "Ask the client."))
    if isinstance(error, errors.IssueRefusedError):
        return Outcome(REFUSED, ISSUE_REFUSALS.get(error.code, "Check the grant: labelvault client ls."))
    for kind, outcome in _OUTCOMES:
        if isinstance(error, kind):
            return Outcome(outcome.code, error.next_step or outcome.next)
    return Outcome(UNEXPECTED, "Please report it, with the command that you ran.")
