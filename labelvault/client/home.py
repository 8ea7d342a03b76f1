"""Making a client's home: root key, identity, issuer and its certificate, `client.db` with the ledger's first entry."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from labelvault.crypto.random import random_bytes
from labelvault.crypto.sign import SigningKey
from labelvault.database import Database
from labelvault.errors import EnrolmentError, KeystoreError
from labelvault.issuer.log import Log
from labelvault.issuer.schema import CLIENT_SCHEMA
from labelvault.keys.files import make_private_dir, read_private, write_private
from labelvault.keys.identity import store_signing_key
from labelvault.keys.root import RootKey, RootKeyProvider
from labelvault.ledger.checkpoint import issuer_key_name
from labelvault.ledger.entries import Certified
from labelvault.wire.frame import Signed, sign_message
from labelvault.wire.ids import ID_BYTES, client_id
from labelvault.wire.messages import VAULT_ADDRESS_BYTES, IssuerCertificate

CERTIFICATE_LIFETIME: Final = timedelta(days=365)
_MAX_CONFIG_BYTES: Final = 8192
_MEND_CONFIG: Final = 'Write {"vault": "URL"} into config.json in the home, with the vendor\'s address.'


def create_home(home: Path, root: RootKeyProvider, vault: str, now: datetime) -> RootKey:
    """Make a home; `client.db` comes last, so that a home with one is whole.

    Args:
        home: a directory that is made, with mode 0700; it must not hold a client yet.
        root: makes the root wrapping key.
        vault: the vault's address, which goes into invites.
        now: the client's time.

    Raises:
        KeystoreError: there is a client in this home already; nothing was changed. Or the file system refused.
        EnrolmentError: the address is empty or too long.
        StoreError: `client.db` can't be made.
    """
    if len(vault.encode()) > VAULT_ADDRESS_BYTES or not vault:
        raise EnrolmentError(
            f"a vault's address has 1 to {VAULT_ADDRESS_BYTES} bytes",
            next_step="Give the address that the vendor told you: --vault URL.",
        )
    if (home / "client.db").exists():
        raise KeystoreError(
            f"{home} holds a client already; nothing was changed",
            next_step="Use it as it is (labelvault client ls), or give another --home DIR.",
        )
    make_private_dir(home)
    root_key = root.create(home)
    identity, issuer = SigningKey.generate(), SigningKey.generate()
    client = client_id(identity.public_key)
    store_signing_key(home / "identity.key", identity, root_key, "client-identity", client)
    store_signing_key(home / "issuer.key", issuer, root_key, "issuer", client)
    write_private(home / "config.json", json.dumps({"vault": vault}).encode(), replace=False)
    certificate = IssuerCertificate(
        client=client,
        issuer=issuer.public_key,
        serial=1,
        epoch=random_bytes(ID_BYTES),
        not_before=now,
        expires_at=now + CERTIFICATE_LIFETIME,
        at=now,
    )
    _create_database(home / "client.db", identity, issuer, sign_message(certificate, identity))
    return root_key


def read_vault_address(home: Path) -> str:
    """Return the vault's address that this home was made with.

    Raises:
        KeystoreError: `config.json` is missing, or holds something else.
    """
    try:
        config = json.loads(read_private(home / "config.json", _MAX_CONFIG_BYTES))
    except (ValueError, RecursionError) as error:
        raise KeystoreError("config.json is not valid JSON", next_step=_MEND_CONFIG) from error
    if not isinstance(config, dict) or set(config) != {"vault"} or not isinstance(config["vault"], str):
        raise KeystoreError("config.json holds exactly the vault's address", next_step=_MEND_CONFIG)
    return config["vault"]


def _create_database(
    path: Path, identity: SigningKey, issuer: SigningKey, certificate: Signed[IssuerCertificate]
) -> None:
    database = Database(path, CLIENT_SCHEMA, create=True)
    try:
        message = certificate.message
        log = Log(database, message.client, message.epoch)
        with database.transaction():
            database.set_meta("identity_key", identity.public_key)
            database.execute("INSERT INTO certificates VALUES (?, ?)", message.serial, certificate.data)
            log.append(
                Certified(
                    at=message.at,
                    issuer=issuer.public_key,
                    serial=message.serial,
                    certificate=certificate.hash,
                    epoch=message.epoch,
                )
            )
            log.sign(issuer_key_name(message.client), issuer)
    finally:
        database.close()
