"""The thief: everything that ever lay at a vendor, whatever else he takes, and every key of it tried on all of it.

He works as the drill does, with its code, but bit by bit: a new key is tried on all bytes that he has, new bytes with
all keys that he has. What fits what is told by marks that can't miss: a payload's commitment, the public half of a
one-time key, a lease's id, the KEK that a wrap names. `tries_everything` does without them: it holds the short way to
the long one.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.recognise import PayloadRecogniser, one_time_mark, seed_mark
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.drill.entropy import KEY_BYTES, may_be_key
from labelvault.drill.records import Messages, SealedRecord
from labelvault.drill.trial import leased_keys, open_record, recorded
from labelvault.errors import DecryptionError, FormatError, KeystoreError
from labelvault.keys.identity import Identity
from labelvault.keys.kek import Kek, unwrap_dek, wrap_context
from labelvault.keys.keystore import MAGIC, open_keystore
from labelvault.keys.prekeys import MAX_PREKEY_FILE_BYTES, PrekeyFile, open_prekey
from labelvault.story.simulator.memory import bytes_held
from labelvault.story.simulator.rules import Version
from labelvault.wire.ahead import PrekeyBundle
from labelvault.wire.frame import frame_hash, parse_frame
from labelvault.wire.ids import prekey_lease_id
from labelvault.wire.items import parse_header
from labelvault.wire.messages import LEASE_INFO_LABEL, Lease, LeaseOuter, LeaseSecrets, OpenRequest
from labelvault.wire.schema import decode_record

_BIN_32: Final = re.compile(rb"\xc4\x20(?=(.{32}))", re.DOTALL)
"""msgpack's byte string of 32 bytes: how a key stands in a message that was opened."""


@dataclass(frozen=True, slots=True)
class Wrap:
    """A row of a stolen catalog."""

    header: bytes
    digest: bytes
    wrapped: bytes = field(repr=False)
    kek_id: bytes
    generation: int


class Thief:
    """What a thief has, and what he can read by it.

    Attributes:
        reads: versions that he opened, or found open.
        identities: what signs for somebody else, by its public key.
    """

    def __init__(self, known: dict[Version, bytes], keystores: dict[bytes, bytes]) -> None:
        """Begin with nothing.

        Args:
            known: the content of every version: by it is told what he found open in memory.
            keystores: key files that were opened before, and what was in them: a passphrase costs time each time.
        """
        self.reads: set[Version] = set()
        self.identities: dict[bytes, Identity] = {}
        self._known = known
        self._keystores = keystores
        self._messages = Messages()
        self._heard: set[bytes] = set()
        self._items: dict[Version, SealedRecord] = {}
        self._keys: set[bytes] = set()
        self._seeds: dict[bytes, bytes] = {}
        """Every key, by the mark of the one-time public key that it would be the seed of."""
        self._one_time: dict[bytes, OneTimeKey] = {}
        """Those whose public key was heard of."""
        self._marks: set[bytes] = set()
        self._asked_with: dict[bytes, bytes] = {}
        self._leases: dict[bytes, tuple[LeaseOuter, Lease]] = {}
        self._prekeys: dict[bytes, PrekeyFile] = {}
        self._wraps: set[Wrap] = set()
        self._keks: list[Kek] = []

    # What he gets

    def sees_item(self, header: bytes, payload: bytes) -> None:
        """A payload lies at a vendor."""
        record = SealedRecord(parse_header(header), header, payload)
        self._items[record.header.client, record.header.item, record.header.version] = record
        recogniser = PayloadRecogniser(recorded([record], self._messages).payloads)
        for key in self._keys:
            if recogniser.matches(key):
                self._open(record, key)

    def overhears(self, data: bytes) -> None:
        """Bytes went by, or rest somewhere: all messages in them are kept."""
        self._messages.carve(data)
        if len(self._messages.frames) > len(self._heard):
            for frame in self._messages.frames - self._heard:
                self._heard.add(frame)
                self._hear(frame)

    def takes_file(self, data: bytes, passphrase: bytes) -> None:
        """A file of somebody's home, and its passphrase."""
        self.overhears(data)
        self._look_for_keys(data)
        if data.startswith(MAGIC):
            self._take_keystore(data, passphrase)
        elif len(data) <= MAX_PREKEY_FILE_BYTES and (record := _parsed_prekey(data)) is not None:
            self._prekeys[record.public_key] = record
            self._heard_of(record.public_key)
            for identity in self.identities.values():
                self._open_prekey(identity, record)

    def takes_memory(self, roots: Iterable[object]) -> None:
        """The memory of a process: all that its objects reach."""
        held = bytes_held(roots)
        for data in held:
            self.overhears(data)
            self._look_for_keys(data)
        contents = {version for version, content in self._known.items() if any(content in data for data in held)}
        self.reads |= contents

    def takes_catalog(self, wraps: Iterable[Wrap]) -> None:
        """A copy of a client's catalog."""
        for wrap in set(wraps) - self._wraps:
            self._wraps.add(wrap)
            for kek in self._keks:
                self._unwrap(kek, wrap)

    def takes_kek(self, kek: Kek) -> None:
        """A client's KEK, unwrapped."""
        self._keks.append(kek)
        for wrap in self._wraps:
            self._unwrap(kek, wrap)

    def learns(self, key: bytes) -> None:
        """Thirty-two bytes that may be a key of any kind, and are tried as each."""
        if key in self._keys:
            return
        self._keys.add(key)
        records = list(self._items.values())
        for index in PayloadRecogniser(recorded(records, _NO_MESSAGES).payloads).matches(key):
            self._open(records[index], key)
        mark = seed_mark(key)
        self._seeds[mark] = key
        if mark in self._marks:
            self._use_seed(mark)
        signing = SigningKey(SecretBytes(key))
        if signing.public_key in self._messages.signers:
            self._take_identity(Identity(signing))

    # What he makes of it

    def tries_everything(self) -> set[Version]:
        """Try every key on every byte, without any mark; return what opens so."""
        for seed in [self._seeds[mark] for mark in self._one_time]:
            for dek in leased_keys(seed, self._messages):
                self.learns(dek)
        for kek in self._keks:
            for wrap in self._wraps:
                self._unwrap(kek, wrap)
        keys, records = tuple(self._keys), list(self._items.items())
        found = set()
        recogniser = PayloadRecogniser(recorded([record for _, record in records], _NO_MESSAGES).payloads)
        for key in keys:
            for index in recogniser.matches(key):
                if open_record(records[index][1], key) is not None:
                    found.add(records[index][0])
        return found

    def _open(self, record: SealedRecord, key: bytes) -> None:
        if open_record(record, key) is not None:
            self.reads.add((record.header.client, record.header.item, record.header.version))

    def _look_for_keys(self, data: bytes) -> None:
        if len(data) == KEY_BYTES:
            self._guess(data)
        for match in _BIN_32.finditer(data):
            self._guess(match[1])

    def _guess(self, data: bytes) -> None:
        # What everybody may know is no secret: keys that signed, names of leases.
        if may_be_key(data) and data not in self._messages.signers and data not in self._leases:
            self.learns(data)

    def _hear(self, data: bytes) -> None:
        frame = parse_frame(data)
        if frame.type == OpenRequest.TYPE:
            request = decode_record(OpenRequest, frame.body)
            self._asked_with[frame_hash(data)] = one_time_mark(request.one_time_key)
            self._heard_of(request.one_time_key)
        elif frame.type == PrekeyBundle.TYPE:
            for key in decode_record(PrekeyBundle, frame.body).keys:
                self._heard_of(key)
        elif frame.type == Lease.TYPE:
            lease = decode_record(Lease, frame.body)
            outer = decode_record(LeaseOuter, lease.outer)
            self._leases[outer.lease_id] = (outer, lease)
            for mark in list(self._one_time):
                self._try_lease(mark, outer, lease)

    def _heard_of(self, public_key: bytes) -> None:
        mark = one_time_mark(public_key)
        self._marks.add(mark)
        if mark in self._seeds:
            self._use_seed(mark)

    def _use_seed(self, mark: bytes) -> None:
        if mark not in self._one_time:
            self._one_time[mark] = OneTimeKey(SecretBytes(self._seeds[mark]))
        for outer, lease in list(self._leases.values()):
            self._try_lease(mark, outer, lease)

    def _try_lease(self, mark: bytes, outer: LeaseOuter, lease: Lease) -> None:
        key, asked_with = self._one_time[mark], self._asked_with.get(outer.lease_id)
        if asked_with is None:
            fits = prekey_lease_id(outer.grant_hash, key.public_key) == outer.lease_id
        else:
            fits = asked_with == mark
        if not fits:
            return
        try:
            secrets = decode_record(LeaseSecrets, key.open(lease.sealed, LEASE_INFO_LABEL + lease.outer))
        except (DecryptionError, FormatError):
            return
        for item in secrets.items:
            self.learns(item.dek)

    def _take_keystore(self, data: bytes, passphrase: bytes) -> None:
        if data not in self._keystores:
            try:
                self._keystores[data] = open_keystore("identity", data, SecretBytes(passphrase)).reveal()
            except KeystoreError:
                return
        key = SigningKey(SecretBytes(self._keystores[data]))
        self._take_identity(Identity(key))

    def _take_identity(self, identity: Identity) -> None:
        if identity.public_key not in self.identities:
            self.identities[identity.public_key] = identity
            for record in self._prekeys.values():
                self._open_prekey(identity, record)

    def _open_prekey(self, identity: Identity, record: PrekeyFile) -> None:
        try:
            self.learns(open_prekey(identity, record).reveal())
        except DecryptionError:
            return

    def _unwrap(self, kek: Kek, wrap: Wrap) -> None:
        context = wrap_context(wrap.header, wrap.digest, wrap.kek_id, wrap.generation)
        try:
            self.learns(unwrap_dek(kek, wrap.wrapped, context).reveal())
        except DecryptionError:
            return


_NO_MESSAGES: Final = Messages()


def _parsed_prekey(data: bytes) -> PrekeyFile | None:
    try:
        return decode_record(PrekeyFile, data, max_bytes=MAX_PREKEY_FILE_BYTES)
    except FormatError:
        return None
