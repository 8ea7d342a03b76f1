"""Messages that bring their issuer's certificate: whoever knows the client's id can verify them.

The certificate's signer must hash to that id, the certificate must name the key that signed the message. Nothing of
this needs more than public keys, so vendor and contractor use the same code.
"""

from datetime import datetime
from functools import lru_cache
from typing import ClassVar, Protocol, TypeVar

from labelvault.crypto.verify import check_public_key
from labelvault.errors import FormatError, SignatureError
from labelvault.wire.frame import Signed, open_frame, open_parsed, parse_frame
from labelvault.wire.ids import client_id
from labelvault.wire.messages import IssuerCertificate
from labelvault.wire.schema import decode_record


class Certified(Protocol):
    """A message of an issuer that brings its certificate."""

    TYPE: ClassVar[str]

    @property
    def client(self) -> bytes:
        """Whose issuer speaks, 32 bytes."""

    @property
    def certificate(self) -> bytes:
        """The frame of its `IssuerCertificate`."""

    @property
    def at(self) -> datetime:
        """When, by the issuer's clock."""


C = TypeVar("C", bound=Certified)


def open_certified(data: bytes, message_type: type[C], client: bytes) -> tuple[Signed[C], Signed[IssuerCertificate]]:
    """Verify a message of a client's issuer, and the certificate that it brings.

    Whether that certificate is the newest is for the reader to say, who knows the highest serial seen.

    Args:
        data: the frame's bytes.
        message_type: the one type that is acceptable here.
        client: the client's id, 32 bytes, from the reader's own state.

    Raises:
        FormatError: malformed, or of another type.
        SignatureError: certificate or message is not signed by whom it should be, is another client's, or is dated
            outside the certificate's time.
    """
    frame = parse_frame(data)
    if frame.type != message_type.TYPE:
        raise FormatError(f"a {message_type.TYPE} was expected")
    # Not believed yet: only the certificate is taken out of it, which the client's identity key has to have signed.
    unverified = decode_record(message_type, frame.body)
    certificate = _certificate(unverified.certificate, client)
    issuer = certificate.message
    signed = open_parsed(frame, data, message_type, issuer.issuer)
    if signed.message.client != client:
        raise SignatureError("the message belongs to another client")
    if not issuer.not_before <= signed.message.at < issuer.expires_at:
        raise SignatureError("the message is dated outside its certificate's time")
    return signed, certificate


# One certificate comes with all messages of months. What was verified once is verified: same bytes, same client.
@lru_cache(maxsize=64)
def _certificate(data: bytes, client: bytes) -> Signed[IssuerCertificate]:
    """Verify a certificate as that of a client's issuer; as `open_certified`."""
    identity_key = parse_frame(data).signer
    if client_id(identity_key) != client:
        raise SignatureError("the certificate is not signed by this client")
    certificate = open_frame(data, IssuerCertificate, identity_key)
    check_public_key(certificate.message.issuer)
    if certificate.message.client != client:
        raise SignatureError("the message belongs to another client")
    return certificate
