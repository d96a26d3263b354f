"""How new an arrangement is: a moved copy of the source, or of a sibling, is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .resize import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["new_share"]

_INNER = 0.8
_ZOOMS = (1.0, 0.9, 0.8)


def new_share(image: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return 1 minus the best correlation of the reference's inner 80 % with the image.

    All shifts, three zooms from 0.8 to 1, and mirroring are tried.

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
