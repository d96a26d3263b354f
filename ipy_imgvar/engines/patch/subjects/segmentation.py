"""Find what must stay whole: the separate subjects of a picture.

Where things lie on a ground, each of them (`barrier`); else the parts that look like nothing else
(`unusual`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ipy_imgvar.engines.patch.arrays.regions import box_mean, components, dilate, filled
from ipy_imgvar.engines.patch.arrays.resize import fitted, resize
from ipy_imgvar.engines.patch.matching.patches import PATCH
from ipy_imgvar.engines.patch.subjects.barrier import things
from ipy_imgvar.engines.patch.subjects.saliency import unusual

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Subjects", "lost_detail", "subjects"]

_COMPARED_PX = 64
_FINE_PX = 256
_WEIGHT = np.float32(2)
"""What lost detail counts beside a colour: enough that a tripod is one with its head, found by eye."""

_SMALLEST = 0.003
"""The share of the picture below which something is ground: a dozen pixels at 64 px."""

_MOST = 24
"""How many subjects are placed one by one; smaller ones are ground."""


class Subjects(NamedTuple):
    """What must stay whole.

    Attributes
    ----------
    masks : tuple of ndarray of shape (h, w), float32
        1 inside a subject, 0 outside, at 40 to 64 px, the largest first; none where the picture is one
        texture.
    on_ground : bool
        Whether they are things on a ground that is clearly apart from them.
    """

    masks: tuple[NDArray[np.float32], ...]
    on_ground: bool


def subjects(source: NDArray[np.float32], lost: NDArray[np.float32], cover: float) -> Subjects:
    """Find the separate subjects of a picture.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    lost : ndarray of shape (h, w, 1), float32
        What `lost_detail` returns.
    cover : float
        The largest share of the picture that unusual parts may take.
    """
    small = resize(source, lost.shape[:2])
    mask = None
    if min(small.shape[:2]) >= 2 * PATCH:
        mask = things(np.concatenate([_smooth(small), lost], axis=2))
    mask = None if mask is None else filled(mask)
    apart = [] if mask is None else _separate(mask)
    if mask is None or not apart:
        return Subjects(tuple(_separate(unusual(source, cover))), on_ground=False)
    grown = (dilate(one > 0, 1) & ((one > 0) | ~mask) for one in apart)
    return Subjects(tuple(one.astype(np.float32) for one in grown), on_ground=True)


def _separate(mask: NDArray[np.bool_]) -> list[NDArray[np.float32]]:
    """Return the connected regions that are large enough, the largest first."""
    labels = components(mask)
    found = [labels == label for label in np.unique(labels[labels > 0])]
    found = [one.astype(np.float32) for one in found if one.sum() >= _SMALLEST * one.size]
    return sorted(found, key=lambda one: -float(one.sum()))[:_MOST]


def lost_detail(source: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much of a picture is lost where an arrangement is found: masts, wires, whiskers.

    It is matched as one more channel there, so that a mast is not cut off for being thinner than a pixel.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32

    Returns
    -------
    ndarray of shape (h, w, 1), float32
        At about 64 px: twice the mean absolute difference to the picture enlarged from that size.
    """
    fine = resize(source, fitted(source, _FINE_PX))
    small = resize(fine, fitted(source, _COMPARED_PX))
    lost = np.abs(fine - resize(small, fine.shape[:2])).mean(axis=2, keepdims=True)
    return _WEIGHT * resize(lost, small.shape[:2])


def _smooth(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([box_mean(image[..., channel], 1) for channel in range(image.shape[2])], axis=-1)
