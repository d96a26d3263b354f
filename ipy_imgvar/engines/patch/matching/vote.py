"""Turn a nearest-neighbour field into pixels: average the patches that overlap, or copy.

Source pixels are packed four channels to one 64-bit word, 16 bits each, so that a vote is one gather and one
addition. 49 votes of at most 1336, and 24 to round their mean, fill 65,488 of a lane's 65,535, hence the scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.matching.patches import PATCH, RADIUS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers
    from ipy_imgvar.engines.patch.matching.field import NearestNeighborField

__all__ = ["LANES", "SCALE", "copy", "pack", "unpack", "vote", "vote_at"]

#: Channels in a word.
LANES: Final = 4
#: The lane's number for a value of 1: the largest at which 49 votes and 24 to round stay below 65,536.
SCALE: Final = 1336
#: Pixels that one chunk votes on, so that its arrays of indices about fit a core's cache.
_VOTE_CHUNK: Final = 65_536
#: Pixels that one chunk copies: a copy needs a quarter of the memory of a vote.
_COPY_CHUNK: Final = 4 * _VOTE_CHUNK


def pack(image: NDArray[np.float32]) -> NDArray[np.uint64]:
    """Return an image's pixels as one word each.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), float32, 0..1, C at most 4

    Returns
    -------
    ndarray of shape (H * W,), uint64
    """
    height, width, channels = image.shape
    lanes = np.zeros((height, width, LANES), np.uint16)
    lanes[..., :channels] = np.clip(image, 0, 1) * np.float32(SCALE) + np.float32(0.5)
    return lanes.view(np.uint64).reshape(-1)


def unpack(words: NDArray[np.uint64], channels: int) -> NDArray[np.float32]:
    """Return packed pixels of shape (...) as an ndarray of shape (..., channels), float32, 0..1."""
    lanes = np.ascontiguousarray(words).view(np.uint16).reshape(*words.shape, LANES)
    return lanes[..., :channels] * np.float32(1 / SCALE)


def vote(source: NDArray[np.uint64], field: NearestNeighborField, channels: int) -> NDArray[np.float32]:
    """Average, at every output pixel, what the patches that cover it show there.

    The mean over all overlapping patches is the update of Simakov et al. 2008, section 3.1, for the
    coherence term.

    Parameters
    ----------
    source : ndarray of shape (H * W,), uint64
        Its packed pixels.
    field : NearestNeighborField
    channels : int

    Returns
    -------
    ndarray of shape (*field.output, channels), float32, 0..1
    """
    height, width = field.output
    rows, cols = field.rows.shape
    stride = field.source[1]
    first = _first_pixels(field)
    # One pass for each pixel of a patch: all patches vote at once, and no two of them on the same output pixel.
    total = np.zeros((height, width), np.uint64)
    for down in range(PATCH):
        for across in range(PATCH):
            total[down : down + rows, across : across + cols] += source[first + (down * stride + across)]
    count = np.outer(_coverage(height), _coverage(width))
    image = unpack(total, channels)
    image /= count[..., None]
    return image


def copy(source: NDArray[np.uint64], field: NearestNeighborField, workers: Workers) -> NDArray[np.uint64]:
    """Show, at every output pixel, the one patch that is centred there.

    Parameters
    ----------
    source : ndarray of shape (H * W,), uint64
        Its packed pixels.
    field : NearestNeighborField
    workers : Workers

    Returns
    -------
    ndarray of shape field.output, uint64
        Packed pixels.
    """
    flat = field.source_pixels()
    words = np.empty(field.output, np.uint64)
    band = max(1, _COPY_CHUNK // field.output[1])

    def run(top: int) -> None:
        np.take(source, flat[top : top + band], out=words[top : top + band], mode="clip")

    workers.each(run, range(0, field.output[0], band))
    return words


def vote_at(
    source: NDArray[np.uint64],
    field: NearestNeighborField,
    pixels: NDArray[np.intp],
    reach: int,
    workers: Workers,
) -> NDArray[np.uint64]:
    """Average the covering patches at some output pixels only, without leaving packed integers.

    Parameters
    ----------
    source : ndarray of shape (H * W,), uint64
        Its packed pixels.
    field : NearestNeighborField
    pixels : ndarray of shape (M,), intp
        Flat output pixels.
    reach : int
        How far from a patch's centre its pixels count, 0 to 3: 3 asks all 49 covering patches.
    workers : Workers

    Returns
    -------
    ndarray of shape (M,), uint64
        Packed pixels.
    """
    first = _first_pixels(field).reshape(-1)
    rows, cols = field.rows.shape
    stride = field.source[1]
    words = np.empty(len(pixels), np.uint64)
    offsets = range(RADIUS - reach, RADIUS + reach + 1)

    def run(start: int) -> None:
        row, col = np.divmod(pixels[start : start + _VOTE_CHUNK], field.output[1])
        total = np.zeros(len(row), np.uint64)
        lefts = [np.clip(col - offset, 0, cols - 1) for offset in offsets]
        for offset in offsets:
            top = np.clip(row - offset, 0, rows - 1)
            line = top * cols
            inside = np.asarray(col + (row - top) * stride)
            for left in lefts:
                total += source[first[line + left] + (inside - left)]
        words[start : start + _VOTE_CHUNK] = _divide(total, len(offsets) ** 2)

    workers.each(run, range(0, len(pixels), _VOTE_CHUNK))
    return words


def _divide(words: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    """Divide every lane of some sums by how many votes they hold, in place, rounding to the nearest."""
    lanes = words.view(np.uint16)
    # No lane overflows into the next one: SCALE leaves room for it.
    lanes += np.uint16(count // 2)
    lanes //= np.uint16(count)
    return words


def _first_pixels(field: NearestNeighborField) -> NDArray[np.int32]:
    """Return the flat source pixel of each patch's top-left corner, shape field.rows.shape."""
    rows, cols = field.rows.shape
    down = field.rows + np.arange(rows, dtype=np.int32)[:, None]
    across = field.cols + np.arange(cols, dtype=np.int32)
    return (down * field.source[1] + across).astype(np.int32, copy=False)


def _coverage(size: int) -> NDArray[np.float32]:
    """Count the patches, 1 to 7, that cover each index of an axis of `size` pixels."""
    index = np.arange(size)
    last = size - PATCH
    return (np.minimum(index, last) - np.maximum(index - 2 * RADIUS, 0) + 1).astype(np.float32)
