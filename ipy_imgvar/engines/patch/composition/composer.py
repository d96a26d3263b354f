"""Choose an arrangement for each picture: draw several, try them at the smallest levels, take the best.

The pictures of a call share the source's levels and its subjects, so these are computed once, here. Where the picture
has the source's shape and no pixel is to stay in place, strips of the source come first (`collage`); else, and at
strong where no strips suit, it is made patch by patch (`arrangement`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.findings import Findings
from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.composition.arrangement import Arrangement, descend, initial_arrangement
from ipy_imgvar.engines.patch.composition.collage import Collage, closer, things_across
from ipy_imgvar.engines.patch.composition.layout import Layout, draw_layout
from ipy_imgvar.engines.patch.composition.novelty import rank_candidates
from ipy_imgvar.engines.patch.composition.placement import Placement, can_shrink
from ipy_imgvar.engines.patch.matching.field import NearestNeighborField
from ipy_imgvar.engines.patch.matching.overlay import paste, paste_field
from ipy_imgvar.engines.patch.matching.patches import PATCH, RADIUS
from ipy_imgvar.engines.patch.matching.pyramid import COARSEST_PX, EXACT_PAIRS, Level, pyramid
from ipy_imgvar.engines.patch.matching.vote import vote
from ipy_imgvar.engines.patch.strength import Tuning, rearranges, tune
from ipy_imgvar.engines.patch.subjects.segmentation import Subjects, find_subjects, fine_detail

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers
    from ipy_imgvar.engines.patch.composition.strips import Strips

__all__ = ["Candidate", "Composer", "Composition"]

#: Most seams in a picture of strips, below the strength at which things are shrunk; one more above it. This and the
#: next four were chosen by eye.
_JOINS: Final = 2
#: How much an object on a ground stays whole, and a salient part, which a texture has too.
_OBJECT: Final = 1.0
_SALIENT: Final = 0.05
#: Strength from which some candidates show the source smaller, if there is ground to extend.
_SHRINK_FROM: Final = 0.6
#: One candidate in so many does.
_SHRINK_EVERY: Final = 4
#: What a smaller scale costs a candidate, in usual costs: ground has to be found for what it leaves free.
_SHRINK_COST: Final = 0.4
#: The least usual cost that is divided by: a source matched without a difference costs nothing.
_LEAST_COST: Final = 1e-6
#: How many candidates of a picture are carried on to be judged: each takes about 40 ms at 54 px.
_JUDGED: Final = 3
#: Up to how many comparisons a level is small enough for every candidate: 800 patches on each side, a few milliseconds.
_CANDIDATE_PAIRS: Final = 800**2


@dataclass(frozen=True, slots=True)
class Composition:
    """An arrangement that is settled, for the larger levels to carry out.

    Attributes
    ----------
    arrangement : Arrangement
        At the last level that was searched exactly; the finished picture where no level remains.
    layout : Layout
    levels : list of Level
        Those that remain, coarsest first.
    rng : numpy.random.Generator
        The picture's own, after what was drawn for the arrangement.
    image : ndarray of shape (h, w, C), float32, 0..1
        The settled arrangement, about 54 px on the short side, with the source's channels; it may overshoot a little.
    artefacts : float
        What the judge said of it, higher being worse; NaN without a judge.
    """

    arrangement: Arrangement
    layout: Layout
    levels: list[Level]
    rng: np.random.Generator
    image: NDArray[np.float32]
    artefacts: float = math.nan


@dataclass(frozen=True, slots=True)
class Candidate:
    """An arrangement that may be taken.

    Attributes
    ----------
    arrangement : Arrangement
        At the last level that it has gone through.
    layout : Layout
    levels : list of Level
        All of its levels, coarsest first.
    settled : bool
        Whether it has gone through all levels that are searched exactly.
    artefacts : float
        What the judge says of it once it is settled, else NaN.
    strips, collage : Strips or None, Collage or None
        Where it is made of strips instead of patches, and by what.
    """

    arrangement: Arrangement
    layout: Layout
    levels: list[Level]
    settled: bool
    artefacts: float = math.nan
    strips: Strips | None = None
    collage: Collage | None = None


class Composer:
    """Composes the pictures of one call, one after another: each is to differ from those before.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    shape : tuple of int
        Rows and columns of the pictures.
    strength : float
        0..1.
    keep : ndarray of shape (H, W), bool, or None
        True for pixels that stay in place; None chooses subjects, which may move.
    flip : bool
        Whether anything may be mirrored.
    subjects : Subjects or None
        What stays whole, in place of what `find_subjects` finds; without effect where `keep` is given.
    judge : callable or None
        Returns how likely a picture shows a defect, higher being worse. It is called on a few settled candidates, each
        an ndarray of shape (h, w, C), float32, 0..1, 48 to 90 px on the short side; the lowest value is taken.
    findings : Findings or None
        What is known of the source.
    """

    def __init__(
        self,
        source: NDArray[np.float32],
        *,
        shape: tuple[int, int],
        strength: float,
        keep: NDArray[np.bool_] | None,
        flip: bool,
        subjects: Subjects | None = None,
        judge: Callable[[NDArray[np.float32]], float] | None = None,
        findings: Findings | None = None,
    ) -> None:
        findings = findings or Findings()
        self._judge = judge
        self._source, self._shape, self._strength = source, shape, strength
        self._tuning = _tune(strength, same_shape=shape == source.shape[:2])
        self._fixed = keep is not None
        self._detail = findings.once("detail", lambda: fine_detail(source))
        self._given = subjects is not None
        if keep is not None:
            subjects = Subjects((keep.astype(np.float32),), on_ground=False)
        elif subjects is None:
            subjects = find_subjects(source, self._detail, self._tuning.cover, findings)
        self._subjects = subjects.masks
        if not subjects.on_ground:
            self._tuning = replace(self._tuning, separation=self._tuning.separation_without_ground)
        self._views = 2 if flip and keep is None and rearranges(strength) else 1
        has_room = subjects.on_ground and can_shrink(subjects.masks)
        free = keep is None and shape == source.shape[:2]
        self._shrinks = free and has_room and strength >= _SHRINK_FROM
        self._pyramids: dict[float, list[Level]] = {}
        self._siblings: list[NDArray[np.float32]] = []
        self._found = subjects
        self._cuts = free and rearranges(strength)
        self._made: list[Collage] = []

    def _collages(self, workers: Workers) -> list[Collage]:
        """Return what draws strips, made at the first call; none where the source is not to be cut."""
        if self._cuts and not self._made:
            levels = self._levels(1.0)
            self._cuts = bool(_exact(levels)) and Collage.suits(levels[len(_exact(levels)) - 1 :])
        if self._cuts and not self._made:
            source, show = closer(self._source, self._contrast())
            masks = tuple(show(mask[..., None])[..., 0] for mask in self._subjects)
            near = pyramid(
                source,
                self._shape,
                masks,
                coarsest_px=self._tuning.coarsest_px,
                views=self._views,
            )
            far = self._levels(1.0)
            colours = far[len(_exact(far)) - 1].image[..., : self._source.shape[2]]
            first = len(_exact(far)) - 1
            for image, levels, detail in (
                (self._source, far[first:], self._detail),
                (source, near[first:], show(self._detail)),
            ):
                kept = self._whole(levels[0])
                self._made.append(
                    Collage(
                        image,
                        levels,
                        detail,
                        kept,
                        things=things_across(levels[0]) if self._found.on_ground else [],
                        colours=colours,
                        views=self._views,
                        workers=workers,
                    )
                )
        return self._made

    def _contrast(self) -> NDArray[np.float32]:
        """Return how much would be missed of each pixel, at about 64 px: steps of colour, and subjects."""
        small = resize(self._source, self._detail.shape[:2])
        steps = np.abs(np.diff(small, axis=0, prepend=small[:1])).sum(axis=2) + self._detail[..., 0]
        for mask in self._subjects:
            steps = steps + resize(mask[..., None], steps.shape)[..., 0]
        return np.asarray(steps)

    def _whole(self, level: Level) -> NDArray[np.float32]:
        """Return how much each pixel of a level belongs to what stays whole, see `Collage`."""
        whole = np.zeros(level.size, np.float32)
        sure = _OBJECT if self._found.on_ground else _SALIENT
        for region in level.regions:
            whole[region] = np.inf if self._given else sure
        return whole

    def compose(self, rng: np.random.Generator, number: int, workers: Workers) -> Composition:
        """Settle the arrangement of picture `number`; callers go through the numbers in order, here or in `choose`."""
        choice = self.choose(rng, number, workers)
        if not choice.settled:
            choice = self._settle(choice, workers)
        if choice.strips is not None and choice.collage is not None:
            finished = replace(choice.arrangement, image=choice.collage.full(choice.strips, workers))
            return Composition(
                finished, choice.layout, [], rng, choice.arrangement.image, artefacts=choice.artefacts
            )
        return Composition(
            choice.arrangement,
            choice.layout,
            choice.levels[len(_exact(choice.levels)) :],
            rng,
            image=choice.arrangement.image[..., : self._source.shape[2]],
            artefacts=choice.artefacts,
        )

    def choose(self, rng: np.random.Generator, number: int, workers: Workers) -> Candidate:
        """Return the arrangement of picture `number`, and remember it for those after it."""
        strips = self._draw_strips(rng, workers)
        if strips:
            return self._best(strips, [1.0] * len(strips), workers)
        zooms = self._zooms()
        pyramids = [self._levels(zoom) for zoom in zooms]
        # Two candidates move to one side, the next two to the other; the next picture begins on the other side.
        layouts = [
            self._layout(rng, levels[0], 1 if (number + trial // 2) % 2 else -1, number)
            for trial, levels in enumerate(pyramids)
        ]
        if not _exact(pyramids[0]) or self._is_refused():
            initial = initial_arrangement(layouts[0], pyramids[0][0])
            candidate = Candidate(initial, layouts[0], pyramids[0], settled=True)
            return replace(candidate, artefacts=1.0) if self._is_refused() else self._judged([candidate])[0]
        candidates = []
        for layout, levels in zip(layouts, pyramids, strict=True):
            start, smallest = layout.start(levels[0]), levels[: _smallest(levels)]
            arrangement = descend(start, layout, smallest, self._tuning, workers)
            candidates.append(Candidate(arrangement, layout, levels, len(_exact(levels)) == len(smallest)))
        return self._best(candidates, zooms, workers)

    def _is_refused(self) -> bool:
        """Return whether a source that no strips suit is not tried in patches: at medium, eyes prefer a second shot."""
        return bool(self._made) and self._judge is not None and self._strength < _SHRINK_FROM

    def _draw_strips(self, rng: np.random.Generator, workers: Workers) -> list[Candidate]:
        """Return arrangements of strips, where the source bears any."""
        joins = _JOINS if self._strength < _SHRINK_FROM else _JOINS + 1
        drawn: list[tuple[Collage, Strips]] = []
        for collage in self._collages(workers):
            some = collage.draw(rng, self._tuning.candidates, joins, workers)
            drawn += [(collage, strips) for strips in some]
        drawn = sorted(drawn, key=lambda one: one[1].cost)[: self._tuning.candidates]
        if not drawn:
            return []
        levels = self._levels(1.0)
        level = _exact(levels)[-1]
        layout = Layout((), Placement(0, 0), 0, np.zeros((1, 1, 2), np.float32), np.zeros_like(level.image))
        candidates = []
        for collage, strips in drawn:
            columns = strips.columns()[RADIUS:-RADIUS, RADIUS:-RADIUS] - RADIUS
            rows = np.broadcast_to(np.arange(len(columns))[:, None], columns.shape)
            field = NearestNeighborField.from_positions(rows, columns, level.output, level.atlas)
            arrangement = Arrangement(collage.rough(strips), field, strips.cost)
            candidates.append(
                Candidate(arrangement, layout, levels, settled=False, strips=strips, collage=collage)
            )
        return candidates

    def _best(self, candidates: list[Candidate], zooms: list[float], workers: Workers) -> Candidate:
        """Return the candidate to carry on, and remember what it looks like."""
        colours = self._source.shape[2]
        levels = self._levels(1.0)
        level = levels[_smallest(levels) - 1]
        # The levels of a smaller source have other sizes.
        images = [resize(one.arrangement.image[..., :colours], level.output) for one in candidates]
        usual = float(np.median([one.arrangement.cost for one in candidates])) + _LEAST_COST
        costs = [
            one.arrangement.cost / usual + _SHRINK_COST * (zoom < 1)
            for one, zoom in zip(candidates, zooms, strict=True)
        ]
        order = rank_candidates(images, costs, level.image[..., :colours], self._siblings, self._tuning)
        best, choice = order[0], candidates[order[0]]
        if self._judge is not None:
            settled = [self._settle(candidates[one], workers) for one in order[:_JUDGED]]
            judged = self._judged(settled)
            place = int(np.argmin([one.artefacts for one in judged]))
            best, choice = order[place], judged[place]
        self._siblings.append(images[best])
        return choice

    def _settle(self, candidate: Candidate, workers: Workers) -> Candidate:
        """Carry a candidate through the rest of the levels that are searched exactly, or blend its strips."""
        if candidate.settled:
            return candidate
        if candidate.strips is not None and candidate.collage is not None:
            blended = replace(candidate.arrangement, image=candidate.collage.small(candidate.strips))
            return replace(candidate, arrangement=blended, settled=True)
        levels = _exact(candidate.levels)[_smallest(candidate.levels) :]
        image = candidate.arrangement.image
        arrangement = descend(image, candidate.layout, levels, self._tuning, workers)
        return replace(candidate, arrangement=arrangement, settled=True)

    def _judged(self, settled: list[Candidate]) -> list[Candidate]:
        """Return settled candidates with what the judge says of each."""
        if self._judge is None:
            return settled
        values = [float(self._judge(self._shown(one))) for one in settled]
        return [replace(one, artefacts=value) for one, value in zip(settled, values, strict=True)]

    def _shown(self, candidate: Candidate) -> NDArray[np.float32]:
        """Return a settled candidate one level larger, since the largest exact level is too small to judge."""
        arrangement, larger = candidate.arrangement, candidate.levels[len(_exact(candidate.levels)) :]
        if not larger or candidate.strips is not None:
            return np.clip(arrangement.image[..., : self._source.shape[2]], 0, 1)
        level, overlay = larger[0], candidate.layout.overlay(larger[0])
        field = paste_field(arrangement.field.rescale(level.output, level.atlas), overlay)
        image = vote(level.words, field, level.channels)
        paste(image, level, overlay)
        return image

    def _zooms(self) -> list[float]:
        """Return the scale of the source for each candidate of a picture."""
        count = self._tuning.candidates
        if self._shrinks:
            zoom = self._tuning.zoom
            return [zoom if trial % _SHRINK_EVERY == 0 else 1.0 for trial in range(1, count + 1)]
        return [1.0] * count

    def _levels(self, zoom: float) -> list[Level]:
        """Return the levels of the source at a scale (1 is its own); cached, since candidates share them."""
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
                coarsest_px=self._tuning.coarsest_px,
                views=self._views,
                detail=self._detail,
            )
        return self._pyramids[zoom]

    def _layout(self, rng: np.random.Generator, level: Level, sign: int, number: int) -> Layout:
        fixed = (Placement(0.0, 0.0),) if self._fixed else None
        return draw_layout(rng, self._tuning, level, sign=sign, number=number, fixed=fixed)


def _tune(strength: float, *, same_shape: bool) -> Tuning:
    """Return the numbers for a strength; in another shape than the source's, all moves as one arrangement."""
    tuning = tune(strength)
    if same_shape:
        return tuning
    return replace(tuning, separation=0.0, separation_without_ground=0.0, coarsest_px=COARSEST_PX)


def _exact(levels: list[Level]) -> list[Level]:
    """Return the levels, coarsest first, that are searched exactly."""
    return [level for level in levels if level.pairs <= EXACT_PAIRS]


def _smallest(levels: list[Level]) -> int:
    """Return how many of the exact levels every candidate goes through."""
    return max(1, sum(level.pairs <= _CANDIDATE_PAIRS for level in levels))
