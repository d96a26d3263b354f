"""Choose an arrangement for each picture: draw layouts, try them at the smallest levels, take the best.

What all pictures of a call share (the source's levels, its subjects) is made once, here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.composition.arrangement import Arrangement, descend, initial
from ipy_imgvar.engines.patch.composition.layout import Layout, draw
from ipy_imgvar.engines.patch.composition.novelty import best
from ipy_imgvar.engines.patch.composition.placement import Place, can_shrink
from ipy_imgvar.engines.patch.matching.patches import PATCH
from ipy_imgvar.engines.patch.matching.pyramid import EXACT_PAIRS, Level, pyramid
from ipy_imgvar.engines.patch.strength import Knobs, knobs
from ipy_imgvar.engines.patch.subjects.segmentation import Subjects, lost_detail, subjects

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers

__all__ = ["Composer", "Composition"]

_FLIP_FROM = 0.3
_REFRAME_EVERY = 3
_REFRAME_BELOW = 0.4
_ZOOM = (0.82, 0.95)
_SHRUNK_FROM = 0.6
_SHRUNK_EVERY = 4
_SHRUNK = 0.4
"""What a smaller scale costs a candidate: ground has to be found for what it leaves free."""

_CANDIDATE_PAIRS = 800**2


@dataclass(frozen=True, slots=True)
class Composition:
    """An arrangement that is settled, for the larger levels to carry out.

    Attributes
    ----------
    found : Arrangement
        At the last level that was searched exactly.
    layout : Layout
    levels : list of Level
        Those that remain, coarsest first.
    rng : numpy.random.Generator
        The picture's own, after what was drawn for the arrangement.
    """

    found: Arrangement
    layout: Layout
    levels: list[Level]
    rng: np.random.Generator


class Composer:
    """Compose the pictures of one call, one after another: each is to differ from those before.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    shape : tuple of int
        Rows and columns of the pictures.
    strength : float
    keep : ndarray of shape (H, W), bool, or None
        What stays in its place; None chooses subjects, which may move.
    flip : bool
        Whether anything may be mirrored.
    """

    def __init__(
        self,
        source: NDArray[np.float32],
        *,
        shape: tuple[int, int],
        strength: float,
        keep: NDArray[np.bool_] | None,
        flip: bool,
    ) -> None:
        self._source, self._shape, self._strength = source, shape, strength
        self._knobs = _knobs(strength, same_shape=shape == source.shape[:2])
        self._fixed = keep is not None
        self._lost = lost_detail(source)
        if keep is None:
            found = subjects(source, self._lost, self._knobs.cover)
        else:
            found = Subjects((keep.astype(np.float32),), on_ground=False)
        self._subjects = found.masks
        if not found.on_ground:
            self._knobs = replace(self._knobs, part=self._knobs.part_filling)
        self._views = 2 if flip and keep is None and strength >= _FLIP_FROM else 1
        self._reframed = keep is None and shape == source.shape[:2]
        roomy = found.on_ground and can_shrink(found.masks)
        self._shrunk = self._reframed and roomy and strength >= _SHRUNK_FROM
        self._pyramids: dict[float, list[Level]] = {}
        self._siblings: list[NDArray[np.float32]] = []

    def compose(self, rng: np.random.Generator, number: int, workers: Workers) -> Composition:
        """Settle the arrangement of picture `number`; numbers are asked for in order, here or of `choose`."""
        found, layout, levels = self.choose(rng, number, workers)
        exact = _exact(levels)
        if not exact:
            return Composition(found, layout, levels, rng)
        if len(exact) > _smallest(levels):
            found = descend(found.image, layout, exact[_smallest(levels) :], self._knobs, workers)
        return Composition(found, layout, levels[len(exact) :], rng)

    def choose(
        self, rng: np.random.Generator, number: int, workers: Workers
    ) -> tuple[Arrangement, Layout, list[Level]]:
        """Return the arrangement of picture `number` at the smallest levels, and remember it for those after it."""
        zooms = self._zooms(rng, number)
        pyramids = [self._levels(zoom) for zoom in zooms]
        layouts = [
            self._layout(rng, levels[0], 1 if (number + trial // 2) % 2 else -1, number)
            for trial, levels in enumerate(pyramids)
        ]
        if not _exact(pyramids[0]):
            return initial(layouts[0], pyramids[0][0]), layouts[0], pyramids[0]
        candidates = []
        for layout, levels in zip(layouts, pyramids, strict=True):
            start, smallest = layout.start(levels[0]), levels[: _smallest(levels)]
            candidates.append(descend(start, layout, smallest, self._knobs, workers))
        chosen = self._best(candidates, zooms)
        return candidates[chosen], layouts[chosen], pyramids[chosen]

    def _best(self, candidates: list[Arrangement], zooms: list[float]) -> int:
        """Return which candidate to carry on, and remember what it looks like."""
        colours = self._source.shape[2]
        levels = self._levels(1.0)
        level = levels[_smallest(levels) - 1]
        # The levels of a smaller source have other sizes.
        images = [resize(candidate.image[..., :colours], level.output) for candidate in candidates]
        usual = float(np.median([candidate.cost for candidate in candidates])) + 1e-6
        costs = [
            candidate.cost / usual + _SHRUNK * (zoom < 1)
            for candidate, zoom in zip(candidates, zooms, strict=True)
        ]
        chosen = best(images, costs, level.image[..., :colours], self._siblings, self._knobs)
        self._siblings.append(images[chosen])
        return chosen

    def _zooms(self, rng: np.random.Generator, number: int) -> list[float]:
        """Return the scale of the source for each candidate of a picture."""
        count = self._knobs.candidates
        if self._shrunk:
            return [self._knobs.zoom if trial % _SHRUNK_EVERY == 0 else 1.0 for trial in range(1, count + 1)]
        last = number % _REFRAME_EVERY == _REFRAME_EVERY - 1
        if self._reframed and self._strength < _REFRAME_BELOW and last:
            return [rng.uniform(*_ZOOM)] * count
        return [1.0] * count

    def _levels(self, zoom: float) -> list[Level]:
        """Return the levels of the source at a scale, made once."""
        if zoom not in self._pyramids:
            source = self._source
            if zoom < 1:
                height, width = source.shape[:2]
                smaller = max(PATCH, round(height * zoom)), max(PATCH, round(width * zoom))
                source = np.clip(resize(source, smaller, sharp=True), 0, 1)
            self._pyramids[zoom] = pyramid(
                source,
                self._shape,
                self._subjects,
                coarsest=self._knobs.coarsest,
                views=self._views,
                lost=self._lost,
            )
        return self._pyramids[zoom]

    def _layout(self, rng: np.random.Generator, level: Level, sign: int, number: int) -> Layout:
        fixed = (Place(0.0, 0.0),) if self._fixed else None
        return draw(rng, self._knobs, level, sign=sign, number=number, fixed=fixed)


def _knobs(strength: float, *, same_shape: bool) -> Knobs:
    found = knobs(strength)
    return found if same_shape else replace(found, part=0.0, part_filling=0.0, coarsest=18)


def _exact(levels: list[Level]) -> list[Level]:
    """Return the levels, coarsest first, that are searched exactly."""
    return [level for level in levels if level.pairs <= EXACT_PAIRS]


def _smallest(levels: list[Level]) -> int:
    """Return how many of the exact levels every candidate goes through."""
    return max(1, sum(level.pairs <= _CANDIDATE_PAIRS for level in levels))
