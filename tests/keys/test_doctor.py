"""What a doctor says of key files, of the hybrid KEM and of the vault, in the cases that people meet."""

from contextlib import closing
from pathlib import Path

import pytest

from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.kdf import Argon2idParameters
from labelvault.crypto.secret import SecretBytes
from labelvault.errors import KeystoreError
from labelvault.keys import doctor
from labelvault.keys.files import write_private
from labelvault.keys.keystore import seal_keystore
from labelvault.keys.token import TOKEN_FILE
from labelvault.relay import open_relay
from labelvault.vendor import Vault

MAILBOX = bytes(32)
CHEAP = Argon2idParameters(memory_kib=8192, passes=1, lanes=1)


def test_the_hybrid_kem_works_here() -> None:
    """It is tried, not asked for by name."""
    check = doctor.hybrid_kem()
    assert (check.name, check.verdict, check.mend) == ("hybrid KEM", "ok", "")
    assert check.found == "MLKEM768_X25519 seals and opens"


def test_a_hybrid_kem_that_fails_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a foreign build raises: its kind is said, and how to mend it, not its words, which may hold anything."""

    def fails(*_: object) -> bytes:
        raise RuntimeError("words of the library")

    monkeypatch.setattr(doctor, "seal", fails)
    check = doctor.hybrid_kem()
    assert (check.name, check.verdict) == ("hybrid KEM", "problem")
    assert "RuntimeError" in check.found
    assert "words" not in check.found
    assert "cryptography>=50" in check.mend


def test_a_hybrid_kem_that_gives_back_something_else_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Opening without an error is not enough."""
    monkeypatch.setattr(OneTimeKey, "open", lambda *_: b"something else")
    check = doctor.hybrid_kem()
    assert (check.name, check.verdict) == ("hybrid KEM", "problem")
    assert "something else" in check.found
    assert "cryptography>=50" in check.mend


def test_F1_a_key_file_is_whole_or_a_problem(tmp_path: Path) -> None:
    """Whole, of another kind, flipped, too long, absent: only the first is well, and the passphrase is never tried."""
    sealed = seal_keystore("root", SecretBytes(bytes(32)), "never asked for", CHEAP)
    path = tmp_path / "root.keystore"
    write_private(path, sealed, replace=False)
    assert (doctor.key_file(path, "root").verdict, doctor.key_file(path, "root").name) == ("ok", "root.keystore")
    assert doctor.key_file(path, "identity").verdict == "problem"
    for data in (sealed[:-1] + bytes([sealed[-1] ^ 1]), bytes(100_000), b""):
        write_private(path, data, replace=True)
        check = doctor.key_file(path, "root")
        assert (check.name, check.verdict) == ("root.keystore", "problem")
        assert check.mend
    path.unlink()
    absent = doctor.key_file(path, "root")
    assert (absent.verdict, str(path) in absent.found) == ("problem", True)
    assert absent.mend


def test_a_vault_that_answers_is_well_and_nothing_of_it_is_changed(tmp_path: Path) -> None:
    """One message is asked for, and stays."""
    address = f"sqlite:///{tmp_path}/vault.db"
    Vault.open(address).close()
    with closing(open_relay(address)) as relay:
        relay.post(MAILBOX, b"a message")
    check = doctor.reach(tmp_path, address, MAILBOX)
    assert (check.name, check.verdict, check.found, check.mend) == ("vault", "ok", f"{address} answers", "")
    with closing(open_relay(address)) as relay:
        assert [data for _, data in relay.fetch(MAILBOX, after=0, limit=9)] == [b"a message"]


def test_a_token_that_no_vault_asks_for_is_warned_about(tmp_path: Path) -> None:
    """It was given for another vault, perhaps, and is of no use here."""
    address = f"sqlite:///{tmp_path}/vault.db"
    Vault.open(address).close()
    write_private(tmp_path / TOKEN_FILE, b"token-canary\n", replace=False)
    check = doctor.reach(tmp_path, address, MAILBOX)
    assert (check.name, check.verdict) == ("vault", "warning")
    assert str(tmp_path / TOKEN_FILE) in check.mend
    assert "canary" not in check.found + check.mend


def test_a_vault_that_does_not_answer_is_a_problem(tmp_path: Path) -> None:
    """So is an address that is none."""
    for address in ("http://127.0.0.1:9", "nowhere://", f"sqlite:///{tmp_path}/no/such/folder/vault.db"):
        check = doctor.reach(tmp_path, address, MAILBOX)
        assert (check.name, check.verdict) == ("vault", "problem"), address
        assert check.mend


def test_what_does_not_open_says_what_to_do_next() -> None:
    """The error's own next step, or to try again."""
    plain = doctor.opens("root key", KeystoreError("does not open"))
    assert (plain.name, plain.verdict, plain.found) == ("root key", "problem", "does not open")
    assert "passphrase" in plain.mend
    assert doctor.opens("x", KeystoreError("no", next_step="Do this.")).mend == "Do this."
