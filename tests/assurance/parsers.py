"""Every parser of what comes from outside, under a seeded mutator: only its own errors leave, and its bounds hold."""

import json
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import msgpack

from labelvault.client.projectfile import parse_project_file
from labelvault.client.rows import iter_rows, parse_row
from labelvault.contractor.agent_rules import check_to_sign
from labelvault.envelope.answer import AnswerHead
from labelvault.envelope.metadata import Metadata
from labelvault.errors import (
    FormatError,
    KeystoreError,
    LabelVaultError,
    LedgerError,
    ProjectError,
    RelayError,
    SignatureError,
)
from labelvault.keys.keystore import read_keystore
from labelvault.keys.prekeys import PrekeyFile
from labelvault.ledger.checkpoint import claimed_checkpoint
from labelvault.ledger.cosignature import cosignature_by, parse_cosigner_key
from labelvault.ledger.entries import decode_entry, encode_entry
from labelvault.ledger.export import claims, verify_export
from labelvault.ledger.extension import Extension, parse_extension
from labelvault.ledger.note import parse_verifier_key
from labelvault.ledger.statement import read_statement, statement_frame
from labelvault.relay.http_address import parse_address
from labelvault.relay.http_wire import ItemHead, parse_item_header, parse_page
from labelvault.vendor.http_body import byte_range, number
from labelvault.vendor.http_tokens import Tokens
from labelvault.wire import ahead, answers, messages, presence
from labelvault.wire.codec import decode, encode
from labelvault.wire.frame import parse_frame
from labelvault.wire.framefile import pack_frames, unpack_frames
from labelvault.wire.ids import parse_hex_id
from labelvault.wire.items import parse_header
from labelvault.wire.schema import decode_record, encode_record
from tests.assurance.check import Cases, Check, Counts
from tests.assurance.mutate import Node, mutate_msgpack, mutate_text, tree_of
from tests.ledger import test_export
from tests.vectors import world
from tests.vectors.form import load
from tests.vectors.pure import pure_python

CORPUS = Path(__file__).resolve().parent / "corpus"
MEASURED_EACH = 256
"""Memory is measured in one case of so many: it takes longer than parsing does."""
MOST_S = 0.050
"""Of the processor's time, which what else the machine does can't stretch."""
LINEAR_S = 10e-6
"""For each byte, where a file may hold as many rows as fit in it."""


@dataclass(frozen=True)
class Parser:
    """A parser.

    Attributes:
        name: also of its folder in the corpus.
        parse: takes the bytes.
        raises: all that may leave it.
        again: gives the bytes of what was parsed, where there is one encoding.
        text: mutated as lines, not as msgpack.
        whole: takes a file with as many rows as there are, so that time and memory are as large as it is.
    """

    name: str
    parse: Callable[[bytes], Any]
    raises: tuple[type[LabelVaultError], ...] = (FormatError,)
    again: Callable[[Any], bytes] | None = None
    text: bool = False
    whole: bool = False

    def seeds(self) -> list[bytes]:
        """Its corpus.

        Raises:
            AssertionError: there is none.
        """
        found = [path.read_bytes() for path in sorted((CORPUS / self.name).glob("*")) if path.is_file()]
        assert found, f"{self.name}: the corpus is empty"
        return found

    def outcome(self, data: bytes) -> Any:
        """What was parsed, or the kind of error; anything else goes through."""
        try:
            return self.parse(data)
        except self.raises as error:
            return type(error)


def _record(record_type: type[Any], name: str) -> Parser:
    return Parser(name, lambda data: decode_record(record_type, data), again=encode_record)


def _text(data: bytes) -> str:
    """As text reaches a parser: from a file or a terminal."""
    return data.decode("utf-8", "surrogateescape")


def _rows(name: str) -> Callable[[bytes], Any]:
    def parse(data: bytes) -> list[Any]:
        found: list[Any] = []
        for line, row in iter_rows(name, data):
            if isinstance(row, ProjectError):
                continue
            try:
                found.append(parse_row(name, line, row))
            except ProjectError:
                continue
        return found

    return parse


def _proof(found: Extension) -> bytes:
    return found.text().encode("utf-8", "surrogateescape")


_LEDGER = (FormatError, LedgerError, SignatureError)
_WITNESS = parse_cosigner_key(load("cosignature_valid").inputs["witness_key"])
_RECORDS: tuple[tuple[type[Any], str], ...] = (
    (messages.Card, "card"),
    (messages.IssuerCertificate, "certificate"),
    (messages.Grant, "grant"),
    (messages.Invite, "invite"),
    (messages.OpenRequest, "open-request"),
    (messages.Lease, "lease"),
    (messages.LeaseOuter, "lease-outer"),
    (messages.LeaseSecrets, "lease-secrets"),
    (messages.Denial, "denial"),
    (messages.Receipt, "receipt"),
    (answers.Submission, "submission"),
    (answers.SubmissionOuter, "submission-outer"),
    (answers.Ack, "ack"),
    (ahead.PrekeyBundle, "prekey-bundle"),
    (ahead.Status, "status"),
    (presence.ApprovalRequest, "approval-request"),
    (presence.Assignment, "assignment"),
    (PrekeyFile, "prekey-file"),
    (Metadata, "metadata"),
    (AnswerHead, "answer-head"),
    (ItemHead, "item-head"),
)

PARSERS = (
    Parser("codec", decode, again=encode),
    Parser("frame", parse_frame, again=encode_record),
    *(_record(record_type, name) for record_type, name in _RECORDS),
    Parser("header", parse_header, again=lambda header: header.encode()),
    Parser("frame-file", unpack_frames, again=pack_frames, text=True),
    Parser("page", parse_page, again=encode_record),
    Parser("keystore", lambda data: read_keystore("root", data), (KeystoreError,), text=True),
    Parser("ledger-entry", decode_entry, again=encode_entry),
    Parser("checkpoint", lambda data: claimed_checkpoint(_text(data)), text=True),
    Parser("cosignature", lambda data: cosignature_by(_text(data), _WITNESS), _LEDGER, text=True),
    Parser("extension", lambda data: parse_extension(_text(data)), again=_proof, text=True),
    Parser("verifier-key", lambda data: parse_verifier_key(_text(data)), (FormatError, SignatureError), text=True),
    Parser(
        "ledger-export",
        lambda data: verify_export(
            data, origin=test_export.ORIGIN, name=test_export.NAME, public_key=test_export.ISSUER.public_key
        ),
        _LEDGER,
        text=True,
    ),
    Parser("export-claims", claims, _LEDGER, text=True),
    Parser(
        "statement", lambda data: read_statement(data, parse_frame(statement_frame(data)).signer), _LEDGER, text=True
    ),
    Parser("project-file", lambda data: parse_project_file(_text(data)), (ProjectError,), text=True, whole=True),
    Parser("rows-jsonl", _rows("t.jsonl"), (ProjectError,), text=True, whole=True),
    Parser("rows-json", _rows("t.json"), (ProjectError,), text=True, whole=True),
    Parser("rows-csv", _rows("t.csv"), (ProjectError,), text=True, whole=True),
    Parser("rows-tsv", _rows("t.tsv"), (ProjectError,), text=True, whole=True),
    Parser(
        "to-sign",
        lambda data: check_to_sign(data, world.HELPER.public_key, world.CLIENT),
        (LabelVaultError,),
        text=True,
    ),
    Parser("vault-address", lambda data: parse_address(_text(data)), (RelayError,), text=True),
    Parser("tokens", lambda data: Tokens(_text(data).splitlines()), text=True, whole=True),
    Parser("hex-id", lambda data: parse_hex_id(_text(data)), text=True),
    Parser("item-header", lambda data: parse_item_header(_text(data)), text=True),
    Parser("http-number", lambda data: number(_text(data), "it"), text=True),
    Parser("http-range", lambda data: byte_range(_text(data), 1000), text=True),
)


def fuzzed(parser: Parser) -> Callable[[Path], Cases]:
    """The cases of a parser: its corpus as it is, then what the mutator makes of it."""

    def prepare(_: Path) -> Cases:
        seeds = parser.seeds()
        trees = [] if parser.text else [tree for seed in seeds if (tree := _tree(seed)) is not None]

        def attempt(number: int, rng: Random) -> None:
            if number < len(seeds):
                data = seeds[number]
            elif parser.text:
                data = mutate_text(rng.choice(seeds), rng)
            else:
                data = mutate_msgpack(rng.choice(trees), rng)
            judge(parser, data, measured=number % MEASURED_EACH == 0)

        return Cases(attempt)

    return prepare


def judge(parser: Parser, data: bytes, *, measured: bool) -> None:
    """Parse: only the parser's own errors leave, what is accepted has one encoding, time and memory are bounded."""
    start = time.thread_time()
    found = parser.outcome(data)
    most_s = MOST_S + (LINEAR_S * len(data) if parser.whole else 0)
    # What the parser needs is the least of several.
    if time.thread_time() - start > most_s:
        assert min(_seconds(parser, data) for _ in range(5)) <= most_s, f"{len(data)} bytes take too long"
    if parser.again is not None and not isinstance(found, type):
        assert parser.again(found) == data, "accepted, and encoded otherwise"
    if measured and not parser.whole:
        most = 8 * len(data) + 1024 * 1024
        assert min(_peak(parser, data) for _ in range(2)) <= most, f"{len(data)} bytes take too much memory"


def _seconds(parser: Parser, data: bytes) -> float:
    start = time.thread_time()
    parser.outcome(data)
    return time.thread_time() - start


def _peak(parser: Parser, data: bytes) -> int:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        parser.outcome(data)
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def _tree(seed: bytes) -> Node | None:
    try:
        return tree_of(msgpack.unpackb(seed))
    except Exception:  # noqa: BLE001 - a hostile seed is tried as it is
        return None


def unpackers(_: Path) -> Cases:
    """msgpack's compiled and its pure-Python half, on what the mutator makes of all corpora."""
    codec = PARSERS[0]
    parsers = [parser for parser in PARSERS if not parser.text]
    trees = [tree for parser in parsers for seed in parser.seeds() if (tree := _tree(seed)) is not None]

    def attempt(_: int, rng: Random) -> None:
        data = mutate_msgpack(rng.choice(trees), rng)
        in_c = codec.outcome(data)
        with pure_python():
            assert codec.outcome(data) == in_c, f"the halves differ on {json.dumps(data.hex()[:200])}"

    return Cases(attempt)


CHECKS = (
    *(
        Check(
            f"parser: {parser.name}",
            "mutated inputs: only its own kinds of error leave it, one encoding, "
            + ("time as its size" if parser.whole else "at most 50 ms, and 8 times the input and 1 MiB"),
            ("P1", "P2", "P4"),
            fuzzed(parser),
            Counts(500, 200_000, 5_000_000),
        )
        for parser in PARSERS
    ),
    Check(
        "both unpackers",
        "msgpack's compiled and pure-Python halves take and refuse the same bytes through the codec",
        ("P3",),
        unpackers,
        Counts(500, 200_000, 5_000_000),
    ),
)
