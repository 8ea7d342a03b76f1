"""Prekeys: one-time keys that a contractor makes in advance, so that leases can be issued while nobody waits."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from labelvault.contractor.joining import Joined
from labelvault.contractor.membership import Membership
from labelvault.errors import FormatError, PrekeyError
from labelvault.keys.identity import UnlockedIdentity
from labelvault.keys.prekeys import PrekeyFiles
from labelvault.wire.ahead import MAX_BUNDLE_KEYS, MAX_PREKEY_LIFETIME, PrekeyBundle
from labelvault.wire.frame import sign_message
from labelvault.wire.framefile import pack_frames

DEFAULT_PREKEY_LIFETIME: Final = timedelta(days=7)
MAX_PREKEYS: Final = 5_000
"""That one call makes."""


class Prekeys:
    """The prekeys of a home, and the bundles that offer them to its client."""

    def __init__(self, home: Path, identity: UnlockedIdentity, joined: Joined, now: Callable[[], datetime]) -> None:
        """Use a home's parts.

        Args:
            home: the contractor's; files are in its `prekeys/`.
            identity: signs bundles, and wraps seeds.
            joined: says which client the prekeys are for.
            now: the checked time; raises ClockError.
        """
        self.files = PrekeyFiles(home / "prekeys", identity)
        self._identity = identity
        self._joined = joined
        self._now = now

    def make(
        self,
        count: int,
        lifetime: timedelta = DEFAULT_PREKEY_LIFETIME,
        progress: Callable[[int, int], None] | None = None,
    ) -> bytes:
        """Make one-time keys and the file of bundles that goes to the client; it holds no secret.

        Args:
            count: how many, 1 to 5,000.
            lifetime: up to 31 days; they are erased then, and no lease that is sealed to one lives longer.
            progress: called with (keys made, keys in all).

        Raises:
            GrantError: nothing was joined yet.
            PrekeyError: this is a desk: nobody can be present in advance.
            FormatError: count or lifetime are out of bounds.
            ClockError: this machine's clock runs behind.
            KeystoreError: the file system refused; none of these keys is left.
        """
        membership = self._joined.find(None)
        if membership.tier != "helper":
            raise PrekeyError("a desk has no prekeys: nobody can be present in advance")
        if not 1 <= count <= MAX_PREKEYS:
            raise FormatError(f"1 to {MAX_PREKEYS} prekeys are made at a time")
        if not timedelta(seconds=1) <= lifetime <= MAX_PREKEY_LIFETIME:
            raise FormatError(f"prekeys live 1 second to {MAX_PREKEY_LIFETIME.days} days")
        now = self._now()
        self.files.erase_expired(now)
        end = now + lifetime
        keys: list[bytes] = []
        try:
            for number in range(count):
                keys.append(self.files.create(end))
                if progress is not None:
                    progress(number + 1, count)
        except BaseException:
            for key in keys:
                self.files.erase(key)
            raise
        groups = [tuple(keys[at : at + MAX_BUNDLE_KEYS]) for at in range(0, count, MAX_BUNDLE_KEYS)]
        return pack_frames(self._bundle(membership, group, now, end) for group in groups)

    def _bundle(self, membership: Membership, keys: tuple[bytes, ...], now: datetime, end: datetime) -> bytes:
        epoch = membership.certificate.message.epoch
        return sign_message(PrekeyBundle(membership.client, epoch, keys, now, end), self._identity).data
