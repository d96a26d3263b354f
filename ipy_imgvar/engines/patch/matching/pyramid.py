"""The source at every scale, with what is derived from it once and shared by all variations."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ipy_imgvar.engines.patch.arrays.regions import box_mean, dilate
from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.matching.patches import PATCH, RADIUS, basis, grid, project, vectors
from ipy_imgvar.engines.patch.matching.vote import LANES, SCALE, pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers

__all__ = ["EXACT_PAIRS", "Level", "pyramid"]

_HALF = 0.5
_MARGIN = 0.04
_SCARCE = 0.08
_OVERLAPS = (0.0, 0.15, 0.3, 0.5, 1.0)
"""Which share of a patch a subject may cover, tried in turn until enough patches are ground."""

_QUARTERING_BELOW = 90

EXACT_PAIRS = 2_500**2
"""Up to how many comparisons a level is searched exactly."""


@dataclass
class Level:
    """One scale of the source, and the shape of the output there.

    What patches are taken from is the *sheet*: the views of the source side by side, first the source
    itself, then, where mirroring is allowed, its mirror image. So a subject can be mirrored against its
    ground, and one displacement still says where a patch comes from.

    Attributes
    ----------
    image : ndarray of shape (H, W, C), float32, 0..1
        Where the level is searched exactly, the last channel is the detail that its size has lost.
    output : tuple of int
        Shape of the output at this scale.
    subjects : tuple of ndarray of shape (h, w), float32
        What is kept whole, 1 inside, at any one resolution.
    views : int
        1, or 2 with the mirror image.
    """

    image: NDArray[np.float32]
    output: tuple[int, int]
    subjects: tuple[NDArray[np.float32], ...] = ()
    views: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Shape of one view, in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def sheet(self) -> tuple[int, int]:
        """Shape of all views side by side, in pixels."""
        return self.image.shape[0], self.image.shape[1] * self.views

    @property
    def channels(self) -> int:
        """How many values a pixel has."""
        return int(self.image.shape[2])

    @property
    def pairs(self) -> int:
        """How many comparisons it takes to compare every patch of the output with every one of the source."""
        asked, known = grid(self.output), grid(self.size)
        return int(asked[0] * asked[1] * known[0] * known[1])

    @cached_property
    def regions(self) -> list[NDArray[np.bool_]]:
        """The subjects at this level, each of shape (H, W)."""
        return [resize(mask[..., None], self.size)[..., 0] > _HALF for mask in self.subjects]

    @cached_property
    def ground(self) -> list[NDArray[np.intp]]:
        """For each view, the flat sheet indices of the patches that ground far from any subject may show.

        They keep away from the subjects' outlines, where leftovers of a subject lie: a rim of hair, the tip
        of a mast. Where that leaves next to nothing they may come nearer, and then overlap it in part.
        """
        away = self._covered(_MARGIN) == 0
        for part in _OVERLAPS:
            if away.mean() >= _SCARCE:
                break
            away = self._covered(0) <= part
        return [
            self._marked([away if view == ground else None for view in range(self.views)])
            for ground in range(self.views)
        ]

    @cached_property
    def outline(self) -> list[NDArray[np.intp]]:
        """For each view, the same for ground that touches a subject.

        The outlines of all views are added, since a subject may come from another view than the ground it is
        on.
        """
        outside = self._covered(0) < _HALF
        if not outside.any():
            outside = np.ones_like(outside)
        edge = outside & (self._covered(0) > 0)
        return [
            self._marked([outside if view == ground else edge for view in range(self.views)])
            for ground in range(self.views)
        ]

    def _covered(self, margin: float) -> NDArray[np.float32]:
        """Return how much of each patch of a view lies in a subject, grown by a share of the short side."""
        covered = np.zeros(self.size, np.float32)
        for region in self.regions:
            covered[dilate(region, round(margin * min(self.size)))] = 1
        inner = slice(RADIUS, -RADIUS)
        # Running sums leave traces of about 1e-9 where nothing is covered.
        return np.asarray(box_mean(covered, RADIUS)[inner, inner].round(4))

    def _marked(self, views: list[NDArray[np.bool_] | None]) -> NDArray[np.intp]:
        """Return the flat sheet indices of the patches marked in each view (given unmirrored)."""
        rows, across = grid(self.sheet)
        marks = np.zeros((rows, across), bool)
        for view, part in enumerate(views):
            if part is not None:
                left = view * self.size[1]
                marks[:, left : left + part.shape[1]] = part[:, ::-1] if view else part
        return np.flatnonzero(marks)

    @cached_property
    def packed(self) -> NDArray[np.uint64]:
        """The sheet's pixels as words for voting, flat."""
        words = pack(self.image)
        return self._side_by_side(words.reshape(self.size)).reshape(-1)

    @cached_property
    def pixels(self) -> NDArray[np.float32]:
        """The sheet's pixels, shape (H * W * views, C)."""
        return self._side_by_side(self.image).reshape(-1, self.channels)

    @cached_property
    def sharp_patches(self) -> NDArray[np.float32]:
        """The sheet's patches to match what has been voted, shape (patches, 49 * C)."""
        return vectors(self._side_by_side(self.image))

    @cached_property
    def soft_patches(self) -> NDArray[np.float32]:
        """The patches to match what was enlarged from a coarser level (Granot et al. 2022, section 3.2)."""
        height, width = self.size
        small = resize(self.image, (max(PATCH, round(height * 0.75)), max(PATCH, round(width * 0.75))))
        return vectors(self._side_by_side(resize(small, self.size)))

    @cached_property
    def directions(self) -> NDArray[np.float32]:
        """The projection from patches to features, shape (49 * C, F)."""
        return basis(self.image, np.random.default_rng(0))

    @cached_property
    def lane_directions(self) -> NDArray[np.float32]:
        """The same from the lanes of packed pixels, shape (49 * 4, F); unused lanes count nothing."""
        lanes = np.zeros((PATCH * PATCH, LANES, self.directions.shape[1]), np.float32)
        lanes[:, : self.channels] = self.directions.reshape(self.channels, PATCH * PATCH, -1).swapaxes(0, 1)
        return lanes.reshape(PATCH * PATCH * LANES, -1) * np.float32(1 / SCALE)

    def without(self, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the image with the masked pixels filled from around them; kept, since layouts share masks."""
        key = mask.tobytes()
        if key not in self._emptied:
            self._emptied[key] = _without(self.image, mask)
        return self._emptied[key]

    def features(self, workers: Workers) -> NDArray[np.float32]:
        """Return the features of all patches of the sheet, shape (patches, F); computed once."""
        if self._features is None:
            self._features = project(self._side_by_side(self.image), self.directions, workers)
        return self._features

    def _side_by_side(self, image: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([image, image[:, ::-1]], axis=1) if self.views > 1 else image

    _features: NDArray[np.float32] | None = None
    _emptied: dict[bytes, NDArray[np.float32]] = field(default_factory=dict)


def pyramid(
    source: NDArray[np.float32],
    shape: tuple[int, int],
    subjects: tuple[NDArray[np.float32], ...] = (),
    *,
    coarsest: int = 18,
    views: int = 1,
    lost: NDArray[np.float32] | None = None,
) -> list[Level]:
    """Return the levels, coarsest first.

    The scale halves from the full size until the short side is at most 90, then shrinks by 0.75 until it is
    at most `coarsest`: large steps where only detail is added, small ones where the arrangement is found.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    shape : tuple of int
        (rows, columns) of the output at full scale.
    subjects : tuple of ndarray of shape (h, w), float32
        What is kept whole.
    coarsest : int
        Where to stop, in pixels on the short side.
    views : int
    lost : ndarray of shape (h, w, 1), float32, or None
        One more channel for the levels that are searched exactly.
    """
    height, width = source.shape[:2]
    short = min(height, width, *shape)
    images, outputs = [source], [shape]
    scale = 1.0
    while True:
        scale *= 0.5 if short * scale > _QUARTERING_BELOW else 0.75
        output = round(shape[0] * scale), round(shape[1] * scale)
        smaller = round(height * scale), round(width * scale)
        if short * scale / 0.75 <= coarsest or min(*output, *smaller) < 2 * PATCH:
            break
        images.append(resize(images[-1], smaller))
        outputs.append(output)
    levels = [Level(image, output, subjects, views) for image, output in zip(images, outputs, strict=True)]
    for level in levels:
        if lost is not None and level.pairs <= EXACT_PAIRS and level.channels < LANES:
            level.image = np.concatenate([level.image, resize(lost, level.size)], axis=2)
    return levels[::-1]


def _without(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Fill the masked pixels with a blend of what surrounds them, in ever larger squares."""
    filled = image.copy()
    if mask.all():
        return filled
    weight = (~mask).astype(np.float32)
    layers = [image[..., channel] * weight for channel in range(image.shape[2])]
    missing = mask.copy()
    while missing.any():
        weight = box_mean(weight, 2)
        layers = [box_mean(layer, 2) for layer in layers]
        ready = missing & (weight > 1e-3)  # noqa: PLR2004 - enough to divide by
        for channel, layer in enumerate(layers):
            filled[..., channel][ready] = layer[ready] / weight[ready]
        missing &= ~ready
    return filled
