"""How new an arrangement is: a moved copy of the source, or of a sibling, is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["new_share"]

_INNER = 0.8


def new_share(image: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    """Return 1 minus the best correlation of the reference's inner 80 % with the image, moved or mirrored.

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
    height, width = (
        max(1, min(round(_INNER * size), limit)) for size, limit in zip(known.shape, grey.shape, strict=True)
    )
    top, left = (known.shape[0] - height) // 2, (known.shape[1] - width) // 2
    inner = known[top : top + height, left : left + width]
    windows = sliding_window_view(grey, (height, width)).reshape(-1, height * width)
    windows = windows - windows.mean(axis=1, keepdims=True)
    norms = np.sqrt(np.einsum("wp,wp->w", windows, windows))
    templates = np.stack([inner.reshape(-1), inner[:, ::-1].reshape(-1)])
    templates = templates - templates.mean(axis=1, keepdims=True)
    scale = norms[:, None] * np.sqrt(np.einsum("tp,tp->t", templates, templates))
    return float(1 - (windows @ templates.T / np.maximum(scale, 1e-6)).max())
