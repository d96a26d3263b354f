"""Estimates of the memory that decoding an image takes, from its headers: 77 kB can hold 40 million pixels.

References
----------
ITU-T T.81 (JPEG), sections A.1 (sampling), A.2 (scans) and B.1 (markers).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.images.bombs import START_OF_FRAME, START_OF_SCAN, jpeg_segments
from ipy_imgvar.images.formats import format_of
from ipy_imgvar.images.modes import is_turned
from ipy_imgvar.images.opening import open_lazily
from ipy_imgvar.images.png import may_be_turned, notes_of

if TYPE_CHECKING:
    from ipy_imgvar.request import Size

__all__ = ["decoding_bytes"]

#: Bytes a pixel of a WebP: libwebp's canvases of this frame and the one before, Pillow's copy of one, and the picture,
#: of four bytes each.
_WEBP: Final = 16
#: Bytes a pixel of the picture and a converted copy of it.
_TWICE: Final = 8
#: Bytes a pixel of the picture, and of three of its bands at a time.
_ONCE: Final = 7
#: Components of a JPEG of mode CMYK, the most that Pillow decodes.
_MOST_COMPONENTS: Final = 4
#: The lower two bits of the marker of a progressive JPEG's frame header.
_PROGRESSIVE: Final = 2


def decoding_bytes(data: bytes, size: Size) -> int:
    """Return the most memory that `codec.open_image` and `codec.fit_image` take, in bytes; nothing is decoded.

    Parameters
    ----------
    data
        An image that `codec.probe` has taken.
    size
        As `codec.probe` gave it.
    """
    pixels, kind = size[0] * size[1], format_of(data)
    if kind == "WEBP":
        return _WEBP * pixels
    held = 4 + 2 * _held_components(data) if kind == "JPEG" else 0
    return round(max(_TWICE if _is_copied(data, kind) else _ONCE, held) * pixels)


def _is_copied(data: bytes, kind: str | None) -> bool:
    """Return whether the whole picture is converted or turned into another."""
    try:
        image = open_lazily(data, "it")
        if image.mode == "CMYK" or (image.mode == "RGB" and "transparency" in image.info):
            return True
        if kind == "PNG":
            return may_be_turned(data) and is_turned(open_lazily(notes_of(data), "it"))
        return is_turned(image)
    except ImageVariationError:  # Decoding it will raise the same.
        return True


def _held_components(data: bytes) -> float:
    """Return how many numbers a JPEG's decoder holds for each pixel: none where one scan has all components."""
    frame, progressive = b"", False
    for marker, body, _ in jpeg_segments(data):
        if marker in START_OF_FRAME:
            length = int.from_bytes(data[body - 2 : body], "big")
            frame, progressive = data[body : body - 2 + length], marker & 3 == _PROGRESSIVE
        elif marker == START_OF_SCAN:
            return _sampled(frame) if progressive or data[body : body + 1] != frame[5:6] else 0
    return _MOST_COMPONENTS  # Decoders are less strict than this reading, so the most is assumed.


def _sampled(frame: bytes) -> float:
    """Return the components of a frame header for each pixel: 1.5 where two of three have half the rows and columns."""
    factors = [(each >> 4, each & 15) for each in frame[7::3]]
    whole = max((each for each, _ in factors), default=0) * max((each for _, each in factors), default=0)
    return sum(each * other for each, other in factors) / whole if whole else _MOST_COMPONENTS
