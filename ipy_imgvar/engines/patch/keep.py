"""Find what must stay whole: the unusual parts of a picture, as separate subjects.

A patch is unusual when nothing far from it looks alike. Repetitive ground (grass, water, sky) can be put
together anew without anyone noticing; a face cannot. Patches blur the outline, so each pixel then takes the
mean rank of the pixels of its colour: the sky beside a tower is as ordinary as the sky far from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .barrier import otsu, things
from .field import dilate
from .patches import PATCH, RADIUS, basis, grid, vectors
from .resize import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["box_mean", "detail", "subjects", "uniqueness"]

_COMPARED_PX = 64
_FINE_PX = 256
_MAP_PX = 40
_DETAIL = np.float32(2)
_TOP = 0.75
_RECURS = 0.1
_UNIQUE = 0.36
_RECURRING_COVER = 0.5
_CENTRE = 0.33
_SMALLEST = 0.003
_MOST = 24
_COLOUR = 0.07
_REACH = 0.7
_CLOSED = 3
_NEAR_BORDER = 2
_BELONGS = 0.45
_CENTRED = 0.4
_FAR = np.float32(1e6)


def subjects(source: NDArray[np.float32], cover: float) -> list[NDArray[np.float32]]:
    """Return the separate subjects of a picture, the largest first.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    cover : float
        The largest share of the picture that subjects may take.

    Returns
    -------
    list of ndarray of shape (h, w), float32
        1 inside the subject, 0 outside, at about 64 px; empty where the picture is one texture.
    """
    small = resize(source, _fitted(source, _COMPARED_PX))
    mask = None
    if min(small.shape[:2]) >= 2 * PATCH:
        mask = things(np.concatenate([_smooth(small), _DETAIL * detail(source, small.shape[:2])], axis=2))
    if mask is None:
        return _separate(_unusual(source, cover))
    mask = _filled(mask)
    return [(dilate(one > 0, 1) & ((one > 0) | ~mask)).astype(np.float32) for one in _separate(mask)]


def _separate(mask: NDArray[np.bool_]) -> list[NDArray[np.float32]]:
    """Return the connected regions that are large enough, the largest first."""
    labels = components(mask)
    found = [labels == label for label in np.unique(labels[labels > 0])]
    found = [one.astype(np.float32) for one in found if one.sum() >= _SMALLEST * one.size]
    return sorted(found, key=lambda one: -float(one.sum()))[:_MOST]


def detail(source: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return how much a picture has that is lost at a small size: masts, wires, whiskers.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32
    shape : tuple of int
        (rows, columns) of the small size.

    Returns
    -------
    ndarray of shape (*shape, 1), float32
        The mean absolute difference to the picture enlarged from that size.
    """
    fine = resize(source, _fitted(source, _FINE_PX))
    lost = np.abs(fine - resize(resize(fine, shape), fine.shape[:2])).mean(axis=2, keepdims=True)
    return resize(lost, shape)


def _smooth(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([box_mean(image[..., channel], 1) for channel in range(image.shape[2])], axis=-1)


def _unusual(source: NDArray[np.float32], cover: float) -> NDArray[np.bool_]:
    """Mark the most unusual parts of a picture that has no plain ground."""
    ranks, small, single = uniqueness(source)
    if not single:
        return np.zeros(ranks.shape, bool)
    shares = _by_colour(ranks, small) * ranks**_CENTRED
    mask = _outlined(shares, cover * max(single, _RECURRING_COVER))
    return _to_ground(_whole(mask, _by_colour(mask.astype(np.float32), small)))


def _to_ground(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Carry on to the lower border what ends next to it, so that a coat is known to be cut off there."""
    mask = mask.copy()
    mask[-_NEAR_BORDER:] |= mask[-_NEAR_BORDER - 1]
    return mask


def detail(source: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return how much a picture has that is lost at a small size: masts, wires, whiskers.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32
    shape : tuple of int
        (rows, columns) of the small size.

    Returns
    -------
    ndarray of shape (*shape, 1), float32
        The mean absolute difference to the picture enlarged from that size.
    """
    fine = resize(source, _fitted(source, _FINE_PX))
    lost = np.abs(fine - resize(resize(fine, shape), fine.shape[:2])).mean(axis=2, keepdims=True)
    return resize(lost, shape)


def _smooth(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([box_mean(image[..., channel], 1) for channel in range(image.shape[2])], axis=-1)


def _unusual(source: NDArray[np.float32], cover: float) -> NDArray[np.bool_]:
    """Mark the most unusual parts of a picture that has no plain ground."""
    ranks, small, single = uniqueness(source)
    if not single:
        return np.zeros(ranks.shape, bool)
    shares = _by_colour(ranks, small) * ranks**_CENTRED
    mask = _outlined(shares, cover * max(single, _RECURRING_COVER))
    return _to_ground(_whole(mask, _by_colour(mask.astype(np.float32), small)))


def _to_border(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Carry on to the border what ends next to it: patches centred there are never seen."""
    mask = mask.copy()
    for lines in (mask, mask[::-1], mask.T, mask.T[::-1]):
        lines[:_NEAR_BORDER] |= lines[_NEAR_BORDER]
    return mask


def _outlined(shares: NDArray[np.float32], cover: float) -> NDArray[np.bool_]:
    """Mark the highest values with closed outlines and a margin, so that at most about `cover` is marked."""
    top = cover
    while True:
        mask = shares >= max(otsu(shares), float(np.quantile(shares, 1 - top)))
        closed = ~dilate(~dilate(mask, _CLOSED), _CLOSED)
        mask = dilate(_filled(mask | closed), 1)
        if mask.mean() <= cover or top < cover / 4:
            return mask
        top *= 0.8


def _whole(mask: NDArray[np.bool_], belongs: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Add the adjoining parts whose colour lies mostly inside the mask: the rest of a coat, of a tower."""
    labels = components(mask | (belongs > _BELONGS))
    return _filled(np.isin(labels, labels[mask]) & (labels > 0))


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
    fine = resize(source, _fitted(source, _COMPARED_PX))
    small = resize(fine, _fitted(source, _MAP_PX))
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


def components(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
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


def _fitted(source: NDArray[np.float32], short_px: int) -> tuple[int, int]:
    """Return the shape of the source reduced to a short side, or further where it is a long strip."""
    height, width = source.shape[:2]
    scale = min(1.0, short_px / min(height, width), short_px * (1.2 / (height * width)) ** 0.5)
    return max(1, round(height * scale)), max(1, round(width * scale))


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


def _by_colour(ranks: NDArray[np.float32], small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the mean rank of the pixels that are near each pixel in colour and, loosely, in place."""
    height, width, channels = small.shape
    places = np.moveaxis(np.indices((height, width)), 0, -1) / (min(height, width) * _REACH)
    features = np.concatenate([small / (_COLOUR * np.sqrt(channels)), places], axis=2)
    features = features.reshape(height * width, -1).astype(np.float32)
    norms = np.einsum("pf,pf->p", features, features)
    weights = features @ features.T - norms[:, None] / 2
    weights -= norms / 2
    np.exp(weights, out=weights)
    means: NDArray[np.float32] = (weights @ ranks.reshape(-1)) / weights.sum(axis=1)
    return means.reshape(height, width)


def _filled(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask without holes: what does not reach the border through the outside is inside."""
    labels = components(~mask)
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    return mask | ~np.isin(labels, border) & (labels > 0)


def _centred(shape: tuple[int, int]) -> NDArray[np.float32]:
    down, across = ((np.arange(size) + 0.5) / size - 0.5 for size in shape)
    weight = np.exp(-0.5 * (down[:, None] ** 2 + across**2) / _CENTRE**2)
    return weight.astype(np.float32)
