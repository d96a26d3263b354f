"""The body of an HTTP answer, unpacked within a bound.

httpx unpacks each chunk as a whole, however long it becomes, and layer upon layer: 3.5 kB of `gzip, gzip` took 4 GB of
memory. This module unpacks at most `_STEP` bytes at a time, and only what our requests accept: one layer of gzip or
deflate.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["ACCEPTED", "pieces"]

#: The value of `Accept-Encoding`; a name added here needs a branch in `_unpacked`.
ACCEPTED: Final = "gzip, deflate"
#: Bytes unpacked at once, so what one step holds in memory beyond the caller's bound; our choice.
_STEP: Final = 1 << 18
#: Letters of an encoding's name that an error shows, at most; the longest in IANA's registry of HTTP content codings,
#: pack200-gzip, has 12.
_LONGEST_NAME: Final = 16
#: zlib's `wbits`: a gzip header (RFC 1952); zlib's own (RFC 1950, HTTP's deflate); no header (RFC 1951), which some
#: servers call deflate (RFC 9110, 8.4.1.2).
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


def pieces(response: httpx.Response, most: int, too_much: Callable[[], Exception]) -> Iterator[bytes]:
    """Yield the unpacked bytes of an answer as they come.

    Parameters
    ----------
    response
        A streamed answer of which nothing was read.
    most
        Bytes after which reading is given up, packed or unpacked.
    too_much
        Returns the exception to raise then.

    Raises
    ------
    httpx.DecodingError
        If the body is packed twice, in a form that was not asked for, or damaged.
    """
    received = unpacked = 0

    def counted() -> Iterator[bytes]:
        nonlocal received
        for chunk in response.iter_raw():
            received += len(chunk)
            # Packing adds less than a thousandth and a header. A packed body that unpacks to nothing could go on for
            # ever without this bound.
            if received > most + most // 1000 + 1024:
                raise too_much()
            yield chunk

    for piece in _unpacked(counted(), _encoding(response.headers)):
        unpacked += len(piece)
        if unpacked > most:
            raise too_much()
        yield piece


def _encoding(headers: httpx.Headers) -> str:
    """Return the name of a body's one encoding; "" for a body that is not packed."""
    named = [name.strip().lower() for name in headers.get("content-encoding", "").split(",")]
    layers = [name for name in named if name not in ("", "identity")]
    if len(layers) > 1:
        raise httpx.DecodingError(f"it is packed {len(layers)} times over; allowed: once, by gzip or deflate")
    if layers and layers[0] not in ("gzip", "x-gzip", "deflate"):
        # No part of a longer text is shown, since half a key can't be told from other text.
        named_by = layers[0] if len(layers[0]) <= _LONGEST_NAME else "something unknown"
        raise httpx.DecodingError(f"it is packed by {named_by}; allowed: gzip or deflate")
    return layers[0] if layers else ""


def _unpacked(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    if not encoding:
        yield from chunks
        return
    unpacker: Any = None
    try:
        for chunk in chunks:
            if unpacker is None:
                unpacker = zlib.decompressobj(_ZLIB if encoding == "deflate" else _GZIP)
                if encoding == "deflate" and chunk[0] & 0x0F != zlib.DEFLATED:
                    unpacker = zlib.decompressobj(_RAW)
            yield from _steps(unpacker, chunk)
    except zlib.error as exc:
        raise httpx.DecodingError(f"it is no {encoding}: {exc}") from exc
    if unpacker is not None and not unpacker.eof:
        raise httpx.DecodingError(f"its {encoding} ends too early")


def _steps(unpacker: Any, chunk: bytes) -> Iterator[bytes]:
    """Yield the unpacked bytes of a chunk, in pieces of at most `_STEP` bytes; bytes after the end are dropped."""
    while not unpacker.eof:
        piece = unpacker.decompress(chunk, _STEP)
        chunk = unpacker.unconsumed_tail
        if piece:
            yield piece
        if not chunk and len(piece) < _STEP:
            return
