"""Find the parts of a picture that look like nothing else in it.

A patch is salient when nothing far from it looks alike. Repetitive ground (grass, water, sky) can be put together
anew and still look right; a face cannot. Patches blur the outline, so each pixel then takes the mean rank of the
pixels of its colour: the sky beside a tower is as ordinary as the sky far from it.

Where a constant names no source, it was chosen by eye on scikit-image's photographs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ipy_imgvar.engines.patch.arrays.regions import (
    dilation,
    fill_holes,
    label,
    threshold_otsu,
    uniform_filter,
)
from ipy_imgvar.engines.patch.arrays.resize import reduced_shape, resize
from ipy_imgvar.engines.patch.matching.patches import PATCH, RADIUS, basis, grid, vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Saliency", "most_salient", "saliency"]

#: Short side, in pixels, at which patches are compared: there a face outweighs a plain coat.
_COMPARED_PX: Final = 64
#: Short side, in pixels, of the maps and masks: all pairs of its pixels are compared by colour, 10 MB of weights.
_MAP_PX: Final = 40
#: Radius, in pixels at 64 px, of the squares that the map of distances is averaged over, twice.
_MAP_RADIUS: Final = 4
#: Range of the map, in distances of patches, below which the picture is one texture.
_LEAST_RANGE: Final = 1e-4
#: Quantile of the map from which patches count for how unique the picture's most salient part is.
_TOP: Final = 0.75
#: Squared distance of those patches to their nearest others, over their contrast, up to which they recur elsewhere (a
#: brick wall).
_RECURS: Final = 0.1
#: The same from which they are unlike all else (a face).
_UNIQUE: Final = 0.36
#: The least contrast, summed over patches, that is divided by.
_LEAST_CONTRAST: Final = 1e-6
#: Share of `cover` that is left where the most salient part recurs.
_RECURRING_COVER: Final = 0.5
#: Standard deviation, in sides of the picture, of the weight that favours the centre.
_CENTRE_STD: Final = 0.33
#: Difference of colours, in root mean squares of 0..1, that counts as much as one unit of distance.
_COLOUR_STD: Final = 0.07
#: Distance, in short sides, that counts as much as that: pixels of a colour belong together nearly anywhere.
_REACH: Final = 0.7
#: Exponent of a pixel's own rank beside its colour's: 0 ignores where in its colour the pixel lies.
_OWN_RANK: Final = 0.4
#: Radius, in pixels at 40 px, of the gaps in an outline that are closed.
_GAP_RADIUS: Final = 3
#: Share of `cover` below which the outline is not reduced further.
_LEAST_COVER: Final = 0.25
#: Factor on the share of the picture above the threshold, for each step by which the outline is reduced.
_COVER_STEP: Final = 0.8
#: Rows at the lower border that take the marks of the row above them.
_NEAR_BORDER: Final = 2
#: Share of a colour's pixels that must be marked for the rest of them to be added.
_BELONGS: Final = 0.45
#: Squared distance of patches that may not be compared, above any real one (49 * C at most).
_FAR: Final = np.float32(1e6)


class Saliency(NamedTuple):
    """How salient each part of a picture is.

    Attributes
    ----------
    ranks : ndarray of shape (h, w), float32
        0 (most ordinary) to 1, at about 40 px; all 0 where the picture is too small to judge.
    image : ndarray of shape (h, w, C), float32, 0..1
        The picture at that size.
    uniqueness : float
        0 where even the most salient part recurs elsewhere (a wall, a field of stars), 1 where it is unlike all else.
    """

    ranks: NDArray[np.float32]
    image: NDArray[np.float32]
    uniqueness: float


def most_salient(salient: Saliency, cover: float) -> NDArray[np.bool_]:
    """Mark the most salient parts of a picture that has no plain ground.

    Parameters
    ----------
    salient : Saliency
        What `saliency` returns of the picture.
    cover : float
        The largest share of the picture, 0..1, that may be marked.

    Returns
    -------
    ndarray of shape (h, w), bool
        At about 40 px on the short side; nothing where the picture is one texture.
    """
    ranks, small, uniqueness = salient
    if not uniqueness:
        return np.zeros(ranks.shape, bool)
    affinity = _affinity(small)
    shares = (affinity @ ranks.reshape(-1)).reshape(ranks.shape) * ranks**_OWN_RANK
    mask = _outline(shares, cover * max(uniqueness, _RECURRING_COVER))
    belongs = (affinity @ mask.reshape(-1).astype(np.float32)).reshape(mask.shape)
    return _extend_to_bottom(_complete(mask, belongs))


def _extend_to_bottom(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Carry on to the lower border what ends next to it, so that a coat counts as cut off there."""
    mask = mask.copy()
    mask[-_NEAR_BORDER:] |= mask[-_NEAR_BORDER - 1]
    return mask


def _outline(shares: NDArray[np.float32], cover: float) -> NDArray[np.bool_]:
    """Mark the highest values with closed outlines and a margin, so that at most about `cover` is marked."""
    top = cover
    while True:
        mask = shares >= max(threshold_otsu(shares), float(np.quantile(shares, 1 - top)))
        closed = ~dilation(~dilation(mask, _GAP_RADIUS), _GAP_RADIUS)
        mask = dilation(fill_holes(mask | closed), 1)
        if mask.mean() <= cover or top < cover * _LEAST_COVER:
            return mask
        top *= _COVER_STEP


def _complete(mask: NDArray[np.bool_], belongs: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Add the adjoining parts whose colour lies mostly inside the mask: the rest of a coat, of a tower."""
    labels = label(mask | (belongs > _BELONGS))
    return fill_holes(np.isin(labels, labels[mask]) & (labels > 0))


def saliency(source: NDArray[np.float32]) -> Saliency:
    """Return how salient each part of a picture is.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    """
    fine = resize(source, reduced_shape(source, _COMPARED_PX))
    small = resize(fine, reduced_shape(source, _MAP_PX))
    shape = small.shape[:2]
    if min(shape) < 2 * PATCH:
        return Saliency(np.zeros(shape, np.float32), small, 0.0)
    distances, contrast = _nearest_distances(fine)
    lows = np.pad(np.sqrt(distances), RADIUS, mode="edge")
    lows = uniform_filter(uniform_filter(lows, _MAP_RADIUS), _MAP_RADIUS)
    values = resize(lows[..., None], shape)[..., 0] * _centre_weight(shape)
    if np.ptp(values) < _LEAST_RANGE:
        return Saliency(np.zeros(shape, np.float32), small, 0.0)
    # Stable, so that equal values rank by position on every machine.
    ranks = values.reshape(-1).argsort(kind="stable").argsort(kind="stable").reshape(shape)
    top = lows[RADIUS:-RADIUS, RADIUS:-RADIUS] > np.quantile(lows, _TOP)
    ratio = float(distances[top].sum() / (contrast[top].sum() + _LEAST_CONTRAST))
    uniqueness = float(np.clip((ratio - _RECURS) / (_UNIQUE - _RECURS), 0, 1))
    return Saliency((ranks / (ranks.size - 1)).astype(np.float32), small, uniqueness)


def _nearest_distances(image: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return each patch's squared distance to the nearest one over 7 px away (or 0), and its contrast.

    Both are of shape grid(image.shape), float32. Distances are taken between features, which keeps a row's distances
    to all patches a small product.
    """
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
        queries = slice(row * cols, (row + 1) * cols)
        distances = (patches[queries] @ doubled + norms).reshape(cols, rows, cols)
        distances[:, max(0, row - PATCH) : row + PATCH + 1] += near
        lows[row] = distances.reshape(cols, -1).min(axis=1) + norms[queries]
    # In a small picture every other patch can be near.
    lows[lows > _FAR / 2] = 0
    return np.maximum(lows, 0), contrast.reshape(rows, cols)


def _affinity(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how near every two pixels are in colour and, loosely, in position.

    Returns
    -------
    ndarray of shape (h * w, h * w), float32
        Weights of 0..1; rows sum to 1.
    """
    height, width, channels = small.shape
    positions = np.moveaxis(np.indices((height, width)), 0, -1) / (min(height, width) * _REACH)
    features = np.concatenate([small / (_COLOUR_STD * np.sqrt(channels)), positions], axis=2)
    features = features.reshape(height * width, -1).astype(np.float32)
    norms = np.einsum("pf,pf->p", features, features)
    weights = features @ features.T
    weights -= norms[:, None] / 2
    weights -= norms / 2
    np.exp(weights, out=weights)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(weights)


def _centre_weight(shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return a Gaussian about the picture's centre, 1 there, of the given shape."""
    down, across = ((np.arange(size) + 0.5) / size - 0.5 for size in shape)
    weight = np.exp(-0.5 * (down[:, None] ** 2 + across**2) / _CENTRE_STD**2)
    return weight.astype(np.float32)
