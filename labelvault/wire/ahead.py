"""Messages for leases issued ahead of time: one-time keys made in advance, and the issuer's news of the day."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Final

from labelvault.errors import FormatError
from labelvault.wire.messages import ONE_TIME_KEY_BYTES, Hash32, Id16
from labelvault.wire.schema import Between, Count, Fixed, Text

MAX_BUNDLE_KEYS: Final = 50
"""As many as fit into one frame; a file of prekeys holds several bundles."""
MAX_PREKEY_LIFETIME: Final = timedelta(days=31)
MAX_STATUS_REVOKED: Final = 1500
"""Grants and leases together, so that a full status fits into one frame."""
MAX_STATUS_FROZEN: Final = 200
MAX_STATUS_LIFETIME: Final = timedelta(days=7)

OneTimeKeyBytes = Annotated[bytes, Fixed(ONE_TIME_KEY_BYTES)]


@dataclass(frozen=True, slots=True)
class PrekeyBundle:
    """One-time public keys that a contractor's own device made in advance; signed by its identity key.

    Each works once, for one lease of whichever grant of this client. A desk's is refused: presence can't be given in
    advance.

    Attributes:
        epoch: the ledger epoch of the certificate that the contractor trusts.
        keys: leases are sealed to them, one each.
        expires_at: no lease that is sealed to one of these keys outlives it, and the device erases them then.
    """

    TYPE: ClassVar[str] = "prekey-bundle"
    client: Hash32
    epoch: Id16
    keys: Annotated[tuple[OneTimeKeyBytes, ...], Count(1, MAX_BUNDLE_KEYS)]
    at: datetime
    expires_at: datetime

    def __post_init__(self) -> None:
        if not timedelta(0) < self.expires_at - self.at <= MAX_PREKEY_LIFETIME:
            raise FormatError(f"prekeys live longer than nothing and at most {MAX_PREKEY_LIFETIME.days} days")
        if len(set(self.keys)) != len(self.keys):
            raise FormatError("a prekey stands in its bundle twice")


@dataclass(frozen=True, slots=True)
class Status:
    """What the issuer says to all: what is revoked and frozen now, and how far the ledger has come.

    Signed by the issuer key, and brings the certificate that names it, so that whoever knows the client's id can
    verify it: contractors who hold leases issued ahead, and the vendor, who drops what was revoked.

    Attributes:
        certificate: the frame of the issuer's `IssuerCertificate`.
        checkpoint: the newest signed note over the ledger.
        revoked: frame hashes of all grants that were revoked, or whose contractor was, and have not expired; sorted.
        revoked_leases: ids of leases that have not ended, of tasks whose batch was revoked; sorted.
        frozen: ids of all projects that are frozen; sorted.
        next_update: when the next status is due; later it may be taken for withheld.
    """

    TYPE: ClassVar[str] = "status"
    client: Hash32
    epoch: Id16
    certificate: Annotated[bytes, Between(1, 4096)]
    checkpoint: Annotated[str, Text(2000, 1)]
    revoked: Annotated[tuple[Hash32, ...], Count(0, MAX_STATUS_REVOKED)]
    revoked_leases: Annotated[tuple[Hash32, ...], Count(0, MAX_STATUS_REVOKED)]
    frozen: Annotated[tuple[Id16, ...], Count(0, MAX_STATUS_FROZEN)]
    at: datetime
    next_update: datetime

    def __post_init__(self) -> None:
        if not timedelta(0) < self.next_update - self.at <= MAX_STATUS_LIFETIME:
            raise FormatError(f"the next status is due later than this one, within {MAX_STATUS_LIFETIME.days} days")
        if self.revocations > MAX_STATUS_REVOKED:
            raise FormatError(f"a status names at most {MAX_STATUS_REVOKED} revoked grants and leases")
        for ids in (self.revoked, self.revoked_leases, self.frozen):
            if list(ids) != sorted(set(ids)):
                raise FormatError("ids in a status are sorted and different")

    @property
    def revocations(self) -> int:
        """How many grants and leases it revokes."""
        return len(self.revoked) + len(self.revoked_leases)
