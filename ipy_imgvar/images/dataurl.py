"""The bytes that a data: URL holds, decoded in pieces: percent signs decoded at once take 80 times their size.

References
----------
RFC 2397, "The data URL scheme"; RFC 4648, section 4 (base64).
"""

from __future__ import annotations

import binascii
import re
from itertools import chain
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from ipy_imgvar.errors import InvalidImageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["PIECE_BYTES", "decode_data_url", "decode_pieces"]

#: Bytes that are decoded at a time: it takes some milliseconds, in which no other thread runs.
PIECE_BYTES: Final = 1 << 16
#: Bytes before the comma, a type and its parameters; those in use are far shorter.
_LONGEST_HEADER: Final = 4096
_LONE_PERCENT: Final = re.compile(rb"%(?![0-9a-fA-F]{2})")
_ALLOWED: Final = "allowed: data:image/png;base64,..."


def decode_data_url(text: str) -> bytes:
    """Return the bytes that a data: URL holds; raise `InvalidImageError` where it can't be decoded."""
    return decode_pieces(
        text[start : start + PIECE_BYTES].encode() for start in range(0, len(text), PIECE_BYTES)
    )


def decode_pieces(pieces: Iterable[bytes]) -> bytes:
    """Return the bytes that a data: URL holds, which comes in pieces.

    Parameters
    ----------
    pieces
        Of about `PIECE_BYTES` each; may raise a ValueError, which counts as one of decoding.

    Raises
    ------
    InvalidImageError
        If it can't be decoded.
    """
    try:
        return _decoded(iter(pieces))
    except InvalidImageError:
        raise
    except ValueError as exc:  # Also binascii.Error, and UnicodeEncodeError of a lone surrogate.
        raise InvalidImageError(f"the data: URL can't be decoded ({exc}); {_ALLOWED}") from exc


def _decoded(pieces: Iterator[bytes]) -> bytes:
    start = bytearray()
    for piece in pieces:
        start += piece
        if b"," in piece or len(start) > _LONGEST_HEADER:
            break
    header, comma, rest = bytes(start).partition(b",")
    if not comma or len(header) > _LONGEST_HEADER:
        raise InvalidImageError(f"the data: URL has no comma; {_ALLOWED}")
    payload = _without_percents(chain([rest], pieces))
    data = bytearray()
    for piece in _from_base64(payload) if header.rstrip().lower().endswith(b";base64") else payload:
        data += piece
    return bytes(data)


def _without_percents(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for piece in pieces:
        text = held + piece
        # The beginning of a "%41" waits for its rest.
        cut = text.rfind(b"%", max(0, len(text) - 2))
        text, held = (text, b"") if cut < 0 else (text[:cut], text[cut:])
        yield _unquoted(text) if b"%" in text else text
    yield _unquoted(held)


def _unquoted(text: bytes) -> bytes:
    # `unquote_to_bytes` leaves such a sign as it is, after half a microsecond for each: 60 MB took half a minute.
    if _LONE_PERCENT.search(text):
        raise ValueError("a % has no two hexadecimal digits after it")
    return unquote_to_bytes(text)


def _from_base64(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held, ended = b"", False
    for piece in pieces:
        text = held + piece.translate(None, b" \t\n\r\v\f")
        whole = len(text) // 4 * 4
        if ended and whole:
            raise ValueError("Excess data after padding")
        if whole:
            yield binascii.a2b_base64(text[:whole], strict_mode=True)
            ended = text[whole - 1] == ord("=")
        held = text[whole:]
    if held:
        yield binascii.a2b_base64(held, strict_mode=True)
