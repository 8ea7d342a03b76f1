"""Vectors of codec, header, payload and wrap."""

from dataclasses import replace
from typing import Any

from labelvault.crypto import aead
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.metadata import Metadata
from labelvault.envelope.padding import padded_size
from labelvault.keys.kek import wrap_context
from labelvault.wire.schema import encode_record
from tests.vectors import world
from tests.vectors.craft import DROP, Sealed, altered, dek, digest, flipped, plaintext
from tests.vectors.form import Book

TASK_METADATA = Metadata("task", "task-0001", "text/markdown", 0, (), (world.GUIDELINE,))
GUIDELINE_METADATA = Metadata("guideline", "guide.md", "text/markdown", 0, (), ())
TASK_CONTENT = b"Weigh both answers.\n"
GUIDELINE_CONTENT = b"Prefer the shorter answer of two right ones.\n" * 800

HEADER = world.header()
GUIDELINE_HEADER = world.header(item=world.GUIDELINE)
KEK_ID, KEK = world.fixed("kek id", 16), world.fixed("kek")

CHUNK = aead.CHUNK_BYTES + aead.CHUNK_TAG_BYTES
FORMAT, TAMPERED, DECRYPTION = "FormatError", "TamperedError", "DecryptionError"


def task_payload(sealed: Sealed) -> bytes:
    """The task, padded to 256 bytes, so that its vectors can be read."""
    return sealed.payload("task", HEADER, plaintext(TASK_METADATA, TASK_CONTENT, 256))


def guideline_payload(sealed: Sealed) -> bytes:
    """The guideline: two whole chunks and a shorter one."""
    inside = 4 + len(encode_record(replace(GUIDELINE_METADATA, size=len(GUIDELINE_CONTENT)))) + len(GUIDELINE_CONTENT)
    size = padded_size(inside, 256)
    return sealed.payload("guideline", GUIDELINE_HEADER, plaintext(GUIDELINE_METADATA, GUIDELINE_CONTENT, size))


def add(book: Book, sealed: Sealed) -> None:
    """Write this chapter."""
    _codec(book)
    _header(book, sealed)
    _payload(book, sealed)
    _malformed(book, sealed)
    _wrap(book, sealed)


def _codec(book: Book) -> None:
    book.valid(
        "codec_valid",
        "a map of one of each: bytes, text, integers of each size, an array, nil, booleans",
        data=(
            "86" "a161" "c40178" "a162" "a3c3bc78" "a163" "95" "7f" "cc80" "cd0100" "ce00010000" "cf0000000100000000"
            "a164" "90" "a165" "c0" "a166" "92" "c2" "c3"
        ),
    )  # fmt: skip
    twin = book.vectors["codec_valid"].inputs["data"]
    refused = {"decode": FORMAT, "decode-pure-python": FORMAT}

    def fault(name: str, description: str, old: str, new: str) -> None:
        if twin.count(old) != 1:
            raise ValueError(f"{old} is not one place")
        book.fault(f"codec_{name}", description, refused, data=twin.replace(old, new))

    fault("trailing-byte", "a byte follows the value", "92c2c3", "92c2c300")
    fault("truncated", "the last byte is missing", "92c2c3", "92c2")
    fault(
        "unsorted-keys",
        "the first two keys stand in the other order",
        "a161c40178a162a3c3bc78",
        "a162a3c3bc78a161c40178",
    )
    fault("duplicate-key", "the key `b` is `a` once more", "a162", "a161")
    fault("bytes-key", "the last key is a byte string", "a166", "c40166")
    fault("integer-key", "the last key is an integer", "a166", "66")
    fault("non-minimal-uint8", "127 in two bytes", "957f", "95cc7f")
    fault("non-minimal-uint16", "128 in three bytes", "cc80", "cd0080")
    fault("non-minimal-uint64", "65,536 in nine bytes", "ce00010000", "cf0000000000010000")
    fault("non-minimal-text", "a text of three bytes with a length byte of its own", "a3c3bc78", "d903c3bc78")
    fault("non-minimal-bytes", "one byte with a length of two bytes", "c40178", "c5000178")
    fault("non-minimal-array", "no elements with a length of two bytes", "a16490", "a164dc0000")
    fault("negative-integer", "-1", "957f", "95ff")
    fault("integer-over-2-63", "2^63", "cf0000000100000000", "cf8000000000000000")
    fault("float", "1.0 where 127 was", "957f", "95cb3ff0000000000000")
    fault("timestamp", "a timestamp where nil was", "a165c0", "a165d6ff00000000")
    fault("ext", "an application's own type where nil was", "a165c0", "a165d40500")
    fault("bad-utf8", "a text that ends inside a character", "a3c3bc78", "a378c3")
    fault("length-4-gib", "an array that claims 2^32-1 elements", "a16490", "a164ddffffffff")
    fault("nested-too-deep", "nine arrays in one another where one was", "a16490", "a164" + "91" * 8 + "00")


def _header(book: Book, sealed: Sealed) -> None:
    payload = task_payload(sealed)
    book.valid(
        "header_valid",
        "the task's header; `expected` is the item version that a lease names",
        header=HEADER.encode().hex(),
        expected=HEADER.encode().hex(),
        payload=payload.hex(),
        digest=digest(HEADER, payload).hex(),
        dek=dek("task").reveal().hex(),
    )
    everywhere = {
        "parse_header": FORMAT,
        "check_digest": TAMPERED,
        "open_item": TAMPERED,
        "open_item-certified": FORMAT,
        "store": FORMAT,
        "open_lease": TAMPERED,
    }

    def malformed(name: str, description: str, header: bytes) -> None:
        book.fault(f"header_{name}", description, everywhere, header=header.hex())

    data = HEADER.encode()
    malformed("format-0", "format 0", altered(HEADER, format=0))
    malformed("format-2", "format 2", altered(HEADER, format=2))
    malformed("format-none", "no format", altered(HEADER, format=None))
    malformed("version-0", "version 0", altered(HEADER, version=0))
    malformed("version-2-63", "a version from which nobody could count on", altered(HEADER, version=2**63 - 1))
    malformed("version-non-minimal", "version 1 in two bytes", data[:-1] + b"\xcc\x01")
    malformed("unknown-field", "a field more", altered(HEADER, suite=1))
    malformed("missing-field", "no project", altered(HEADER, project=DROP))
    malformed("short-client", "a client id of 31 bytes", altered(HEADER, client=world.CLIENT[:31]))
    malformed("long-item", "an item id of 17 bytes", altered(HEADER, item=world.TASK + b"\0"))
    malformed("text-item", "an item id that is text", altered(HEADER, item="i" * 16))
    malformed("trailing-byte", "a byte follows the header", data + b"\0")
    malformed("truncated", "the last byte is missing", data[:-1])
    malformed("empty", "no header", b"")
    client_at = data.index(b"\xa6format")
    form_at = data.index(b"\xa4item")
    malformed(
        "unsorted-keys",
        "`format` before `client`",
        data[:1] + data[client_at:form_at] + data[1:client_at] + data[form_at:],
    )
    parsed = {
        "check_digest": TAMPERED,
        "open_item": TAMPERED,
        "open_item-certified": DECRYPTION,
        "open_lease": TAMPERED,
    }
    others: tuple[tuple[str, dict[str, Any]], ...] = (
        ("client", {"client": world.OTHER_CLIENT}),
        ("project", {"project": world.OTHER_PROJECT}),
        ("item", {"item": world.OTHER_ITEM}),
        ("version", {"version": 2}),
    )
    for name, change in others:
        book.fault(
            f"header_other-{name}",
            f"the header of another {name}",
            parsed,
            accepted=("parse_header", "store"),
            header=world.header(**change).encode().hex(),
        )


def _payload(book: Book, sealed: Sealed) -> None:
    task, guideline = task_payload(sealed), guideline_payload(sealed)
    for name, description, header, payload, key in (
        ("payload_valid", "the task: one chunk", HEADER, task, "task"),
        ("payload_valid-chunks", "the guideline: three chunks", GUIDELINE_HEADER, guideline, "guideline"),
    ):
        book.valid(
            name,
            description,
            header=header.encode().hex(),
            payload=payload.hex(),
            digest=digest(header, payload).hex(),
            dek=dek(key).reveal().hex(),
        )
    refused = {
        "check_digest": TAMPERED,
        "open_item": TAMPERED,
        "open_item-certified": DECRYPTION,
        "open_lease": TAMPERED,
    }

    def fault(name: str, description: str, payload: Any, twin: str | None = None) -> None:
        given = payload.hex() if isinstance(payload, bytes) else payload
        book.fault(f"payload_{name}", description, refused, twin=twin, payload=given)

    fault("flipped-salt", "a bit of the salt", flipped(task, 0))
    fault("flipped-commitment", "a bit of the commitment", flipped(task, 24))
    fault("flipped-last-commitment-byte", "a bit of the commitment's last byte", flipped(task, 55))
    fault("flipped-ciphertext", "a bit of the first chunk", flipped(task, 56))
    fault("flipped-tag", "a bit of the only tag", flipped(task, -1))
    fault("truncated-tag", "the tag's last byte is missing", task[:-1])
    fault("no-chunk", "salt and commitment only", task[:56])
    fault("no-commitment", "the salt only", task[:24])
    fault("empty", "no payload", b"")
    fault("extended", "a byte follows the payload", task + b"\0")
    fault("doubled", "the payload twice", task + task)
    fault(
        "of-another-item",
        "the payload of another item in the task's place",
        sealed.payload(
            "gold", world.header(item=world.OTHER_ITEM), plaintext(replace(TASK_METADATA, kind="gold"), b"", 256)
        ),
    )
    fault(
        "of-another-version",
        "the payload of version 2 under the same DEK",
        sealed.payload("task version 2", world.header(version=2), plaintext(TASK_METADATA, TASK_CONTENT, 256)),
    )
    fault(
        "sealed-again",
        "another body that someone who knows the DEK sealed for the same header, with a bit flipped in its tag",
        flipped(sealed.payload("task again", HEADER, plaintext(TASK_METADATA, b"Forged.\n", 256)), -1),
    )

    end, first, second = len(guideline), 56 + CHUNK, 56 + 2 * CHUNK
    long = "payload_valid-chunks"
    fault(
        "chunks-flipped-first-tag",
        "a bit of the first chunk's tag",
        [[0, first - 1], flipped(guideline[first - 1 : first], 0).hex(), [first, end]],
        long,
    )
    fault(
        "chunks-flipped-last-tag",
        "a bit of the last chunk's tag",
        [[0, end - 1], flipped(guideline[-1:], 0).hex()],
        long,
    )
    fault(
        "chunks-swapped",
        "the first two chunks in the other order",
        [[0, 56], [first, second], [56, first], [second, end]],
        long,
    )
    fault("chunks-first-dropped", "without its first chunk", [[0, 56], [first, end]], long)
    fault("chunks-middle-dropped", "without its second chunk", [[0, first], [second, end]], long)
    fault("chunks-last-dropped", "cut at the end of the second chunk", [[0, second]], long)
    fault("chunks-doubled", "its second chunk twice", [[0, second], [first, second], [second, end]], long)
    fault("chunks-last-doubled", "its last chunk twice", [[0, end], [second, end]], long)
    fault(
        "chunks-prefix-of-another-item", "salt and commitment of the task's payload", [task[:56].hex(), [56, end]], long
    )
    fault("chunks-cut-inside-last", "cut inside the last chunk", [[0, end - 100]], long)


def _malformed(book: Book, sealed: Sealed) -> None:
    """What someone sealed who holds the DEK, and had certified: it decrypts, and is not what a payload holds."""
    refused = {"open_item": DECRYPTION, "open_item-certified": DECRYPTION, "open_lease": TAMPERED}
    good = plaintext(TASK_METADATA, TASK_CONTENT, 256)
    encoded = encode_record(replace(TASK_METADATA, size=len(TASK_CONTENT)))

    def fault(name: str, description: str, inside: bytes) -> None:
        payload = sealed.payload(f"task {name}", HEADER, inside)
        book.fault(
            f"payload_{name}",
            f"sealed anew with a valid DEK and digest: {description}",
            refused,
            accepted=("check_digest",),
            payload=payload.hex(),
            digest=digest(HEADER, payload).hex(),
        )

    fault("padding-not-zero", "the padding ends in a one", good[:-1] + b"\1")
    fault("padding-hides-text", "a text in the padding", plaintext(TASK_METADATA, TASK_CONTENT, 256, b"hidden"))
    fault("metadata-size-beyond-end", "the metadata's size lies beyond the end", b"\xff\xff\xff\xff" + good[4:])
    fault("metadata-size-one-less", "the metadata's size is one less", (len(encoded) - 1).to_bytes(4, "big") + good[4:])
    fault("metadata-unknown-kind", "a kind that there is not", good.replace(b"\xa4task", b"\xa4tusk"))
    fault("metadata-unknown-field", "a field more", _with_metadata(altered(replace(TASK_METADATA, size=20), more=0)))
    fault(
        "content-size-beyond-end",
        "the content's size lies beyond the end",
        _with_metadata(altered(TASK_METADATA, size=300)),
    )
    twice = [world.GUIDELINE, world.GUIDELINE]
    fault(
        "metadata-requires-twice",
        "requires one item twice",
        _with_metadata(altered(replace(TASK_METADATA, size=20), requires=twice)),
    )
    fault("plaintext-empty", "nothing inside", b"")


def _with_metadata(encoded: bytes) -> bytes:
    inside = len(encoded).to_bytes(4, "big") + encoded + TASK_CONTENT
    return inside + bytes(256 - len(inside))


def _wrap(book: Book, sealed: Sealed) -> None:
    task, guideline = task_payload(sealed), guideline_payload(sealed)
    kek = SecretBytes(KEK)

    def wrapped(name: str, header: bytes, item_digest: bytes) -> bytes:
        context = wrap_context(header, item_digest, KEK_ID, 1)
        return sealed.get(f"wrap {name}", lambda: aead.wrap(kek, dek(name), context))

    good = wrapped("task", HEADER.encode(), digest(HEADER, task))
    other = wrapped("guideline", GUIDELINE_HEADER.encode(), digest(GUIDELINE_HEADER, guideline))
    book.valid(
        "wrap_valid",
        "the task's DEK under the project's KEK",
        wrapped=good.hex(),
        header=HEADER.encode().hex(),
        digest=digest(HEADER, task).hex(),
        kek_id=KEK_ID.hex(),
        generation=1,
        kek=KEK.hex(),
        dek=dek("task").reveal().hex(),
    )
    refused = {"unwrap_dek": DECRYPTION, "release": DECRYPTION}

    def fault(name: str, description: str, **change: Any) -> None:
        given: dict[str, Any] = {k: v.hex() if isinstance(v, bytes) else v for k, v in change.items()}
        book.fault(f"wrap_{name}", description, refused, **given)

    fault("flipped-nonce", "a bit of the nonce", wrapped=flipped(good, 0))
    fault("flipped-ciphertext", "a bit of the wrapped key", wrapped=flipped(good, 24))
    fault("flipped-tag", "a bit of the tag", wrapped=flipped(good, -1))
    fault("truncated", "the last byte is missing", wrapped=good[:-1])
    fault("shorter-than-its-overhead", "39 bytes", wrapped=good[:39])
    fault("empty", "no wrap", wrapped=b"")
    fault("extended", "a byte follows the wrap", wrapped=good + b"\0")
    fault("of-another-item", "the guideline's wrap in the task's row", wrapped=other)
    fault("other-digest", "the row names other bytes", digest=flipped(digest(HEADER, task), 0))
    fault("other-version", "the row names another version", header=world.header(version=2).encode())
    fault("other-item", "the row names another item", header=world.header(item=world.OTHER_ITEM).encode())
    fault("other-project", "the row names another project", header=world.header(project=world.OTHER_PROJECT).encode())
    fault("other-client", "the row names another client", header=world.header(client=world.OTHER_CLIENT).encode())
    fault("other-kek-id", "the row names another KEK", kek_id=flipped(KEK_ID, 0))
    fault("other-generation", "the row names another generation", generation=2)
    fault("other-kek", "another key under the KEK's name", kek=flipped(KEK, 0))
