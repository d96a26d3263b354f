"""Pictures encoded for display. A notebook is saved with all that it shows, so they are small.

JPEG wherever every pixel is opaque, PNG where something is transparent.
"""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING, Final

from ipy_imgvar.images import codec
from ipy_imgvar.images.formats import JPEG, PNG, WRITTEN

if TYPE_CHECKING:
    from PIL.Image import Image

    from ipy_imgvar.request import Size

__all__ = ["encoded", "thumbnail", "within"]

#: JPEG qualities, the best first. Grain takes twice the bytes of a smooth picture at the same one.
_QUALITIES: Final = (88, 80, 70, 60, 45, 30)
#: The same where the bytes are few from the start: with fewer steps, since there are many pictures.
_QUALITIES_OF_SMALL: Final = (88, 75, 60, 45, 30)
#: Pillow's settings for a WebP: half the time of its defaults, and a smooth edge in a third of the bytes.
_FAST_WEBP: Final = {"method": 2, "alpha_quality": 60}
#: Most bytes of a JPEG, per pixel and beside its headers. Four thumbnails of 256 px and their contact sheet then make
#: 220 kB of base64; most photographs need this much at quality 88.
_BYTES_PER_PX: Final = 0.3
_HEADER_BYTES: Final = 1024


def thumbnail(data: bytes, side_px: int) -> tuple[bytes, str, Size]:
    """Reduce a picture for display.

    Parameters
    ----------
    data
        The encoded picture.
    side_px
        No side of the thumbnail is longer; a smaller picture is not enlarged.

    Returns
    -------
    tuple of bytes, str and (int, int)
        The thumbnail's bytes, its MIME type (see `encoded`), and its width and height.
    """
    image = codec.reduced(data, "the picture", side_px)
    return *encoded(image), image.size


def encoded(image: Image) -> tuple[bytes, str]:
    """Encode a picture of mode L, RGB or RGBA for display, and return its bytes and MIME type.

    It is a JPEG of at most about 0.3 bytes a pixel, or a PNG where something is transparent.
    """
    buffer = io.BytesIO()
    if image.mode == "RGBA":
        if image.getchannel("A").getextrema() != (255, 255):
            image.save(buffer, PNG.name, compress_level=6)
            return buffer.getvalue(), PNG.mime_type
        image = image.convert("RGB")
    most_bytes = _HEADER_BYTES + _BYTES_PER_PX * image.width * image.height
    for quality in _QUALITIES:
        buffer = io.BytesIO()
        image.save(buffer, JPEG.name, quality=quality)
        if buffer.tell() <= most_bytes:
            break
    return buffer.getvalue(), JPEG.mime_type


def within(image: Image, most_bytes: int) -> tuple[bytes, str, Size]:
    """Encode a picture of mode L, RGB or RGBA in at most so many bytes, and return them, the MIME type and the size.

    It is a JPEG, or a WebP where something is transparent: a PNG of a photograph would take ten times the bytes. Where
    the lowest quality takes more, the picture is reduced.
    """
    image = codec.without_opaque_alpha(image)
    kind, how = (JPEG, {"optimize": True}) if image.mode != "RGBA" else (WRITTEN[".webp"], _FAST_WEBP)
    while True:
        for quality in _QUALITIES_OF_SMALL:
            buffer = io.BytesIO()
            image.save(buffer, kind.name, quality=quality, **how)
            if buffer.tell() <= most_bytes or max(image.size) == 1:
                return buffer.getvalue(), kind.mime_type, image.size
        scale = min(0.9, math.sqrt(most_bytes / buffer.tell()))
        image = codec.resize(image, (max(1, int(image.width * scale)), max(1, int(image.height * scale))))
