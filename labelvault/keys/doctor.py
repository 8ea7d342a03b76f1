"""What a doctor looks at where keys are: that the hybrid KEM works here, and that key files are whole."""

from pathlib import Path
from typing import Final

from labelvault.crypto.hpke import OneTimeKey, seal
from labelvault.errors import LabelVaultError
from labelvault.health import Check, guarded, ok, problem, warning
from labelvault.keys.files import read_private
from labelvault.keys.keystore import MAX_FILE_BYTES, KeystoreKind, read_keystore
from labelvault.keys.token import TOKEN_FILE, read_token
from labelvault.relay import open_relay

_SAMPLE: Final = b"labelvault doctor"
_RESTORE: Final = "Put the file back from its backup."


def hybrid_kem() -> Check:
    """Seal something to a fresh key and open it again: MLKEM768_X25519 really works with this OpenSSL."""
    name, mend = "hybrid KEM", "Run: pip install 'cryptography>=50', from its own wheel."
    try:
        key = OneTimeKey.generate()
        opened = key.open(seal(key.public_key, _SAMPLE, b"doctor"), b"doctor")
    except Exception as error:  # noqa: BLE001 - whatever a foreign build raises is what is being asked
        return problem(name, f"MLKEM768_X25519 fails here ({type(error).__name__})", mend)
    if opened != _SAMPLE:
        return problem(name, "MLKEM768_X25519 gives back something else", mend)
    return ok(name, "MLKEM768_X25519 seals and opens")


def key_file(path: Path, kind: KeystoreKind) -> Check:
    """Look at whether a passphrase keystore is there and whole."""

    def look() -> Check:
        read_keystore(kind, read_private(path, MAX_FILE_BYTES))
        return ok(path.name, "there and whole; whether the passphrase opens it was not tried")

    return guarded(path.name, look, _RESTORE)


def reach(home: Path, address: str, mailbox: bytes) -> Check:
    """Ask a vault for one message, which changes nothing: address, connection, TLS and token in one round trip.

    Args:
        home: whose token is used.
        address: of the vault.
        mailbox: 32 bytes.
    """

    def look() -> Check:
        token = read_token(home)
        relay = open_relay(address, token=token)
        try:
            relay.fetch(mailbox, limit=1)
        finally:
            relay.close()
        over_http = address.lower().startswith("http")
        if token is not None and not over_http:
            return warning("vault", f"{address} answers, and needs no token", f"Remove {home / TOKEN_FILE}.")
        accepted = ", the token is accepted" if token is not None else ""
        plain = " (plain HTTP, on this machine)" if address.lower().startswith("http:") else ""
        return ok("vault", f"{address} answers{accepted}{plain}")

    return guarded("vault", look, "Check the vault's address, and ask the vendor whether it runs.")


def opens(name: str, error: LabelVaultError) -> Check:
    """Say that a passphrase or key does not open what it should."""
    return problem(name, str(error), error.next_step or "Try the passphrase again, or put the file back.")
