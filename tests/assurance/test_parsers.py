"""The corpora, the mutator, and the judge of the parsers' checks."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgpack
import pytest

from labelvault.errors import FormatError
from labelvault.wire.codec import MAX_BYTES, decode, encode
from tests.assurance.check import randomness
from tests.assurance.mutate import MAX_INPUT_BYTES, mutate_msgpack, mutate_text, tree_of
from tests.assurance.parsers import CORPUS, MOST_S, PARSERS, Parser, judge


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.name)
def test_P1_a_corpus_is_there_and_holds_what_is_accepted(parser: Parser) -> None:
    """Seeds that are all refused at the first byte would try nothing."""
    assert any(not isinstance(parser.outcome(seed), type) for seed in parser.seeds())


def test_P1_there_is_no_corpus_without_a_parser() -> None:
    """A folder that nothing reads looks like a check and is none."""
    assert {path.name for path in CORPUS.iterdir()} == {parser.name for parser in PARSERS}


def test_an_empty_corpus_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a folder whose files were lost does."""
    monkeypatch.setattr("tests.assurance.parsers.CORPUS", tmp_path)
    with pytest.raises(AssertionError, match="corpus is empty"):
        PARSERS[0].seeds()


def test_trees_encode_to_what_they_were_made_of() -> None:
    """Records in records, every form of length, and nothing altered."""
    inner = msgpack.packb({"a": 1, "b": b"\0" * 300})
    value = {"deep": [[], {}, [None, True, 2**63]], "frame": inner, "text": "a" * 40}
    assert tree_of(value).encode() == msgpack.packb(value)
    assert any(node.kind == "nested" for node in tree_of(value).parts)


def test_mutants_are_bounded_differ_and_reach_far() -> None:
    """Most of them are other bytes, none too long, and they are refused for many different reasons."""
    tree = tree_of({"a": [1, b"2", "3"], "b": msgpack.packb({"c": None})})
    made = [mutate_msgpack(tree, randomness(1, "mutants", number)) for number in range(1500)]
    assert max(map(len, made)) <= MAX_INPUT_BYTES
    assert len(set(made)) > 900
    reasons: Counter[str] = Counter()
    for data in made:
        try:
            decode(data)
        except FormatError as error:
            reasons[str(error)[:20]] += 1
    assert len(reasons) >= 10
    assert sum(reasons.values()) < len(made)
    texts = [mutate_text(b'{"a": 1}\n[2]\n', randomness(1, "texts", number)) for number in range(500)]
    assert max(map(len, texts)) <= MAX_INPUT_BYTES
    assert len(set(texts)) > 300


def leaks(data: bytes) -> Any:
    """Lets a ValueError out."""
    raise ValueError("not ours")


def slow(data: bytes) -> Any:
    """Takes a while."""
    end = time.thread_time() + 1.2 * MOST_S
    while time.thread_time() < end:
        pass


def hungry(data: bytes) -> Any:
    """Takes memory."""
    return len(bytes(2 * 1024 * 1024 + 8 * len(data)))


@pytest.mark.parametrize(
    ("parser", "kind", "words"),
    [
        (Parser("leaks", leaks), ValueError, "not ours"),
        (Parser("slow", slow), AssertionError, "too long"),
        (Parser("hungry", hungry), AssertionError, "too much memory"),
        (Parser("lax", lambda data: 7, again=encode), AssertionError, "encoded otherwise"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_P2_the_judge_sees_each_breach(parser: Parser, kind: type[Exception], words: str) -> None:
    """Another error, too long, too much memory, a second encoding."""
    with pytest.raises(kind, match=words):
        judge(parser, b"\x08", measured=True)


def test_P2_a_good_parser_passes() -> None:
    """The largest input that is accepted, and one that is refused."""
    codec = PARSERS[0]
    judge(codec, encode(bytes(MAX_BYTES - 4)), measured=True)
    judge(codec, b"\xc1", measured=True)
