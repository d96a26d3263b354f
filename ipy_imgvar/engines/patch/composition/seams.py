"""Find where a picture can be cut and go on elsewhere without a visible seam.

A seam runs from top to bottom. On its left the source is shown; on its right the source again, some columns further
on or further back, or mirrored. Its cost is how much the two differ along it (Kwatra et al., "Graphcut Textures",
SIGGRAPH 2003, section 3). Seams are single valued in rows, so that dynamic programming finds the best one (Efros and
Freeman, "Image Quilting", SIGGRAPH 2001, section 2.1), here for all pairs of columns at once.

Columns are those of the atlas: the source, and its mirror image on its right.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["Seam", "Seams", "atlas_columns", "features", "find_seams", "trace"]

#: Weight of a difference of colours beside one of gradients: a step of tone is blended away afterwards, a broken line
#: is not. This and the next three were chosen by eye.
_COLOUR_WEIGHT: Final = 0.5
#: Least distance, in widths, between what the two sides of a seam show: nearer, a copy stands beside its original.
_LEAST_STEP: Final = 0.2
#: Columns by which blocks of seams are thinned out: each keeps its best one.
_BLOCK: Final = 3
#: Share of the height over which the worst part of a seam is averaged: a short break is as visible as a long one.
_WORST_PART: Final = 0.12


@dataclass(frozen=True, slots=True)
class Seam:
    """One seam.

    Attributes
    ----------
    columns : ndarray of shape (H,), intp
        For each row, the column of the atlas where the left side ends: the first that is no longer shown.
    step : int
        The column at which the right side goes on, minus that column.
    cost : float
        Mean squared difference along it, plus that along its worst part.
    """

    columns: NDArray[np.intp]
    step: int
    cost: float


@dataclass(frozen=True, slots=True)
class Seams:
    """The best seams of a source, the cheapest first."""

    all: tuple[Seam, ...]
    means: NDArray[np.float32]


def atlas_columns(image: NDArray[np.float32], *, mirrored: bool) -> NDArray[np.float32]:
    """Return the source, shape (H, W, C), and on its right its mirror image where that is allowed."""
    return np.concatenate([image, image[:, ::-1]], axis=1) if mirrored else image


def features(atlas: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what is compared across a seam left of each pixel: both pixels, and their gradients.

    Parameters
    ----------
    atlas : ndarray of shape (H, W, C), float32

    Returns
    -------
    ndarray of shape (H, W, 4 * C), float32
        The left neighbour's and the own values, and the differences to the left and to the row above.
    """
    before = np.concatenate([atlas[:, :1], atlas[:, :-1]], axis=1)
    above = np.concatenate([atlas[:1], atlas[:-1]], axis=0)
    weight = np.float32(np.sqrt(_COLOUR_WEIGHT))
    return np.concatenate([before * weight, atlas * weight, atlas - before, atlas - above], axis=2)


def find_seams(
    image: NDArray[np.float32], toll: NDArray[np.float32], *, mirrored: bool, check: Callable[[], None]
) -> Seams:
    """Return the best seams of a source.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), float32, 0..1
        A small picture (about 54 px).
    toll : ndarray of shape (H, W), float32
        What it costs beside the difference to cut through each pixel: high where something must stay whole.
    mirrored : bool
        Whether the right side may be mirrored against the left.
    check : callable
        Called often; raises to cancel.
    """
    atlas = features(atlas_columns(image, mirrored=mirrored))
    tolls = atlas_columns(toll[..., None], mirrored=mirrored)[..., 0]
    allowed = _allowed(image.shape[1], mirrored=mirrored)
    costs = np.empty((len(atlas), *allowed.shape), np.float32)
    for row, values in enumerate(atlas):
        check()
        norms = np.einsum("cf,cf->c", values, values) + tolls[row]
        costs[row] = np.maximum(norms[:, None] + norms - 2 * (values @ values.T), 0)
    costs[:, ~allowed] = np.inf
    total, back = _paths(costs)
    seams = []
    for left, right in _thinned(total):
        columns = trace(back, left, right)
        along = costs[np.arange(len(columns)), columns, columns + (right - left)]
        seams.append(Seam(columns, int(right - left), _cost(along)))
    seams.sort(key=lambda seam: seam.cost)
    return Seams(tuple(seams), np.array([seam.columns.mean() for seam in seams], np.float32))


def _allowed(width: int, *, mirrored: bool) -> NDArray[np.bool_]:
    """Return between which columns, left and right of a seam, there may be one, shape (columns, columns)."""
    column = np.arange(width * (2 if mirrored else 1))
    shown = np.where(column < width, column, 2 * width - 1 - column)
    apart = np.abs(shown[:, None] - shown) >= _LEAST_STEP * width
    # Left of the first column of a view there is no pixel to compare.
    inside = column % width > 0
    return np.asarray(apart & inside[:, None] & inside)


def _paths(costs: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Return the least sum of costs down to each pair of the last row, and the columns' move from the row above."""
    total = costs[0]
    back = np.zeros(costs.shape, np.int8)
    high, low = slice(1, None), slice(None, -1)
    for row in range(1, len(costs)):
        best = total.copy()
        # Both sides move as one: the step of a seam is the same in all rows.
        for move, here, there in ((-1, high, low), (1, low, high)):
            moved = total[there, there]
            better = moved < best[here, here]
            np.copyto(best[here, here], moved, where=better)
            back[row, here, here][better] = move
        total = best + costs[row]
    return total, back


def trace(back: NDArray[np.int8], left: int, right: int) -> NDArray[np.intp]:
    """Return the columns of the left side, from the pair at which it ends in the last row."""
    columns = np.empty(len(back), np.intp)
    columns[-1] = left
    for row in range(len(back) - 1, 0, -1):
        move = int(back[row, left, right])
        left, right = left + move, right + move
        columns[row - 1] = left
    return columns


def _thinned(total: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return the best pair of each block of pairs that holds any."""
    size = len(total) // _BLOCK * _BLOCK
    blocks = total[:size, :size].reshape(size // _BLOCK, _BLOCK, size // _BLOCK, _BLOCK).swapaxes(1, 2)
    flat = blocks.reshape(size // _BLOCK, size // _BLOCK, -1)
    best = flat.argmin(axis=2)
    down, across = np.nonzero(np.isfinite(flat.min(axis=2)))
    inside = best[down, across]
    return list(
        zip(
            (down * _BLOCK + inside // _BLOCK).tolist(),
            (across * _BLOCK + inside % _BLOCK).tolist(),
            strict=True,
        )
    )


def _cost(along: NDArray[np.float32]) -> float:
    """Return the cost of a seam from those of its rows."""
    size = max(1, round(len(along) * _WORST_PART))
    sums = np.concatenate([[0], np.cumsum(along, dtype=np.float64)])
    return float(along.mean() + (sums[size:] - sums[:-size]).max() / size)
