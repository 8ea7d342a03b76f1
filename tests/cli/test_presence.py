"""`labelvault contractor device ...`, `approve`, and `client assign`: from a new key to an approved opening."""

import json
import threading
import time

import pytest

from labelvault.cli import exits
from labelvault.contractor import Contractor, PresenceDevice
from tests.cli.conftest import CHEAP, PASSPHRASE


def events(ran):
    """The JSON lines of a command."""
    return [json.loads(line) for line in ran.out.splitlines()]


@pytest.fixture
def ceremony(world):
    """A desk and its device, enrolled, granted with presence and joined."""
    folder = world.folder
    with (
        PresenceDevice.create(folder / "phone", PASSPHRASE, parameters=CHEAP) as phone,
        Contractor.create(
            folder / "desk",
            PASSPHRASE,
            tier="desk",
            label="desk 7",
            presence_key=phone.public_key,
            parameters=CHEAP,
        ) as desk,
        world.library() as client,
    ):
        card = desk.finish_card(phone.cosign(desk.draft()))
        client.enroll(card, fingerprint=phone.take_card(card), name="desk")
        granted = world.grant("desk", "--json", max_open=2).json
        assert (granted["presence"], "own device" in granted["statement"]) == ("key", True)
        invite = (folder / "desk.invite").read_bytes()
        desk.join(invite, fingerprint=client.fingerprint)
        phone.join(invite, fingerprint=client.fingerprint)
    return world


def test_a_desk_and_its_device_are_enrolled_command_by_command(world):
    """Key to the desk, draft to the device, cosignature back, card to both; then both join with one invite."""
    folder = world.folder
    shown = world.contractor("device", "init", "--json", home="phone").json
    desk = ("--tier", "desk", "--label", "desk 7", "--presence-key", shown["presence_key"])
    assert world.contractor("init", *desk, "--json", home="desk").json["check"] == shown["check"]
    draft, cosignature, card = (folder / f"desk.{kind}" for kind in ("draft", "cosignature", "card"))
    assert world.contractor("card", "--draft", "-o", draft, home="desk").code == exits.OK
    ran = world.contractor("device", "cosign", draft, "-o", cosignature, "--yes", home="phone")
    assert (ran.code, "desk 7" in ran.err) == (exits.OK, True)
    assert world.contractor("card", "--cosigned", cosignature, "-o", card, home="desk").code == exits.OK
    spoken = world.contractor("device", "card", card, "--json", home="phone").json["fingerprint"]
    assert world.client("enroll", card, "--name", "desk", "--fingerprint", spoken).code == exits.OK
    assert world.grant("desk").code == exits.OK
    for words, home in ((("join",), "desk"), (("device", "join"), "phone")):
        invite = (folder / "desk.invite", "--fingerprint", world.fingerprint)
        assert world.contractor(*words, *invite, home=home).code == exits.OK


class Person(threading.Thread):
    """Somebody at the device in another process, in effect, who says yes once."""

    def __init__(self, home):
        super().__init__()
        self.home, self.failed = home, None

    def run(self):
        try:
            with PresenceDevice.open(self.home, PASSPHRASE) as device:
                end = time.monotonic() + 20
                while time.monotonic() < end:
                    for waiting in device.waiting():
                        if waiting.question is not None:
                            device.send(device.approve(waiting.question), waiting)
                            return
                    time.sleep(0.05)
        except BaseException as error:  # noqa: BLE001 - looked at by the test's own thread
            self.failed = error


def test_a_desk_opens_once_somebody_approves(ceremony, issuer):
    """`open` says where to approve while it waits, then goes on as ever."""
    person = Person(ceremony.folder / "phone")
    person.start()
    ran = ceremony.contractor("open", ceremony.tasks["fa-1041"], home="desk")
    person.join()
    assert (ran.code, person.failed) == (exits.OK, None), ran
    assert "labelvault contractor approve" in ran.err
    assert "cello" in ran.out


def test_approve_shows_what_it_approves_and_takes_yes_only(ceremony):
    """Through a folder: the question names desk, task, client and time; anything but y is no."""
    folder, item = ceremony.folder / "stick", ceremony.tasks["fa-1041"]
    asked = ("open", item, "--approvals", folder, "--approval-timeout", "1", "--json")
    ran = []
    waiting = threading.Thread(target=lambda: ran.append(keep(folder)))
    waiting.start()
    timed_out = ceremony.contractor(*asked, home="desk")
    waiting.join()
    assert (timed_out.code, timed_out.json["error"]["kind"]) == (exits.UNREACHABLE, "ApprovalTimeoutError")
    assert "contractor approve --watch" in timed_out.json["error"]["next"]
    (request,) = ran
    approval = ceremony.folder / "x.approval"
    words = ("approve", request, "-o", approval)
    for answer in ("", "\n", "no\n", "yep\n"):
        ran = ceremony.contractor(*words, home="phone", stdin=answer)
        assert ran.code == exits.OK
        assert "Not approved" in ran.out
        assert not approval.exists()
    ran = ceremony.contractor(*words, home="phone", stdin="y\n")
    for shown in ("desk 7", item, "open one task, and what it requires", "not which", "at most 30 min"):
        assert shown in ran.out
    assert approval.exists()
    again = ceremony.contractor(*words, "--json", home="phone", stdin="y\n")
    assert (again.code, again.json["error"]["kind"]) == (exits.REFUSED, "ApprovalRefusedError")


def keep(folder):
    """Wait for a request in a folder, and keep a copy of it."""
    end = time.monotonic() + 20
    while not (found := list(folder.glob("*.ask")) if folder.is_dir() else []):
        assert time.monotonic() < end
        time.sleep(0.01)
    kept = folder.parent / "kept.ask"
    kept.write_bytes(found[0].read_bytes())
    return kept


def test_a_label_can_not_pass_for_another_desks_key(ceremony):
    """Whatever the desk calls itself stands in one line, escapes and all; its true key is on the next one."""
    folder = ceremony.folder
    label = "desk 1 (0123456789abcdef)\u202e\u3164\x1b[2J"
    with (
        PresenceDevice.open(folder / "phone", PASSPHRASE) as phone,
        Contractor.create(
            folder / "rogue", PASSPHRASE, tier="desk", label=label, presence_key=phone.public_key, parameters=CHEAP
        ) as rogue,
        ceremony.library() as client,
    ):
        card = rogue.finish_card(phone.cosign(rogue.draft()))
        client.enroll(card, fingerprint=phone.take_card(card), name="rogue")
        assert ceremony.grant("rogue", max_open=1).code == exits.OK
        invite = (folder / "rogue.invite").read_bytes()
        rogue.join(invite, fingerprint=client.fingerprint)
        phone.join(invite, fingerprint=client.fingerprint)
        key = rogue.public_key.hex()[:16]
    ceremony.contractor("open", ceremony.tasks["fa-1041"], "--approval-timeout", "0.2", home="rogue")
    shown = ceremony.contractor("approve", home="phone", stdin="n\n").out
    rows = dict(line.split(maxsplit=1) for line in shown.splitlines() if line.startswith("desk "))
    assert rows["desk"].strip() == r"desk 1 (0123456789abcdef)\u202e\u3164\x1b[2J"
    assert [line.split()[-1] for line in shown.splitlines() if line.startswith("its key ")] == [key]


def test_approve_looks_into_the_vault_and_says_when_nothing_waits(ceremony):
    """What is declined is not asked again; what nobody answered stays while it is fresh."""
    assert "Nothing waits" in ceremony.contractor("approve", home="phone").out
    item = ceremony.tasks["fa-1041"]
    ceremony.contractor("open", item, "--approval-timeout", "0.2", home="desk")
    for answer, told in (("", ["asked", "declined"]), ("n\n", ["asked", "declined"]), ("y\n", ["nothing"])):
        ready, *ran = events(ceremony.contractor("approve", "--json", home="phone", stdin=answer))
        assert (ready["event"], [each["event"] for each in ran]) == ("ready", told)
        if told[0] == "asked":
            assert (ran[0]["item"], ran[0]["assigned"], ran[0]["desk_label"]) == (item, None, "desk 7")


def test_a_device_that_demands_assignments_is_told_of_them(ceremony):
    """`client assign` by way of the vault, or a file; the setting shows in the list."""
    item = ceremony.tasks["fa-1041"]
    assert ceremony.contractor("device", "set", "--require-assignment", home="phone").code == exits.OK
    ceremony.contractor("open", item, "--approval-timeout", "0.2", home="desk")
    ready, refused = events(ceremony.contractor("approve", "--json", home="phone", stdin="y\n"))
    assert refused["error"]["kind"] == "ApprovalRefusedError"
    assigned = ceremony.client("assign", "ferry", "--desk", "desk", "fa-1041", "--json").json["assigned"]
    assert [(each["item"], each["label"]) for each in assigned] == [(item, item[:8])]
    ceremony.contractor("open", item, "--approval-timeout", "0.2", home="desk")
    ran = events(ceremony.contractor("approve", "--json", home="phone", stdin="y\n"))
    assert [each["event"] for each in ran] == ["ready", "assigned", "asked", "approved"]
    assert ran[2]["assigned"] == item[:8]
    file = ceremony.folder / "today.assignments"
    words = ("assign", "ferry", "--desk", "desk", "fa-1042", "--label", "no. 17", "-o", file)
    assert ceremony.client(*words).code == exits.OK
    assert ceremony.contractor("device", "assignments", file, home="phone").code == exits.OK
    listed = ceremony.contractor("device", "list", "--json", home="phone").json
    assert listed["require_assignment"]
    assert {each["label"] for each in listed["assignments"]} == {item[:8], "no. 17"}
    assert "only what is assigned" in ceremony.contractor("device", "list", home="phone").out


def test_an_unfinished_card_says_how_it_is_finished(world):
    """Until the device has cosigned there is no card, and no fingerprint to read out."""
    key = world.contractor("device", "init", "--json", home="phone").json["presence_key"]
    assert world.contractor("init", "--label", "x", "--presence-key", key, home="desk").code == exits.USAGE
    desk = ("init", "--tier", "desk", "--label", "desk 7", "--presence-key", key)
    assert world.contractor(*desk, home="desk").code == exits.OK
    card = world.folder / "desk.card"
    ran = world.contractor("card", "-o", card, "--json", home="desk")
    assert (ran.code, "card --draft" in ran.json["error"]["next"]) == (exits.KEYS, True)
    words = world.folder / "words"
    words.write_text("00" * 64)
    assert world.contractor("card", "--cosigned", words, "-o", card, home="desk").code == exits.AUTHENTICITY
    words.write_text("nothing of the kind")
    assert world.contractor("card", "--cosigned", words, "-o", card, home="desk").code == exits.BAD_INPUT
    assert not card.exists()
    draft = world.folder / "desk.draft"
    assert world.contractor("card", "--draft", "-o", draft, home="desk").code == exits.OK
    ran = world.contractor("device", "cosign", draft, "-o", words, home="phone")
    assert ran.code == exits.USAGE
    assert words.read_text() == "nothing of the kind"


def test_a_desk_without_a_device_is_refused_unless_presence_is_waived(world):
    """The grant says no, and what waiving costs is said at the grant and at the join."""
    world.enrol("desk", "desk")
    ran = world.grant("desk", "--json")
    assert (ran.code, ran.json["error"]["kind"]) == (exits.REFUSED, "GrantError")
    granted = world.grant("desk", "--waive-presence", "--json").json
    words = ("join", world.folder / "desk.invite", "--fingerprint", world.fingerprint)
    joined = world.contractor(*words, "--json", home="desk").json
    assert granted["statement"] == joined["statement"]
    assert "max_open never binds a thief" in joined["statement"]
