"""Data: URLs: the same bytes wherever a piece ends, and within a bound."""

import base64
import hashlib
import tracemalloc
from urllib.parse import quote_from_bytes

import pytest
from cases import slow

from ipy_imgvar.errors import InvalidImageError
from ipy_imgvar.images.dataurl import PIECE_BYTES, decode_data_url


def refusal(url):
    with pytest.raises(InvalidImageError) as caught:
        decode_data_url(url)
    return str(caught.value)


@pytest.mark.parametrize("blanks", range(4))
@pytest.mark.parametrize("size", [0, 1, 2, 3, 49_150, 49_151, 49_152, 150_001])
def test_pieces(size, blanks):
    """What is encoded comes back, in base64 with escapes and line breaks, and in percent signs."""
    data = hashlib.shake_256(b"any").digest(size)
    text = base64.b64encode(data).decode()
    for written in (text, text.replace("=", "%3D").replace("A", "%41"), base64.encodebytes(data).decode()):
        assert decode_data_url("data:;base64," + " " * (PIECE_BYTES - 13 - blanks) + written) == data
    assert decode_data_url("data:," + "a" * blanks + quote_from_bytes(data, safe="")) == b"a" * blanks + data


@pytest.mark.parametrize("end", ["%", "%4", "%4x", "%%41"])
def test_lone_percents(end):
    """A % without two digits is an error wherever it stands."""
    assert "a % has no two hexadecimal digits" in refusal("data:," + end)
    assert "a % has no two hexadecimal digits" in refusal("data:," + "a" * (PIECE_BYTES - 8) + end + "zzzz")


@pytest.mark.parametrize("text", ["QQ", "QQ=", "QQ==QQ==", "QUFB" * 20_000 + "QQ==" * 20_000, "Q=Q=", "===="])
def test_wrong_base64(text):
    """Base64 that ends too early or goes on after its end is an error."""
    assert "can't be decoded" in refusal(f"data:;base64,{text}")


def test_no_comma():
    """A long text without a comma is refused as one, and once."""
    assert refusal("data:" + "A" * 1_000_000).count("data: URL") == 1
    assert "has no comma" in refusal("data:" + "A" * 1_000_000)


@pytest.mark.parametrize("piece", ["%41", slow("%41%41 %41%41"), "QUFB "])
def test_memory(piece):
    """Decoding takes at most twice what the text has and some of a piece, however it is written."""
    text = "data:;base64," + piece * 300_000
    tracemalloc.start()
    try:
        decode_data_url(text)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(text) + 100 * PIECE_BYTES
    finally:
        tracemalloc.stop()
