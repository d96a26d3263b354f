"""Tell objects from the ground they lie on, where the picture has such a ground.

The barrier distance of a pixel is the least that colours must vary along a path to it from a side of the
picture (Zhang et al., "Minimum Barrier Salient Object Detection at 80 FPS", ICCV 2015). Grass, sky and water
reach several sides without a barrier; a cow, a coin and a tower do not. Two sides may cut off an object, so the
third nearest side decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.regions import threshold_otsu

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["barrier_distance", "salient_objects"]

#: How often all rows and columns are swept to and fro; Zhang et al. use three raster scans.
_PASSES: Final = 2
#: Which side decides, counted from the nearest, which is 0.
_DECIDING_SIDE: Final = 2
#: How near ground may be, as a share of the distance of objects, 0..1. This and the next were chosen by eye on sixteen
#: photographs: coins, cows and a tripod pass, a cat's face and a plate do not.
_CLEAR: Final = 0.45
#: The same between what is far and what is farther, where a sky that brightens towards the ground is far too.
_CLEARER: Final = 0.6
#: The share of the picture above which the marked part is not on a ground but all there is. Chosen by eye.
_LARGEST: Final = 0.55
#: The distance of pixels that no sweep has reached, above any sum of differences of colours of 0..1.
_UNREACHED: Final = np.float32(1e3)
#: The least mean distance that is divided by: a flat picture has none.
_LEAST_DISTANCE: Final = 1e-6


def barrier_distance(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the barrier distance of every pixel from the third nearest side.

    Rows and columns are swept in turn, each from the one before it, so that a pass is a few hundred array
    operations; paths with many turns are missed, which only makes some distances larger.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), float32, 0..1
        A small picture (about 64 px).

    Returns
    -------
    ndarray of shape (H, W), float32
        The channels' differences of highest and lowest value on the path, summed: 0..C.
    """
    height, width, _ = image.shape
    # One map for each side: top, bottom, left, right. The highest and lowest values are those on the best path so far.
    high = np.repeat(image[None], 4, axis=0)
    low = high.copy()
    distance = np.full((4, height, width), _UNREACHED, np.float32)
    distance[0, 0] = distance[1, -1] = distance[2, :, 0] = distance[3, :, -1] = 0

    def sweep(count: int, axis: int) -> None:
        views = [np.moveaxis(one, axis + 1, 0) for one in (high, low, distance)]
        lines = np.moveaxis(image, axis, 0)
        for order in (range(1, count), range(count - 2, -1, -1)):
            step = -1 if order.step > 0 else 1
            for line in order:
                _relax(views, lines[line], line, line + step)

    for _ in range(_PASSES):
        sweep(height, 0)
        sweep(width, 1)
    return np.asarray(np.sort(distance, axis=0)[_DECIDING_SIDE])


def _relax(fronts: list[NDArray[np.float32]], colours: NDArray[np.float32], line: int, before: int) -> None:
    """Go on from the line `before` to the next where that path's barrier is lower than the lowest so far."""
    high, low, distance = fronts
    top = np.maximum(high[before], colours)
    bottom = np.minimum(low[before], colours)
    # Lines not reached yet hold their own colour as highest and lowest, so their distance says it.
    barrier = np.where(distance[before] < _UNREACHED, (top - bottom).sum(axis=-1), _UNREACHED)
    nearer = barrier < distance[line]
    np.copyto(distance[line], barrier, where=nearer)
    np.copyto(high[line], top, where=nearer[..., None])
    np.copyto(low[line], bottom, where=nearer[..., None])


def salient_objects(image: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Mark the objects that lie on a ground.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), float32, 0..1
        A small picture (about 64 px).

    Returns
    -------
    ndarray of shape (H, W), bool, or None
        None where objects and ground do not differ clearly, or where objects are most of the picture.
    """
    distance = barrier_distance(image)
    threshold = threshold_otsu(distance)
    if _contrast(distance, threshold) > _CLEAR:
        return None
    # A second class inside the upper one: the ground's own gradient against the objects on it.
    upper = distance[distance >= threshold]
    higher = threshold_otsu(upper)
    if _contrast(upper, higher) < _CLEARER or len(upper) > _LARGEST * distance.size:
        threshold = float(np.sqrt(threshold * higher))
    marks = distance >= threshold
    return marks if marks.mean() < _LARGEST else None


def _contrast(values: NDArray[np.float32], threshold: float) -> float:
    """Return the mean below a threshold over the mean above it: near 0 where the two differ clearly."""
    above = values >= threshold
    return (
        float(values[~above].mean() / max(values[above].mean(), _LEAST_DISTANCE)) if not above.all() else 1.0
    )
