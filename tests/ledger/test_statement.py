"""Statements: signed, whole, and refused as soon as a row, a total or a signature is another."""

import base64
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.crypto.sign import SigningKey
from labelvault.errors import FormatError, LabelVaultError, LedgerError, SignatureError
from labelvault.ledger.statement import (
    Gap,
    StatedLedger,
    Statement,
    check_rows,
    read_statement,
    statement_certificate,
    summed,
    write_statement,
)
from labelvault.ledger.verdicts import Window, verdicts
from labelvault.wire.frame import sign_message
from tests.ledger.test_exposure import ADA, BEN, END, OTHER, START, at, closed, released
from tests.ledger.test_verdicts import sealed

ISSUER, THIEF = SigningKey.generate(), SigningKey.generate()
HISTORY = (sealed(), sealed(OTHER), released(1, 0), released(2, -60, BEN), closed(2, -30, contractor=BEN))
ROWS = verdicts(HISTORY, Window(frozenset({ADA}), START, END))
STATEMENT = Statement(
    client=b"c" * 32,
    project=None,
    surface="contractor",
    contractors=(ADA,),
    start=START,
    end=END,
    complete=True,
    ledgers=(StatedLedger(b"e" * 16, len(HISTORY), b"r" * 32),),
    gaps=(),
    totals=summed(ROWS)[0],
    root=summed(ROWS)[1],
    certificate=b"certificate",
    at=at(300),
)
FILE = write_statement(STATEMENT, ROWS, ISSUER)


def test_a_statement_comes_back_with_its_rows() -> None:
    """Signed frame and rows are those that were written, and asking again gives the same window."""
    signed, rows = read_statement(FILE, ISSUER.public_key)
    assert signed.message == STATEMENT
    assert list(rows) == ROWS
    assert verdicts(HISTORY, signed.message.window()) == ROWS
    assert statement_certificate(FILE) == b"certificate"
    assert (STATEMENT.totals.exposed, STATEMENT.totals.never_opened, STATEMENT.totals.rows) == (1, 1, 2)


def test_another_issuers_statement_is_refused() -> None:
    """Only the key that the reader's own state names counts."""
    with pytest.raises(SignatureError):
        read_statement(FILE, THIEF.public_key)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda lines: [*lines[:2], *lines[3:]], LedgerError),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], LedgerError),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], LedgerError),
        (lambda lines: [lines[0], lines[1], lines[1], *lines[3:]], LedgerError),
        (lambda lines: lines[:-1], FormatError),
        (lambda lines: lines[1:], FormatError),
        (lambda lines: [lines[0].replace(b'":"', b'": "'), *lines[1:]], FormatError),
        (lambda lines: [lines[0], b'{"row":"AAAA"}', *lines[2:]], FormatError),
    ],
    ids=["row missing", "row twice", "rows swapped", "row for row", "no end", "no frame", "a space", "no row"],
)
def test_L2_a_changed_file_is_refused(change: Any, kind: type[LabelVaultError]) -> None:
    """Rows that are missing, added, moved or exchanged, and lines in another spelling."""
    with pytest.raises(kind):
        read_statement(b"\n".join(change(FILE.split(b"\n"))), ISSUER.public_key)


@given(st.integers(0, len(FILE) - 1), st.integers(0, 7))
def test_F1_every_flipped_bit_is_refused(place: int, bit: int) -> None:
    """No changed file passes, and only our own errors leave."""
    flipped = bytearray(FILE)
    flipped[place] ^= 1 << bit
    with pytest.raises(LabelVaultError):
        read_statement(bytes(flipped), ISSUER.public_key)


def test_totals_and_root_have_to_be_the_rows() -> None:
    """A statement that says less than its rows is not written; read, it is refused."""
    smaller = dataclasses.replace(STATEMENT.totals, exposed=0, never_opened=2)
    for lie in (dataclasses.replace(STATEMENT, totals=smaller), dataclasses.replace(STATEMENT, root=b"x" * 32)):
        with pytest.raises(LedgerError):
            write_statement(lie, ROWS, ISSUER)
        frame = base64.b64encode(sign_message(lie, ISSUER).data).decode()
        forged = json.dumps({"statement": frame}, separators=(",", ":")).encode()
        with pytest.raises(LedgerError):
            read_statement(b"\n".join([forged, *FILE.split(b"\n")[1:]]), ISSUER.public_key)
        with pytest.raises(LedgerError):
            check_rows(lie, ROWS)
    check_rows(STATEMENT, ROWS)


def test_what_contradicts_itself_is_refused() -> None:
    """Windows and gaps that end before they begin, and keys out of order."""
    for change in ({"start": at(121)}, {"contractors": (BEN, ADA)}, {"contractors": (ADA, ADA)}):
        with pytest.raises(FormatError):
            dataclasses.replace(STATEMENT, **change)
    with pytest.raises(FormatError):
        Gap(at(1), at(0))
