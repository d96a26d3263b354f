"""How new an arrangement is, and which one to take: one that coheres, and is not a moved copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ipy_imgvar.engines.patch.arrays.resize import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.strength import Knobs

__all__ = ["best", "new_share"]

_INNER = 0.8
_ZOOMS = (1.0, 0.9, 0.8, 0.7)
_AGAINST_SIBLINGS = 0.6
_SIBLINGS_APART = 0.06
"""How far two siblings should be apart, as a mean absolute difference."""

_COPY = 0.06
"""The new share below which an arrangement is the source moved, whatever is aimed at."""


def new_share(image: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return 1 minus the best correlation of the reference's inner 80 % with the image.

    All shifts, four zooms from 0.7 to 1, and mirroring are tried.

    Parameters
    ----------
    image, reference : ndarray of shape (H, W, C), float32
        Small pictures (about 30 px); both are judged in grey.

    Returns
    -------
    float
        0 where the image is the reference moved; 1 where nothing is left of it.
    """
    grey, known = image[..., :3].mean(axis=2), reference[..., :3].mean(axis=2)
    rows, cols = (max(1, round(_INNER * size)) for size in known.shape)
    top, left = (known.shape[0] - rows) // 2, (known.shape[1] - cols) // 2
    inner = known[top : top + rows, left : left + cols]
    return 1 - max(_best(grey, _zoomed(inner, grey.shape, zoom)) for zoom in _ZOOMS)


def _zoomed(inner: NDArray[np.float32], limit: tuple[int, int], zoom: float) -> NDArray[np.float32]:
    rows, cols = (
        max(1, min(round(zoom * size), most)) for size, most in zip(inner.shape, limit, strict=True)
    )
    return resize(inner[..., None], (rows, cols))[..., 0]


def _best(image: NDArray[np.float32], template: NDArray[np.float32]) -> float:
    """Return the best correlation of a template, or its mirror image, over all its places in the image."""
    windows = sliding_window_view(image, template.shape).reshape(-1, template.size)
    windows = windows - windows.mean(axis=1, keepdims=True)
    norms = np.sqrt(np.einsum("wp,wp->w", windows, windows))
    both = np.stack([template.reshape(-1), template[:, ::-1].reshape(-1)])
    both -= both.mean(axis=1, keepdims=True)
    scale = norms[:, None] * np.sqrt(np.einsum("tp,tp->t", both, both))
    return float((windows @ both.T / np.maximum(scale, 1e-6)).max())


def best(
    images: list[NDArray[np.float32]],
    costs: list[float],
    source: NDArray[np.float32],
    siblings: list[NDArray[np.float32]],
    knobs: Knobs,
) -> int:
    """Return the index of the candidate to carry on.

    A candidate loses for its cost, and for being nearer than wanted to the source or to a sibling. Beyond
    that more novelty earns nothing, so that the cost decides among those that are new enough.

    Parameters
    ----------
    images : list of ndarray of shape (h, w, C), float32
        The candidates, all at the scale of `source`.
    costs : list of float
        What each candidate costs, 1 being usual.
    source : ndarray of shape (H, W, C), float32
        A small copy (about 30 px).
    siblings : list of ndarray of shape (h, w, C), float32
        What was chosen for the pictures before, at the same scale.
    knobs : Knobs
        The new share to aim at (0: a moved copy will do), and how much missing it counts.
    """
    scores = []
    for image, cost in zip(images, costs, strict=True):
        lacking = _AGAINST_SIBLINGS * max((_near(image, one, knobs.share) for one in siblings), default=0.0)
        if knobs.share:
            share = new_share(image, source)
            lacking += max(0.0, 1 - share / knobs.share) + max(0.0, 1 - share / _COPY)
        scores.append(cost + knobs.novelty * lacking)
    return int(np.argmin(scores))


def _near(image: NDArray[np.float32], sibling: NDArray[np.float32], aim: float) -> float:
    """Return how much two siblings lack: 0 where they are far enough apart, in place and as arrangements."""
    apart = float(np.abs(image - sibling).mean()) / _SIBLINGS_APART
    return max(0.0, 1 - (min(apart, new_share(image, sibling) / aim) if aim else apart))
