"""Find an arrangement at the coarse levels, where every patch can be compared with every other.

Several layouts are tried on the smallest levels; `novelty` says which is carried on.

The method is that of Granot et al., "Drop the GAN: In Defense of Patches Nearest Neighbors as Single Image Generative
Models" (CVPR 2022): from coarse to fine, every patch of the output is replaced by its nearest neighbour among the
source's patches, and overlaps are averaged. Departures, and why:

- Objects on a ground, or else the most salient part, stay whole and are placed first (`subjects`,
  `placement`), since plain matching scrambles faces. They move against the ground and, where they are
  many, against each other; the ground's horizon may sink or rise. This, not the noise, is what makes an arrangement
  new.
- Above strength 0.3 the search begins at about 30 px instead of 15, where a patch sees half the picture and
  puts everything back in its old position. What that size loses (masts, wires) is matched as one more channel.
- Ground away from a subject may not use what lies at a subject's outline, so that no half head is left
  behind.
- Several layouts are tried at the smallest levels. One that is a moved copy of the source or of a sibling is
  not chosen (`novelty`).
- Exact matching only where the levels are tiny; above, the field is inherited and mended along its seams by
  PatchMatch (Barnes et al., SIGGRAPH 2009), since everything else is a copy already. There a pixel shows the one
  patch centred on it, without a vote; only the last level's seams are feathered, by a few pixels where the picture is
  large.
- From 0.6 some of the candidates show a smaller source in a full canvas, where there is a ground to extend.

Arrangements are judged by how coherent and how complete they are (Simakov et al., "Summarizing Visual Data Using
Bidirectional Similarity", CVPR 2008). The method cannot invent content, pose or style.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.regions import uniform_filter
from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.matching.field import NearestNeighborField
from ipy_imgvar.engines.patch.matching.overlay import paste, paste_field
from ipy_imgvar.engines.patch.matching.patches import PATCH, RADIUS, grid, vectors
from ipy_imgvar.engines.patch.matching.search import nearest_complete
from ipy_imgvar.engines.patch.matching.vote import vote

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers
    from ipy_imgvar.engines.patch.composition.layout import Layout
    from ipy_imgvar.engines.patch.matching.pyramid import Level
    from ipy_imgvar.engines.patch.strength import Tuning

__all__ = ["Arrangement", "descend", "initial_arrangement"]

#: Most rounds of matching and voting at a level; Granot et al. 2022 use 10.
_ITERATIONS: Final = 6
#: Share of the patches below which a change ends the rounds early. Chosen by eye.
_SETTLED: Final = 0.005
#: Share of a patch from which a subject touches it: running sums leave traces of about 1e-9 where none does.
_TOUCHES: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The output at one level.

    Attributes
    ----------
    image : ndarray of shape (H, W, C), float32, 0..1
    field : NearestNeighborField
    cost : float
        Mean squared difference of its patches to the source's, and of the source's to its (Simakov et al.
        2008, equation 1).
    """

    image: NDArray[np.float32]
    field: NearestNeighborField
    cost: float


def descend(
    image: NDArray[np.float32], layout: Layout, levels: list[Level], tuning: Tuning, workers: Workers
) -> Arrangement:
    """Run exact levels, coarsest first, from a start image of any size.

    Parameters
    ----------
    image : ndarray of shape (h, w, C), float32, 0..1
        The start; it is enlarged to the first level.
    layout : Layout
    levels : list of Level
        At least one.
    tuning : Tuning
    workers : Workers
    """
    for level in levels:
        sharp = image.shape[:2] == level.output
        image = resize(image, level.output)
        result = _settle(image, layout, level, tuning, workers, sharp=sharp)
        image = result.image
    return result


def initial_arrangement(layout: Layout, level: Level) -> Arrangement:
    """Return the layout itself as an arrangement, where no level is small enough for an exact search."""
    field = _ground_field(layout, level)
    return Arrangement(vote(level.words, field, level.channels), field, 0.0)


def _settle(
    image: NDArray[np.float32],
    layout: Layout,
    level: Level,
    tuning: Tuning,
    workers: Workers,
    *,
    sharp: bool,
) -> Arrangement:
    """Match and vote at one level until few patches change.

    An image that has the level's size already (`sharp`) is the start itself, which one round turns into patches.
    """
    overlay = layout.overlay(level)
    field = paste_field(_ground_field(layout, level), overlay)
    paste(image, level, overlay)
    groups = _groups(layout, level, overlay)
    if not groups:
        return Arrangement(image, field, 0.0)
    scale = level.channels * PATCH * PATCH
    query_positions, key_positions = _positions(layout, level, tuning, scale)
    index = field.source_patches()
    for turn in range(1 if sharp else _ITERATIONS):
        workers.check()
        patches = level.sharp_patches if turn or sharp else level.soft_patches
        queries = np.concatenate([vectors(image), query_positions], axis=1)
        keys = np.concatenate([patches, key_positions], axis=1)
        before = index.copy()
        cost = 0.0
        for free, allowed in groups:
            match = nearest_complete(queries[free], keys[allowed], scale, workers)
            index[free] = allowed[match.index]
            cost += float(match.distance.mean() + match.key_distance.mean()) * len(free) / len(index)
        field = paste_field(NearestNeighborField.from_flat(index, level.output, level.atlas), overlay)
        image = vote(level.words, field, level.channels)
        paste(image, level, overlay)
        if np.mean(before != index) < _SETTLED:
            break
    return Arrangement(image, field, cost)


def _groups(
    layout: Layout, level: Level, overlay: NDArray[np.int32]
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return the free patches, far from and touching a subject, each with the atlas patches they may show."""
    inner = slice(RADIUS, -RADIUS)
    covered = (overlay >= 0).astype(np.float32)
    free = overlay[inner, inner] < 0
    touching = uniform_filter(covered, RADIUS)[inner, inner] > _TOUCHES
    view = layout.ground.view
    groups = [
        (np.flatnonzero(free & ~touching), level.ground_patches[view]),
        (np.flatnonzero(free & touching), level.outline_patches[view]),
    ]
    return [group for group in groups if len(group[0])]


def _ground_field(layout: Layout, level: Level) -> NearestNeighborField:
    """Return the field that shows the ground where the layout puts it."""
    rows, cols = layout.origin(level.output)
    inner = slice(RADIUS, -RADIUS)
    height, width = level.size
    return NearestNeighborField.from_positions(
        (rows[inner, inner] * height).astype(np.int32) - RADIUS,
        # Within its view: a patch across two would show the border mirrored.
        np.clip((cols[inner, inner] * width).astype(np.int32) - RADIUS, 0, width - PATCH)
        + layout.ground.view * width,
        level.output,
        level.atlas,
    )


def _positions(
    layout: Layout, level: Level, tuning: Tuning, scale: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the two position values that extend each patch vector, of the queries and of the keys.

    Both are of shape (patches, 2), float32: row and column of the patch's centre in the source, 0..1, times the root
    of `scale` and of the prior's weight.
    """
    weights = np.sqrt(np.array([tuning.prior_rows, tuning.prior_cols]) * scale).astype(np.float32)
    rows, cols = layout.origin(level.output)
    inner = slice(RADIUS, -RADIUS)
    queries = np.stack([rows[inner, inner], cols[inner, inner]], axis=-1).reshape(-1, 2)
    height, width = level.size
    down, across = grid(level.atlas)
    keys = np.empty((down, across, 2), np.float32)
    keys[..., 0] = ((np.arange(down) + RADIUS + 0.5) / height)[:, None]
    keys[..., 1] = (np.arange(across) + RADIUS + 0.5) / width % 1
    return queries * weights, keys.reshape(-1, 2) * weights
