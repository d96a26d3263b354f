"""The source at every scale, with what is derived from it once and shared by all pictures of a call."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.regions import dilation, uniform_filter
from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.matching.patches import PATCH, RADIUS, basis, grid, project, vectors
from ipy_imgvar.engines.patch.matching.vote import LANES, SCALE, pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers

__all__ = ["COARSEST_PX", "EXACT_PAIRS", "Level", "pyramid"]

#: Default short side of the coarsest level, in pixels: about 2.5 patches.
COARSEST_PX: Final = 18
#: Up to how many comparisons a level is searched exactly: 2,500 patches on each side, at 25 MB of distances.
EXACT_PAIRS: Final = 2_500**2
#: Short side, in pixels, up to which steps are small, since the arrangement settles there. Chosen by timing and by eye.
_SMALL_STEPS_BELOW_PX: Final = 90
#: Scale of a level beside the next larger one, above that size: there a step only adds detail.
_LARGE_STEP: Final = 0.5
#: The same below that size; Granot et al. 2022 use it throughout.
_SMALL_STEP: Final = 0.75
#: Scale to which keys are reduced, and enlarged again, to match an image enlarged from the level before.
_KEY_BLUR: Final = _SMALL_STEP
#: Share of a pixel or patch from which it counts as a subject's.
_HALF: Final = 0.5
#: How far from a subject its leftovers may lie, as a share of the short side. Chosen by eye on portraits.
_MARGIN: Final = 0.04
#: Share of the patches that must be ground before ground far from subjects may be restricted to them. Chosen by eye.
_SCARCE: Final = 0.08
#: Which share of a patch a subject may cover, tried in turn until enough patches are ground.
_OVERLAPS: Final = (0.0, 0.15, 0.3, 0.5, 1.0)
#: Decimals of a coverage that are trusted: running sums leave traces of about 1e-9 where nothing is covered.
_COVERAGE_DECIMALS: Final = 4
#: Radius in pixels of the squares by which inpainting advances in each round.
_INPAINT_RADIUS: Final = 2
#: Weight, 0..1, of the known pixels about one that is enough to divide by.
_LEAST_WEIGHT: Final = 1e-3


@dataclass
class Level:
    """One scale of the source, and the shape of the output there.

    Patches are taken from the *atlas*: the views of the source side by side, first the source itself, then, where
    mirroring is allowed, its mirror image. So a subject can be mirrored against its ground, and one displacement still
    says where a patch comes from.

    Attributes
    ----------
    image : ndarray of shape (H, W, C), float32, 0..1
        Where the level is searched exactly, the last channel is the fine detail that its size has lost.
    output : tuple of int
        Shape of the output at this scale, in pixels.
    subjects : tuple of ndarray of shape (h, w), float32
        Masks of what stays whole, 1 inside, at any one resolution.
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
    def atlas(self) -> tuple[int, int]:
        """Shape of all views side by side, in pixels."""
        return self.image.shape[0], self.image.shape[1] * self.views

    @property
    def channels(self) -> int:
        """How many values a pixel has."""
        return int(self.image.shape[2])

    @property
    def pairs(self) -> int:
        """How many comparisons it takes to compare every patch of the output with every one of the source."""
        queries, keys = grid(self.output), grid(self.size)
        return int(queries[0] * queries[1] * keys[0] * keys[1])

    @cached_property
    def regions(self) -> list[NDArray[np.bool_]]:
        """The subjects at this level, each of shape (H, W)."""
        return [resize(mask[..., None], self.size)[..., 0] > _HALF for mask in self.subjects]

    @cached_property
    def ground_patches(self) -> list[NDArray[np.intp]]:
        """For each view, the flat atlas indices of the patches that ground far from any subject may show.

        They keep away from the subjects' outlines, where leftovers of a subject lie: a rim of hair, the tip
        of a mast. Where that leaves next to nothing they may come nearer, and then overlap it in part.
        """
        away = self._subject_share(_MARGIN) == 0
        for part in _OVERLAPS:
            if away.mean() >= _SCARCE:
                break
            away = self._subject_share(0) <= part
        return [
            self._atlas_patches([away if view == ground else None for view in range(self.views)])
            for ground in range(self.views)
        ]

    @cached_property
    def outline_patches(self) -> list[NDArray[np.intp]]:
        """For each view, the flat atlas indices of the patches that ground touching a subject may show.

        The outlines of all views are added, since a subject may come from another view than the ground it is
        on.
        """
        outside = self._subject_share(0) < _HALF
        if not outside.any():
            outside = np.ones_like(outside)
        edge = outside & (self._subject_share(0) > 0)
        return [
            self._atlas_patches([outside if view == ground else edge for view in range(self.views)])
            for ground in range(self.views)
        ]

    def _subject_share(self, margin: float) -> NDArray[np.float32]:
        """Return how much of each patch of a view lies in a subject, grown by a share of the short side."""
        covered = np.zeros(self.size, np.float32)
        for region in self.regions:
            covered[dilation(region, round(margin * min(self.size)))] = 1
        inner = slice(RADIUS, -RADIUS)
        return np.asarray(uniform_filter(covered, RADIUS)[inner, inner].round(_COVERAGE_DECIMALS))

    def _atlas_patches(self, views: list[NDArray[np.bool_] | None]) -> NDArray[np.intp]:
        """Return the flat atlas indices of the patches marked in each view (given unmirrored)."""
        rows, across = grid(self.atlas)
        marks = np.zeros((rows, across), bool)
        for view, part in enumerate(views):
            if part is not None:
                left = view * self.size[1]
                marks[:, left : left + part.shape[1]] = part[:, ::-1] if view else part
        return np.flatnonzero(marks)

    @cached_property
    def words(self) -> NDArray[np.uint64]:
        """The atlas's pixels, packed for voting, flat."""
        words = pack(self.image)
        return self._side_by_side(words.reshape(self.size)).reshape(-1)

    @cached_property
    def atlas_pixels(self) -> NDArray[np.float32]:
        """The atlas's pixels, shape (H * W * views, C), 0..1."""
        return self._side_by_side(self.image).reshape(-1, self.channels)

    @cached_property
    def sharp_patches(self) -> NDArray[np.float32]:
        """The atlas's patches to match an image that was voted, shape (patches, 49 * C)."""
        return vectors(self._side_by_side(self.image))

    @cached_property
    def soft_patches(self) -> NDArray[np.float32]:
        """The patches to match an image enlarged from a coarser level (Granot et al. 2022, section 3.2)."""
        smaller = [max(PATCH, round(side * _KEY_BLUR)) for side in self.size]
        small = resize(self.image, (smaller[0], smaller[1]))
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

    def inpaint(self, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the image with the masked pixels filled from around them; cached, since layouts share masks."""
        key = mask.tobytes()
        if key not in self._inpainted:
            self._inpainted[key] = _inpaint(self.image, mask)
        return self._inpainted[key]

    def features(self, workers: Workers) -> NDArray[np.float32]:
        """Return the features of all patches of the atlas, shape (patches, F); computed once."""
        if self._features is None:
            self._features = project(self._side_by_side(self.image), self.directions, workers)
        return self._features

    def _side_by_side(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the views of an array of shape (H, W, ...) as one of shape (H, W * views, ...)."""
        return np.concatenate([image, image[:, ::-1]], axis=1) if self.views > 1 else image

    _features: NDArray[np.float32] | None = None
    _inpainted: dict[bytes, NDArray[np.float32]] = field(default_factory=dict)


def pyramid(
    source: NDArray[np.float32],
    shape: tuple[int, int],
    subjects: tuple[NDArray[np.float32], ...] = (),
    *,
    coarsest_px: int = COARSEST_PX,
    views: int = 1,
    detail: NDArray[np.float32] | None = None,
) -> list[Level]:
    """Return the levels, coarsest first.

    The scale halves down to 90 px on the short side, then shrinks by 0.75 down to `coarsest_px`.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    shape : tuple of int
        (rows, columns) of the output at full scale.
    subjects : tuple of ndarray of shape (h, w), float32
        Masks of what stays whole.
    coarsest_px : int
        Where to stop, in pixels on the short side.
    views : int
        1, or 2 with the mirror image.
    detail : ndarray of shape (h, w, 1), float32, or None
        One more channel for the levels that are searched exactly.
    """
    height, width = source.shape[:2]
    short = min(height, width, *shape)
    images, outputs = [source], [shape]
    scale = 1.0
    while True:
        scale *= _LARGE_STEP if short * scale > _SMALL_STEPS_BELOW_PX else _SMALL_STEP
        output = round(shape[0] * scale), round(shape[1] * scale)
        smaller = round(height * scale), round(width * scale)
        # Two patches to a side are the least that leaves a patch anywhere to go.
        if short * scale / _SMALL_STEP <= coarsest_px or min(*output, *smaller) < 2 * PATCH:
            break
        images.append(resize(images[-1], smaller))
        outputs.append(output)
    levels = [Level(image, output, subjects, views) for image, output in zip(images, outputs, strict=True)]
    for level in levels:
        if detail is not None and level.pairs <= EXACT_PAIRS and level.channels < LANES:
            level.image = np.concatenate([level.image, resize(detail, level.size)], axis=2)
    return levels[::-1]


def _inpaint(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Fill the masked pixels with a blend of what surrounds them, in ever larger squares."""
    result = image.copy()
    if mask.all():
        return result
    weight = (~mask).astype(np.float32)
    layers = [image[..., channel] * weight for channel in range(image.shape[2])]
    missing = mask.copy()
    while missing.any():
        weight = uniform_filter(weight, _INPAINT_RADIUS)
        layers = [uniform_filter(layer, _INPAINT_RADIUS) for layer in layers]
        ready = missing & (weight > _LEAST_WEIGHT)
        for channel, layer in enumerate(layers):
            result[..., channel][ready] = layer[ready] / weight[ready]
        missing &= ~ready
    return result
