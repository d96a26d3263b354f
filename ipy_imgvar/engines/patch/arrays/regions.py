"""Small maps and masks: means over squares, dilation, connected regions, holes, thresholds.

The names are those of `scipy.ndimage` and `skimage`, for the few cases that the engine needs. SciPy itself would cost
143 MB and 0.6 s of import, and most of the maps are of about 64 px.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["dilation", "fill_holes", "label", "threshold_otsu", "uniform_filter"]


def uniform_filter(values: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Return the mean over the square about each element; the border's values are repeated beyond it.

    Running sums make the cost independent of the radius.

    Parameters
    ----------
    values : ndarray of shape (H, W), float32
    radius : int
        In elements; the square's side is 2 * radius + 1.

    Returns
    -------
    ndarray of shape (H, W), float32
    """
    for axis in (0, 1):
        size = values.shape[axis]
        edge = [(0, 0), (0, 0)]
        edge[axis] = (radius + 1, radius)
        # In float32 the sums of a long row would lose the small values that are added last.
        total = np.cumsum(np.pad(values, edge, mode="edge"), axis=axis, dtype=np.float64)
        high = np.take(total, np.arange(size) + 2 * radius + 1, axis=axis)
        values = ((high - np.take(total, np.arange(size), axis=axis)) / (2 * radius + 1)).astype(np.float32)
    return values


def dilation(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Return a mask of shape (H, W) grown by `radius` pixels to every side, corners included."""
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


def label(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Label the 4-connected regions of a small mask.

    Each region spreads its largest flat index until nothing changes, so a winding region takes many rounds.

    Parameters
    ----------
    mask : ndarray of shape (H, W), bool

    Returns
    -------
    ndarray of shape (H, W), int64
        0 outside the mask, 1 to H * W inside: numbers with gaps, one for each region.
    """
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


def fill_holes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask of shape (H, W) with the unmarked regions added that do not reach the border."""
    labels = label(~mask)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return mask | ~np.isin(labels, border) & (labels > 0)


def threshold_otsu(values: NDArray[np.float32]) -> float:
    """Return the threshold that separates two classes best.

    It is exact, over all values instead of a histogram's bins: the maps are small and their values often few.

    Parameters
    ----------
    values : ndarray of any shape, float32
        At least one value.

    Returns
    -------
    float
        The least value of the upper class; the value itself where there is only one.

    References
    ----------
    Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979, equation 14.
    """
    if values.size == 1:
        return float(values.reshape(-1)[0])
    ordered = np.sort(values.reshape(-1)).astype(np.float64)
    size = ordered.size
    low = np.arange(1, size)
    total = np.cumsum(ordered)
    between = total[:-1] / low - (total[-1] - total[:-1]) / (size - low)
    return float(ordered[1 + (low * (size - low) * between**2).argmax()])
