"""Change the size of float images: area means to reduce, Catmull-Rom cubics to enlarge.

Both are separable and written as a few weighted row gathers, so that any pair of sizes costs a few passes over the
array. Pillow would go through 8 bits, or through one channel at a time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["reduced_shape", "resize"]

#: For each tap of a filter along one axis: the input index and the weight for every output index.
Taps: TypeAlias = "tuple[tuple[NDArray[np.intp], NDArray[np.float32]], ...]"

#: The largest area that `reduced_shape` gives, in squares of the short side: 1.2 leaves pictures of up to 6:5 alone,
#: and bounds the cost of a panorama. Chosen by eye.
_MOST_SQUARES: Final = 1.2
#: How many pairs of sizes keep their taps: more than the levels and maps of several pictures have.
_REMEMBERED_TAPS: Final = 128


def resize(image: NDArray[np.float32], shape: tuple[int, int], *, sharp: bool = False) -> NDArray[np.float32]:
    """Return `image` at another size, by area means where it shrinks and by cubics where it grows.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), float32
        Any range.
    shape : tuple of int
        (rows, columns) of the result, each at least 1.
    sharp : bool
        Use cubics also where it shrinks: for about 0.7 of the size and more, where an area mean would blur. Below,
        cubics skip pixels.

    Returns
    -------
    ndarray of shape (*shape, C), float32
        Cubics overshoot at sharp edges, so values may leave the input's range a little.
    """
    rows, cols = shape
    height, width = image.shape[:2]
    if (2 * rows, 2 * cols) == (height, width):
        return _halve(image)
    if rows != height:
        image = _along_rows(image, _taps(height, rows, sharp))
    if cols != width:
        image = _along_rows(image.swapaxes(0, 1), _taps(width, cols, sharp)).swapaxes(0, 1)
    return np.ascontiguousarray(image)


def reduced_shape(source: NDArray[np.float32], short_px: int) -> tuple[int, int]:
    """Return (rows, columns) of a source reduced to a short side in pixels, or further where it is a long strip."""
    height, width = source.shape[:2]
    scale = min(1.0, short_px / min(height, width), short_px * (_MOST_SQUARES / (height * width)) ** 0.5)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _halve(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the means of 2x2 pixels: what the area taps give, in half the passes."""
    rows = image[0::2] + image[1::2]
    return (rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.25)


def _along_rows(image: NDArray[np.float32], taps: Taps) -> NDArray[np.float32]:
    total: NDArray[np.float32] | None = None
    for index, weight in taps:
        term = image[index] * weight[:, None, None]
        total = term if total is None else np.add(total, term, out=total)
    assert total is not None  # noqa: S101 - there is always at least one tap
    return total


@lru_cache(maxsize=_REMEMBERED_TAPS)
def _taps(size_in: int, size_out: int, sharp: bool) -> Taps:  # noqa: FBT001 - a key of the cache
    area = size_out < size_in and not sharp
    return _area_taps(size_in, size_out) if area else _cubic_taps(size_in, size_out)


def _area_taps(size_in: int, size_out: int) -> Taps:
    """Return taps whose weights are the shares of each output cell that the input cells cover."""
    edges = np.arange(size_out + 1) * (size_in / size_out)
    first = np.floor(edges[:-1]).astype(np.intp)
    count = int(np.ceil(size_in / size_out)) + 1
    taps = []
    for tap in range(count):
        cell = first + tap
        overlap = np.minimum(edges[1:], cell + 1) - np.maximum(edges[:-1], cell)
        weight = np.clip(overlap, 0, None) * (size_out / size_in)
        taps.append((np.minimum(cell, size_in - 1), weight.astype(np.float32)))
    return tuple(taps)


def _cubic_taps(size_in: int, size_out: int) -> Taps:
    """Return the four taps of the cubic through its points (Catmull-Rom; Keys 1981, with a = -1/2)."""
    centre = (np.arange(size_out) + 0.5) * (size_in / size_out) - 0.5
    base = np.floor(centre)
    part = centre - base
    weights = (
        ((-0.5 * part + 1.0) * part - 0.5) * part,
        (1.5 * part - 2.5) * part * part + 1.0,
        ((-1.5 * part + 2.0) * part + 0.5) * part,
        (0.5 * part - 0.5) * part * part,
    )
    index = base.astype(np.intp)
    return tuple(
        (np.clip(index + tap - 1, 0, size_in - 1), weight.astype(np.float32))
        for tap, weight in enumerate(weights)
    )
