"""How new an arrangement is, and which one to take: one that coheres, and is not a moved copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ipy_imgvar.engines.patch.arrays.resize import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.strength import Tuning

__all__ = ["new_share", "rank_candidates"]

#: Share of the reference's sides that is looked for: what a move pushes out of the picture is not missed.
_INNER: Final = 0.8
#: Scales of the reference that count as a copy of it.
_ZOOMS: Final = (1.0, 0.9, 0.8, 0.7)
#: The least product of norms that a correlation is divided by: a flat picture correlates with nothing.
_LEAST_NORM: Final = 1e-6
#: What nearness to a sibling counts beside nearness to the source. This and the next two were chosen by eye.
_SIBLING_WEIGHT: Final = 0.6
#: How far apart two siblings should be, as a mean absolute difference of values of 0..1.
_SIBLINGS_APART: Final = 0.06
#: The new share, 0..1, below which an arrangement is the source moved, at any aim.
_COPY: Final = 0.06


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
    # Alpha does not count.
    grey, reference_grey = image[..., :3].mean(axis=2), reference[..., :3].mean(axis=2)
    rows, cols = (max(1, round(_INNER * size)) for size in reference_grey.shape)
    top, left = (reference_grey.shape[0] - rows) // 2, (reference_grey.shape[1] - cols) // 2
    inner = reference_grey[top : top + rows, left : left + cols]
    return 1 - max(_best_correlation(grey, _zoom(inner, grey.shape, zoom)) for zoom in _ZOOMS)


def _zoom(inner: NDArray[np.float32], limit: tuple[int, int], zoom: float) -> NDArray[np.float32]:
    """Return a grey image at a scale, but no larger than `limit`."""
    rows, cols = (
        max(1, min(round(zoom * size), most)) for size, most in zip(inner.shape, limit, strict=True)
    )
    return resize(inner[..., None], (rows, cols))[..., 0]


def _best_correlation(image: NDArray[np.float32], template: NDArray[np.float32]) -> float:
    """Return the best correlation, -1..1, of a template or its mirror image with any window of the image."""
    windows = sliding_window_view(image, template.shape).reshape(-1, template.size)
    windows = windows - windows.mean(axis=1, keepdims=True)
    norms = np.sqrt(np.einsum("wp,wp->w", windows, windows))
    both = np.stack([template.reshape(-1), template[:, ::-1].reshape(-1)])
    both -= both.mean(axis=1, keepdims=True)
    scale = norms[:, None] * np.sqrt(np.einsum("tp,tp->t", both, both))
    return float((windows @ both.T / np.maximum(scale, _LEAST_NORM)).max())


def rank_candidates(
    images: list[NDArray[np.float32]],
    costs: list[float],
    source: NDArray[np.float32],
    siblings: list[NDArray[np.float32]],
    tuning: Tuning,
) -> list[int]:
    """Return the indices of the candidates, the best first.

    A candidate loses for its cost, and for being nearer than wanted to the source or to a sibling. Beyond
    that more novelty earns nothing, so that the cost decides among those that are new enough.

    Parameters
    ----------
    images : list of ndarray of shape (h, w, C), float32, 0..1
        The candidates, all at the scale of `source`.
    costs : list of float
        What each candidate costs, 1 being usual.
    source : ndarray of shape (H, W, C), float32, 0..1
        A small copy (about 30 px).
    siblings : list of ndarray of shape (h, w, C), float32, 0..1
        The candidates that earlier pictures took, at the same scale.
    tuning : Tuning
        The new share to aim at (0: a moved copy will do), and how much missing it counts.
    """
    scores = []
    for image, cost in zip(images, costs, strict=True):
        nearness = [_nearness(image, sibling, tuning.new_share) for sibling in siblings]
        penalty = _SIBLING_WEIGHT * max(nearness, default=0.0)
        if tuning.new_share:
            share = new_share(image, source)
            penalty += max(0.0, 1 - share / tuning.new_share) + max(0.0, 1 - share / _COPY)
        scores.append(cost + tuning.novelty_weight * penalty)
    return [int(one) for one in np.argsort(scores, kind="stable")]


def _nearness(image: NDArray[np.float32], sibling: NDArray[np.float32], aim: float) -> float:
    """Return how near two siblings are: 0 (far enough, pixel by pixel and as arrangements) to 1 (equal)."""
    apart = float(np.abs(image - sibling).mean()) / _SIBLINGS_APART
    return max(0.0, 1 - (min(apart, new_share(image, sibling) / aim) if aim else apart))
