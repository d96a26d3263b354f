"""Find the parts of a picture that look like nothing else in it.

A patch is unusual when nothing far from it looks alike. Repetitive ground (grass, water, sky) can be put
together anew without anyone noticing; a face cannot. Patches blur the outline, so each pixel then takes the
mean rank of the pixels of its colour: the sky beside a tower is as ordinary as the sky far from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ipy_imgvar.engines.patch.arrays.regions import box_mean, components, dilate, filled, otsu
from ipy_imgvar.engines.patch.arrays.resize import fitted, resize
from ipy_imgvar.engines.patch.matching.patches import PATCH, RADIUS, basis, grid, vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["uniqueness", "unusual"]

_COMPARED_PX = 64
_MAP_PX = 40
_TOP = 0.75
_RECURS = 0.1
_UNIQUE = 0.36
_RECURRING_COVER = 0.5
_CENTRE = 0.33
_COLOUR = 0.07
_REACH = 0.7
_CLOSED = 3
_NEAR_BORDER = 2
_BELONGS = 0.45
_CENTRED = 0.4
_FAR = np.float32(1e6)


def unusual(source: NDArray[np.float32], cover: float) -> NDArray[np.bool_]:
    """Mark the most unusual parts of a picture that has no plain ground.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    cover : float
        The largest share of the picture that may be marked.

    Returns
    -------
    ndarray of shape (h, w), bool
        At about 40 px on the short side; nothing where the picture is one texture.
    """
    ranks, small, single = uniqueness(source)
    if not single:
        return np.zeros(ranks.shape, bool)
    affinity = _affinity(small)
    shares = (affinity @ ranks.reshape(-1)).reshape(ranks.shape) * ranks**_CENTRED
    mask = _outlined(shares, cover * max(single, _RECURRING_COVER))
    belongs = (affinity @ mask.reshape(-1).astype(np.float32)).reshape(mask.shape)
    return _to_ground(_whole(mask, belongs))


def _to_ground(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Carry on to the lower border what ends next to it, so that a coat is known to be cut off there."""
    mask = mask.copy()
    mask[-_NEAR_BORDER:] |= mask[-_NEAR_BORDER - 1]
    return mask


def _outlined(shares: NDArray[np.float32], cover: float) -> NDArray[np.bool_]:
    """Mark the highest values with closed outlines and a margin, so that at most about `cover` is marked."""
    top = cover
    while True:
        mask = shares >= max(otsu(shares), float(np.quantile(shares, 1 - top)))
        closed = ~dilate(~dilate(mask, _CLOSED), _CLOSED)
        mask = dilate(filled(mask | closed), 1)
        if mask.mean() <= cover or top < cover / 4:
            return mask
        top *= 0.8


def _whole(mask: NDArray[np.bool_], belongs: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Add the adjoining parts whose colour lies mostly inside the mask: the rest of a coat, of a tower."""
    labels = components(mask | (belongs > _BELONGS))
    return filled(np.isin(labels, labels[mask]) & (labels > 0))


def uniqueness(source: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Return how unusual each part of a picture is.

    Patches are compared at about 64 px on the short side: at that scale a face outweighs a plain coat.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1

    Returns
    -------
    ranks : ndarray of shape (h, w), float32
        0 (most ordinary) to 1, at about 40 px; all 0 where the picture is too small to judge.
    small : ndarray of shape (h, w, C), float32
        The picture at that size.
    single : float
        0 where even the most unusual part recurs elsewhere (a wall, a field of stars), 1 where it is unlike
        all else.
    """
    fine = resize(source, fitted(source, _COMPARED_PX))
    small = resize(fine, fitted(source, _MAP_PX))
    shape = small.shape[:2]
    if min(shape) < 2 * PATCH:
        return np.zeros(shape, np.float32), small, 0.0
    lonely, contrast = _lonely(fine)
    lows = box_mean(box_mean(np.pad(np.sqrt(lonely), RADIUS, mode="edge"), 4), 4)
    unusual = resize(lows[..., None], shape)[..., 0] * _centred(shape)
    if np.ptp(unusual) < 1e-4:  # noqa: PLR2004 - a picture of one texture has no subject
        return np.zeros(shape, np.float32), small, 0.0
    ranks = unusual.reshape(-1).argsort(kind="stable").argsort(kind="stable").reshape(shape)
    top = lows[RADIUS:-RADIUS, RADIUS:-RADIUS] > np.quantile(lows, _TOP)
    recurring = float(lonely[top].sum() / (contrast[top].sum() + 1e-6))
    single = float(np.clip((recurring - _RECURS) / (_UNIQUE - _RECURS), 0, 1))
    return (ranks / (ranks.size - 1)).astype(np.float32), small, single


def _lonely(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return each patch's squared distance to the nearest one over 7 px away (or 0), and its contrast."""
    rows, cols = grid(image.shape[:2])
    patches = vectors(image)
    contrast = patches.reshape(len(patches), -1, PATCH * PATCH).var(axis=2).sum(axis=1) * PATCH * PATCH
    patches = patches @ basis(image, np.random.default_rng(0))
    norms = np.einsum("pf,pf->p", patches, patches)
    doubled = patches.T * -2
    apart = np.abs(np.subtract.outer(np.arange(cols), np.arange(cols)))
    near = np.where(apart <= PATCH, _FAR, np.float32(0))[:, None]
    lows = np.empty((rows, cols), np.float32)
    for row in range(rows):
        asked = slice(row * cols, (row + 1) * cols)
        distances = (patches[asked] @ doubled + norms).reshape(cols, rows, cols)
        distances[:, max(0, row - PATCH) : row + PATCH + 1] += near
        lows[row] = distances.reshape(cols, -1).min(axis=1) + norms[asked]
    lows[lows > _FAR / 2] = 0
    return np.maximum(lows, 0), contrast.reshape(rows, cols)


def _affinity(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how near every two pixels are in colour and, loosely, in place; rows sum to 1."""
    height, width, channels = small.shape
    places = np.moveaxis(np.indices((height, width)), 0, -1) / (min(height, width) * _REACH)
    features = np.concatenate([small / (_COLOUR * np.sqrt(channels)), places], axis=2)
    features = features.reshape(height * width, -1).astype(np.float32)
    norms = np.einsum("pf,pf->p", features, features)
    weights = features @ features.T
    weights -= norms[:, None] / 2
    weights -= norms / 2
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(weights)


def _centred(shape: tuple[int, int]) -> NDArray[np.float32]:
    down, across = ((np.arange(size) + 0.5) / size - 0.5 for size in shape)
    weight = np.exp(-0.5 * (down[:, None] ** 2 + across**2) / _CENTRE**2)
    return weight.astype(np.float32)
