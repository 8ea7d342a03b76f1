"""`labelvault contractor open` without a task."""

from labelvault.cli import exits
from tests.cli.test_terminal import terminal

__all__ = ["terminal"]


def test_without_anything_at_hand_the_error_says_what_to_give(world):
    """Nothing was opened yet: the platform shows the id."""
    world.admit()
    ran = world.contractor("open", "--json")
    assert ran.code == exits.USAGE
    assert "nothing at hand" in ran.json["error"]["message"]
    assert "open ITEM" in ran.json["error"]["next"]


def test_without_a_terminal_the_error_lists_what_is_at_hand(world, issuer):
    """Each task once, newest first; nothing is opened."""
    world.admit()
    first, second = world.tasks["fa-1041"], world.tasks["fa-1042"]
    for item in (first, second, first):
        assert world.contractor("open", item, "--json", stdin="\n").code == exits.OK
    ran = world.contractor("open", "--json")
    assert ran.code == exits.USAGE
    assert ran.json["error"]["message"] == f"which task? At hand: {first}, {second}"
    assert len(world.contractor("list", "--json").json["openings"]) == 3


def test_on_a_terminal_a_number_chooses(world, issuer, terminal):
    """The list is shown, a wrong number asks again, and the chosen task opens."""
    world.admit()
    for name in ("fa-1041", "fa-1042"):
        assert world.contractor("open", world.tasks[name], "--json", stdin="\n").code == exits.OK
    home = ("--home", world.folder / "ada", "--passphrase-file", world.passphrase_file)
    shown = terminal("contractor", "open", *home)
    shown.until("Open which")
    shown.type("9\n")
    shown.until("Open which")
    shown.type("2\n")
    shown.until("Enter closes")
    shown.type("\n")
    assert shown.end()[0] == exits.OK
    assert world.contractor("list", "--json").json["openings"][-1]["item"] == world.tasks["fa-1041"]
