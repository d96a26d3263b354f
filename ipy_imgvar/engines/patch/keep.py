"""Find what must stay whole: the unusual parts of a picture, as separate subjects.

A patch is unusual when nothing far from it looks alike. Repetitive ground (grass, water, sky) can be put
together anew without anyone noticing; a face cannot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .patches import PATCH, RADIUS, vectors
from .resize import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["subjects", "uniqueness"]

_MAP_PX = 40
_MAP_PATCHES = 1_800
_CENTRE = 0.33
_SMALLEST = 0.015


def uniqueness(source: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how unusual each part of a picture is, at about 40 px on the short side.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1

    Returns
    -------
    ndarray of shape (h, w), float32
        Ranks, 0 (most ordinary) to 1; all 0 where the picture is too small to judge.
    """
    height, width = source.shape[:2]
    scale = min(1.0, _MAP_PX / min(height, width), (_MAP_PATCHES / (height * width)) ** 0.5)
    shape = max(1, round(height * scale)), max(1, round(width * scale))
    if min(shape) < 2 * PATCH:
        return np.zeros(shape, np.float32)
    small = resize(source, shape)
    rows, cols = shape[0] - PATCH + 1, shape[1] - PATCH + 1
    patches = vectors(small)
    norms = np.einsum("pf,pf->p", patches, patches)
    distances = norms[:, None] + norms - 2 * (patches @ patches.T)
    grid_distances = distances.reshape(rows, cols, rows, cols)
    for row in range(rows):
        grid_distances[row, :, max(0, row - PATCH) : row + PATCH + 1] += _near(cols)[:, None]
    lows = distances.min(axis=1)
    lows[lows > norms.max() * 4 + 1e3] = 0
    unusual = np.sqrt(np.maximum(lows, 0)).reshape(rows, cols)
    unusual = np.pad(unusual, RADIUS, mode="edge")
    unusual = _box(_box(unusual, 3), 3) * _centred(shape)
    if np.ptp(unusual) < 1e-4:  # noqa: PLR2004 - a picture of one texture has no subject
        return np.zeros(shape, np.float32)
    ranks = unusual.reshape(-1).argsort().argsort().reshape(shape)
    return (ranks / (ranks.size - 1)).astype(np.float32)


def subjects(ranks: NDArray[np.float32], quantile: float) -> list[NDArray[np.bool_]]:
    """Split the part above a quantile into connected subjects, the largest first.

    Specks under 1.5 % of the picture are left to the ground.

    Parameters
    ----------
    ranks : ndarray of shape (h, w), float32, 0..1
    quantile : float

    Returns
    -------
    list of ndarray of shape (h, w), bool
    """
    labels = _components(ranks > quantile)
    found = [labels == label for label in np.unique(labels[labels > 0])]
    found = [mask for mask in found if mask.sum() >= _SMALLEST * mask.size]
    return sorted(found, key=lambda mask: -int(mask.sum()))


def _near(cols: int) -> NDArray[np.float32]:
    """Return a large penalty for columns at most 7 px apart, shape (cols, cols)."""
    apart = np.abs(np.subtract.outer(np.arange(cols), np.arange(cols)))
    return np.where(apart <= PATCH, np.float32(1e6), np.float32(0))


def _components(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Label the 4-connected regions of a small mask by spreading the largest index until nothing changes."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        padded = np.pad(labels, 1)
        spread = np.maximum.reduce(
            [labels, padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
        )
        spread[~mask] = 0
        if np.array_equal(spread, labels):
            return labels
        labels = spread


def _centred(shape: tuple[int, int]) -> NDArray[np.float32]:
    down, across = ((np.arange(size) + 0.5) / size - 0.5 for size in shape)
    weight = np.exp(-0.5 * (down[:, None] ** 2 + across**2) / _CENTRE**2)
    return weight.astype(np.float32)


def _box(values: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    for axis in (0, 1):
        size = values.shape[axis]
        edge = [(0, 0), (0, 0)]
        edge[axis] = (radius + 1, radius)
        total = np.cumsum(np.pad(values, edge, mode="edge"), axis=axis, dtype=np.float64)
        high = np.take(total, np.arange(size) + 2 * radius + 1, axis=axis)
        values = ((high - np.take(total, np.arange(size), axis=axis)) / (2 * radius + 1)).astype(np.float32)
    return values
