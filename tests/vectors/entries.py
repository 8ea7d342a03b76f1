"""Every public entry of each area: called with a vector's inputs, it raises what the entry raises.

An entry that answers instead of raising raises `Unanswered` here: `junk` where an issuer answers nothing and records
nothing, `opaque` where a vault stores a message without believing anything of it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from labelvault.client.backupchain import DATABASE, assemble, part_path, parts_in_files
from labelvault.contractor.exchange import DirectExchange, acceptor
from labelvault.contractor.held import HeldLeases
from labelvault.contractor.joining import Joined
from labelvault.contractor.membership import (
    Membership,
    check_invite_fingerprint,
    newer_certificate,
    read_certificate,
    read_invite,
)
from labelvault.contractor.opening import open_lease, read_ahead_lease, read_denial, read_lease
from labelvault.contractor.presence_checks import Desk, examine, read_assignment
from labelvault.contractor.records import OpeningLog
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.answer import open_answer
from labelvault.envelope.digest import item_digest, payload_leaves
from labelvault.envelope.seal import check_digest, open_item
from labelvault.errors import ApprovalRefusedError, DecryptionError, DeniedError, IssueRefusedError, LabelVaultError
from labelvault.issuer.authorize import authorize
from labelvault.issuer.catalog import CatalogVersion
from labelvault.issuer.log import Position
from labelvault.issuer.release import release
from labelvault.keys.cards import card_fingerprint, client_fingerprint, read_card
from labelvault.keys.fingerprint import to_proquints
from labelvault.keys.identity import UnlockedIdentity
from labelvault.keys.kek import Kek, unwrap_dek, wrap_context
from labelvault.keys.prekeys import PrekeyFiles
from labelvault.keys.quorum import recover_root
from labelvault.keys.root import LocalRootKey
from labelvault.ledger.checkpoint import Checkpoint, claimed_checkpoint, verify_checkpoint
from labelvault.ledger.cosignature import cosignature_by, parse_cosigner_key
from labelvault.ledger.export import export_ledger, verify_export
from labelvault.ledger.extension import parse_extension
from labelvault.relay.protocol import ItemPart
from labelvault.stores.checks import check_items, parse_ack, parse_lease, parse_receipt, parse_status
from labelvault.stores.values import StoredItem
from labelvault.wire.ahead import PrekeyBundle, Status
from labelvault.wire.answers import Ack, Submission
from labelvault.wire.certified import open_certified
from labelvault.wire.codec import decode, encode
from labelvault.wire.frame import Signed, frame_hash, open_frame, parse_frame, sign_message
from labelvault.wire.ids import ClientId, lease_mailbox, status_mailbox
from labelvault.wire.items import ItemHeader, parse_header
from labelvault.wire.messages import Denial, Grant, OpenRequest, Receipt
from labelvault.wire.schema import decode_record
from labelvault.wire.times import from_ms
from tests.vectors import actors, world
from tests.vectors.form import Inputs, load
from tests.vectors.items_book import TASK_METADATA
from tests.vectors.pure import pure_python


class Unanswered(LabelVaultError):
    """The entry took no notice, in the word that it carries."""


def raw(inputs: Inputs, name: str) -> bytes:
    """An input's bytes."""
    return bytes.fromhex(inputs[name])


# codec


def _decode(inputs: Inputs, _: Path) -> None:
    data = raw(inputs, "data")
    assert encode(decode(data)) == data


def _decode_pure(inputs: Inputs, place: Path) -> None:
    with pure_python():
        _decode(inputs, place)


# header and payload


def _open_item(inputs: Inputs, expected: ItemHeader, digest: bytes) -> None:
    dek = SecretBytes(raw(inputs, "dek"))
    opened = open_item(raw(inputs, "header"), raw(inputs, "payload"), dek, expected=expected, digest=digest)
    assert opened.header == expected
    assert len(opened.content) == opened.metadata.size > 0


def _expected(inputs: Inputs) -> ItemHeader:
    return parse_header(raw(inputs, "expected" if "expected" in inputs else "header"))


def _check_digest(inputs: Inputs, _: Path) -> None:
    check_digest(
        raw(inputs, "header"), raw(inputs, "payload"), expected=_expected(inputs), digest=raw(inputs, "digest")
    )


def _certified(inputs: Inputs, _: Path) -> None:
    """As if a lease named these very bytes: the encryption alone has to refuse them."""
    header, payload = raw(inputs, "header"), raw(inputs, "payload")
    _open_item(inputs, parse_header(header), item_digest(header, len(payload), payload_leaves(payload)))


def _store(inputs: Inputs, _: Path) -> None:
    payload = raw(inputs, "payload")
    check_items([StoredItem(raw(inputs, "header"), payload, payload_leaves(payload), None)])


def _open_served(inputs: Inputs, _: Path) -> None:
    """The vault serves this header and payload for the item that a lease names."""
    _open_lease(load("lease_valid").inputs, serving={_expected(inputs).item: inputs})


# wrap


def _unwrap(inputs: Inputs, _: Path) -> None:
    kek = Kek(raw(inputs, "kek_id"), inputs["generation"], SecretBytes(raw(inputs, "kek")))
    context = wrap_context(raw(inputs, "header"), raw(inputs, "digest"), kek.kek_id, kek.generation)
    assert unwrap_dek(kek, raw(inputs, "wrapped"), context).matches(raw(inputs, "dek"))


def _release(inputs: Inputs, _: Path) -> None:
    kek = Kek(raw(inputs, "kek_id"), inputs["generation"], SecretBytes(raw(inputs, "kek")))
    version = CatalogVersion(
        parse_header(raw(inputs, "header")),
        raw(inputs, "digest"),
        raw(inputs, "wrapped"),
        kek.kek_id,
        kek.generation,
        TASK_METADATA,
    )
    release(actors.authorized(), [version], Position(0, bytes(32)), lambda _: kek, actors.IDENTITY)


# card


def _enroll(inputs: Inputs, place: Path) -> None:
    card = raw(inputs, "card")
    with actors.client(place) as client:
        before = actors.snapshot(client.database)
        try:
            record = client.enroll(card, fingerprint=card_fingerprint(card), name="ada")
        except LabelVaultError:
            assert actors.snapshot(client.database) == before
            raise
        assert client.contractors() == [record]


# certificate, grant, invite


def _read_certificate(inputs: Inputs, _: Path) -> None:
    read_certificate(raw(inputs, "certificate"), raw(inputs, "identity_key"))


def _certificate_in_invite(inputs: Inputs, _: Path) -> None:
    invite = sign_message(world.invite(certificate=raw(inputs, "certificate")), world.IDENTITY)
    read_invite(invite.data, raw(inputs, "identity_key"), world.HELPER.public_key)


def _certificate_in_denial(inputs: Inputs, _: Path) -> None:
    known = sign_message(world.invite(certificate=raw(inputs, "known")), world.IDENTITY)
    membership = read_invite(known.data, raw(inputs, "identity_key"), world.HELPER.public_key)
    denial = sign_message(world.denial(certificate=raw(inputs, "certificate")), world.ISSUER)
    _denial, certificate = read_denial(denial.data, world.REQUEST, membership)
    assert newer_certificate(membership.certificate, certificate) == certificate


def _open_grant(inputs: Inputs, _: Path) -> None:
    open_frame(raw(inputs, "grant"), Grant, raw(inputs, "identity_key"))


def _grant_in_invite(inputs: Inputs, _: Path) -> None:
    invite = sign_message(world.invite(grant=raw(inputs, "grant")), world.IDENTITY)
    read_invite(invite.data, raw(inputs, "identity_key"), raw(inputs, "contractor"))


def _fingerprint(inputs: Inputs, _: Path) -> None:
    assert check_invite_fingerprint(raw(inputs, "invite"), inputs["fingerprint"]) == raw(inputs, "identity_key")


def _read_invite(inputs: Inputs, _: Path) -> None:
    _membership(inputs)


def _membership(inputs: Inputs) -> Membership:
    return read_invite(raw(inputs, "invite"), raw(inputs, "identity_key"), raw(inputs, "contractor"))


# request, authorize, receipt


def _handle(name: str, *, leased: bool) -> Callable[[Inputs, Path], None]:
    """The issuer handles the message: it answers, or takes no notice and changes nothing."""

    def handle(inputs: Inputs, place: Path) -> None:
        with actors.issuer(place, from_ms(inputs["now"]), leased=leased) as (issuer, database):
            before = actors.snapshot(database)
            answer = issuer.handle(raw(inputs, name))
            changed = actors.snapshot(database) != before
            if answer is None and not changed:
                raise Unanswered("junk")
            if answer is None:
                assert name == "receipt"
                assert database.rows("SELECT event FROM receipts") != []
            elif parse_frame(answer).type == Denial.TYPE:
                # A request that has expired is denied without a trace: anyone could repeat it for ever.
                denial = open_frame(answer, Denial, world.ISSUER.public_key).message
                assert changed == (denial.code != "stale" or database.rows("SELECT * FROM spent_keys") != [])
                assert database.rows("SELECT * FROM leases") == []
                raise DeniedError(denial.code)
            elif parse_frame(answer).type == Ack.TYPE:
                said = open_certified(answer, Ack, world.CLIENT)[0].message
                assert (said.client, said.of, changed) == (world.CLIENT, frame_hash(raw(inputs, name)), True)
                if said.verdict != "accepted":
                    raise Unanswered(said.verdict)
            else:
                _open_lease(load("lease_valid").inputs | {"lease": answer.hex()})

    return handle


def _open_request(inputs: Inputs, _: Path) -> None:
    open_frame(raw(inputs, "request"), OpenRequest, raw(inputs, "contractor"))


def _authorize(inputs: Inputs, _: Path) -> None:
    request = open_frame(raw(inputs, "request"), OpenRequest, raw(inputs, "contractor"))
    grant = open_frame(raw(inputs, "grant"), Grant, raw(inputs, "identity_key"))
    authorized = authorize(request, grant, actors.usage(inputs["usage"]), from_ms(inputs["now"]))
    assert authorized.issued_at == from_ms(inputs["now"])


def _open_receipt(inputs: Inputs, _: Path) -> None:
    open_frame(raw(inputs, "receipt"), Receipt, raw(inputs, "contractor"))


def _parse_receipt(inputs: Inputs, _: Path) -> None:
    if parse_receipt(raw(inputs, "receipt")) is None:
        raise Unanswered("opaque")


# submission and ack


def _open_submission(inputs: Inputs, _: Path) -> None:
    open_frame(raw(inputs, "submission"), Submission, raw(inputs, "contractor"))


def _open_answer(inputs: Inputs, _: Path) -> None:
    """The client opens what a frame carries, whoever signed it."""
    message = decode_record(Submission, parse_frame(raw(inputs, "submission")).body)
    opened = open_answer(world.SUBMISSION, message.sealed, message.outer)
    assert (opened.head.name, opened.content) == ("answer", b'{"label":"good"}')


def _open_ack(inputs: Inputs, _: Path) -> None:
    open_certified(raw(inputs, "ack"), Ack, raw(inputs, "client"))


def _parse_ack(inputs: Inputs, _: Path) -> None:
    if parse_ack(raw(inputs, "ack")) is None:
        raise Unanswered("opaque")


# lease and denial


def _own_request(inputs: Inputs) -> Signed[OpenRequest]:
    return open_frame(raw(inputs, "request"), OpenRequest, raw(inputs, "contractor"))


def _read_lease(inputs: Inputs, _: Path) -> None:
    read_lease(raw(inputs, "lease"), _own_request(inputs), _membership(inputs), from_ms(inputs["now"]))


def _exchange(name: str) -> Callable[[Inputs, Path], None]:
    """The answer arrives as answers do; a denial that is taken for what it is was accepted."""

    def ask(inputs: Inputs, _: Path) -> None:
        request = _own_request(inputs)
        accept = acceptor(request, _membership(inputs), lambda: from_ms(inputs["now"]))
        try:
            taken = DirectExchange(lambda _: raw(inputs, name)).ask(request, accept, 0.1)
        except DeniedError as denied:
            assert (name, denied.code) == ("denial", "frozen")  # noqa: PT017
        else:
            assert taken == raw(inputs, name)

    return ask


def _open_lease(inputs: Inputs, place: Path | None = None, *, serving: dict[bytes, Inputs] | None = None) -> None:
    membership = _membership(inputs)
    lease, outer = read_lease(raw(inputs, "lease"), _own_request(inputs), membership, from_ms(inputs["now"]))
    parts = [load(each).inputs if isinstance(each, str) else each for each in inputs["served"]]
    served = dict(zip((world.TASK, world.GUIDELINE, world.OTHER_ITEM), parts, strict=False)) | (serving or {})

    def read_item(header: ItemHeader) -> ItemPart:
        payload = raw(served[header.item], "payload")
        return ItemPart(raw(served[header.item], "header"), len(payload), payload)

    key = OneTimeKey(SecretBytes(raw(inputs, "one_time_seed")))
    opened = open_lease(lease, outer, key, membership, read_item)
    assert (opened.task.kind, opened.task.item) == ("task", world.TASK)
    assert [part.item for part in opened.required] == [world.GUIDELINE]


def _open(inputs: Inputs, _: Path) -> None:
    _open_lease(inputs)


def _read_denial(inputs: Inputs, _: Path) -> None:
    denial, _certificate = read_denial(raw(inputs, "denial"), _own_request(inputs), _membership(inputs))
    assert denial.code == "frozen"


# ahead of time


def _issue(inputs: Inputs, place: Path) -> None:
    with actors.issuer(place, from_ms(inputs["now"]), leased=False) as (issuer, database):
        before = actors.snapshot(database)
        try:
            report = issuer.issue(world.GRANT_ID, [world.TASK], [raw(inputs, "bundle")])
        except LabelVaultError:
            assert actors.snapshot(database) == before
            raise
        assert [lease.item for lease in report.leases] == [world.TASK]


def _keep_bundle(inputs: Inputs, place: Path) -> None:
    with actors.issuer(place, from_ms(inputs["now"]), leased=False) as (issuer, database):
        assert issuer.handle(raw(inputs, "bundle")) is None
        if not database.rows("SELECT * FROM prekey_bundles"):
            raise Unanswered("junk")


def _take_status(inputs: Inputs, place: Path) -> None:
    """By a home that joined, and saw a status of the time `seen` before."""
    contractor, seen = raw(inputs, "contractor"), from_ms(inputs["seen"])
    joined = Joined(place, contractor)
    joined.join(raw(inputs, "invite"), client_fingerprint(raw(inputs, "identity_key")), "helper")
    log = OpeningLog(place / "state.db", create=True)
    log.saw_status(seen)
    prekeys = PrekeyFiles(place / "prekeys", cast(UnlockedIdentity, world.HELPER))
    held = HeldLeases(place, contractor, log, joined, prekeys, lambda: from_ms(inputs["now"]))
    try:
        status = held.take_status(raw(inputs, "status"))
    finally:
        assert log.status_at() == seen
        log.close()
    assert (place / "status").read_bytes() == status.data


def _parse_status(inputs: Inputs, _: Path) -> None:
    if parse_status(status_mailbox(ClientId(raw(inputs, "client"))), raw(inputs, "status")) is None:
        raise Unanswered("opaque")


def _read_ahead_lease(inputs: Inputs, _: Path) -> None:
    prekey, contractor, now = raw(inputs, "prekey"), raw(inputs, "contractor"), from_ms(inputs["now"])
    read_ahead_lease(raw(inputs, "lease"), prekey, world.TASK, contractor, _membership(inputs), now)


def _parse_lease(inputs: Inputs, _: Path) -> None:
    mailbox = lease_mailbox(world.CLIENT, raw(inputs, "contractor"))
    assert parse_lease(mailbox, raw(inputs, "lease")) is not None


# checkpoint


def _verify_checkpoint(inputs: Inputs, _: Path) -> None:
    verify_checkpoint(inputs["note"], inputs["name"], raw(inputs, "issuer_key"), inputs["origin"])


def _verify_export(inputs: Inputs, _: Path) -> None:
    entries = [bytes.fromhex(entry) for entry in inputs["entries"]]
    exported = export_ledger(entries, inputs["note"])
    key = raw(inputs, "issuer_key")
    ledger = verify_export(exported, origin=inputs["origin"], name=inputs["name"], public_key=key)
    assert len(ledger.entries) == len(entries)


# cosignature, extension


def _cosignature_by(inputs: Inputs, _: Path) -> None:
    found = cosignature_by(inputs["note"], parse_cosigner_key(inputs["witness_key"]))
    assert found is not None


def _check_extension(inputs: Inputs, _: Path) -> None:
    extension = parse_extension(inputs["extension"])
    newer = claimed_checkpoint(extension.note)
    extension.check(Checkpoint(newer.origin, inputs["old_size"], raw(inputs, "old_root")), newer)


# presence


def _desks(inputs: Inputs) -> dict[bytes, Desk]:
    membership = _membership(inputs)
    key = raw(inputs, "contractor")
    return {key: Desk(key, "desk 4", [membership])}


def _examine(inputs: Inputs, _: Path) -> None:
    examine(
        raw(inputs, "request"),
        _desks(inputs),
        raw(inputs, "presence_key"),
        [],
        from_ms(inputs["now"]),
        require_assignment=False,
    )


def _read_assignment(inputs: Inputs, _: Path) -> None:
    read_assignment(raw(inputs, "assignment"), _desks(inputs), from_ms(inputs["now"]))


def _no_plaintext(entry: Callable[[Inputs, Path], None]) -> Callable[[Inputs, Path], None]:
    """Failed decryptions say one thing only."""

    def call(inputs: Inputs, place: Path) -> None:
        try:
            entry(inputs, place)
        except DecryptionError as error:
            assert str(error) == "decryption failed"  # noqa: PT017
            raise

    return call


# backup


def _assemble(inputs: Inputs, place: Path) -> None:
    file = place / "backup"
    file.write_bytes(raw(inputs, "base"))
    part_path(file, 1).write_bytes(raw(inputs, "increment"))
    folder = place / "assembled"
    folder.mkdir()
    with parts_in_files(file) as parts:
        assemble(parts, LocalRootKey(SecretBytes(raw(inputs, "root"))), folder, with_files=True)
    assert (folder / DATABASE).read_bytes() == raw(inputs, "database")


def _recover(inputs: Inputs, _: Path) -> None:
    root = recover_root([to_proquints(raw(inputs, name)) for name in ("one", "two")])
    assert root.secret().reveal() == raw(inputs, "key")


_ALL: dict[str, dict[str, Callable[[Inputs, Path], None]]] = {
    "codec": {"decode": _decode, "decode-pure-python": _decode_pure},
    "header": {
        "parse_header": lambda inputs, _: void(parse_header(raw(inputs, "header"))),
        "check_digest": _check_digest,
        "open_item": lambda inputs, _: _open_item(inputs, _expected(inputs), raw(inputs, "digest")),
        "open_item-certified": _certified,
        "store": _store,
        "open_lease": _open_served,
    },
    "payload": {
        "check_digest": _check_digest,
        "open_item": lambda inputs, _: _open_item(inputs, _expected(inputs), raw(inputs, "digest")),
        "open_item-certified": _certified,
        "open_lease": _open_served,
    },
    "backup": {"assemble": _assemble},
    "share": {"recover_root": _recover},
    "wrap": {"unwrap_dek": _unwrap, "release": _release},
    "card": {"read_card": lambda inputs, _: void(read_card(raw(inputs, "card"))), "enroll": _enroll},
    "certificate": {
        "read_certificate": _read_certificate,
        "read_invite": _certificate_in_invite,
        "read_denial": _certificate_in_denial,
    },
    "grant": {"open_frame": _open_grant, "read_invite": _grant_in_invite},
    "invite": {"check_invite_fingerprint": _fingerprint, "read_invite": _read_invite},
    "request": {"open_frame": _open_request, "handle": _handle("request", leased=False)},
    "authorize": {"authorize": _authorize},
    "lease": {"read_lease": _read_lease, "exchange": _exchange("lease"), "open_lease": _open},
    "denial": {"read_denial": _read_denial, "exchange": _exchange("denial")},
    "receipt": {"open_frame": _open_receipt, "handle": _handle("receipt", leased=True), "store": _parse_receipt},
    "submission": {
        "open_frame": _open_submission,
        "handle": _handle("submission", leased=True),
        "open_answer": _open_answer,
    },
    "ack": {"open_certified": _open_ack, "store": _parse_ack},
    "prekey-bundle": {
        "open_frame": lambda inputs, _: void(
            open_frame(raw(inputs, "bundle"), PrekeyBundle, raw(inputs, "contractor"))
        ),
        "issue": _issue,
        "handle": _keep_bundle,
    },
    "status": {
        "open_certified": lambda inputs, _: void(open_certified(raw(inputs, "status"), Status, raw(inputs, "client"))),
        "take_status": _take_status,
        "store": _parse_status,
    },
    "ahead": {"read_ahead_lease": _read_ahead_lease, "store": _parse_lease},
    "approval": {"examine": _examine},
    "assignment": {"read_assignment": _read_assignment},
    "checkpoint": {"verify_checkpoint": _verify_checkpoint, "verify_export": _verify_export},
    "cosignature": {"cosignature_by": _cosignature_by},
    "extension": {"check": _check_extension},
}


def void(_: Any) -> None:
    """Drop a result."""


ENTRIES = {area: {name: _no_plaintext(entry) for name, entry in entries.items()} for area, entries in _ALL.items()}


def outcome(entry: Callable[[Inputs, Path], None], inputs: Inputs, place: Path) -> str | None:
    """What an entry says, in a new folder of its own."""
    place.mkdir(parents=True)
    return said(entry, inputs, place)


def said(entry: Callable[[Inputs, Path], None], inputs: Inputs, place: Path) -> str | None:
    """The error's class, with a denial's code or the word of what took no notice; None if it was accepted."""
    try:
        entry(inputs, place)
    except Unanswered as error:
        return str(error)
    except DeniedError as error:
        return f"DeniedError: {error.code}"
    except IssueRefusedError as error:
        return f"IssueRefusedError: {error.code}"
    except ApprovalRefusedError as error:
        return f"ApprovalRefusedError: {error.reason}"
    except LabelVaultError as error:
        return type(error).__name__
    return None
