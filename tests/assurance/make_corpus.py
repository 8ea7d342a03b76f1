"""`python -m tests.assurance.make_corpus`: write the parsers' corpora anew, out of the test vectors and by hand."""

import json
import shutil
from collections import defaultdict

from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.answer import AnswerHead
from labelvault.keys.identity import Identity
from labelvault.keys.keystore import seal_keystore
from labelvault.keys.prekeys import PrekeyFile
from labelvault.ledger.checkpoint import issuer_key_name
from labelvault.ledger.note import VerifierKey
from labelvault.relay.http_wire import ItemHead, encode_page
from labelvault.wire.codec import decode, encode
from labelvault.wire.framefile import pack_frames
from labelvault.wire.schema import encode_record
from tests.assurance.parsers import CORPUS, PARSERS
from tests.assurance.targets import CHEAP
from tests.ledger import test_entries, test_export, test_statement
from tests.vectors import world
from tests.vectors.craft import leased, secrets
from tests.vectors.form import load, names
from tests.vectors.items_book import GUIDELINE_METADATA, TASK_METADATA

_FRAMES = {
    "card": "card",
    "certificate": "certificate",
    "grant": "grant",
    "invite": "invite",
    "request": "open-request",
    "lease": "lease",
    "denial": "denial",
    "receipt": "receipt",
    "submission": "submission",
    "ack": "ack",
    "bundle": "prekey-bundle",
    "status": "status",
    "assignment": "assignment",
}
"""Inputs of vectors that are frames, and whose bodies they carry."""


def build() -> dict[str, dict[str, bytes]]:
    """Every file of every corpus."""
    made: dict[str, dict[str, bytes]] = defaultdict(dict)
    for name in names():
        for field, value in load(name).inputs.items():
            if field in _FRAMES and isinstance(value, str) and name.partition("_")[0] not in ("codec", "authorize"):
                _of_frame(made, name, field, bytes.fromhex(value))
        if name.startswith("codec_"):
            made["codec"][name] = bytes.fromhex(load(name).inputs["data"])
        if name.startswith("header_"):
            made["header"][name] = bytes.fromhex(load(name).inputs["header"])
        if name.startswith("checkpoint_"):
            made["checkpoint"][name] = load(name).inputs["note"].encode()
        if name.startswith("cosignature_"):
            made["cosignature"][name] = load(name).inputs["note"].encode()
        if name.startswith("extension_"):
            made["extension"][name] = load(name).inputs["extension"].encode()
    _records(made)
    _texts(made)
    return {name: _few(files) for name, files in made.items()}


def _of_frame(made: dict[str, dict[str, bytes]], name: str, field: str, data: bytes) -> None:
    try:
        frame = decode(data)
    except Exception:  # noqa: BLE001 - faulty in its form: for the parser of frames only
        frame = None
    made["frame"][name] = data
    if not isinstance(frame, dict) or not isinstance(body := frame.get("body"), bytes):
        return
    parser = "approval-request" if frame.get("type") == "approval-request" else _FRAMES[field]
    made[parser][name] = body
    if parser in ("lease", "submission"):
        inner = decode(body)
        if isinstance(inner, dict) and isinstance(outer := inner.get("outer"), bytes):
            made[f"{parser}-outer"][name] = outer


def _records(made: dict[str, dict[str, bytes]]) -> None:
    """Records that no vector carries in clear."""
    key = world.ONE_TIME.public_key
    identity = Identity(world.HELPER)
    payload = bytes.fromhex(load("payload_valid").inputs["payload"])
    made["lease-secrets"]["task"] = secrets(leased("task", world.header(), payload))
    made["prekey-file"]["one"] = encode_record(
        PrekeyFile(key, world.NOW, identity.seal_seed(world.ONE_TIME.seed(), b""))
    )
    made["metadata"]["task"] = encode_record(TASK_METADATA)
    made["metadata"]["guideline"] = encode_record(GUIDELINE_METADATA)
    made["answer-head"]["answer"] = encode_record(AnswerHead("answer", "application/json", 16, None))
    header = world.header().encode()
    made["item-head"]["queued"] = encode_record(ItemHead(header, world.BATCH, 328, (world.fixed("leaf"),)))
    made["item-head"]["not-queued"] = encode_record(ItemHead(header, None, 328, (world.fixed("leaf"),) * 3))
    made["page"]["two"] = encode_page([(1, b"one"), (2, world.REQUEST.data)], more=True)
    made["page"]["none"] = encode_page([], more=False)
    for number, entry in enumerate(test_entries.EXAMPLES):
        made["ledger-entry"][f"{number:02}-{type(entry).__name__.lower()}"] = test_entries.encode_entry(entry)
    made["codec"]["one-of-each"] = encode({"a": [1, b"2", "3", None, True, {"b": 2**63 - 1}]})


def _texts(made: dict[str, dict[str, bytes]]) -> None:
    """Files and words that people and other programs write."""
    made["frame-file"]["two"] = pack_frames([world.REQUEST.data, world.CERTIFICATE.data])
    made["keystore"]["cheap"] = seal_keystore("root", SecretBytes(bytes(32)), "correct horse", CHEAP)
    made["ledger-export"]["seven"] = made["export-claims"]["seven"] = test_export.EXPORT
    made["statement"]["two-rows"] = test_statement.FILE
    made["verifier-key"]["issuer"] = str(VerifierKey(issuer_key_name(world.CLIENT), world.ISSUER.public_key)).encode()
    made["project-file"]["all"] = (
        b'[tasks]\nid = "id"\nbatch = "week"\nlabels = ["area", "kind"]\nrequires = ["guidelines/a.md"]\n'
        b'attachments = ["picture"]\n\n[requires]\n"guidelines/a.md" = ["rubrics/b.md"]\n\n'
        b"[project]\nfloor_bytes = 512\n"
    )
    rows = b'{"id": "one", "prompt": "a \\u00e9 b", "n": 1.50, "deep": [{"a": [null, true]}]}'
    made["rows-jsonl"]["three"] = rows + b"\n\n" + rows + b"\n{}\n"
    made["rows-json"]["three"] = b"[\n" + rows + b",\n " + rows + b", {}\n]\n"
    made["rows-csv"]["quoted"] = b'\xef\xbb\xbfid,prompt\r\none,"a ""b"", c\nd"\r\n\r\ntwo,\xc3\xa9\r\n'
    made["rows-tsv"]["plain"] = b"id\tprompt\none\ta b\ntwo\t\n"
    made["to-sign"]["request"] = _to_sign()
    for number, address in enumerate(("https://vault.example:8443/lv", "http://127.0.0.1:8000/", "https://[::1]/a/b")):
        made["vault-address"][f"{number}"] = address.encode()
    token = "A" * 30
    client, key = world.CLIENT.hex(), world.HELPER.public_key.hex()
    made["tokens"]["three"] = (
        f"# callers\nplatform:{token}\nlab:{token}b:client={client}\nada:{token}c:contractor={client}/{key}/{key}\n"
    ).encode()
    made["hex-id"]["one"] = world.TASK.hex().encode()
    made["item-header"]["task"] = world.header().encode().hex().encode()
    made["http-number"]["largest"] = str(2**63 - 1).encode()
    made["http-range"]["one"] = b"bytes=10-20"
    made["http-range"]["end"] = b"bytes=-5"


def _to_sign() -> bytes:
    frame = world.REQUEST.frame
    return b"labelvault/v1/frame\0" + frame._covered()


def _few(files: dict[str, bytes]) -> dict[str, bytes]:
    """Each content once, and not more than a dozen of the same parser: valid ones first."""
    seen: set[bytes] = set()
    kept: dict[str, bytes] = {}
    for name in sorted(files, key=lambda name: ("valid" not in name, name)):
        if files[name] not in seen and len(kept) < 12 and (len(files[name]) < 8192 or not kept):
            seen.add(files[name])
            kept[name] = files[name]
    return kept


def main() -> None:
    """Write them."""
    made = build()
    shutil.rmtree(CORPUS, ignore_errors=True)
    for parser in PARSERS:
        folder = CORPUS / parser.name
        folder.mkdir(parents=True)
        for name, data in made[parser.name].items():
            (folder / name).write_bytes(data)
    print(json.dumps({parser.name: len(made[parser.name]) for parser in PARSERS}))  # noqa: T201 - a script


if __name__ == "__main__":
    main()
