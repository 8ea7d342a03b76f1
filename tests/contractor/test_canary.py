"""X2: keys and plaintext of an opening never show, whatever is done to its objects and whatever fails."""

import base64
import contextlib
import copy
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from labelvault.contractor import contractor as module
from labelvault.contractor import opening
from labelvault.contractor.membership import Membership
from labelvault.contractor.opening import open_lease, read_lease
from labelvault.contractor.parts import OpenedPart
from labelvault.crypto import hpke
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.seal import open_item
from labelvault.errors import DecryptionError, LabelVaultError, StoreError
from labelvault.relay import ItemPart
from labelvault.wire.frame import Signed, parse_frame, sign_message
from labelvault.wire.messages import LEASE_INFO_LABEL, Lease, LeasedItem, LeaseOuter, LeaseSecrets, OpenRequest
from labelvault.wire.schema import decode_record, encode_record
from tests.world import GUIDELINE, PASSPHRASE, PICTURE, TASK, World

SEED = b"canary-seed-canary-seed-canary-1"
WORDS = [TASK, GUIDELINE, PASSPHRASE, "picture-canary", "how.md", "picture.png"]
SECRETS: list[bytes] = []
"""Keys that the opening under test came to hold. A global: what a traceback shows of a test's locals must not count."""


def assert_hidden(shown: str) -> None:
    """No key in any form, and nothing of the plaintext, its names included."""
    for secret in [SEED, *SECRETS]:
        forms = [secret.hex(), base64.b64encode(secret).decode().rstrip("="), repr(secret)[2:-1]]
        forms += [str(list(secret))[1:-1], str(int.from_bytes(secret, "big"))]
        for form in forms:
            assert form[:20].lower() not in shown.lower()
    for word in WORDS:
        assert word not in shown


def test_what_is_looked_for_would_be_found() -> None:
    """The check that the tests below rest on."""
    for shown in (SEED.hex(), f"x {SEED!r} y", f"{list(SEED)}", f"the {TASK}", base64.b64encode(SEED).decode()):
        with pytest.raises(AssertionError):
            assert_hidden(shown)


@pytest.fixture(autouse=True)
def _spied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the one-time key be the canary, and note every DEK."""
    SECRETS.clear()
    monkeypatch.setattr(OneTimeKey, "generate", lambda: OneTimeKey(SecretBytes(SEED)))

    def spy(header: bytes, payload: bytes, dek: SecretBytes, **named: Any) -> Any:
        SECRETS.append(dek.reveal())
        return open_item(header, payload, dek, **named)

    monkeypatch.setattr(opening, "open_item", spy)


def _shown(error: BaseException) -> str:
    """Message, chain and frames with locals, without the frames of this file."""
    while error.__traceback__ is not None and error.__traceback__.tb_frame.f_code.co_filename == __file__:
        error.__traceback__ = error.__traceback__.tb_next
    full = traceback.TracebackException.from_exception(error, capture_locals=True)
    chained = error.__cause__ or error.__context__
    return "".join(full.format()) + repr(error) + str(error.args) + (_shown(chained) if chained else "")


def test_X2_no_text_form_of_an_opening_shows_it(world: World) -> None:
    """Repr, str, format and vars of client, contractor, memberships, task, parts, records and issuer."""
    me, joined = world.worker()
    issuer = world.issuer()
    with me.open_task(world.task(), exchange=issuer.handle) as task:
        assert len(SECRETS) == 3
        held: list[Any] = [task, task.part, *task.required, task._opened, me, joined, *me.openings()]
        held += [world.lab, world.project, issuer, world.lab.contractors(), world.lab.grants(), task._deadline]
        for each in held:
            assert_hidden(f"{each} {each!r} {each!s:>60} {[each]}")
            with contextlib.suppress(TypeError):
                assert_hidden(str(vars(each)))
    assert_hidden(repr(task) + str(vars(task)))


def test_X2_an_opening_is_not_pickled_or_copied(world: World) -> None:
    """A copy of a task would outlive its close; neither tasks, parts nor leased keys make one."""
    me, _ = world.worker()
    with me.open_task(world.task(), exchange=world.issuer().handle) as task:
        for each in (task, task.part, LeasedItem(bytes(16), 1, bytes(32), SEED)):
            for duplicate in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError):
                    duplicate(each)
        with pytest.raises(TypeError):
            pickle.dumps(task._opened)


def _failing(world: World) -> dict[str, Callable[[pytest.MonkeyPatch], None]]:
    """Ways in which an opening fails in the middle."""

    def lost(patched: pytest.MonkeyPatch) -> None:
        calls: list[object] = []

        def reader(relay: Any) -> Any:
            def read(header: Any) -> ItemPart:
                calls.append(header)
                if len(calls) == 3:
                    raise StoreError("gone")
                part: ItemPart = relay.read_item(header.client, header.item, header.version)
                return part

            return read

        patched.setattr(module, "reader", reader)

    def kinds(patched: pytest.MonkeyPatch) -> None:
        patched.setattr(OpenedPart, "kind", "gold")

    def requires(patched: pytest.MonkeyPatch) -> None:
        real = opening._open_part

        def part(leased: LeasedItem, outer: LeaseOuter, read: Any, large: Any) -> OpenedPart:
            found = real(leased, outer, read, large)
            from dataclasses import replace

            metadata = replace(found.metadata, requires=(bytes(16),))
            return OpenedPart(found.item, found.version, metadata, found.content)

        patched.setattr(opening, "_open_part", part)

    def last(patched: pytest.MonkeyPatch) -> None:
        real = opening.open_item  # type: ignore[attr-defined]

        def wrong(header: bytes, payload: bytes, dek: SecretBytes, **named: Any) -> Any:
            if len(SECRETS) == 2:
                dek = SecretBytes(b"a wrong dek" + bytes(range(21)))
            return real(header, payload, dek, **named)

        patched.setattr(opening, "open_item", wrong)

    def disk(patched: pytest.MonkeyPatch) -> None:
        def full(*_: Any) -> None:
            raise StoreError("disk full")

        patched.setattr("labelvault.contractor.records.OpeningLog.opened", full)

    return {"lost": lost, "kinds": kinds, "requires": requires, "last": last, "disk": disk}


@pytest.mark.parametrize("fault", ["lost", "kinds", "requires", "last", "disk"])
def test_X2_a_failure_in_the_middle_shows_nothing(
    world: World, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Tracebacks with locals after some items were opened already; the DEBUG log meanwhile."""
    caplog.set_level(logging.DEBUG)
    me, _ = world.worker()
    handle = world.issuer().handle
    with monkeypatch.context() as patched:
        _failing(world)[fault](patched)
        with pytest.raises(LabelVaultError) as caught:
            me.open_task(world.task(), exchange=handle)
    assert SECRETS
    assert_hidden(_shown(caught.value))
    logging.getLogger("labelvault").exception("failed", exc_info=caught.value)
    assert_hidden(caplog.text)


class _Case:
    """A lease to the canary key whose sealed part a test chooses."""

    def __init__(self, world: World) -> None:
        me, self.joined = world.worker()
        self.key = OneTimeKey.generate()
        self.request: Signed[OpenRequest] = world.ask(me, self.joined, world.task(), key=self.key)
        answer = world.issuer().handle(self.request.data)
        assert answer is not None
        self.message = decode_record(Lease, parse_frame(answer).body)
        self.now = world.clock()
        self.signer: Any = world.lab.issuer_identity.signer

    def open(self, plaintext: bytes) -> None:
        info = LEASE_INFO_LABEL + self.message.outer
        sealed = hpke.seal(self.key.public_key, plaintext, info)
        data = sign_message(Lease(self.message.outer, sealed), self.signer).data
        lease, outer = read_lease(data, self.request, self.joined, self.now)
        _open(lease, outer, self.key, self.joined)


def _open(lease: Signed[Lease], outer: LeaseOuter, key: OneTimeKey, joined: Membership) -> None:
    def read(header: Any) -> ItemPart:
        raise StoreError("gone")

    open_lease(lease, outer, key, joined, read)


@pytest.mark.parametrize("fault", ["cut", "longer", "not a record", "false dek"])
def test_X2_a_malformed_sealed_part_shows_nothing(world: World, fault: str) -> None:
    """Authentic, and yet not what it should be: DecryptionError, and no frame shows the keys that were in it."""
    case = _Case(world)
    item = LeasedItem(case.request.message.item, 1, bytes(32), SEED)
    good = encode_record(LeaseSecrets(case.joined.certificate.message.epoch, 0, bytes(32), (item,)))
    bad = {"cut": good[:-1], "longer": good + b"\0", "not a record": SEED, "false dek": good}[fault]
    with pytest.raises(StoreError if fault == "false dek" else DecryptionError) as caught:
        case.open(bad)
    assert_hidden(_shown(caught.value))


def test_X2_a_whole_life_logs_nothing(
    world: World,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    """Join, ask, open, close and denials at DEBUG level; nothing on stdout, stderr or in warnings either."""
    caplog.set_level(logging.DEBUG)
    me, _ = world.worker()
    issuer = world.issuer()
    with me.open_task(world.task(), exchange=issuer.handle) as task:
        assert task.content
        assert PICTURE in [part.content for part in task.required]
    with pytest.raises(LabelVaultError):
        me.open_task(bytes(16), exchange=issuer.handle)
    issuer.answer()
    with world.serving():
        me.begin(world.task("two"), timeout_s=60).close()
    assert_hidden(caplog.text + "".join(capfd.readouterr()) + str(list(recwarn)))
