"""The peers, each with what it does to one item in memory; one that isn't installed says so."""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

_PLAIN = bytes(1000)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another library.

    Attributes:
        name: of library and mode.
        seal: gives ciphertexts of a plaintext, so many times.
        open: undoes one, so many times.
        absent: why it can't be measured; then the others are not called.
    """

    name: str
    seal: Callable[[bytes, int], Any]
    open: Callable[[Any, int], Any]
    absent: str = ""


def _missing(name: str, *modules: str) -> Peer | None:
    for module in modules:
        if find_spec(module) is None:
            return Peer(name, _never, _never, f"{module} is not installed (make bench installs it)")
    return None


def _repeated(work: Callable[[Any], Any]) -> Callable[[Any, int], Any]:
    def run(argument: Any, count: int) -> Any:
        found = None
        for _ in range(count):
            found = work(argument)
        return found

    return run


def _never(_: Any, __: int) -> Any:
    raise RuntimeError("this peer is absent")


def _checked(peer: Peer) -> Peer:
    if peer.open(peer.seal(_PLAIN, 1), 1) != _PLAIN:
        raise RuntimeError(f"{peer.name} did not give back what it sealed")
    return peer


def tink() -> Peer:
    """Tink's envelope AEAD: a fresh AES-256-GCM key an item, wrapped by XChaCha20-Poly1305 in memory."""
    name = "Tink KmsEnvelopeAead, AES256_GCM"
    if missing := _missing(name, "tink"):
        return missing
    from tink import aead, new_keyset_handle

    aead.register()
    kek = new_keyset_handle(aead.aead_key_templates.XCHACHA20_POLY1305).primitive(aead.Aead)
    envelope, bound = aead.KmsEnvelopeAead(aead.aead_key_templates.AES256_GCM, kek), bytes(100)
    seal = _repeated(lambda plain: envelope.encrypt(plain, bound))
    return _checked(Peer(name, seal, _repeated(lambda sealed: envelope.decrypt(sealed, bound))))


def aws() -> Peer:
    """The AWS Encryption SDK with a raw AES keyring: committing, unsigned."""
    name = "AWS Encryption SDK, committing"
    if missing := _missing(name, "aws_encryption_sdk", "aws_cryptographic_material_providers"):
        return missing
    import aws_encryption_sdk
    from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
    from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
    from aws_cryptographic_material_providers.mpl.models import AesWrappingAlg, CreateRawAesKeyringInput
    from aws_encryption_sdk.identifiers import AlgorithmSuite, CommitmentPolicy

    policy = CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
    client = aws_encryption_sdk.EncryptionSDKClient(commitment_policy=policy)
    keyring = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig()).create_raw_aes_keyring(
        input=CreateRawAesKeyringInput(
            key_namespace="bench",
            key_name="kek",
            wrapping_key=os.urandom(32),
            wrapping_alg=AesWrappingAlg.ALG_AES256_GCM_IV12_TAG16,
        )
    )
    suite, context = AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY, {"item": "0" * 100}

    def seal(plain: bytes) -> bytes:
        sealed, _ = client.encrypt(source=plain, keyring=keyring, encryption_context=context, algorithm=suite)
        return bytes(sealed)

    def unseal(sealed: bytes) -> bytes:
        plain, _ = client.decrypt(source=sealed, keyring=keyring, encryption_context=context)
        return bytes(plain)

    return _checked(Peer(name, _repeated(seal), _repeated(unseal)))


def age() -> Peer:
    """Age to one X25519 recipient, by pyrage."""
    name = "age (pyrage), X25519"
    if missing := _missing(name, "pyrage"):
        return missing
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    recipients, identities = [identity.to_public()], [identity]
    seal = _repeated(lambda plain: pyrage.encrypt(plain, recipients))
    return _checked(Peer(name, seal, _repeated(lambda sealed: pyrage.decrypt(sealed, identities))))


def ironcore() -> Peer:
    """IronCore Alloy on its own: a fresh key a document, wrapped by a standalone secret."""
    name = "IronCore Alloy, standalone"
    if missing := _missing(name, "ironcore_alloy"):
        return missing
    import ironcore_alloy as alloy

    secret = alloy.StandaloneSecret(1, alloy.Secret(os.urandom(32)))
    settings = alloy.StandaloneConfiguration(alloy.StandardSecrets(1, [secret]), {}, {})
    documents, tenant = alloy.Standalone(settings).standard(), alloy.AlloyMetadata.new_simple("tenant")

    async def sealing(plain: bytes, count: int) -> Any:
        sealed = None
        for _ in range(count):
            sealed = await documents.encrypt({"content": plain}, tenant)
        return sealed

    async def unsealing(sealed: Any, count: int) -> bytes:
        plain = {"content": b""}
        for _ in range(count):
            plain = await documents.decrypt(sealed, tenant)
        return plain["content"]

    return _checked(
        Peer(
            name,
            lambda plain, count: asyncio.run(sealing(plain, count)),
            lambda sealed, count: asyncio.run(unsealing(sealed, count)),
        )
    )
