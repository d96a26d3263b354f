"""Patches as vectors: all of an image's 7x7 neighbourhoods, whole or projected to a few features.

A patch is named by its top-left pixel. An image of H rows and W columns has (H - 6) x (W - 6) of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers

__all__ = ["PATCH", "RADIUS", "basis", "grid", "project", "vectors"]

#: Side of a patch in pixels, as in Granot et al. 2022.
PATCH: Final = 7
#: Pixels on each side of a patch's centre.
RADIUS: Final = PATCH // 2
#: How many patches `basis` looks at: many times their dimensions (147 for RGB), and still a few milliseconds' work.
_SAMPLES: Final = 2_000
#: Dimensions that features have; more make distances truer and comparisons dearer. Chosen by eye.
_FEATURES: Final = 16
#: Bytes of patch vectors that are made at once in `project`, so that a chunk about fits a core's cache.
_CHUNK_BYTES: Final = 4_000_000


def grid(shape: tuple[int, int]) -> tuple[int, int]:
    """Return how many patches an image of `shape` has, down and across."""
    return shape[0] - PATCH + 1, shape[1] - PATCH + 1


def vectors(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return every patch of an image, row by row, as one vector each.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), float32

    Returns
    -------
    ndarray of shape ((H - 6) * (W - 6), 49 * C), float32
    """
    windows = sliding_window_view(image, (PATCH, PATCH), axis=(0, 1))
    return windows.reshape(-1, PATCH * PATCH * image.shape[2])


def basis(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the principal directions of an image's patches, the strongest first.

    Where there are too many patches to compare all their values, these few dimensions judge distances. A projection
    never makes a distance larger, so near patches stay near.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), float32
    rng : numpy.random.Generator
        Chooses the sample of patches.

    Returns
    -------
    ndarray of shape (49 * C, 16), float32
        Columns of length 1.
    """
    windows = sliding_window_view(image, (PATCH, PATCH), axis=(0, 1))
    rows, cols = windows.shape[:2]
    pick = rng.integers(0, rows * cols, _SAMPLES)
    sample = windows[pick // cols, pick % cols].reshape(_SAMPLES, -1)
    sample = sample - sample.mean(axis=0)
    _, directions = np.linalg.eigh(sample.T @ sample)
    return np.ascontiguousarray(directions[:, ::-1][:, :_FEATURES])


def project(
    image: NDArray[np.float32], directions: NDArray[np.float32], workers: Workers
) -> NDArray[np.float32]:
    """Return the features of every patch of an image.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), float32
    directions : ndarray of shape (49 * C, F), float32
        What `basis` returns.
    workers : Workers

    Returns
    -------
    ndarray of shape ((H - 6) * (W - 6), F), float32
    """
    windows = sliding_window_view(image, (PATCH, PATCH), axis=(0, 1))
    rows, cols = windows.shape[:2]
    features = np.empty((rows, cols, directions.shape[1]), np.float32)
    size = max(1, _CHUNK_BYTES // (cols * directions.shape[0] * directions.itemsize))

    def run(top: int) -> None:
        part = features[top : top + size].reshape(-1, directions.shape[1])
        np.matmul(windows[top : top + size].reshape(-1, directions.shape[0]), directions, out=part)

    workers.each(run, range(0, rows, size))
    return features.reshape(rows * cols, -1)
