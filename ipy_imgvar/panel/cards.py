"""The panel's small pictures, of bounded size: cards, first looks, the source as it will be sent, and the mask."""

from __future__ import annotations

from functools import lru_cache
from itertools import count
from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.images import codec
from ipy_imgvar.images.similarity import THUMBNAIL_PX, to_source
from ipy_imgvar.images.source import Source
from ipy_imgvar.images.thumbnails import encoded, thumbnail
from ipy_imgvar.panel.state import Card, Thumbnail
from ipy_imgvar.plain import plain

if TYPE_CHECKING:
    from PIL.Image import Image

    from ipy_imgvar.images.similarity import Sample
    from ipy_imgvar.request import Fit, Size, VariationRequest
    from ipy_imgvar.results.variations import Variation

__all__ = ["card_of", "look_of", "mask_of", "mask_thumbnail", "saved_copy", "sent"]

#: Bytes of a thumbnail; a transparent picture is a PNG, which is larger.
_MAX_BYTES: Final = 33_000
#: Bytes of a thumbnail that the notebook saves, and the sides that are tried in pixels, the largest first.
_SAVED_BYTES, _SAVED_PX = 6_000, (192, 160, 128)
#: Numbers for the ids of pictures: a front end that is asked for a new picture must never show an old one.
_numbers = count(1)


def card_of(picture: Variation, source: Sample | None, fit: Fit) -> Card:
    """Return a picture's card; call it on a task's thread, since it decodes the picture."""
    # Decoded once: that takes longer than all the rest.
    small = codec.reduced(picture.original, "the picture", THUMBNAIL_PX)
    data, mime_type = _bounded(small)
    seed = "" if picture.seed is None else f" · seed {picture.seed}"
    words = f"{picture.size[0]}x{picture.size[1]}{seed}"
    similar = None if source is None else to_source(source, small, fit)
    return Card(picture, Thumbnail(str(next(_numbers)), data, mime_type), words, similar, fit=fit)


def look_of(data: bytes) -> tuple[bytes, str] | None:
    """Return a reduced first look and its MIME type; None where it can't be decoded."""
    try:
        return thumbnail(data, THUMBNAIL_PX)[:2]
    except ImageVariationError:
        return None


def sent(sample: Sample, name: str, request: VariationRequest) -> tuple[Thumbnail, str]:
    """Return the source as the engine gets it, cropped or padded, and its name and sizes in words."""
    width, height = sample.size
    words = f"{plain(name)}, {width}x{height}, {request.fit} to {request.size[0]}x{request.size[1]}"
    data, mime_type = encoded(sample.fitted(request.size, request.fit))
    return Thumbnail(f"source:{next(_numbers)}", data, mime_type), words


def mask_of(data: bytes, size: Size) -> tuple[Source, float]:
    """Return a painted mask in the source's shape, and the share of pixels that it keeps.

    Parameters
    ----------
    data
        An encoded picture, white where the source stays, of any size in the source's shape.
    size
        The source's (width, height) in pixels.
    """
    painted = codec.open_image(data, "the mask")
    keep = codec.kept_pixels(painted, painted.size)
    rows = np.arange(size[1]) * keep.shape[0] // size[1]
    columns = np.arange(size[0]) * keep.shape[1] // size[0]
    full = keep[rows][:, columns]
    levels = codec.from_array(np.where(full, np.uint8(255), np.uint8(0)), "the mask")
    return Source("mask.png", data=codec.encode_png(levels)), float(full.mean())


def mask_thumbnail(mask: Source) -> Thumbnail:
    """Return a small picture of a mask."""
    data, mime_type, _ = thumbnail(mask.read(), THUMBNAIL_PX)
    return Thumbnail(f"mask:{next(_numbers)}", data, mime_type)


@lru_cache(maxsize=64)
def saved_copy(small: Thumbnail) -> bytes:
    """Return a thumbnail for the saved notebook, smaller than the page's where that has many bytes."""
    data = small.data
    for side_px in _SAVED_PX:
        if len(data) <= _SAVED_BYTES:
            break
        data = thumbnail(small.data, side_px)[0]
    return data


def _bounded(image: Image) -> tuple[bytes, str]:
    """Return the largest of three thumbnails within the bound, else the smallest."""
    for side_px in (THUMBNAIL_PX, THUMBNAIL_PX * 3 // 4, THUMBNAIL_PX // 2):
        smaller = image.copy()
        smaller.thumbnail((side_px, side_px))
        data, mime_type = encoded(smaller)
        if len(data) <= _MAX_BYTES:
            break
    return data, mime_type
