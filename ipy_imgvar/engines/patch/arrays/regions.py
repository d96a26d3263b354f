"""Small maps and masks: means over squares, growing, connected regions, holes, thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["box_mean", "components", "dilate", "filled", "otsu"]


def box_mean(values: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Return the mean over a square of side 2 * radius + 1 about each element; borders are repeated."""
    for axis in (0, 1):
        size = values.shape[axis]
        edge = [(0, 0), (0, 0)]
        edge[axis] = (radius + 1, radius)
        total = np.cumsum(np.pad(values, edge, mode="edge"), axis=axis, dtype=np.float64)
        high = np.take(total, np.arange(size) + 2 * radius + 1, axis=axis)
        values = ((high - np.take(total, np.arange(size), axis=axis)) / (2 * radius + 1)).astype(np.float32)
    return values


def dilate(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Return `mask` grown by `radius` pixels in every direction (a square)."""
    for axis in (0, 1):
        grown = mask.copy()
        reach = 0
        while reach < radius:
            # Doubling steps: a run of length r grows by any step up to r without leaving gaps.
            step = min(reach + 1, radius - reach)
            before = grown.copy()
            if axis == 0:
                grown[step:] |= before[:-step]
                grown[:-step] |= before[step:]
            else:
                grown[:, step:] |= before[:, :-step]
                grown[:, :-step] |= before[:, step:]
            reach += step
        mask = grown
    return mask


def components(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Label the 4-connected regions of a small mask by spreading the largest index until nothing changes."""
    framed = np.zeros((mask.shape[0] + 2, mask.shape[1] + 2), np.int64)
    labels = framed[1:-1, 1:-1]
    labels[:] = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    sides = framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:]
    while True:
        spread = np.maximum.reduce([labels, *sides])
        spread *= mask
        if np.array_equal(spread, labels):
            return np.asarray(spread)
        labels[:] = spread


def filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask without holes: what does not reach the border through the outside is inside."""
    labels = components(~mask)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return mask | ~np.isin(labels, border) & (labels > 0)


def otsu(values: NDArray[np.float32]) -> float:
    """Return the threshold that separates two classes best (Otsu 1979); the value itself where there is one."""
    if values.size == 1:
        return float(values.reshape(-1)[0])
    ordered = np.sort(values.reshape(-1)).astype(np.float64)
    size = ordered.size
    low = np.arange(1, size)
    total = np.cumsum(ordered)
    apart = total[:-1] / low - (total[-1] - total[:-1]) / (size - low)
    return float(ordered[1 + (low * (size - low) * apart**2).argmax()])
