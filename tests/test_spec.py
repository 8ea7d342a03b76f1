"""docs/spec.md and the code say the same: every record, bound, label, code, table and example is read from the page."""

import dataclasses
import hashlib
import importlib
import pkgutil
import re
import sqlite3
import types
import typing
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

import labelvault
from labelvault.client import backupfile, projectfile
from labelvault.contractor.presence_checks import REFUSALS
from labelvault.contractor.presence_state import DEVICE_SCHEMA
from labelvault.contractor.records import STATE_SCHEMA
from labelvault.crypto import aead
from labelvault.crypto.hashing import tagged_hash
from labelvault.crypto.hpke import OneTimeKey
from labelvault.crypto.merkle import leaf_hash
from labelvault.crypto.recognise import cobblestone_commitment, seed_mark
from labelvault.crypto.secret import SecretBytes
from labelvault.crypto.sign import SigningKey
from labelvault.envelope import answer, metadata
from labelvault.envelope.digest import item_digest, payload_leaves
from labelvault.envelope.metadata import KINDS, Metadata
from labelvault.envelope.padding import padded_size
from labelvault.envelope.seal import open_item
from labelvault.errors import DecryptionError, FormatError, SignatureError, TamperedError
from labelvault.issuer.schema import CLIENT_SCHEMA
from labelvault.keys import identity, kek, keystore, prekeys, wrapped
from labelvault.keys.cards import card_fingerprint, client_fingerprint
from labelvault.keys.fingerprint import to_proquints
from labelvault.keys.kek import Kek, unwrap_dek, wrap_context
from labelvault.keys.root import LocalRootKey
from labelvault.ledger import entries, statement, verdicts
from labelvault.ledger.checkpoint import (
    Checkpoint,
    issuer_key_name,
    ledger_origin,
    sign_checkpoint,
    verify_checkpoint,
)
from labelvault.ledger.entries import Certified, Sealed, encode_entry
from labelvault.ledger.note import VerifierKey
from labelvault.ledger.tree import root_of_leaves
from labelvault.ledger.verdicts import VERDICTS
from labelvault.stores import sqlite_schema
from labelvault.wire import ahead, answers, frame, items, messages, presence, schema
from labelvault.wire.answers import ACK_VERDICTS
from labelvault.wire.codec import decode, encode
from labelvault.wire.frame import open_frame, sign_message
from labelvault.wire.ids import client_id, contractor_mailbox, issuer_mailbox
from labelvault.wire.items import ItemHeader
from labelvault.wire.messages import DENIAL_CODES, Card, IssuerCertificate
from labelvault.wire.schema import Between, Count, Fixed, OneOf, Text, UInt, encode_record
from labelvault.wire.times import from_ms

ROOT = Path(__file__).resolve().parent.parent
SPEC = (ROOT / "docs/spec.md").read_text(encoding="utf-8")
CAPTION = re.compile(r"^Record `(\w+)`(?: \((frame type|entry kind) `([a-z-]+)`\))?")
EXAMPLE = re.compile(r"^Example: ([\d,]+) bytes, SHA-256 `([0-9a-f]{64})`")

# Records that the page names otherwise, since in the code they are private to their module.
PRIVATE = {
    "KeystoreHeader": keystore._Header,
    "KeystoreBody": keystore.KeystoreBody,
    "WrappedFile": wrapped._WrappedFile,
    "KekContext": kek._KekContext,
    "WrapContext": kek._WrapContext,
    "SigningKeyContext": identity._SigningKeyContext,
}


# --- reading the page ---


@dataclasses.dataclass
class Table:
    """A table of the page: the paragraph above it, its header, its rows, and the first line of text below."""

    above: str
    header: list[str]
    rows: list[list[str]]
    below: str


def cells(line):
    """The cells of one line of a table."""
    return [cell.strip() for cell in line.strip().strip("|").split(" | ")]


@cache
def tables():
    """All tables of the page."""
    found = []
    paragraphs = [part for part in SPEC.split("\n\n") if part.strip()]
    for above, part, below in zip(["", *paragraphs], paragraphs, [*paragraphs[1:], ""], strict=False):
        lines = part.strip("\n").splitlines()
        if lines[0].startswith("| "):
            assert all(line.startswith("| ") for line in lines[2:]), part
            found.append(Table(above, cells(lines[0]), [cells(line) for line in lines[2:]], below))
    return found


def tables_headed(*header):
    """Tables whose header begins with these cells; there must be some."""
    found = [table for table in tables() if table.header[: len(header)] == list(header)]
    assert found, header
    return found


def bare(cell):
    """A cell's one word of code."""
    assert re.fullmatch(r"`[^`]+`", cell), cell
    return cell.strip("`")


@cache
def record_tables():
    """Table and caption of every record on the page."""
    found = {}
    for table in tables_headed("field", "type", "example", "rule"):
        caption = CAPTION.match(table.above)
        assert caption, table.above
        assert caption[1] not in found, caption[1]
        found[caption[1]] = (table, caption)
    return found


@cache
def example_values():
    """`name: value` of every fenced example block; indented lines continue a value."""
    found: dict[str, str] = {}
    name = ""
    for block in re.findall(r"^```example\n(.*?)^```", SPEC, flags=re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("  "):
                found[name] += line.strip()
            else:
                name, _, value = line.partition(": ")
                assert name not in found, name
                found[name] = value.strip()
    assert found
    return found


def value_of(name):
    """An example value that is bytes."""
    value = example_values()[name]
    repeated = re.fullmatch(r"([0-9a-f]{2})\*(\d+)", value)
    return bytes.fromhex(repeated[1] * int(repeated[2]) if repeated else value)


# --- how the page writes what the code has ---


def number(value):
    """An integer as the page writes it."""
    for exponent in range(31, 64):
        if value in (2**exponent, 2**exponent - 1):
            return f"2^{exponent}" if value == 2**exponent else f"2^{exponent}-1"
    return f"{value:,}"


def constant(value):
    """A constant as the page writes it."""
    if isinstance(value, timedelta):
        return f"{number(int(value.total_seconds()))} s"
    if isinstance(value, bytes):
        printable = all(0x20 <= byte < 0x7F or byte in (0, 10) for byte in value) and len(value) > 1
        text = value.decode("latin-1").replace("\0", "\\0").replace("\n", "\\n")
        return f"`{text}`" if printable else f"`{value.hex()}`"
    return number(value)


def words(options):
    """A closed list of words as the page writes it."""
    if set(options) == set(DENIAL_CODES):
        return "a denial code"
    if set(options) == set(ACK_VERDICTS):
        return "a verdict"
    if set(options) == set(VERDICTS):
        return "an exposure verdict"
    return "one of " + ", ".join(f"`{word}`" for word in sorted(options))


def type_of(hint):
    """A field's annotation as the page writes it."""
    if typing.get_origin(hint) is typing.Annotated:
        base, rule = typing.get_args(hint)
        match rule:
            case Fixed(size):
                return f"bytes[{number(size)}]"
            case Between(least, most):
                return f"bytes[{number(least)}..{number(most)}]"
            case Text():
                return f"text[{number(rule.least)}..{number(rule.most)}]"
            case OneOf():
                return words(rule.options)
            case UInt(least, most):
                return f"int[{number(least)}..{number(most)}]"
            case Count(least, most):
                return f"array[{number(least)}..{number(most)}] of {type_of(typing.get_args(base)[0])}"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        (inner,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
        return f"{type_of(inner)} or nil"
    if hint in (bool, datetime):
        return {bool: "bool", datetime: "time"}[hint]
    return f"`{name_of(hint)}`"


@cache
def records():
    """Every record class by the name that the page gives it."""
    found: dict[str, type] = dict(PRIVATE)
    for module in (
        messages,
        ahead,
        presence,
        answers,
        frame,
        items,
        metadata,
        answer,
        entries,
        verdicts,
        statement,
        prekeys,
        backupfile,
    ):
        found |= {name: each for name, each in vars(module).items() if is_record(each) and is_of(each, module)}
    return found


def is_of(each, module):
    return each.__module__ == module.__name__


def is_record(each):
    """Whether a class is a dataclass whose every field has a wire form."""
    if not (isinstance(each, type) and dataclasses.is_dataclass(each)):
        return False
    try:
        return bool(schema._layout(each).names)
    except TypeError:
        return False


def name_of(record):
    """The name that the page gives a record class."""
    return next(name for name, each in records().items() if each is record)


def parse(text, hint):
    """An example cell's value, for a field of this annotation."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if text == "nil":
            return None
        (hint,) = (part for part in typing.get_args(hint) if part is not types.NoneType)
    if text.startswith("as "):
        made = example_of(text.removeprefix("as "))
        return made if dataclasses.is_dataclass(hint) else encode_record(made)
    if text.startswith("["):
        (of, *_) = typing.get_args(typing.get_args(hint)[0])
        inner = [part for part in text.strip("[]").split(", ") if part]
        return tuple(parse(part, of) for part in inner)
    if hint is datetime:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    if hint is bool:
        return {"true": True, "false": False}[text]
    base = typing.get_args(hint)[0]
    if base is bytes:
        byte, _, times = text.partition("*")
        return bytes.fromhex(byte) * int(times or 1)
    return int(text) if base is int else text.strip('"')


@cache
def example_of(name):
    """The record that a table's examples make."""
    table, _ = record_tables()[name]
    hints = typing.get_type_hints(records()[name], include_extras=True)
    return records()[name](**{bare(row[0]): parse(bare(row[2]), hints[bare(row[0])]) for row in table.rows})


# --- the page itself ---


def test_every_link_of_the_page_leads_somewhere():
    """Decisions and folders that the page names are there."""
    links = re.findall(r"\]\(([^)#]+)\)", SPEC)
    assert len(links) > 5
    assert not [link for link in links if not (ROOT / "docs" / link).exists()]


def test_every_section_that_code_cites_is_there():
    """A comment that points at a section of the page points at one that exists."""
    headings = set(re.findall(r"^#+ (\d+(?:\.\d+)*)\.? ", SPEC, flags=re.MULTILINE))
    cited = set()
    for file in (ROOT / "labelvault").rglob("*.py"):
        text = " ".join(file.read_text(encoding="utf-8").split())
        cited |= set(re.findall(r"docs/spec\.md, section (\d+(?:\.\d+)*)", text))
    assert cited
    assert cited <= headings


# --- records ---


def test_every_record_is_on_the_page_and_no_other():
    """Nothing is encoded whose fields the page does not list."""
    assert record_tables().keys() == records().keys()
    assert len(records()) > 30


def test_no_record_hides_in_a_module_that_the_page_does_not_cover():
    """A new record anywhere in wire, envelope, keys or ledger has to be specified."""
    known = set(records().values())
    for module in modules("wire", "envelope", "keys", "ledger"):
        hidden = [each for each in vars(module).values() if is_record(each) and is_of(each, module)]
        assert not set(hidden) - known, module.__name__


@pytest.mark.parametrize("name", sorted(record_tables()))
def test_a_record_has_exactly_the_fields_and_bounds_of_its_table(name):
    """Field names in order, and every size and bound."""
    table, _ = record_tables()[name]
    hints = typing.get_type_hints(records()[name], include_extras=True)
    expected = [(field.name, type_of(hints[field.name])) for field in dataclasses.fields(records()[name])]
    assert [(bare(row[0]), row[1]) for row in table.rows] == expected
    assert all(len(row) == 4 and row[3] for row in table.rows), "every field has a rule"


@pytest.mark.parametrize("name", sorted(record_tables()))
def test_the_examples_of_a_table_make_a_record_of_these_bytes(name):
    """Each table's example column is one whole valid record, and its encoding is the one that the page gives."""
    table, _ = record_tables()[name]
    encoded = encode_record(example_of(name))
    stated = EXAMPLE.match(table.below)
    assert stated, f"{name}: {table.below}"
    assert (stated[1], stated[2]) == (number(len(encoded)), hashlib.sha256(encoded).hexdigest())


def test_frame_types_and_entry_kinds_are_those_of_the_code():
    """What stands in a frame of its own, and what stands in the ledger, is said in each caption."""
    captions = [caption for _, caption in record_tables().values()]
    framed = {caption[1]: caption[3] for caption in captions if caption[2] == "frame type"}
    recorded = {caption[3]: caption[1] for caption in captions if caption[2] == "entry kind"}
    assert framed == {name: each.TYPE for name, each in records().items() if hasattr(each, "TYPE")}
    assert recorded == {kind: each.__name__ for kind, each in entries.KINDS.items()}


# --- constants, labels, codes ---


def modules(*rooms):
    """All modules of some rooms."""
    names = [module.name for module in pkgutil.walk_packages(labelvault.__path__, "labelvault.")]
    return [importlib.import_module(name) for name in names if name.split(".")[1] in rooms]


def constants_of_the_page():
    """Every row of every table of constants."""
    rows = [row for table in tables_headed("constant", "value") for row in table.rows]
    found = {bare(row[0]): row[1] for row in rows}
    assert len(found) == len(rows), "a constant is listed twice"
    return found


@pytest.mark.parametrize("name", sorted(constants_of_the_page()))
def test_a_constant_has_the_value_of_the_page(name):
    """Sizes, limits, lifetimes and prefixes."""
    module, _, attribute = name.rpartition(".")
    actual = getattr(importlib.import_module(f"labelvault.{module}"), attribute)
    assert constants_of_the_page()[name] == constant(actual)


def test_every_public_constant_of_the_formats_is_on_the_page():
    """A new bound is a change of format, so it has to be specified."""
    defined = set()
    for module in modules("wire", "envelope", "crypto", "keys", "ledger", "issuer", "stores"):
        source = Path(module.__file__).read_text(encoding="utf-8")
        defined |= {
            f"{module.__name__.removeprefix('labelvault.')}.{name}"
            for name in re.findall(r"^([A-Z][A-Z0-9_]*)(?:: Final)? = ", source, flags=re.MULTILINE)
            if isinstance(getattr(module, name), (int, timedelta, bytes))
        }
    assert len(defined) > 50
    assert not defined - constants_of_the_page().keys()


def test_every_label_is_on_the_page_and_no_other():
    """Domain separation is one list that can be read at once."""
    used = set()
    for file in (ROOT / "labelvault").rglob("*.py"):
        used |= set(re.findall(r'b"(labelvault/v1/[^"<]+\\0)"', file.read_text(encoding="utf-8")))
    listed = [bare(row[0]) for table in tables_headed("label", "used in") for row in table.rows]
    assert len(listed) == len(set(listed))
    assert set(listed) == used


def test_denial_codes_are_those_of_the_page():
    """All codes, and no other."""
    (table,) = tables_headed("code", "when")
    codes = [bare(row[0]) for row in table.rows]
    assert sorted(codes) == sorted(DENIAL_CODES)


def test_every_refusal_of_a_presence_device_is_on_the_page():
    """One row a reason."""
    (table,) = tables_headed("reason", "refused when")
    assert sorted(bare(row[0]) for row in table.rows) == sorted(REFUSALS)


def test_kinds_are_those_of_the_page():
    """All kinds of item, and no other."""
    (table,) = tables_headed("kind", "folder")
    assert [bare(row[0]) for row in table.rows] == list(KINDS)


# --- codec ---


@pytest.mark.parametrize("row", tables_headed("value", "encoding")[0].rows, ids=lambda row: row[0])
def test_a_value_has_the_encoding_of_the_page(row):
    """The forms that are allowed, each by an example."""
    text, encoding = (bare(cell) for cell in row[:2])
    value = eval(text, {"__builtins__": {}, "nil": None, "true": True, "false": False})  # noqa: S307
    assert encode(value).hex() == encoding
    assert decode(bytes.fromhex(encoding)) == value


@pytest.mark.parametrize("row", tables_headed("refused bytes", "because")[0].rows, ids=lambda row: row[0])
def test_bytes_that_the_page_refuses_are_refused(row):
    """The forms that are not allowed, each by an example."""
    with pytest.raises(FormatError):
        decode(bytes.fromhex(bare(row[0])))


def test_padded_sizes_are_those_of_the_page():
    """Padmé, by examples."""
    (table,) = tables_headed("size", "floor", "padded")
    for row in table.rows:
        size, floor, padded = (int(cell.replace(",", "")) for cell in row[:3])
        assert padded_size(size, floor) == padded


# --- databases and labelvault.toml ---


@pytest.mark.parametrize(
    ("file", "statements"),
    [
        ("client.db", CLIENT_SCHEMA.statements),
        ("vault", sqlite_schema.SCHEMA),
        ("state.db", STATE_SCHEMA.statements),
        ("device.db", DEVICE_SCHEMA.statements),
    ],
)
def test_a_database_has_the_tables_and_columns_of_the_page(file, statements):
    """Every table and column of the four databases."""
    (table,) = tables_headed(f"table of `{file}`", "columns")
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(statements)
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
        names = [name for (name,) in connection.execute(query)]
        actual = [(name, [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]) for name in names]
    finally:
        connection.close()
    assert [(bare(row[0]), [bare(cell) for cell in row[1].split(", ")]) for row in table.rows] == actual


def toml_type(node):
    """A setting's JSON schema as the page writes it."""
    if "anyOf" in node:
        (inner,) = (part for part in node["anyOf"] if part != {"type": "null"})
        return f"{toml_type(inner)}, or absent"
    match node["type"]:
        case "string":
            return f"chars[{node['minLength']}..{number(node['maxLength'])}]"
        case "integer":
            return f"int[{number(node['minimum'])}..{number(node['maximum'])}]"
        case "array":
            bound = f"[0..{number(node['maxItems'])}]" if "maxItems" in node else ""
            return f"array{bound} of {toml_type(node['items'])}"
        case "object":
            keys = {"type": "string"} | node["propertyNames"]
            return f"table of {toml_type(keys)} to {toml_type(node['additionalProperties'])}"
    raise AssertionError(node)


def test_the_project_file_has_the_settings_of_the_page():
    """Every setting with its type, bounds and default; unknown ones are refused."""
    top = projectfile._ProjectFile.model_json_schema()
    settings: dict[str, dict] = {}
    for name, node in top["properties"].items():
        if "$ref" in node:
            part = top["$defs"][node["$ref"].rpartition("/")[2]]
            assert part["additionalProperties"] is False
            settings |= {f"{name}.{each}": inner for each, inner in part["properties"].items()}
        else:
            settings[name] = node
    assert top["additionalProperties"] is False
    (table,) = tables_headed("setting", "type", "default")
    written = {bare(row[0]): (row[1], row[2]) for row in table.rows}
    assert written == {
        name: (toml_type(node), "absent" if node["default"] is None else f"`{node['default']}`")
        for name, node in settings.items()
    }


# --- the worked example ---

AT = from_ms(1_782_896_400_000)


@cache
def world():
    """What the worked example's few given bytes make."""
    client_key = SigningKey(SecretBytes(value_of("identity seed")))
    issuer_key = SigningKey(SecretBytes(value_of("issuer seed")))
    contractor_key = SigningKey(SecretBytes(value_of("contractor seed")))
    client = client_id(client_key.public_key)
    header = ItemHeader(1, client, value_of("project"), value_of("item"), 1)
    return types.SimpleNamespace(
        identity=client_key, issuer=issuer_key, contractor=contractor_key, client=client, header=header
    )


def test_the_keys_ids_and_fingerprints_of_the_example():
    """From three seeds: keys, client id, mailboxes, card and what people read aloud."""
    made = world()
    card = sign_message(Card("helper", "ada's laptop", None, AT), made.contractor)
    one_time = OneTimeKey(SecretBytes(value_of("one-time seed")))
    assert value_of("identity key") == made.identity.public_key
    assert value_of("issuer key") == made.issuer.public_key
    assert value_of("contractor key") == made.contractor.public_key
    assert value_of("client id") == made.client
    assert value_of("issuer mailbox") == issuer_mailbox(made.client)
    assert value_of("contractor mailbox") == contractor_mailbox(made.client, made.contractor.public_key)
    assert value_of("card") == card.data
    assert value_of("card hash") == card.hash
    assert example_values()["card fingerprint"] == card_fingerprint(card.data)
    assert example_values()["client fingerprint"] == client_fingerprint(made.identity.public_key)
    assert example_values()["proquints of 0000 7f000001 ffff"] == to_proquints(bytes.fromhex("00007f000001ffff"))
    assert value_of("one-time key, SHA-256") == hashlib.sha256(one_time.public_key).digest()
    assert value_of("one-time key, rho") == one_time.public_key[1152:1184] == seed_mark(value_of("one-time seed"))


def test_the_frame_of_the_example_is_what_its_fields_say():
    """A card's signature covers the stated bytes, and any other label refuses it."""
    made, data = world(), value_of("card")
    opened = open_frame(data, Card, made.contractor.public_key)
    covered = (
        b"labelvault/v1/frame\0"
        + b"\x04card"
        + b"\x00\x01"
        + made.contractor.public_key
        + len(opened.frame.body).to_bytes(8, "big")
        + opened.frame.body
    )
    assert value_of("card, signed bytes") == covered
    assert made.contractor.sign(covered) == opened.frame.signature
    with pytest.raises(SignatureError):
        open_frame(data, Card, made.identity.public_key)


def test_the_sealed_item_of_the_example_opens():
    """Header, plaintext, commitment, leaf, digest: each is what the page says, and the payload opens to it."""
    made = world()
    header, payload, dek = value_of("header"), value_of("payload"), value_of("DEK")
    assert header == made.header.encode()
    content = value_of("content")
    encoded = value_of("metadata")
    assert encoded == encode_record(Metadata("task", "q-1", "text/plain", len(content), (), (value_of("required"),)))
    context = b"labelvault/v1/payload\0" + header
    plaintext = aead.open_payload(SecretBytes(dek), payload, context)
    padded = padded_size(4 + len(encoded) + len(content), 0)
    assert plaintext == (len(encoded).to_bytes(4, "big") + encoded + content).ljust(padded, b"\0")
    assert payload[24:56] == value_of("commitment") == cobblestone_commitment(dek, payload[:24], context)
    leaves = payload_leaves(payload)
    assert leaves == (value_of("leaf"),) == (hashlib.sha256(b"\0" + payload).digest(),)
    digest = item_digest(header, len(payload), leaves)
    by_hand = tagged_hash(
        b"labelvault/v1/item-digest\0",
        hashlib.sha256(header).digest(),
        len(payload).to_bytes(8, "big"),
        value_of("leaf"),
    )
    assert digest == by_hand == value_of("digest")
    opened = open_item(header, payload, SecretBytes(dek), expected=made.header, digest=digest)
    assert opened.content == content
    with pytest.raises(TamperedError):
        open_item(header, payload[:-1], SecretBytes(dek), expected=made.header, digest=digest)


def test_the_wraps_of_the_example_open():
    """The DEK's wrap opens under the KEK with its context only, and the keystore under its passphrase."""
    key = Kek(value_of("KEK id"), 1, SecretBytes(value_of("KEK")))
    context = wrap_context(value_of("header"), value_of("digest"), key.kek_id, 1)
    assert value_of("wrap context") == context
    assert unwrap_dek(key, value_of("wrapped DEK"), context).matches(value_of("DEK"))
    other = wrap_context(value_of("header"), value_of("digest"), key.kek_id, 2)
    with pytest.raises(DecryptionError):
        unwrap_dek(key, value_of("wrapped DEK"), other)
    root = keystore.open_keystore("root", value_of("keystore"), example_values()["passphrase"])
    assert root.matches(value_of("root key"))
    assert LocalRootKey(root).key_id == value_of("root key id")


def test_the_ledger_of_the_example_has_the_stated_root_and_note():
    """Two entries, their leaves, the root over them, and the signed checkpoint."""
    made = world()
    epoch = value_of("epoch")
    message = IssuerCertificate(
        client=made.client,
        issuer=made.issuer.public_key,
        serial=1,
        epoch=epoch,
        not_before=AT,
        expires_at=AT + timedelta(days=365),
        at=AT,
    )
    certificate = sign_message(message, made.identity)
    first = encode_entry(Certified(AT, made.issuer.public_key, 1, certificate.hash, epoch))
    second = encode_entry(Sealed(AT, value_of("project"), value_of("item"), 1, value_of("digest")))
    assert value_of("certificate hash") == certificate.hash
    assert (value_of("entry 0"), value_of("entry 1")) == (first, second)
    leaves = [leaf_hash(first), leaf_hash(second)]
    assert [value_of("entry 0, leaf"), value_of("entry 1, leaf")] == leaves
    root = root_of_leaves(leaves)
    assert value_of("root") == root == hashlib.sha256(b"\x01" + leaves[0] + leaves[1]).digest()
    name, origin = issuer_key_name(made.client), ledger_origin(made.client, epoch)
    note = sign_checkpoint(Checkpoint(origin, 2, root), name, made.issuer)
    (written,) = re.findall(r"^```note\n(.*?)^```", SPEC, flags=re.MULTILINE | re.DOTALL)
    assert written == note
    assert verify_checkpoint(note, name, made.issuer.public_key, origin).size == 2
    assert example_values()["verifier key"] == str(VerifierKey(name, made.issuer.public_key))
