"""A PNG's chunks, read without decoding a pixel.

References
----------
https://www.w3.org/TR/png-3/, sections 5 (datastream structure) and 11 (chunks)
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.images.formats import PNG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipy_imgvar.request import Size

__all__ = ["colour_key", "may_be_turned", "notes_of", "png_size", "profile_of", "stripped"]

_SIGNATURE: Final = PNG.signatures[0]
#: Bytes of the shortest PNG: signature, IHDR, an empty IDAT, IEND.
_LEAST_BYTES: Final = 57
#: Chunks that may hold an orientation.
_NOTES: Final = (b"tEXt", b"zTXt", b"iTXt", b"eXIf")
#: Chunks that make Pillow refuse a PNG where they are large.
_LARGE: Final = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
#: Bytes of an unpacked profile; one with tables for four colours in 16 bits takes up to 4 MB.
_MOST_PROFILE_BYTES: Final = 16 << 20
_GREY, _RGB, _RGB_CHANNELS = 0, 2, 3  # colour types of the IHDR chunk


def png_size(data: bytes, most_pixels: int) -> Size | None:
    """Read the size out of a PNG's first chunk, which takes a hundredth of Pillow's time; None in any doubt."""
    if data[:16] != _SIGNATURE + b"\0\0\0\rIHDR" or len(data) < _LEAST_BYTES:
        return None
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    is_safe = 0 < width * height <= most_pixels
    return (
        (width, height) if is_safe and zlib.crc32(data[12:29]) == int.from_bytes(data[29:33], "big") else None
    )


def may_be_turned(data: bytes) -> bool:
    """Return whether a PNG may hold an orientation: in EXIF or XMP, or in a text that holds EXIF."""
    return any(word in data for word in (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp"))


def notes_of(data: bytes) -> bytes:
    """Return a PNG of one pixel with the texts and EXIF of another, which can be read without decoding that one."""
    notes = [data[start:end] for kind, start, end in _chunks(data) if kind in _NOTES]
    head = _chunk(b"IHDR", b"\0\0\0\1\0\0\0\1" + bytes([8, _GREY, 0, 0, 0]))
    return b"".join([_SIGNATURE, head, *notes, _chunk(b"IDAT", zlib.compress(b"\0\0")), _chunk(b"IEND", b"")])


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(name + content).to_bytes(4, "big")
    return len(content).to_bytes(4, "big") + name + content + checksum


def stripped(data: bytes) -> bytes:
    """Return a PNG without its texts and colour profile; the bytes after a broken chunk stay."""
    pieces = [data[: len(_SIGNATURE)]]
    at = len(_SIGNATURE)
    for kind, start, end in _chunks(data):
        if kind not in _LARGE:
            pieces.append(data[start:end])
        at = end
    return b"".join([*pieces, data[at:]])


def profile_of(data: bytes) -> bytes | None:
    """Return a PNG's colour profile, unpacked; None where it has none, or one that is broken or far too large."""
    for kind, start, end in _chunks(data):
        if kind != b"iCCP":
            continue
        packed = data[start + 8 : end - 4].partition(b"\0")[2][1:]
        unpacker = zlib.decompressobj()
        try:
            profile = unpacker.decompress(packed, _MOST_PROFILE_BYTES)
        except zlib.error:
            return None
        return profile if unpacker.eof else None
    return None


def colour_key(data: bytes, key: Any) -> Any:
    """Return the colour that a PNG has as transparent, scaled as its pixels are once Pillow has decoded them.

    Pillow spreads greys of 1, 2 and 4 bits over 0..255 and halves RGB of 16 bits, but leaves the key as it is in the
    file; from 12.1 on, it spreads a key of 1 bit too.
    """
    depth, colour_type = data[24], data[25]
    if colour_type == _GREY and depth in (1, 2, 4) and isinstance(key, int):
        return (key & ((1 << depth) - 1)) * (255 // ((1 << depth) - 1))
    if colour_type == _RGB and depth == 16 and isinstance(key, tuple) and len(key) == _RGB_CHANNELS:  # noqa: PLR2004
        return tuple(level >> 8 for level in key)
    return key


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield each whole chunk's name, and where it starts and ends."""
    at = len(_SIGNATURE)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at, end
        at = end
