"""What is planted is found, by kind and name; what is not planted is not."""

import base64
import json
import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from labelvault.crypto.kdf import Argon2idParameters
from labelvault.crypto.secret import SecretBytes
from labelvault.drill import run, trial
from labelvault.drill.__main__ import main
from labelvault.errors import DrillError
from labelvault.keys.keystore import seal_keystore
from labelvault.relay import open_relay
from labelvault.wire.ids import issuer_mailbox
from labelvault.wire.items import parse_header
from tests.drill.world import TEXTS, build_world

FORMS = {
    "raw": lambda key: b"\x00\x01before" + key + b"after\xff",
    "raw in noise": lambda key: random.Random(5).randbytes(1001) + key + random.Random(6).randbytes(77),
    "hex": lambda key: b"key=" + key.hex().encode() + b"\n",
    "upper hex": lambda key: b"key=" + key.hex().upper().encode() + b";",
    "hex with colons": lambda key: b"[" + key.hex(":").encode() + b"]",
    "hex in hex": lambda key: b"dead" + key.hex().encode() + b"beef0",
    "escapes": lambda key: ("".join(f"\\x{byte:02x}" for byte in key)).encode(),
    "c array": lambda key: (", ".join(f"0x{byte:02X}" for byte in key)).encode(),
    "base64": lambda key: b'{"dek":"' + base64.b64encode(key) + b'"}',
    "base64url": lambda key: b"?k=" + base64.urlsafe_b64encode(key).rstrip(b"=") + b"&x",
    "base64 within": lambda key: base64.b64encode(b"ab" + key + b"cde"),
    "wrapped base64": lambda key: base64.encodebytes(b"x" * 40 + key),
    "repr": lambda key: b"Traceback: " + repr(key).encode() + b" is not",
    "numbers": lambda key: json.dumps(list(key)).encode(),
    "msgpack": lambda key: b"\x81\xa3dek\xc4\x20" + key,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """One vault, six tasks, two of them once opened; tests plant in homes of their own."""
    return build_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def known(tmp_path_factory, world):
    """All texts, one file each, and their names."""
    folder = tmp_path_factory.mktemp("known")
    for name, text in zip(world.names, TEXTS, strict=True):
        (folder / f"{name}.md").write_text(text)
    (folder / "names.txt").write_text("assistant evaluation\n" + "\n".join(world.names))
    return folder


def home_with(folder, **files):
    """A stolen home with these files."""
    home = folder / "home"
    home.mkdir()
    for name, data in files.items():
        (home / name).write_bytes(data)
    return home


def names(finding):
    """Names of what was opened."""
    return [each.name for each in finding.opened]


@pytest.mark.parametrize("seed", range(8))
def test_C9_without_a_plant_nothing_is_found(tmp_path, world, known, seed):
    """The untouched vault, and a home full of random and ordinary bytes, give nothing at all."""
    noise = random.Random(seed)
    home = home_with(tmp_path, noise=noise.randbytes(3000), text=b"An ordinary log line, number 17.\n" * 50)
    found = run(world.url, contractors=[home], known=known)
    assert (found.opened, found.keys_found, found.identity_keys, found.plaintext_hits) == ((), (), (), 0)
    assert (found.payloads, found.messages, found.leases) == (6, 4, 2)
    assert found.candidates > 3000 - 32


@pytest.mark.parametrize("form", FORMS)
def test_C9_a_planted_dek_is_found(tmp_path, world, form):
    """A DEK in a stolen home opens its item, however it was written down."""
    home = home_with(tmp_path, **{"debug.log": FORMS[form](world.deks[3])})
    found = run(world.vault, contractors=[home])
    assert names(found) == ["task-0003"]
    assert found.key_counts == {"dek": 1}
    (key,) = found.keys_found
    assert (key.sort, key.place, key.opens) == ("dek", "contractor/debug.log", 1)


@pytest.mark.parametrize("form", FORMS)
def test_C9_a_planted_one_time_key_is_found(tmp_path, world, form):
    """A one-time key's seed in a stolen home opens the lease that the vault recorded, and so its item."""
    home = home_with(tmp_path, **{"state": FORMS[form](world.seeds[1])})
    found = run(world.vault, desks=[home])
    assert names(found) == ["task-0001"]
    assert found.key_counts == {"one-time": 1}
    assert found.keys_found[0].place == "desk/state"


@pytest.mark.parametrize("form", FORMS)
def test_C9_the_unplanted_twin_is_not(tmp_path, world, form):
    """The same forms with a key of nothing find nothing."""
    home = home_with(tmp_path, state=FORMS[form](random.Random(9).randbytes(32)))
    found = run(world.vault, desks=[home])
    assert (found.opened, found.key_counts) == ((), {})


def stolen_while_live(folder, key, *, planted):
    """Copy a SQLite database in use, in whose WAL a value was written and deleted again."""
    live, home = folder / "live", folder / "home"
    live.mkdir()
    home.mkdir()
    db = sqlite3.connect(live / "state.db")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE keys (key BLOB)")
    db.commit()
    db.execute("INSERT INTO keys VALUES (?)", (key if planted else b"nothing",))
    db.commit()
    db.execute("DELETE FROM keys")
    db.commit()
    for file in live.iterdir():
        (home / file.name).write_bytes(file.read_bytes())
    db.close()
    return home


@pytest.mark.parametrize("sort", ["dek", "one-time"])
@pytest.mark.parametrize("text", ["raw", "hex", "base64"])
def test_C9_a_key_left_in_a_wal_is_found(tmp_path, world, sort, text):
    """A key that was deleted from a database stands in its write-ahead log."""
    key = world.deks[0] if sort == "dek" else world.seeds[0]
    shown = {"raw": key, "hex": key.hex().encode(), "base64": base64.b64encode(key)}[text]
    home = stolen_while_live(tmp_path, shown, planted=True)
    found = run(world.vault, contractors=[home])
    assert names(found) == ["task-0000"]
    assert [(each.sort, each.place) for each in found.keys_found] == [(sort, "contractor/state.db-wal")]


def test_C9_the_same_wal_without_the_key_gives_nothing(tmp_path, world):
    """The twin of the test above."""
    home = stolen_while_live(tmp_path, world.deks[0], planted=False)
    assert run(world.vault, contractors=[home]).opened == ()


@pytest.mark.parametrize("size", [32, 5000])
def test_C9_a_key_in_the_vaults_own_rows_is_found(tmp_path, size):
    """A key that someone posted to the vault, alone or deep in a message that spans pages, opens what it belongs to."""
    world = build_world(tmp_path)
    relay = open_relay(world.url)
    relay.post(issuer_mailbox(world.client), b"\x01" * (size - 32) + world.deks[5])
    relay.close()
    found = run(world.url)
    assert names(found) == ["task-0005"]
    assert found.messages == 4


def test_acknowledged_messages_are_still_recorded(tmp_path):
    """A one-time key opens its lease after both were acknowledged, until the vault is purged."""
    world = build_world(tmp_path, openings=1)
    relay = open_relay(world.url)
    for mailbox in _mailboxes(world):
        for number, _ in relay.fetch(mailbox):
            relay.ack(mailbox, number)
        assert relay.fetch(mailbox) == []
    relay.close()
    found = run(world.url, contractors=[home_with(tmp_path, key=world.seeds[0])])
    assert names(found) == ["task-0000"]


def _mailboxes(world):
    with closing(sqlite3.connect(world.database)) as db:
        return [mailbox for (mailbox,) in db.execute("SELECT DISTINCT mailbox FROM messages")]


def test_a_lease_that_was_written_down_in_clear_is_found(tmp_path, world):
    """The sealed part of a lease, decrypted and kept, holds a DEK at no aligned offset."""
    found = run(world.vault, desks=[home_with(tmp_path, lease=b"#" + world.leases[1])])
    assert names(found) == ["task-0001"]


def test_an_identity_opens_nothing_by_itself(tmp_path, world):
    """A contractor's identity key, raw or behind a stolen passphrase, is reported, and opens no item."""
    seed = world.contractor.seed()
    cheap = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)
    home = home_with(tmp_path, **{"identity.key": seal_keystore("identity", seed, "correct horse", cheap)})
    key = world.contractor.public_key.hex()
    assert run(world.vault, contractors=[home]).identity_keys == ()
    assert run(world.vault, contractors=[home], passphrases=[SecretBytes(b"wrong")]).identity_keys == ()
    found = run(world.vault, contractors=[home], passphrases=[SecretBytes(b"wrong"), SecretBytes(b"correct horse")])
    assert (found.identity_keys, found.opened) == ((key,), ())
    assert [(each.sort, each.encoding, each.opens) for each in found.keys_found] == [("identity", "keystore", 0)]
    (home / "raw").write_bytes(seed.reveal())
    found = run(world.vault, contractors=[home])
    assert (found.identity_keys, found.opened) == ((key,), ())


def test_a_key_file_may_hold_more_than_an_identity(tmp_path, world):
    """Whatever a stolen passphrase gives is tried on everything."""
    cheap = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)
    home = home_with(tmp_path, odd=seal_keystore("root", SecretBytes(world.deks[2]), "correct horse", cheap))
    found = run(world.vault, contractors=[home], passphrases=[SecretBytes(b"correct horse")])
    assert names(found) == ["task-0002"]


@pytest.mark.parametrize("where", ["file", "vault", "capture", "name"])
def test_C9_planted_plaintext_is_found(tmp_path, known, where):
    """A piece of a source text, or a name, is found in files, rows, memory and file names."""
    world = build_world(tmp_path)
    piece, label = TEXTS[4][:40].encode(), "task-0004.md"
    captures = []
    if where == "file":
        (world.vault / "tmp1234").write_bytes(b"\x07" + piece)
    elif where == "vault":
        relay = open_relay(world.url)
        relay.post(issuer_mailbox(world.client), b"\x07" + piece)
        relay.close()
    elif where == "capture":
        captures = [tmp_path / "memory"]
        captures[0].write_bytes(bytes(4096) + b"\x07" + piece)
    else:
        (world.vault / "assistant evaluation.tmp").write_bytes(b"")
        label = "names.txt:1"
    found = run(world.vault, captures=captures, known=known)
    assert found.plaintext_hits >= 1
    assert {each.known for each in found.plaintext} == {(label,)}
    assert found.opened == ()


def test_several_contractors_and_desks_are_one_surface(tmp_path, world):
    """Everything stolen together is tried together, and the report says where each key stood."""
    homes = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        homes.append(home_with(tmp_path / str(number), key=b"-" + world.deks[number]))
    found = run(world.vault, contractors=homes, desks=[tmp_path / "0"], captures=[])
    assert names(found) == ["task-0000", "task-0001"]
    assert {each.place for each in found.keys_found} == {"contractor-1/key", "contractor-2/key"}
    assert found.surface == "vault + contractor + contractor + desk"


def test_many_guesses_are_spread_over_processes(tmp_path, world, monkeypatch):
    """The parallel way finds the same."""
    monkeypatch.setattr(trial, "_PARALLEL_PAIRS", 1)
    home = home_with(tmp_path, noise=os.urandom(6000) + world.deks[1] + os.urandom(900), seed=world.seeds[0])
    found = run(world.vault, contractors=[home])
    assert names(found) == ["task-0000", "task-0001"]
    assert found.key_counts == {"dek": 1, "one-time": 1}


def test_the_stolen_copies_are_left_as_they_were(tmp_path):
    """Not even SQLite writes to them."""
    world = build_world(tmp_path)
    (world.vault / "vault.db-wal").write_bytes(b"")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in world.vault.iterdir()}
    run(world.url)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in world.vault.iterdir()} == before


def test_what_is_not_there_is_an_error(tmp_path, world):
    """An attack on nothing would find nothing, and look like success."""
    empty = tmp_path / "empty"
    empty.mkdir()
    for arguments in (
        {"vault": "sqlite:////nowhere/vault.db"},
        {"vault": tmp_path / "absent"},
        {"vault": world.url, "contractors": [tmp_path / "absent"]},
        {"vault": world.url, "captures": [tmp_path / "absent.mem"]},
        {"vault": world.url, "baseline": [tmp_path / "absent.mem"]},
        {"vault": world.url, "known": tmp_path / "absent"},
        {"vault": world.url, "known": empty},
        {"vault": empty},
    ):
        with pytest.raises(DrillError):
            run(**arguments)


def test_a_damaged_database_is_an_error(tmp_path):
    """A vault that can't be read is not a vault without secrets."""
    world = build_world(tmp_path)
    data = world.database.read_bytes()
    world.database.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))
    with pytest.raises(DrillError):
        run(world.url)


def test_a_key_of_damaged_bytes_is_a_find_that_opens_nothing(tmp_path):
    """The commitment says whose key it is, even if the payload was altered since."""
    world = build_world(tmp_path)
    with sqlite3.connect(world.database) as db:
        item = parse_header(world.items[3].header).item
        (number,) = db.execute("SELECT first_piece FROM items WHERE item = ?", (item,)).fetchone()
        (data,) = db.execute("SELECT data FROM pieces WHERE number = ?", (number,)).fetchone()
        db.execute("UPDATE pieces SET data = ? WHERE number = ?", (data[:-1] + bytes([data[-1] ^ 1]), number))
    db.close()
    found = run(world.url, contractors=[home_with(tmp_path, key=world.deks[3])])
    assert found.opened == ()
    assert [(each.sort, each.opens) for each in found.keys_found] == [("dek", 0)]


def test_a_vault_with_a_malformed_header_is_an_error(tmp_path):
    """An item that is skipped could be one that opens."""
    world = build_world(tmp_path)
    with sqlite3.connect(world.database) as db:
        db.execute("UPDATE items SET header = x'80' WHERE item IN (SELECT item FROM items LIMIT 1)")
    db.close()
    with pytest.raises(DrillError):
        run(world.url)


def test_the_process_reports_as_json_and_as_text(tmp_path, world, known, capsys):
    """Exit code 0 whatever was opened; 1 and 2 for what can't be run."""
    home = home_with(tmp_path, key=world.deks[3] + TEXTS[2].encode())
    (tmp_path / "pass").write_bytes(b"a passphrase\n")
    options = ["--vault", world.url, "--desk", str(home), "--known", str(known), "--surface", "a desk"]
    assert main([*options, "--passphrase-file", str(tmp_path / "pass"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["surface"] == "a desk"
    assert [each["name"] for each in report["opened"]] == ["task-0003"]
    assert report["plaintext"] == [{"known": ["task-0002.md"], "runs": 1, "longest": len(TEXTS[2])}]
    assert report["plaintext_hits"] == len(report["hits"]) == 1
    assert main(options) == 0
    text = capsys.readouterr().out
    assert "Opened: 1 items" in text
    assert "'task-0003'" in text
    assert world.deks[3].hex() not in text
    assert main(["--vault", "sqlite:////nowhere"]) == 1
    with pytest.raises(SystemExit) as wrong:
        main(["--json"])
    assert wrong.value.code == 2


def test_the_attackers_process_loads_none_of_the_clients_code(world):
    """Neither client, issuer nor ledger is in its memory; it opens what it opens without them."""
    code = (
        "import sys, labelvault.drill.__main__ as drill\n"
        f"assert drill.main(['--vault', {world.url!r}, '--json']) == 0\n"
        "rooms = {name.split('.')[1] for name in sys.modules if name.startswith('labelvault.')}\n"
        "assert not rooms & {'client', 'issuer', 'ledger', 'contractor', 'vendor', 'story', 'cli'}, rooms\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
