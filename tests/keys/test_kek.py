"""KEKs and DEK wraps: stored by generation, bound to everything they stand for."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelvault.crypto.secret import SecretBytes
from labelvault.errors import (
    DecryptionError,
    FormatError,
    KeystoreDamagedError,
    KeystoreError,
    KeystoreForeignError,
)
from labelvault.keys.kek import Kek, KekFiles, Rewrapper, unwrap_dek, wrap_context, wrap_dek
from labelvault.keys.root import LocalRootKey
from labelvault.keys.wrapped import store_wrapped
from labelvault.wire.items import ITEM_FORMAT, ItemHeader

ROOT = LocalRootKey(SecretBytes(bytes(32)))
CLIENT, PROJECT, OTHER = b"c" * 32, b"p" * 16, b"q" * 16
KEK = Kek(b"k" * 16, 1, SecretBytes(b"K" * 32))
DEK = SecretBytes(b"D" * 32)


@pytest.fixture
def files(tmp_path: Path) -> KekFiles:
    """An empty directory of KEKs that is not made yet."""
    return KekFiles(tmp_path / "keks", ROOT, CLIENT)


def test_created_kek_loads_again(files: KekFiles, tmp_path: Path) -> None:
    """Generation 1, a random id and key, one private file of the documented name."""
    kek = files.create(PROJECT)
    again = files.load(PROJECT, kek.kek_id, 1)
    assert (again.kek_id, again.generation) == (kek.kek_id, kek.generation) == (kek.kek_id, 1)
    assert again.key.matches(kek.key.reveal())
    assert len(kek.kek_id) == 16
    assert len(kek.key) == 32
    assert os.listdir(tmp_path / "keks") == [f"{kek.kek_id.hex()}.1.kek"]
    assert stat.S_IMODE((tmp_path / "keks").stat().st_mode) == 0o700
    assert stat.S_IMODE(files.path(kek.kek_id, 1).stat().st_mode) == 0o600
    another = files.create(PROJECT)
    assert another.kek_id != kek.kek_id
    assert not another.key.matches(kek.key.reveal())


def test_next_generation_has_the_same_id_and_a_new_key(files: KekFiles) -> None:
    """Both generations load; the next one is made once only."""
    first = files.create(PROJECT)
    second = files.advance(PROJECT, first)
    assert (second.kek_id, second.generation) == (first.kek_id, 2)
    assert not second.key.matches(first.key.reveal())
    assert files.load(PROJECT, first.kek_id, 1).key.matches(first.key.reveal())
    assert files.load(PROJECT, first.kek_id, 2).key.matches(second.key.reveal())
    with pytest.raises(KeystoreError, match="exists already"):
        files.advance(PROJECT, first)
    assert files.load(PROJECT, first.kek_id, 2).key.matches(second.key.reveal())


def test_C6_erased_generation_is_gone_and_the_others_stay(files: KekFiles, tmp_path: Path) -> None:
    """Shredding one generation removes its file only."""
    first = files.create(PROJECT)
    files.advance(PROJECT, first)
    files.erase(first.kek_id, 1)
    assert os.listdir(tmp_path / "keks") == [f"{first.kek_id.hex()}.2.kek"]
    with pytest.raises(KeystoreError, match="does not exist"):
        files.load(PROJECT, first.kek_id, 1)
    files.erase(first.kek_id, 1)


def test_generations_are_those_that_have_a_file(files: KekFiles, tmp_path: Path) -> None:
    """By number, not by name; of this KEK alone; none before the directory is there."""
    assert files.generations(KEK.kek_id) == []
    first = kek = files.create(PROJECT)
    files.create(OTHER)
    for _ in range(10):
        kek = files.advance(PROJECT, kek)
    for name in ("0.kek", "012.kek", "3.kek.tmp", "x.kek"):
        (tmp_path / "keks" / f"{first.kek_id.hex()}.{name}").write_bytes(b"")
    files.erase(first.kek_id, 2)
    assert files.generations(first.kek_id) == [1, *range(3, 12)]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(KeystoreError, match="can't be read"):
        KekFiles(tmp_path / "file", ROOT, CLIENT).generations(first.kek_id)


def test_F3_kek_file_stands_for_one_client_project_id_and_generation(files: KekFiles, tmp_path: Path) -> None:
    """A file that was put in another's place, in any of the four, does not load."""
    kek = files.create(PROJECT)
    source = files.path(kek.kek_id, 1).read_bytes()
    files.path(kek.kek_id, 2).write_bytes(source)
    files.path(OTHER, 1).write_bytes(source)
    stranger = KekFiles(tmp_path / "keks", ROOT, b"d" * 32)
    for attempt in (
        lambda: files.load(PROJECT, kek.kek_id, 2),
        lambda: files.load(PROJECT, OTHER, 1),
        lambda: files.load(OTHER, kek.kek_id, 1),
        lambda: stranger.load(PROJECT, kek.kek_id, 1),
    ):
        with pytest.raises(KeystoreDamagedError):
            attempt()
    assert files.load(PROJECT, kek.kek_id, 1).key.matches(kek.key.reveal())


def test_kek_of_another_root_is_foreign(files: KekFiles, tmp_path: Path) -> None:
    """The wrong root key is told from damage, and named by its id."""
    kek = files.create(PROJECT)
    other = LocalRootKey(SecretBytes(b"r" * 32))
    with pytest.raises(KeystoreForeignError, match=ROOT.key_id.hex()):
        KekFiles(tmp_path / "keks", other, CLIENT).load(PROJECT, kek.kek_id, 1)


def test_F1_F2_altered_kek_file_does_not_load(files: KekFiles) -> None:
    """Every truncation and every flipped bit is refused; the file's root id alone makes it foreign."""
    kek = files.create(PROJECT)
    path = files.path(kek.kek_id, 1)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(KeystoreDamagedError):
            files.load(PROJECT, kek.kek_id, 1)
    root_at = whole.index(ROOT.key_id)
    for at in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        path.write_bytes(flipped)
        foreign = root_at <= at // 8 < root_at + 16
        with pytest.raises(KeystoreForeignError if foreign else KeystoreDamagedError):
            files.load(PROJECT, kek.kek_id, 1)


def test_key_of_another_size_does_not_load(files: KekFiles, tmp_path: Path) -> None:
    """A well-wrapped file with 31 bytes in it is damaged."""
    kek = files.create(PROJECT)
    path = files.path(kek.kek_id, 1)
    path.unlink()
    store_wrapped(path, ROOT, SecretBytes(bytes(31)), files._context(PROJECT, kek.kek_id, 1))
    with pytest.raises(KeystoreDamagedError, match="31 bytes, not 32"):
        files.load(PROJECT, kek.kek_id, 1)


def test_ids_of_another_size_are_refused(files: KekFiles, tmp_path: Path) -> None:
    """Nothing is written for a project id, client id or generation out of bounds."""
    for attempt in (
        lambda: files.create(b"short"),
        lambda: KekFiles(tmp_path / "keks", ROOT, b"short").create(PROJECT),
        lambda: files.load(PROJECT, b"short", 1),
        lambda: files.load(PROJECT, b"k" * 16, 0),
    ):
        with pytest.raises(FormatError):
            attempt()
    assert not (tmp_path / "keks").exists()


def test_G8_wrap_opens_in_its_own_context_only() -> None:
    """Header, digest, KEK id and generation are each bound; so is the KEK, and every bit of the wrap."""
    fields: dict[str, Any] = {
        "header_bytes": b"header",
        "digest": b"d" * 32,
        "kek_id": b"k" * 16,
        "generation": 1,
    }
    context = wrap_context(**fields)
    wrapped = wrap_dek(KEK, DEK, context)
    assert len(wrapped) == 72
    assert unwrap_dek(KEK, wrapped, context).matches(DEK.reveal())
    attempts = [(KEK, wrapped, b""), (Kek(KEK.kek_id, 1, SecretBytes(b"L" * 32)), wrapped, context)]
    for changed in ({"header_bytes": b"headex"}, {"digest": b"e" * 32}, {"kek_id": OTHER}, {"generation": 2}):
        attempts.append((KEK, wrapped, wrap_context(**(fields | changed))))
    for at in range(len(wrapped)):
        attempts.append((KEK, wrapped[:at] + bytes([wrapped[at] ^ 1]) + wrapped[at + 1 :], context))
    for kek, data, other in attempts:
        with pytest.raises(DecryptionError, match="^decryption failed$"):
            unwrap_dek(kek, data, other)


def test_contexts_are_told_apart() -> None:
    """No shift of bytes between neighbouring fields gives the same context."""
    assert wrap_context(b"ab", b"d" * 32, b"k" * 16, 1) != wrap_context(b"a", b"d" * 32, b"k" * 16, 1)
    assert wrap_context(b"a", b"d" * 32, b"k" * 16, 1).startswith(b"labelvault/v1/dek-wrap\0")


@pytest.mark.parametrize(
    "fields",
    [
        (b"", b"d" * 32, b"k" * 16, 1),
        (b"h" * 4097, b"d" * 32, b"k" * 16, 1),
        (b"h", b"d" * 31, b"k" * 16, 1),
        (b"h", b"d" * 32, b"k" * 17, 1),
        (b"h", b"d" * 32, b"k" * 16, 0),
        (b"h", b"d" * 32, b"k" * 16, 2**31),
    ],
)
def test_context_out_of_bounds_is_refused(fields: tuple[bytes, bytes, bytes, int]) -> None:
    """There is no context with a missing or misshapen field."""
    with pytest.raises(FormatError):
        wrap_context(*fields)


def test_only_deks_are_wrapped() -> None:
    """A secret of another size is no DEK."""
    for size in (0, 31, 33):
        with pytest.raises(ValueError, match="32 bytes"):
            wrap_dek(KEK, SecretBytes(bytes(size)), b"context")


@given(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=32, max_size=32),
    st.integers(1, 2**32),
    st.integers(1, 2**31 - 2),
)
def test_G8_a_wrap_that_was_moved_stands_for_what_it_stood_for(
    item: bytes, digest: bytes, version: int, generation: int
) -> None:
    """The contexts that moving cuts out are those of `wrap_context`; a second item of that version as well."""
    old = Kek(b"k" * 16, generation, SecretBytes(b"K" * 32))
    new = Kek(b"k" * 16, generation + 1, SecretBytes(b"N" * 32))
    moving = Rewrapper(CLIENT, PROJECT, old, new)
    for each in (item, bytes(16), b"k" * 16, CLIENT[:16]):
        header = ItemHeader(ITEM_FORMAT, CLIENT, PROJECT, each, version).encode()
        before, after = (wrap_context(header, digest, kek.kek_id, kek.generation) for kek in (old, new))
        moved = moving.rewrap(each, version, digest, wrap_dek(old, DEK, before))
        assert unwrap_dek(new, moved, after).matches(DEK.reveal())
        for kek, context in ((new, before), (old, after), (old, before)):
            with pytest.raises(DecryptionError):
                unwrap_dek(kek, moved, context)
        with pytest.raises(DecryptionError):
            moving.rewrap(each, version, digest, moved)


@pytest.mark.parametrize(("item", "digest"), [(b"i" * 15, b"d" * 32), (b"i" * 16, b"d" * 33), (b"", b"d" * 48)])
def test_sizes_that_would_move_a_boundary_are_refused(item: bytes, digest: bytes) -> None:
    """A context is cut by sizes, so none but the right ones go in."""
    moving = Rewrapper(CLIENT, PROJECT, KEK, Kek(KEK.kek_id, 2, SecretBytes(b"N" * 32)))
    with pytest.raises(FormatError):
        moving.rewrap(item, 1, digest, bytes(72))
