"""The sealed part of a submission: what it pads, what it is bound to, and what an opener refuses."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.crypto import hpke
from labelvault.crypto.hpke import OVERHEAD_BYTES, OneTimeKey
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.answer import (
    ANSWER_FLOOR_BYTES,
    MAX_ANSWER_BYTES,
    MAX_INLINE_BYTES,
    AnswerHead,
    AnswerItem,
    open_answer,
    seal_answer,
    seal_large,
)
from labelvault.envelope.padding import padded_size
from labelvault.envelope.seal import open_item
from labelvault.errors import DecryptionError, FormatError
from labelvault.wire.answers import SUBMISSION_INFO_LABEL
from labelvault.wire.items import ITEM_FORMAT, ItemHeader
from labelvault.wire.schema import encode_record

KEY = OneTimeKey.generate()
OUTER = b"outer part"
ITEM = AnswerItem(b"i" * 16, 1, b"d" * 32, b"k" * 32)


def head(size: int, payload: AnswerItem | None = None) -> AnswerHead:
    """A head of a text."""
    return AnswerHead("answer.txt", "text/plain", size, payload)


def raw(plaintext: bytes) -> bytes:
    """Seal a plaintext as it is."""
    return hpke.seal(KEY.public_key, plaintext, SUBMISSION_INFO_LABEL + OUTER)


def padded(encoded: bytes, content: bytes, fill: bytes = b"\0") -> bytes:
    """A plaintext of these parts."""
    text = len(encoded).to_bytes(4, "big") + encoded + content
    return text + fill * (padded_size(len(text), ANSWER_FLOOR_BYTES) - len(text))


@given(content=st.binary(max_size=5000))
def test_an_answer_opens_as_it_was_sealed(content: bytes) -> None:
    """Head and content come back."""
    opened = open_answer(KEY, seal_answer(KEY.public_key, head(len(content)), content, OUTER), OUTER)
    assert (opened.head, opened.content) == (head(len(content)), content)


@pytest.mark.parametrize("size", [0, 1, 900, 1000, 5000, MAX_INLINE_BYTES])
def test_F11_the_sealed_size_tells_only_the_padded_size(size: int) -> None:
    """Small answers all look alike, and the largest fits into its message whatever its head says."""
    longest = AnswerHead("n" * 1000, "t" * 200, size, None)
    for each in (head(size), longest):
        sealed = seal_answer(KEY.public_key, each, bytes(size), OUTER)
        plain = 4 + len(encode_record(each)) + size
        assert len(sealed) == OVERHEAD_BYTES + padded_size(plain, ANSWER_FLOOR_BYTES)
        assert len(sealed) <= 60_000
    sealed = seal_answer(KEY.public_key, head(0), b"", OUTER)
    assert len(sealed) == OVERHEAD_BYTES + ANSWER_FLOOR_BYTES


def test_a_large_answer_is_an_item_of_its_own() -> None:
    """It opens with what the head carries, and with nothing else."""
    content = b"large-answer-canary" * 5000
    sealed, where = seal_large(b"c" * 32, b"p" * 16, b"i" * 16, content)
    header = ItemHeader(ITEM_FORMAT, b"c" * 32, b"p" * 16, b"i" * 16, 1)
    assert (sealed.header, where.digest) == (header.encode(), sealed.digest)
    assert b"canary" not in sealed.payload
    back = open_answer(KEY, seal_answer(KEY.public_key, head(len(content), where), b"", OUTER), OUTER).head.payload
    assert back == where
    dek = SecretBytes(where.dek)
    assert open_item(sealed.header, sealed.payload, dek, expected=header, digest=where.digest).content == content
    other = SecretBytes(bytes(32))
    with pytest.raises(DecryptionError):
        open_item(sealed.header, sealed.payload, other, expected=header, digest=where.digest)


def test_F1_another_key_or_outer_part_or_any_flipped_byte_opens_nothing() -> None:
    """One outcome for all."""
    sealed = seal_answer(KEY.public_key, head(4), b"text", OUTER)
    flipped = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(0, len(sealed), 97)]
    for data in (*flipped, sealed[:-1], sealed + b"\0", b"", sealed[:100]):
        with pytest.raises(DecryptionError):
            open_answer(KEY, data, OUTER)
    with pytest.raises(DecryptionError):
        open_answer(KEY, sealed, OUTER + b"\0")
    with pytest.raises(DecryptionError):
        open_answer(OneTimeKey.generate(), sealed, OUTER)


HEAD = encode_record(head(4))


@pytest.mark.parametrize(
    "plaintext",
    [
        b"",
        b"\0\0",
        padded(HEAD, b"text", b"x"),
        padded(HEAD, b"text")[:-1] + b"\1",
        padded(HEAD, b"text") + bytes(16),
        padded(HEAD, b"text")[:-1],
        padded(encode_record(head(5000)), b"text"),
        padded(b"\x80", b"text"),
        padded(HEAD + b"\0", b"text"),
        padded(HEAD.replace(b"payload", b"pay1oad"), b"text"),
        b"\0\0\xff\xff" + bytes(1020),
        b"\xff\xff\xff\xff" + bytes(1020),
    ],
)
def test_F1_F11_a_plaintext_of_another_form_is_refused(plaintext: bytes) -> None:
    """Also though its author held the key: padding that is not zeros or not Padmé's, sizes and heads that don't fit."""
    assert open_answer(KEY, raw(padded(HEAD, b"text")), OUTER).content == b"text"
    with pytest.raises(DecryptionError):
        open_answer(KEY, raw(plaintext), OUTER)


@pytest.mark.parametrize(
    ("size", "payload"),
    [(MAX_INLINE_BYTES + 1, None), (MAX_INLINE_BYTES, ITEM), (0, ITEM), (MAX_ANSWER_BYTES + 1, ITEM)],
)
def test_content_is_inline_exactly_if_it_is_small(size: int, payload: AnswerItem | None) -> None:
    """So that one answer has one form."""
    with pytest.raises(FormatError):
        seal_answer(KEY.public_key, head(size, payload), bytes(size if payload is None else 0), OUTER)


def test_sealing_checks_what_it_is_given() -> None:
    """A head of another size, content beside an item, a head out of bounds, a key that is none."""
    for key, each, content in (
        (KEY.public_key, head(5), b"text"),
        (KEY.public_key, head(MAX_INLINE_BYTES + 1, ITEM), b"text"),
        (KEY.public_key, AnswerHead("n" * 1001, "text/plain", 4, None), b"text"),
        (KEY.public_key, AnswerHead("", "text/plain", 4, None), b"text"),
        (KEY.public_key[:-1], head(4), b"text"),
    ):
        with pytest.raises(FormatError):
            seal_answer(key, each, content, OUTER)
    with pytest.raises(FormatError):
        seal_large(b"c" * 32, b"p" * 16, b"i" * 16, bytes(MAX_ANSWER_BYTES + 1))


def test_keys_of_answers_are_not_shown_or_copied() -> None:
    """Neither by repr nor by pickle."""
    assert (b"k" * 32).hex() not in repr(ITEM)
    assert "kkkk" not in repr(head(MAX_INLINE_BYTES + 1, ITEM))
    with pytest.raises(TypeError):
        pickle.dumps(ITEM)
