"""The ground without its subject, sharp and out of focus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.regions import dilation, uniform_filter
from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.layers.push_pull import doubled, halved, push_pull

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Ground", "ground_of"]

#: Above this a matte shows something of the subject.
_VISIBLE: Final = 0.03
#: Ground so near to the subject, as a share of the short side, has its colours in it: by the lens, and by JPEG.
_RIM: Final = 0.005
#: Radius, as a share of the short side, of the mean that detail is the difference to.
_COARSE: Final = 0.012
#: The largest detail that is mirrored into the hole, in values of 0..1: grain and grass, but no outline.
_TEXTURE: Final = 0.06
#: Radii of the blurred copies, as shares of the short side, from the weakest to the strongest. Chosen by eye. Copies in
#: between keep a blurred point from looking like a sharp one with a glow.
_BLURS: Final = (0.002, 0.005, 0.01)
#: The distance from the subject, as a share of the short side, at which the blur is strongest.
_DEPTH: Final = 0.25
#: Distances are measured at this part of the size, since they are smooth.
_PARTS: Final = 8
#: Factor on the blurred matte, so that it is 1 some way beyond the outline, where it would be 0.5.
_FALL: Final = 1.5

#: Radius, in pixels, from which a blur is made at half the size.
_HALVED_FROM: Final = 2


@dataclass(frozen=True, slots=True)
class Ground:
    """A picture without its subject.

    Attributes
    ----------
    focused : tuple of ndarray of shape (H, W, C), float32
        The ground, sharp first, then more and more out of focus.
    distance : ndarray of shape (H, W, 1), float32, 0..1
        How far each pixel is out of the subject's plane: 0 at the subject, 1 from a quarter of the short side.
    """

    focused: tuple[NDArray[np.float32], ...]
    distance: NDArray[np.float32]

    def at(self, defocus: float) -> NDArray[np.float32]:
        """Return the ground, shape (H, W, C), out of focus by `defocus`: 0, not at all, to 1."""
        if not defocus:
            return self.focused[0].copy()
        level = self.distance * np.float32(defocus * (len(self.focused) - 1))
        image = np.zeros_like(self.focused[0])
        for number, copy in enumerate(self.focused):
            image += np.maximum(0, 1 - np.abs(level - number)) * copy
        return image


def ground_of(source: NDArray[np.float32], matte: NDArray[np.float32]) -> Ground:
    """Return the picture without what `matte` marks.

    The hole is filled by `push_pull`, and has the detail of the ground beside it.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    matte : ndarray of shape (H, W), float32, 0..1
    """
    short = min(matte.shape)
    hole = dilation(matte > _VISIBLE, max(1, round(_RIM * short)))
    sharp = push_pull(source, 1 - hole.astype(np.float32))
    detail = np.clip(sharp - _blurred(sharp, _COARSE * short), -_TEXTURE, _TEXTURE)
    sharp = np.clip(sharp + _mirrored(detail, hole), 0, 1)
    return Ground((sharp, *(_blurred(sharp, share * short) for share in _BLURS)), _distance(matte))


def _mirrored(detail: NDArray[np.float32], hole: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return detail for the hole, 0 elsewhere: that of the same row, mirrored at the nearer end of the hole.

    A row of the ground is mostly of one material at one distance. Where the mirrored place is no ground, there is none.
    """
    height, width = hole.shape
    col = np.arange(width)
    left = np.maximum.accumulate(np.where(hole, -1, col), axis=1)
    right = np.minimum.accumulate(np.where(hole, 2 * width, col)[:, ::-1], axis=1)[:, ::-1]
    from_left = 2 * left - col
    from_right = 2 * right - col
    near = (left >= 0) & ((col - left <= right - col) | (right >= width))
    other = np.where(near, from_left, from_right)
    valid = hole & (other >= 0) & (other < width)
    other = np.clip(other, 0, width - 1)
    row = np.arange(height)[:, None]
    valid &= ~hole[row, other]
    return np.asarray(detail[row, other] * valid[..., None], np.float32)


def _blurred(image: NDArray[np.float32], radius: float) -> NDArray[np.float32]:
    """Return `image` after two means over squares: nearly a disc's blur, without its cost.

    From a radius of 2 px on they are made at half the size, which nothing of the result shows.
    """
    if radius >= _HALVED_FROM and min(image.shape[:2]) > 1:
        return doubled(_blurred(halved(image), radius / 2), image.shape[:2])
    for _ in range(2):
        reach = max(1, round(radius))
        image = np.stack([uniform_filter(image[..., one], reach) for one in range(image.shape[2])], axis=-1)
    return image


def _distance(matte: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `Ground.distance`: one less than the blurred matte, which is cheaper than true distances, and smooth."""
    height, width = matte.shape
    coarse = max(1, height // _PARTS), max(1, width // _PARTS)
    # Four times: a twig marks its place as a trunk does.
    near = np.minimum(1, 4 * resize(matte[..., None], coarse)[..., 0])
    for _ in range(2):
        near = uniform_filter(near, max(1, round(_DEPTH * min(height, width) / _PARTS / 2)))
    far = 1 - _FALL * resize(near[..., None], (height, width))
    return np.asarray(np.clip(far, 0, 1), np.float32)
