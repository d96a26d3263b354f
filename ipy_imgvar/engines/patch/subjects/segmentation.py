"""Find what must stay whole: the separate subjects of a picture.

Where objects lie on a ground, each of them (`barrier`); else the parts that look like nothing else (`saliency`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ipy_imgvar.engines.patch.arrays.findings import Findings
from ipy_imgvar.engines.patch.arrays.regions import dilation, fill_holes, label, uniform_filter
from ipy_imgvar.engines.patch.arrays.resize import reduced_shape, resize
from ipy_imgvar.engines.patch.matching.patches import PATCH
from ipy_imgvar.engines.patch.subjects.barrier import salient_objects
from ipy_imgvar.engines.patch.subjects.saliency import most_salient, saliency

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Subjects", "find_subjects", "fine_detail"]

#: Short side, in pixels, at which objects are told from their ground.
_COMPARED_PX: Final = 64
#: Short side, in pixels, of the picture that fine detail is measured in.
_FINE_PX: Final = 256
#: Factor on fine detail, to weigh it against a colour: enough that a tripod is one with its head. Chosen by eye.
_DETAIL_WEIGHT: Final = np.float32(2)
#: The share of the picture below which a region is ground: a dozen pixels at 64 px.
_SMALLEST: Final = 0.003
#: How many subjects are placed one by one; smaller ones are ground. It bounds the time that placing takes.
_MOST: Final = 24


class Subjects(NamedTuple):
    """The parts of a picture that must stay whole.

    Attributes
    ----------
    masks : tuple of ndarray of shape (h, w), float32
        1 inside a subject, 0 outside, at 40 to 64 px, the largest first; none where the picture is one
        texture.
    on_ground : bool
        Whether they are objects on a ground that is clearly apart from them.
    """

    masks: tuple[NDArray[np.float32], ...]
    on_ground: bool


def find_subjects(
    source: NDArray[np.float32],
    detail: NDArray[np.float32],
    cover: float,
    findings: Findings | None = None,
) -> Subjects:
    """Find the separate subjects of a picture.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    detail : ndarray of shape (h, w, 1), float32
        What `fine_detail` returns.
    cover : float
        The largest share of the picture, 0..1, that salient parts may take; objects on a ground may take more.
    findings : Findings or None
        What is known of the source.
    """
    known = findings or Findings()
    objects = known.once("objects", lambda: _objects_on_ground(source, detail))
    if objects is not None:
        return objects
    salient = known.once("saliency", lambda: saliency(source))
    return known.once(
        ("salient", cover), lambda: Subjects(tuple(_separate(most_salient(salient, cover))), on_ground=False)
    )


def _objects_on_ground(source: NDArray[np.float32], detail: NDArray[np.float32]) -> Subjects | None:
    """Return the objects that lie on a ground which is clearly apart from them; None where there are none."""
    small = resize(source, detail.shape[:2])
    mask = None
    if min(small.shape[:2]) >= 2 * PATCH:
        mask = salient_objects(np.concatenate([_smooth(small), detail], axis=2))
    mask = None if mask is None else fill_holes(mask)
    objects = [] if mask is None else _separate(mask)
    if mask is None or not objects:
        return None
    # A margin of a pixel takes in the blurred outline, but nothing of another object.
    grown = (dilation(one > 0, 1) & ((one > 0) | ~mask) for one in objects)
    return Subjects(tuple(one.astype(np.float32) for one in grown), on_ground=True)


def _separate(mask: NDArray[np.bool_]) -> list[NDArray[np.float32]]:
    """Return the connected regions that are large enough, the largest first, as masks of 0 and 1."""
    labels = label(mask)
    regions = [(labels == number).astype(np.float32) for number in np.unique(labels[labels > 0])]
    large = [region for region in regions if region.sum() >= _SMALLEST * region.size]
    return sorted(large, key=lambda region: -float(region.sum()))[:_MOST]


def fine_detail(source: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how much of a picture its small copies lose: masts, wires, whiskers.

    The coarse levels match it as one more channel, so that a mast is not cut off for being thinner than a pixel.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1

    Returns
    -------
    ndarray of shape (h, w, 1), float32
        At about 64 px: twice the mean absolute difference to the picture enlarged from that size, 0..2.
    """
    fine = resize(source, reduced_shape(source, _FINE_PX))
    small = resize(fine, reduced_shape(source, _COMPARED_PX))
    lost = np.abs(fine - resize(small, fine.shape[:2])).mean(axis=2, keepdims=True)
    return _DETAIL_WEIGHT * resize(lost, small.shape[:2])


def _smooth(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average each channel over 3x3 pixels, so that noise is no barrier."""
    return np.stack([uniform_filter(image[..., channel], 1) for channel in range(image.shape[2])], axis=-1)
