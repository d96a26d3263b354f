"""The pictures of a sweep's table, reduced to what a notebook can bear, and the sources as they were sent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.images import codec
from ipy_imgvar.images.thumbnails import within

if TYPE_CHECKING:
    from PIL.Image import Image

    from ipy_imgvar.request import Size
    from ipy_imgvar.results.sweep import Sweep
    from ipy_imgvar.results.variation import Variation

__all__ = ["BYTES_PER_PX", "LARGEST_PX", "Tiles", "opened_source"]

#: Longest side of a picture in a table, in pixels. Galleries have the same.
LARGEST_PX: Final = 256
_SMALLEST_PX: Final = 80
#: Bytes of all pictures of a table together, up to `_MANY` pictures and above. Base64 adds a third, the elements about
#: 300 bytes a picture, and the image for front ends without HTML 80 kB: 64 pictures make a cell of at most 400 kB.
_BYTES, _BYTES_OF_MANY = 195_000, 330_000
_MANY: Final = 64
#: Bytes a pixel from which the side is chosen: a photograph has about this at JPEG's quality 70.
BYTES_PER_PX: Final = 0.2
#: Sides are multiples of this, so that one more picture seldom changes all others.
_STEP_PX: Final = 16


class Tiles:
    """Thumbnails for so many pictures, the sources among them; the more there are, the smaller they get.

    Parameters
    ----------
    count
        The number of pictures on the page.

    Attributes
    ----------
    side_px
        The longest side of each, 80 to 256 pixels.
    """

    def __init__(self, count: int) -> None:
        # The sources of a sweep of 64 pictures are no reason to grow.
        several = _BYTES if count <= _MANY + _MANY // 8 else _BYTES_OF_MANY
        self._most_bytes = several // max(1, count)
        side_px = math.isqrt(int(self._most_bytes / BYTES_PER_PX)) // _STEP_PX * _STEP_PX
        self.side_px = max(_SMALLEST_PX, min(LARGEST_PX, side_px))

    def picture(self, picture: Variation) -> tuple[bytes, str, Size]:
        """Return a thumbnail's bytes, MIME type and size.

        Raises
        ------
        ImageVariationError
            If the store no longer has the original.
        """
        return picture.thumbnail(self.side_px, self._most_bytes)

    def source(self, first: Variation, sweep: Sweep) -> tuple[bytes, str, Size] | None:
        """Return the thumbnail of a picture's source, or None where that is gone."""
        image = opened_source(first, sweep)
        if image is None:
            return None
        image.thumbnail((self.side_px, self.side_px))
        return within(image, self._most_bytes)


def opened_source(first: Variation, sweep: Sweep) -> Image | None:
    """Return a copy of a picture's source as it was sent, at most 256 px a side, or None where it is gone.

    Where the sweep varies the size or the fit, the whole source stands for all ways in which it was sent.
    """
    if first.source not in sweep.opened:
        sweep.opened[first.source] = _opened(first, is_whole=bool({"size", "fit"} & sweep.axes.keys()))
    image = sweep.opened[first.source]
    return None if image is None else image.copy()


def _opened(first: Variation, *, is_whole: bool) -> Image | None:
    try:
        image = first.source.open(at_least_px=LARGEST_PX * 2)
    except ImageVariationError:
        return None
    fit: Any = first.parameters.get("fit")
    if is_whole or fit not in ("crop", "pad", "stretch"):
        image = image.copy()  # A source that was an image gives itself.
        image.thumbnail((LARGEST_PX, LARGEST_PX), reducing_gap=2.0)
        return image
    scale = LARGEST_PX / max(first.size)
    size = (max(1, round(first.size[0] * scale)), max(1, round(first.size[1] * scale)))
    image = codec.fit_image(image, size, fit)
    return codec.pad_image(image, size) if fit == "pad" else image
