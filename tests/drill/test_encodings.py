"""Keys that were written as text are read back, at the right offset; other text gives nothing."""

import base64
import random
import time

import pytest

from labelvault.drill.encodings import encoded_keys

KEY = random.Random(7).randbytes(32)


@pytest.mark.parametrize("before", [b"", b"=", b"key ", b"\xff\0"])
@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (KEY.hex().encode(), "hex"),
        (KEY.hex("-").upper().encode(), "hex"),
        (KEY.hex(" ").encode(), "hex"),
        (base64.b64encode(KEY), "base64"),
        (base64.urlsafe_b64encode(KEY).rstrip(b"="), "base64"),
        (repr(KEY).encode(), "literal"),
        (",".join(map(str, KEY)).encode(), "numbers"),
    ],
)
def test_a_key_is_read_back(before, text, encoding):
    """The key, its encoding and where its text begins."""
    found = [(at, how) for at, how, key in encoded_keys(before + text + b"\n") if key == KEY]
    assert (len(before), encoding) in found


@pytest.mark.parametrize("before", range(9))
def test_base64_amid_more_base64_is_read_back(before):
    """Encoded alone and pasted after other characters, or encoded amid other bytes."""
    noise = random.Random(before)
    pasted = base64.b64encode(noise.randbytes(30))[:before] + base64.b64encode(KEY)
    amid = base64.b64encode(noise.randbytes(before) + KEY + noise.randbytes(5))
    for text in (pasted, amid):
        assert KEY in [key for _, _, key in encoded_keys(text)]


@pytest.mark.parametrize("width", [30, 43, 64, 76])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\\n"])
def test_wrapped_base64_is_read_back(width, end):
    """Line ends, also escaped ones, are skipped."""
    text = base64.b64encode(b"0123456789" + KEY + b"0123456789")
    lines = end.join(text[at : at + width] for at in range(0, len(text), width))
    assert KEY in [key for _, _, key in encoded_keys(lines)]


def test_ordinary_text_gives_nothing():
    """Paths, words, digits and broken literals are no keys."""
    text = (
        b"/usr/lib/python3/dist-packages/a_rather_long_module_name_that_goes_on_and_on/__init__.py\n"
        b"b'\\xzz0123456789' b'ends too early\\' " + b"0" * 200 + b" 1, 2, 3, 4" * 20 + b"-" * 100
    )
    assert list(encoded_keys(text)) == []


@pytest.mark.parametrize("unit", [b"a", b"0", b"0,", b"ab:", b"b'\\", b"\\x", b"aA0\n", b"0x1", b'b"', b", "])
def test_hostile_text_costs_linear_time(unit):
    """What a thief reads may have been written to stall him."""
    sizes = (50_000, 400_000)
    took = []
    for size in sizes:
        start = time.perf_counter()
        for _ in encoded_keys(unit * (size // len(unit))):
            pass
        took.append(time.perf_counter() - start)
    assert took[1] < 40 * max(took[0], 0.02)
