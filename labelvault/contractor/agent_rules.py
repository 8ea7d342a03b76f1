"""What the agent signs: messages that a contractor sends to its own client, and nothing else."""

from typing import Any, Final

from labelvault.errors import FormatError
from labelvault.wire.ahead import PrekeyBundle
from labelvault.wire.answers import Submission, SubmissionOuter
from labelvault.wire.frame import parse_to_sign
from labelvault.wire.messages import OpenRequest, Receipt
from labelvault.wire.presence import ApprovalRequest
from labelvault.wire.schema import decode_record

# Not a card: what it says is read out to a client once, and a thief's would name the thief's presence device.
_SIGNED: Final[dict[str, type[Any]]] = {
    each.TYPE: each for each in (OpenRequest, Receipt, ApprovalRequest, Submission, PrekeyBundle)
}


def check_to_sign(data: bytes, public_key: bytes, client: bytes) -> str:
    """Refuse to sign what no contractor of this client sends.

    Args:
        data: what is to be signed.
        public_key: the identity's own, 32 bytes.
        client: the id of the client that the identity is bound to, 32 bytes.

    Returns:
        The message's type.

    Raises:
        FormatError: it is no whole, canonical message of one of these types, or names another signer or client.
    """
    frame = parse_to_sign(data)
    kind = _SIGNED.get(frame.type)
    if kind is None:
        raise FormatError("the agent signs no message of this type; ask again with the passphrase: --no-agent")
    message = decode_record(kind, frame.body)
    named = decode_record(SubmissionOuter, message.outer) if isinstance(message, Submission) else message
    if frame.signer != public_key or named.client != client:
        raise FormatError("the agent signs for its own identity and client only")
    return frame.type
