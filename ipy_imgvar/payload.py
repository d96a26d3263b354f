"""The body of an HTTP answer, unpacked within a bound.

httpx unpacks each chunk as a whole, however long it becomes, and layer upon layer: 3.5 kB of `gzip, gzip` took 4 GB.
Here at most `_STEP` bytes are unpacked at a time, and only what we ask servers for: one layer of gzip or deflate.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["ACCEPTED", "pieces"]

#: The value of `Accept-Encoding`; what is added here has to be unpacked below.
ACCEPTED: Final = "gzip, deflate"
#: Bytes unpacked at once, so what is held beside the bound.
_STEP: Final = 1 << 18
#: Letters of the name of a way to pack; the longest that is registered, pack200-gzip, has 12.
_LONGEST_NAME: Final = 16
#: zlib's `wbits`: a gzip header; zlib's own; none at all, which some servers call deflate.
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


def pieces(response: httpx.Response, most: int, too_much: Callable[[], Exception]) -> Iterator[bytes]:
    """Yield the unpacked bytes of an answer as they come.

    Parameters
    ----------
    response
        A streamed answer of which nothing was read.
    most
        Bytes after which it is given up, packed or unpacked.
    too_much
        Makes what is raised then.

    Raises
    ------
    httpx.DecodingError
        If it is packed twice, in a form that was not asked for, or damaged.
    """
    received = unpacked = 0

    def counted() -> Iterator[bytes]:
        nonlocal received
        for chunk in response.iter_raw():
            received += len(chunk)
            # Packing adds less than a thousandth; a packed body that unpacks to nothing would have no end.
            if received > most + most // 1000 + 1024:
                raise too_much()
            yield chunk

    for piece in _unpacked(counted(), _encoding(response.headers)):
        unpacked += len(piece)
        if unpacked > most:
            raise too_much()
        yield piece


def _encoding(headers: httpx.Headers) -> str:
    """Return how a body is packed; "" where it is not."""
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
    """Yield what a chunk unpacks to, in pieces of at most `_STEP` bytes; what follows the end is dropped."""
    while not unpacker.eof:
        piece = unpacker.decompress(chunk, _STEP)
        chunk = unpacker.unconsumed_tail
        if piece:
            yield piece
        if not chunk and len(piece) < _STEP:
            return
