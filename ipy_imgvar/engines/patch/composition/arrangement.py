"""Find the arrangement at the coarse levels, where every patch can be compared with every other.

Several layouts are tried on the smallest levels; `novelty` says which is carried on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ipy_imgvar.engines.patch.arrays.regions import box_mean
from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.matching.field import Field
from ipy_imgvar.engines.patch.matching.overlay import force, force_field
from ipy_imgvar.engines.patch.matching.patches import PATCH, RADIUS, grid, vectors
from ipy_imgvar.engines.patch.matching.search import nearest_complete
from ipy_imgvar.engines.patch.matching.vote import vote

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers
    from ipy_imgvar.engines.patch.composition.layout import Layout
    from ipy_imgvar.engines.patch.matching.pyramid import Level
    from ipy_imgvar.engines.patch.strength import Knobs

__all__ = ["Arrangement", "descend", "initial"]

_ITERATIONS = 6
_SETTLED = 0.005
_TOUCHES = 1e-6


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The output at one level.

    Attributes
    ----------
    image : ndarray of shape (H, W, C), float32, 0..1
    field : Field
    cost : float
        Mean squared difference of its patches to the source's, and of the source's to its (Simakov et al.
        2008, equation 1).
    """

    image: NDArray[np.float32]
    field: Field
    cost: float


def descend(
    image: NDArray[np.float32], layout: Layout, levels: list[Level], knobs: Knobs, workers: Workers
) -> Arrangement:
    """Run exact levels, coarsest first, from a start image of any size.

    Parameters
    ----------
    image : ndarray of shape (h, w, C), float32
        The start; it is enlarged to the first level.
    layout : Layout
    levels : list of Level
        At least one.
    knobs : Knobs
    workers : Workers
    """
    for level in levels:
        sharp = image.shape[:2] == level.output
        image = resize(image, level.output)
        result = _settle(image, layout, level, knobs, workers, sharp=sharp)
        image = result.image
    return result


def initial(layout: Layout, level: Level) -> Arrangement:
    """Return the layout itself as an arrangement, where no level is small enough for an exact search."""
    field = _straight(layout, level)
    return Arrangement(vote(level.packed, field, level.channels), field, 0.0)


def _settle(
    image: NDArray[np.float32],
    layout: Layout,
    level: Level,
    knobs: Knobs,
    workers: Workers,
    *,
    sharp: bool,
) -> Arrangement:
    """Match and vote at one level until few patches change."""
    forced = layout.forced(level)
    field = force_field(_straight(layout, level), forced)
    force(image, level, forced)
    groups = _groups(layout, level, forced)
    if not groups:
        return Arrangement(image, field, 0.0)
    scale = level.channels * PATCH * PATCH
    places_asked, places_known = _places(layout, level, knobs, scale)
    index = field.flat()
    for turn in range(1 if sharp else _ITERATIONS):
        workers.check()
        known = level.sharp_patches if turn or sharp else level.soft_patches
        asked = np.concatenate([vectors(image), places_asked], axis=1)
        known = np.concatenate([known, places_known], axis=1)
        before = index.copy()
        cost = 0.0
        for free, allowed in groups:
            match = nearest_complete(asked[free], known[allowed], scale, workers)
            index[free] = allowed[match.index]
            cost += float(match.distance.mean() + match.missing.mean()) * len(free) / len(index)
        field = force_field(Field.from_flat(index, level.output, level.sheet), forced)
        image = vote(level.packed, field, level.channels)
        force(image, level, forced)
        if np.mean(before != index) < _SETTLED:
            break
    return Arrangement(image, field, cost)


def _groups(
    layout: Layout, level: Level, forced: NDArray[np.int32]
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return the free patches, far from and touching a subject, each with the sheet patches they may show."""
    inner = slice(RADIUS, -RADIUS)
    kept = (forced >= 0).astype(np.float32)
    free = forced[inner, inner] < 0
    touching = box_mean(kept, RADIUS)[inner, inner] > _TOUCHES
    view = layout.ground.view
    groups = [
        (np.flatnonzero(free & ~touching), level.ground[view]),
        (np.flatnonzero(free & touching), level.outline[view]),
    ]
    return [group for group in groups if len(group[0])]


def _straight(layout: Layout, level: Level) -> Field:
    """Return the field that shows the ground where the layout puts it."""
    rows, cols = layout.origin(level.output)
    inner = slice(RADIUS, -RADIUS)
    height, width = level.size
    return Field.from_positions(
        (rows[inner, inner] * height).astype(np.int32) - RADIUS,
        # Within its view: a patch across two would show the border mirrored.
        np.clip((cols[inner, inner] * width).astype(np.int32) - RADIUS, 0, width - PATCH)
        + layout.ground.view * width,
        level.output,
        level.sheet,
    )


def _places(
    layout: Layout, level: Level, knobs: Knobs, scale: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the two position values that extend each patch vector, for the asking and the known patches."""
    weights = np.sqrt(np.array([knobs.prior_rows, knobs.prior_cols]) * scale).astype(np.float32)
    rows, cols = layout.origin(level.output)
    inner = slice(RADIUS, -RADIUS)
    asked = np.stack([rows[inner, inner], cols[inner, inner]], axis=-1).reshape(-1, 2)
    height, width = level.size
    down, across = grid(level.sheet)
    known = np.empty((down, across, 2), np.float32)
    known[..., 0] = ((np.arange(down) + RADIUS + 0.5) / height)[:, None]
    known[..., 1] = (np.arange(across) + RADIUS + 0.5) / width % 1
    return asked * weights, known.reshape(-1, 2) * weights
