"""Files that take far more time or memory to read than their bytes and pixels explain, told before they are decoded.

Pillow bounds the pixels. It does not bound how often a JPEG goes over them, nor the pieces that a header is made of,
each of which costs it a Python object.

References
----------
ITU-T T.81 (JPEG), annex B: markers, segments and scans
https://www.w3.org/Graphics/GIF/spec-gif89a.txt, sections 15 (data sub-blocks) and 24 (comment extension)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["START_OF_FRAME", "START_OF_SCAN", "excess_of", "jpeg_segments"]

#: Encoders write about 10 scans, and 40 where each bit of each component has its own.
_MOST_SCANS: Final = 100
#: Pixels of all scans together. libjpeg does about 200 million a second, and a file of 10 scans may have 90 million.
_MOST_SCANNED_PIXELS: Final = 1_500_000_000
#: Segments before a JPEG's first scan: a colour profile takes up to 255.
_MOST_SEGMENTS: Final = 1000
#: Fill bytes between two segments that count as one: Pillow takes a microsecond for each.
_GAP_BYTES: Final = 100
#: Blocks before a GIF's first frame, each of up to 255 bytes: XMP takes hundreds.
_MOST_BLOCKS: Final = 20_000
#: Private chunks of a PNG; each costs Pillow a Python object.
_MOST_CHUNKS: Final = 10_000
#: Entries of a TIFF's first directory; the standard knows about 100 tags, and cameras add as many.
_MOST_ENTRIES: Final = 4096

#: Markers of a JPEG (T.81, table B.1).
START_OF_SCAN: Final = 0xDA
_EOI: Final = 0xD9
START_OF_FRAME: Final = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH: Final = {0x01, *range(0xD0, 0xD9)}
#: The next marker of a segment, or of a scan, in which 0xFF is followed by 0 or by a restart marker.
_NEXT_MARKER: Final = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
#: The first byte of two kinds of block of a GIF.
_EXTENSION, _IMAGE = 0x21, 0x2C


def excess_of(data: bytes, kind: str) -> str | None:
    """Return which pieces a file has too many of, such as "more than 10000 private chunks"; None where it has not.

    Parameters
    ----------
    data
        The encoded image.
    kind
        Pillow's name of its format.
    """
    if kind == "JPEG":
        return _excess_of_jpeg(data)
    count, most, pieces = 0, 0, ""
    if kind == "GIF":
        count, most, pieces = _gif_blocks(data), _MOST_BLOCKS, "blocks before its first frame"
    elif kind == "PNG":
        count, most, pieces = _private_chunks(data), _MOST_CHUNKS, "private chunks"
    elif kind == "TIFF":
        count, most, pieces = _tiff_entries(data), _MOST_ENTRIES, "entries in its first directory"
    return f"more than {most} {pieces}" if count > most else None


def _excess_of_jpeg(data: bytes) -> str | None:
    # Counting the bytes of the marker takes milliseconds, and there are at most as many scans.
    may_have_many_scans = data.count(b"\xff\xda") > 1
    scans = segments = pixels = 0
    for marker, body, gap_bytes in jpeg_segments(data):
        if marker == START_OF_SCAN:
            scans += 1
            if not may_have_many_scans:
                break
        elif not scans:
            segments += 1 + gap_bytes // _GAP_BYTES
        if marker in START_OF_FRAME:
            pixels = int.from_bytes(data[body + 1 : body + 3], "big") * int.from_bytes(
                data[body + 3 : body + 5], "big"
            )
        if segments > _MOST_SEGMENTS:
            return f"more than {_MOST_SEGMENTS} segments before its first scan"
        if scans > min(_MOST_SCANS, max(1, _MOST_SCANNED_PIXELS // max(1, pixels))):
            return f"more than {scans - 1} scans of {pixels} pixels"
    return None


def jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, the position of the content and the fill bytes before each segment of the first picture."""
    at = 2
    while (match := _NEXT_MARKER.search(data, at)) is not None:
        marker, gap_bytes, at = match[1][0], match.start() - at, match.end()
        if marker == _EOI:
            return
        if marker in _WITHOUT_LENGTH:
            continue
        yield marker, at + 2, gap_bytes
        at += max(2, int.from_bytes(data[at : at + 2], "big"))


def _gif_blocks(data: bytes) -> int:
    """Count the data sub-blocks of a GIF before its first frame, up to the bound."""
    at = 13 + (3 * (2 << (data[10] & 7)) if len(data) > 10 and data[10] & 0x80 else 0)  # noqa: PLR2004
    count = 0
    while at < len(data) and count <= _MOST_BLOCKS:
        block = data[at]
        if block == _IMAGE:
            break
        at += 1
        count += 1
        if block == _EXTENSION:
            at += 1
            while at < len(data) and data[at] and count <= _MOST_BLOCKS:
                at += data[at] + 1
                count += 1
            at += 1
    return count


def _private_chunks(data: bytes) -> int:
    """Count the chunks of a PNG whose names no standard has (the second letter is small), up to the bound."""
    at, count = 8, 0
    while at + 12 <= len(data) and count <= _MOST_CHUNKS:
        count += bool(data[at + 5] & 0x20)
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return count


def _tiff_entries(data: bytes) -> int:
    order = "little" if data[:1] == b"I" else "big"
    is_big = data[2:4] in (b"+\0", b"\0+")
    at = int.from_bytes(data[8:16] if is_big else data[4:8], order)  # type: ignore[arg-type]
    return int.from_bytes(data[at : at + (8 if is_big else 2)], order)  # type: ignore[arg-type]
