"""Every error that LabelVault raises on purpose, under one root.

Kinds are split so that a caller (and a negative test) can tell one refusal from another; a failed AEAD says one thing
only (`DecryptionError`), whatever the cause, so that it can't serve as an oracle. Attributes carry facts, messages
carry ids and sizes: never keys, never plaintext, never bytes that no signature covers.
"""


class LabelVaultError(Exception):
    """The root: `except LabelVaultError` catches whatever this library raises on purpose.

    Attributes:
        next_step: one sentence on what to do now, where the kind alone does not say it; else None.
    """

    next_step: str | None = None

    def __init__(self, *args: object, next_step: str | None = None) -> None:
        super().__init__(*args)
        self.next_step = next_step


class FormatError(LabelVaultError):
    """Bytes that are not the one canonical encoding of what they claim to be, or that break a stated bound."""


class SignatureError(LabelVaultError):
    """A signature, or the key that it should verify under, is not valid. Nothing that it covered was used."""


class DecryptionError(LabelVaultError):
    """An authenticated decryption failed. Wrong key, tag, commitment, context and padding all say this."""


class TamperedError(LabelVaultError):
    """The vault served other bytes than the client sealed. Found from public data alone, before any decryption."""


class GrantError(LabelVaultError):
    """A grant does not allow what was asked of it."""


class GrantNotYetValidError(GrantError):
    """The grant's `not_before` lies ahead."""


class GrantExpiredError(GrantError):
    """The grant's `expires_at` has been reached."""


class GrantScopeError(GrantError):
    """The item lies outside the grant's scope, or the scope itself can't be granted."""


class GrantRevokedError(GrantError):
    """The grant, or the contractor that it names, was revoked."""


class GrantLimitError(GrantError):
    """A limit of the grant is missing, out of bounds or reached."""


class GrantFrozenError(GrantError):
    """The grant's project is frozen, by the newest status that is known here."""


class LeaseError(LabelVaultError):
    """A lease is not one that this opening may use."""


class LeaseExpiredError(LeaseError):
    """The lease's `expires_at` has been reached; its content is no longer handed out."""


class LeaseClosedError(LeaseError):
    """The opening was closed; its key is gone."""


class StatusStaleError(LeaseError):
    """The newest status of the client's issuer that is known here is too old for a lease that was issued ahead."""


class LargePartError(LabelVaultError):
    """An opened item is too large to be held in memory as a whole; its `open()` gives it as a file."""


class DeniedError(LabelVaultError):
    """The issuer answered with a signed denial.

    Attributes:
        code: the denial's code, one of `labelvault.wire.messages.DENIAL_CODES`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"the issuer denied the request: {code}")
        self.code = code


class IssueRefusedError(LabelVaultError):
    """The issuer refuses to issue a lease ahead. Nothing was issued, and no prekey is spent by it.

    Attributes:
        item: the task's id, 16 bytes.
        code: why, as in `DeniedError`.
    """

    def __init__(self, item: bytes, code: str) -> None:
        super().__init__(f"no lease can be issued ahead for task {item.hex()}: {code}; nothing was issued")
        self.item = item
        self.code = code


class PrekeyError(LabelVaultError):
    """Prekeys can't be used for what they should be. None of them is spent by it."""


class PrekeyExpiredError(PrekeyError):
    """The end of these prekeys has been reached; their device has erased them."""


class PrekeysUsedError(PrekeyError):
    """Fewer unused prekeys are left than leases are wanted.

    Attributes:
        missing: how many more are needed.
    """

    def __init__(self, missing: int) -> None:
        super().__init__(f"{missing} more prekeys are needed; nothing was issued")
        self.missing = missing


class RequestTimeoutError(LabelVaultError):
    """The issuer gave no answer in time. The request may still be answered; asking again makes a new one.

    Attributes:
        timeout_s: how long was waited, in seconds.
    """

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"no answer from the issuer within {timeout_s:g} s")
        self.timeout_s = timeout_s


class PresenceError(LabelVaultError):
    """A presence device did not approve, or what it answered is not an approval that may be used."""


class ApprovalRefusedError(PresenceError):
    """A presence device refuses what it was asked to approve, whatever its owner says.

    Attributes:
        reason: one of `labelvault.contractor.presence_checks.REFUSALS`.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ApprovalTimeoutError(PresenceError):
    """Nobody approved on the presence device in time; nothing was asked of the issuer.

    Attributes:
        timeout_s: how long was waited, in seconds.
    """

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"nobody approved on the presence device within {timeout_s:g} s")
        self.timeout_s = timeout_s


class ReplayError(LabelVaultError):
    """Something that counts once was offered a second time."""


class RollbackError(LabelVaultError):
    """An older state was served than one that was seen before."""


class ClockError(LabelVaultError):
    """This machine's clock contradicts a time that is known to have passed. Nothing is opened or released."""


class LedgerError(LabelVaultError):
    """The ledger, a checkpoint or a proof does not hold together."""


class ForkError(LedgerError):
    """A ledger does not continue one that was seen before: it was forked, rewritten or cut.

    Both sides are signed, so together they show it to anyone who holds the public keys.

    Attributes:
        older: the signed checkpoint that was seen before, as text.
        newer: the signed checkpoint that contradicts it, as text.
        kept: the files that a witness keeps them in, in this order; none where nobody keeps them.
    """

    def __init__(
        self, message: str, older: str, newer: str, kept: tuple[str, ...] = (), *, next_step: str | None = None
    ) -> None:
        super().__init__(message, next_step=next_step)
        self.older = older
        self.newer = newer
        self.kept = kept


class QuorumError(LedgerError):
    """Fewer witnesses than were asked for cosigned a ledger."""


class StatementError(LedgerError):
    """An exposure statement does not follow from the ledgers that it stands on, or can't be made of them."""


class StoreError(LabelVaultError):
    """The vault's or the client's storage refused or failed; nothing was changed."""


class ConflictError(StoreError):
    """Other bytes are already stored under this name; they stay as they are."""


class NotFoundError(StoreError):
    """Nothing is stored under this name."""


class ReplicaError(StoreError):
    """The ledger's copy elsewhere can't be kept. What was done is on record here, and its answer does not leave."""


class RelayError(LabelVaultError):
    """The vault could not be reached, or answered with something that can't be right."""


class BackupError(LabelVaultError):
    """A backup can't be made or restored as it stands; nothing was written."""


class KeystoreError(LabelVaultError):
    """A key file can't be used."""


class KeystorePassphraseError(KeystoreError):
    """The file is whole, but this passphrase does not open it."""


class KeystoreDamagedError(KeystoreError):
    """The file is truncated or altered."""


class KeystoreForeignError(KeystoreError):
    """The file is no key file of LabelVault, of another version, or holds another kind of key."""


class EnrolmentError(LabelVaultError):
    """A card, invite or fingerprint does not belong to whom it should."""


class ProjectError(LabelVaultError):
    """A project folder or its `labelvault.toml` can't be used as it stands.

    Attributes:
        file: the file at fault, relative to the folder, if one is.
        line: its line, counted from 1, if one is.
    """

    def __init__(
        self, message: str, file: str | None = None, line: int | None = None, *, next_step: str | None = None
    ) -> None:
        place = "" if file is None else f"{file}:{line}: " if line is not None else f"{file}: "
        super().__init__(place + message, next_step=next_step)
        self.file = file
        self.line = line


class ShreddedError(LabelVaultError):
    """Keys were destroyed on purpose: a project's, so nothing is sealed into it or released; or an old version's."""


class OutputError(LabelVaultError):
    """An opened item can't be written to the asked-for place without leaving it or overwriting something."""


class DrillError(LabelVaultError):
    """The drill can't read what it was given as stolen, or a process's memory can't be captured."""
