"""A soft mask of the subject at the picture's own resolution, and whether it is right enough to cut along.

A rough mask (of a network, or of `segmentation`) ends a few pixels beside the outline. A guided filter moves it there:
it makes the mask a linear function of the colours in each small window, so that its edges are the picture's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.regions import dilation, label, uniform_filter
from ipy_imgvar.engines.patch.arrays.resize import reduced_shape, resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["is_certain", "matte"]

#: Short side, in pixels, at which the filter's coefficients are computed; it bounds the time of large pictures.
_FILTERED_PX: Final = 512
#: The filter's regularisation, for colours of 0..1: windows whose standard deviation is below its root, .01, are flat,
#: and get the mask's mean. He et al. use 1e-6 to 1e-4 for mattes.
_FLAT: Final = 1e-4
#: The filter's radius at `_FILTERED_PX`, in pixels: a network's outline is off by about so much.
_LEAST_RADIUS: Final = 3
#: Values that become 0 and 1: the filter leaves a haze of about so much over what differs little from the outline.
_HAZE: Final = 0.1
#: Short side, in pixels, at which the matte's regions are counted.
_COUNTED_PX: Final = 96
#: The value at the outline.
_HALF: Final = 0.5
#: Between these values a pixel is neither subject nor ground.
_SOFT: Final = (0.1, 0.9)
#: The least and the largest share of the picture that a certain subject covers: less is a speck, and of a ground of
#: less too little is seen to fill it.
_AREA: Final = (0.02, 0.72)
#: The widest that a certain outline is soft on average: this many pixels, and this share of the short side. Of 21
#: network masks of photographs, the right ones had 0.8 to 4.2 px at 512 px, the wrong ones 3.2 and more; all 31 of the
#: engine's own masks had more than 5.6 px, and were wrong.
_WIDTH_PX: Final = 2.0
_WIDTH: Final = 0.0045
#: What is soft further from the outline than this share of the short side is haze, not hair.
_REACH: Final = 0.012
#: The largest haze, as a share of the subject's area: the right masks had up to .018, the wrong ones .0196 and more.
_HAZY: Final = 0.0185
#: A region is a part of the subject from this share of the largest on; a tower has its masts beside it.
_PART: Final = 0.05
#: The most parts of a certain subject, and the least share of what is marked that they have.
_MOST_PARTS: Final = 3
_WHOLE: Final = 0.97
#: A region of less than this share of the largest is a speck, and removed.
_SPECK: Final = 0.03


def matte(source: NDArray[np.float32], rough: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a soft mask of the subject whose edges are the picture's.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
        C is 1, 3 or 4 (premultiplied).
    rough : ndarray of shape (h, w), float32, 0..1
        1 inside the subject; of any size, for the whole picture.

    Returns
    -------
    ndarray of shape (H, W), float32, 0..1
        The share of each pixel that is the subject.

    References
    ----------
    He, Sun & Tang, "Guided Image Filtering", ECCV 2010, section 3, equations 5, 6 and 8 (for colour: PAMI 2013,
    equations 19 to 21), and He & Sun, "Fast Guided Filter", 2015: coefficients at a reduced size, used at full size.
    """
    guide = source[..., :3]
    shape = reduced_shape(source, _FILTERED_PX)
    small = guide if shape == guide.shape[:2] else resize(guide, shape)
    target = np.clip(resize(rough[..., None], shape)[..., 0], 0, 1)
    # One pixel of a coarse mask may be wrong, whatever it covers.
    radius = max(_LEAST_RADIUS, round(min(shape) / min(rough.shape)))
    slope, offset = _coefficients(small, target, radius)
    coefficients = np.concatenate([slope, offset[..., None]], axis=2)
    if shape != guide.shape[:2]:
        coefficients = resize(coefficients, guide.shape[:2])
    channels = guide.shape[2]
    fine = np.einsum("hwc,hwc->hw", guide, coefficients[..., :channels]) + coefficients[..., channels]
    fine = np.clip((fine - _HAZE) / (1 - 2 * _HAZE), 0, 1)
    return np.asarray(fine * _support(fine, rough), np.float32)


def is_certain(mask: NDArray[np.float32]) -> bool:
    """Return whether a matte is good enough to cut a subject out along it.

    Parameters
    ----------
    mask : ndarray of shape (H, W), float32, 0..1
        What `matte` returns.
    """
    hard = mask > _HALF
    outline = np.count_nonzero(hard[1:] != hard[:-1]) + np.count_nonzero(hard[:, 1:] != hard[:, :-1])
    area = float(hard.mean())
    if not (_AREA[0] <= area <= _AREA[1] and outline):
        return False
    soft = (mask > _SOFT[0]) & (mask < _SOFT[1])
    side_px = min(mask.shape)
    if np.count_nonzero(soft) > outline * (_WIDTH_PX + _WIDTH * side_px):
        return False
    reach = max(2, round(_REACH * side_px))
    outside = soft & ~(dilation(hard, reach) & dilation(~hard, reach))
    if np.count_nonzero(outside) > _HAZY * np.count_nonzero(hard):
        return False
    # A pixel more to every side, so that what hangs together by less than a pixel is one.
    shape = reduced_shape(mask[..., None], _COUNTED_PX)
    labels = label(dilation(resize(mask[..., None], shape)[..., 0] > _HALF, 1))
    sizes = np.unique(labels[labels > 0], return_counts=True)[1]
    parts = sizes[sizes >= _PART * sizes.max()] if sizes.size else sizes
    return 1 <= parts.size <= _MOST_PARTS and bool(parts.sum() >= _WHOLE * sizes.sum())


def _coefficients(
    guide: NDArray[np.float32], target: NDArray[np.float32], radius: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return slope (h, w, C) and offset (h, w) of the linear model that fits `target` best about each pixel."""
    channels = guide.shape[2]
    mean = np.stack([uniform_filter(guide[..., one], radius) for one in range(channels)], axis=-1)
    level = uniform_filter(target, radius)
    covariance = np.empty((*target.shape, channels, channels), np.float32)
    joint = np.empty_like(mean)
    for one in range(channels):
        joint[..., one] = uniform_filter(guide[..., one] * target, radius) - mean[..., one] * level
        for other in range(one, channels):
            product = uniform_filter(guide[..., one] * guide[..., other], radius)
            covariance[..., one, other] = product - mean[..., one] * mean[..., other]
            covariance[..., other, one] = covariance[..., one, other]
    covariance += np.float32(_FLAT) * np.eye(channels, dtype=np.float32)
    slope = np.linalg.solve(covariance, joint[..., None])[..., 0]
    offset = level - np.einsum("hwc,hwc->hw", slope, mean)
    # Every pixel lies in many windows: the mean of their models is its own.
    slope = np.stack([uniform_filter(slope[..., one], radius) for one in range(channels)], axis=-1)
    return slope, uniform_filter(offset, radius)


def _support(fine: NDArray[np.float32], rough: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a mask, shape of `fine`, that is 0 on specks and far from the rough mask, and 1 elsewhere."""
    shape = reduced_shape(fine[..., None], _COUNTED_PX)
    small = resize(fine[..., None], shape)[..., 0]
    near = resize(rough[..., None], shape)[..., 0] > _HAZE
    labels = label((small > _HAZE) & dilation(near, 2))
    numbers, sizes = np.unique(labels[labels > 0], return_counts=True)
    if not numbers.size:
        return np.zeros_like(fine)
    large = numbers[sizes >= _SPECK * sizes.max()]
    support = dilation(np.isin(labels, large), 1)
    return np.clip(resize(support.astype(np.float32)[..., None], fine.shape)[..., 0], 0, 1)
