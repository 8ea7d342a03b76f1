"""Sealing and opening one large file from file to file: the envelope alone, peers, a copy; and primitives in memory."""

import io
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from labelvault.crypto.aead import CHUNK_BYTES, PAYLOAD_PREFIX_BYTES, PayloadSealer, seal_payload
from labelvault.crypto.chunks import SEALED_CHUNK_BYTES, ChunkOpener
from labelvault.crypto.hashing import HASH_BYTES
from labelvault.crypto.merkle import leaf_hash
from labelvault.crypto.secret import SecretBytes
from labelvault.envelope.metadata import Metadata
from labelvault.envelope.ranges import SealedReader
from labelvault.envelope.stream import seal_stream
from labelvault.pipeline import Writer, ahead
from labelvault.wire.items import ITEM_FORMAT, ItemHeader, parse_header

MIB: Final = 1024 * 1024
SOURCE: Final = "source/attachments/large.bin"
_MAX_WARM_BYTES: Final = 2 * 1024 * MIB
_PRIMITIVES_S: Final = 1.0


def copy(folder: Path) -> float:
    """Copy the file in a plain loop, and flush it."""
    return _through(folder / SOURCE, folder / "copy.copied", _copied)


def _copied(source: Any, target: Any) -> None:
    while data := source.read(MIB):
        target.write(data)


def begin(folder: Path) -> float:
    """Bring disk and memory to rest, as the module says, and return the time."""
    os.sync()
    left = min((folder / SOURCE).stat().st_size * 9 // 8, _MAX_WARM_BYTES)
    with tempfile.TemporaryFile(dir=folder, buffering=0) as scratch:
        # Never flushed, and gone again: it takes and gives back memory only.
        while left > 0:
            left -= scratch.write(bytes(MIB))
    return time.perf_counter()


def _through(source: Path, target: Path, work: Callable[[Any, Any], None]) -> float:
    """Time a work from file to file; what it wrote is on the disk when the time ends, as it is in a vault."""
    begun = begin(target.parent)
    with source.open("rb", buffering=0) as reading, target.open("wb", buffering=0) as writing:
        work(reading, writing)
        os.fsync(writing.fileno())
    return time.perf_counter() - begun


def tink(folder: Path, *, seal: bool) -> float:
    """Seal or open by Tink's streaming AEAD, in segments of 1 MiB."""
    from tink import BinaryKeysetReader, BinaryKeysetWriter, cleartext_keyset_handle, new_keyset_handle, streaming_aead

    streaming_aead.register()
    kept = folder / "tink.key"
    if seal:
        handle = new_keyset_handle(streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB)
        with kept.open("wb") as stream:
            cleartext_keyset_handle.write(BinaryKeysetWriter(stream), handle)
    else:
        handle = cleartext_keyset_handle.read(BinaryKeysetReader(kept.read_bytes()))
    primitive = handle.primitive(streaming_aead.StreamingAead)

    def sealing(source: Any, target: Any) -> None:
        # A copy of the descriptor: closing Tink's stream, which writes its last segment, closes what is below.
        with primitive.new_encrypting_stream(os.fdopen(os.dup(target.fileno()), "wb"), b"bound") as stream:
            _copied(source, stream)

    def opening(source: Any, target: Any) -> None:
        with primitive.new_decrypting_stream(io.BufferedReader(source), b"bound") as stream:
            _copied(stream, target)

    return _from_peer(folder, "tink", sealing if seal else opening, seal=seal)


def age(folder: Path, *, seal: bool) -> float:
    """Seal or open by age to one X25519 recipient."""
    import pyrage

    kept = folder / "age.key"
    if seal:
        kept.write_text(str(pyrage.x25519.Identity.generate()))
    identity = pyrage.x25519.Identity.from_str(kept.read_text())

    def sealing(source: Any, target: Any) -> None:
        pyrage.encrypt_io(source, target, [identity.to_public()])

    def opening(source: Any, target: Any) -> None:
        pyrage.decrypt_io(source, target, [identity])

    return _from_peer(folder, "age", sealing if seal else opening, seal=seal)


def _from_peer(folder: Path, name: str, work: Callable[[Any, Any], None], *, seal: bool) -> float:
    sealed = folder / f"{name}.sealed"
    if seal:
        return _through(folder / SOURCE, sealed, work)
    return _through(sealed, folder / f"{name}.opened", work)


def seal_file(folder: Path) -> float:
    """Seal the file to a file, by the envelope alone."""
    header = ItemHeader(ITEM_FORMAT, os.urandom(32), os.urandom(16), os.urandom(16), 1)
    metadata = Metadata("attachment", "large.bin", "application/octet-stream", 0, (), ())
    found: dict[str, str] = {}

    def sealing(source: Any, target: Any) -> None:
        sealed = seal_stream(header, metadata, source, os.fstat(source.fileno()).st_size, floor_bytes=4096)
        writer = Writer(target.fileno())
        with ahead(sealed.pieces(ahead)) as pieces:
            for piece in pieces:
                writer.write(piece)
        found["header"], found["leaves"] = sealed.header.hex(), b"".join(sealed.leaves).hex()
        found["digest"], found["dek"] = sealed.digest.hex(), sealed.dek.reveal().hex()

    taken = _through(folder / SOURCE, folder / "file.sealed", sealing)
    (folder / "file.json").write_text(json.dumps(found))
    return taken


def open_file(folder: Path) -> float:
    """Open that file to a file."""
    found = {name: bytes.fromhex(value) for name, value in json.loads((folder / "file.json").read_text()).items()}
    leaves = [found["leaves"][at : at + HASH_BYTES] for at in range(0, len(found["leaves"]), HASH_BYTES)]

    def opening(source: Any, target: Any) -> None:
        size, header = os.fstat(source.fileno()).st_size, parse_header(found["header"])

        def read(offset: int, length: int) -> bytes:
            return os.pread(source.fileno(), length, offset)

        dek = SecretBytes(found["dek"])
        reader = SealedReader(found["header"], header, found["digest"], dek, size, leaves, read)
        writer = Writer(target.fileno())
        with ahead(reader.pieces(ahead)) as pieces:
            for piece in pieces:
                writer.write(piece)

    return _through(folder / "file.sealed", folder / "file.opened", opening)


def _on_all_cores(work: Callable[[], Callable[[], None]]) -> float:
    """Return how long one piece takes when each core does one after the other, in seconds."""
    done = [0] * (os.cpu_count() or 1)
    begun = time.perf_counter()

    def run(core: int) -> None:
        piece = work()
        while time.perf_counter() < begun + _PRIMITIVES_S:
            piece()
            done[core] += 1

    threads = [threading.Thread(target=run, args=(core,)) for core in range(len(done))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.perf_counter() - begun) / sum(done)


def primitives(folder: Path, what: str) -> float:
    """Seal or open so many bytes in memory, piece by piece on all cores: Cobblestone-256 and SHA-256, nothing else."""
    size, data, key = (folder / SOURCE).stat().st_size, os.urandom(MIB), SecretBytes(os.urandom(32))

    def sealing() -> Callable[[], None]:
        sealer, target = PayloadSealer(key, b""), memoryview(bytearray(MIB + 3 * CHUNK_BYTES))

        def piece() -> None:
            sealer.update_into(data, target)
            leaf_hash(data)

        return piece

    def opening() -> Callable[[], None]:
        payload = seal_payload(key, data, b"")
        opener, chunks = (
            ChunkOpener(key, payload[:PAYLOAD_PREFIX_BYTES], b"", len(payload)),
            memoryview(payload)[PAYLOAD_PREFIX_BYTES:],
        )

        def piece() -> None:
            leaf_hash(data)
            for number in range(MIB // CHUNK_BYTES):
                opener.open(number, chunks[number * SEALED_CHUNK_BYTES :][:SEALED_CHUNK_BYTES])

        return piece

    return _on_all_cores(sealing if what == "seal" else opening) * size / MIB
