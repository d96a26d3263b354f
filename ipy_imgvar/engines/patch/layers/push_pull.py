"""Fill what is unknown in an image from what is known around it, at the coarsest scale that it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ipy_imgvar.engines.patch.arrays.resize import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["push_pull"]


def push_pull(image: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `image` with its unknown pixels filled smoothly from the known ones.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), float32
    weight : ndarray of shape (H, W), float32, 0..1
        How far each pixel is known: 1 stays as it is, 0 is filled. Without any known pixel the result is 0.

    Returns
    -------
    ndarray of shape (H, W, C), float32

    References
    ----------
    Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4.2: pull, sums of 2x2 pixels whose weights saturate at
    1; push, the coarser image shows through where the finer has weight to spare. Cubics instead of the paper's
    B-spline filter.
    """
    return _filled(np.concatenate([image * weight[..., None], weight[..., None]], axis=2))


def _filled(weighted: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the filled colours, shape (H, W, C), of colours times weight and the weight, shape (H, W, C + 1)."""
    weight = weighted[..., -1:]
    known = weighted[..., :-1]
    height, width = weight.shape[:2]
    if min(height, width) == 1 or float(weight.min()) >= 1:
        return np.divide(known, weight, out=np.zeros_like(known), where=weight > 0)
    half = (height + 1) // 2, (width + 1) // 2
    # Means of the weights, times 4 for the sum; where they exceed 1, colours are divided by the excess.
    coarse = 4 * resize(weighted, half)
    coarse /= np.maximum(coarse[..., -1:], 1)
    return known + (1 - weight) * resize(_filled(coarse), (height, width))
