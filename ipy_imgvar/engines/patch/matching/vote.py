"""Turn a nearest-neighbour field into pixels: average the patches that overlap, or copy.

Source pixels are packed four channels to one 64-bit word, 16 bits each, so that a vote is one gather and one
addition. 49 votes of at most 1336 and half a vote to round fill 65,488 of a lane's 65,535, hence the scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ipy_imgvar.engines.patch.matching.patches import PATCH, RADIUS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers
    from ipy_imgvar.engines.patch.matching.field import Field

__all__ = ["LANES", "SCALE", "copy", "pack", "unpack", "vote", "vote_at"]

LANES = 4
"""Channels to a word."""

SCALE = 1336
"""What a value of 1 is in a lane."""

_CHUNK = 65_536


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
    """Return packed pixels as float32 0..1, with a last axis of `channels`."""
    lanes = np.ascontiguousarray(words).view(np.uint16).reshape(*words.shape, LANES)
    return lanes[..., :channels] * np.float32(1 / SCALE)


def vote(packed: NDArray[np.uint64], field: Field, channels: int) -> NDArray[np.float32]:
    """Average, at every output pixel, what the patches that cover it show there.

    The mean over all overlapping patches is the update of Simakov et al. 2008, section 3.1, for the
    coherence term.

    Parameters
    ----------
    packed : ndarray of shape (H * W,), uint64
        The source.
    field : Field
    channels : int

    Returns
    -------
    ndarray of shape (*field.output, channels), float32, 0..1
    """
    height, width = field.output
    rows, cols = field.rows.shape
    stride = field.source[1]
    first = _first_pixels(field)
    total = np.zeros((height, width), np.uint64)
    for down in range(PATCH):
        for across in range(PATCH):
            total[down : down + rows, across : across + cols] += packed[first + (down * stride + across)]
    count = np.outer(_coverage(height), _coverage(width))
    image = unpack(total, channels)
    image /= count[..., None]
    return image


def copy(packed: NDArray[np.uint64], field: Field, workers: Workers) -> NDArray[np.uint64]:
    """Show, at every output pixel, the one patch that is centred there.

    Returns
    -------
    ndarray of shape field.output, uint64
    """
    flat = field.pixels()
    words = np.empty(field.output, np.uint64)
    band = max(1, _CHUNK * 4 // field.output[1])

    def run(top: int) -> None:
        np.take(packed, flat[top : top + band], out=words[top : top + band], mode="clip")

    workers.each(run, range(0, field.output[0], band))
    return words


def vote_at(
    packed: NDArray[np.uint64], field: Field, pixels: NDArray[np.intp], reach: int, workers: Workers
) -> NDArray[np.uint64]:
    """Average the covering patches at some output pixels only.

    Parameters
    ----------
    packed : ndarray of shape (H * W,), uint64
        The source.
    field : Field
    pixels : ndarray of shape (M,), intp
        Flat output pixels.
    reach : int
        How far from a patch's centre its pixels count, 0 to 3: 3 asks all 49 covering patches.
    workers : Workers

    Returns
    -------
    ndarray of shape (M,), uint64
    """
    first = _first_pixels(field).reshape(-1)
    rows, cols = field.rows.shape
    stride = field.source[1]
    width = field.output[1]
    words = np.empty(len(pixels), np.uint64)
    offsets = range(RADIUS - reach, RADIUS + reach + 1)
    share = np.uint64(len(offsets) ** 2)

    def run(start: int) -> None:
        row, col = np.divmod(pixels[start : start + _CHUNK], width)
        total = np.zeros(len(row), np.uint64)
        tops = [np.clip(row - offset, 0, rows - 1) for offset in offsets]
        lefts = [np.clip(col - offset, 0, cols - 1) for offset in offsets]
        for top in tops:
            line = top * cols
            inside = np.asarray(col + (row - top) * stride)
            for left in lefts:
                total += packed[first[line + left] + (inside - left)]
        lanes = total.view(np.uint16)
        lanes += np.uint16(share // np.uint64(2))
        lanes //= np.uint16(share)
        words[start : start + _CHUNK] = total

    workers.each(run, range(0, len(pixels), _CHUNK))
    return words


def _first_pixels(field: Field) -> NDArray[np.int32]:
    """Return the flat source pixel of each patch's top-left corner, shape field.rows.shape."""
    rows, cols = field.rows.shape
    down = field.rows + np.arange(rows, dtype=np.int32)[:, None]
    across = field.cols + np.arange(cols, dtype=np.int32)
    return (down * field.source[1] + across).astype(np.int32, copy=False)


def _coverage(size: int) -> NDArray[np.float32]:
    """Count the patches that cover each index of an axis."""
    index = np.arange(size)
    last = size - PATCH
    return (np.minimum(index, last) - np.maximum(index - 2 * RADIUS, 0) + 1).astype(np.float32)
