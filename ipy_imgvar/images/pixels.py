"""Arrays from outside as pixels: which shapes, dtypes and ranges are a picture, and messages about the others.

Nothing is guessed: an array that could be read in two ways is refused.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ipy_imgvar.errors import InvalidImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["as_pixels"]


def as_pixels(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Return an array's pixels as a picture has them.

    Parameters
    ----------
    array
        Shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), or channels first where the last axis can't be channels.
        uint8 in 0..255, bool, or float in 0..1.
    name
        The name that error messages give it.

    Returns
    -------
    ndarray of shape (H, W), (H, W, 3) or (H, W, 4), uint8
        Its own memory: the array's owner may go on writing to it.

    Raises
    ------
    InvalidImageError
        For any other shape, dtype or range.
    """
    if np.ma.is_masked(array):
        raise InvalidImageError(
            f"{name} is a masked array, and a picture has no mask; fill what is masked: array.filled(0)"
        )
    pixels = np.asarray(_channels_last(array, name))
    if 0 in pixels.shape:
        raise InvalidImageError(f"{name} is an array of shape {array.shape}: it has no pixels")
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(pixels.dtype, np.floating):
        return _from_floats(pixels, name)
    if pixels.dtype != np.uint8:
        raise InvalidImageError(
            f"{name} is an array of {pixels.dtype}; allowed: uint8 in 0..255, bool, or float in 0..1; "
            "scale it and convert: array.astype(numpy.uint8)"
        )
    return np.array(pixels, order="C")


def _from_floats(pixels: NDArray[np.floating[Any]], name: str) -> NDArray[np.uint8]:
    low, high = float(pixels.min()), float(pixels.max())
    if math.isnan(low):
        raise InvalidImageError(
            f"{name} is a float array with NaN in it; allowed: 0 to 1; fill it first: numpy.nan_to_num(array)"
        )
    if not (low >= 0 and high <= 1):
        raise InvalidImageError(
            f"{name} is a float array with values from {low!r} to {high!r}; allowed: 0 to 1; "
            "divide by its largest possible value, or pass uint8 in 0..255"
        )
    return np.rint(pixels.astype(np.float32) * 255).astype(np.uint8)


def _channels_last(array: NDArray[Any], name: str) -> NDArray[Any]:
    grey, channels = 2, (1, 3, 4)
    if array.ndim == grey:
        return array
    if array.ndim == 3:  # noqa: PLR2004
        if array.shape[2] not in channels and array.shape[0] in channels:
            array = np.moveaxis(array, 0, -1)
        if array.shape[2] == 1:
            return array[:, :, 0]
        if array.shape[2] in channels:
            return array
    hint = "; for several images pass list(array)" if array.ndim > 3 else ""  # noqa: PLR2004
    raise InvalidImageError(
        f"{name} is an array of shape {array.shape}; allowed: (H, W), (H, W, 3), (H, W, 4), "
        f"or channels first (3, H, W){hint}"
    )
