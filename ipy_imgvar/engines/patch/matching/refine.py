"""Carry an arrangement to full size: match densely while that is cheap, then only along the seams."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ipy_imgvar.engines.patch.arrays.regions import dilate
from ipy_imgvar.engines.patch.matching.overlay import force, force_field
from ipy_imgvar.engines.patch.matching.patches import PATCH, RADIUS, project
from ipy_imgvar.engines.patch.matching.search import patch_match
from ipy_imgvar.engines.patch.matching.vote import copy, vote, vote_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers
    from ipy_imgvar.engines.patch.matching.field import Field
    from ipy_imgvar.engines.patch.matching.pyramid import Level

__all__ = ["dense", "fine"]

_ROUNDS = 2
_MENDED = 1
_FEATHERED_PX = 400
_LEAPS_UP_TO = 300 * 400
_CHUNK = 8_192


def dense(
    field: Field, forced: NDArray[np.int32], level: Level, rng: np.random.Generator, workers: Workers
) -> tuple[Field, NDArray[np.float32]]:
    """Improve the whole field at a middle level.

    Parameters
    ----------
    field : Field
        Of the level before.
    forced : ndarray of shape level.output, int32
        What `Layout.forced` returns.
    level : Level
    rng : numpy.random.Generator
    workers : Workers

    Returns
    -------
    Field
    ndarray of shape (*level.output, C), float32, 0..1
        What it shows.
    """
    channels = level.channels
    field = force_field(field.enlarged(level.output, level.sheet), forced)
    known = level.features(workers)
    free = forced[RADIUS:-RADIUS, RADIUS:-RADIUS].reshape(-1) < 0
    movable = np.flatnonzero(free)
    for _ in range(_ROUNDS):
        workers.check()
        image = vote(level.packed, field, channels)
        force(image, level, forced)
        asked = project(image, level.directions, workers)
        jumps = _jumps(rng, len(movable), level, 4)
        field = patch_match(field, asked[movable], known.__getitem__, movable, jumps, view=level.size[1])
    image = vote(level.packed, field, channels)
    force(image, level, forced)
    return field, image


def fine(
    field: Field, level: Level, rng: np.random.Generator, workers: Workers, *, last: bool
) -> tuple[Field, NDArray[np.uint64]]:
    """Inherit a field at a large level, mend it along its seams, and show it.

    Features are computed where they are asked for: seams are a small part of a large picture.

    Parameters
    ----------
    last : bool
        Whether nothing follows: then seams are feathered, from 400 px on by one pixel more to either side for
        every 400. Below, and between levels, an average would only cost sharpness.

    Returns
    -------
    Field
    ndarray of shape level.output, uint64
        Packed pixels, each a copy, or a vote near a feathered seam.
    """
    field = field.enlarged(level.output, level.sheet)
    words = copy(level.packed, field, workers)
    movable = np.flatnonzero(dilate(field.seams(), _MENDED))
    sheet = level.packed.reshape(level.sheet)
    field = patch_match(
        field,
        _features_at(words, movable, level, workers),
        lambda index: _features_at(sheet, index, level, workers),
        movable,
        _jumps(rng, len(movable), level, 2 if words.size <= _LEAPS_UP_TO else 0),
        view=level.size[1],
    )
    words = copy(level.packed, field, workers)
    reach = min(RADIUS, min(level.output) // _FEATHERED_PX)
    if last and reach:
        near = dilate(np.pad(field.seams(), RADIUS, mode="edge"), reach)
        pixels = np.flatnonzero(near)
        words.reshape(-1)[pixels] = vote_at(level.packed, field, pixels, reach, workers)
    return field, words


def _features_at(
    words: NDArray[np.uint64], patches: NDArray[np.intp], level: Level, workers: Workers
) -> NDArray[np.float32]:
    """Return the features of some patches of a packed image, shape (len(patches), F)."""
    windows = sliding_window_view(words, (PATCH, PATCH))
    cols = windows.shape[1]
    directions = level.lane_directions
    features = np.empty((len(patches), directions.shape[1]), np.float32)

    def run(start: int) -> None:
        row, col = np.divmod(patches[start : start + _CHUNK], cols)
        lanes = windows[row, col].reshape(len(row), -1).view(np.uint16)
        np.matmul(lanes.astype(np.float32), directions, out=features[start : start + _CHUNK])

    workers.each(run, range(0, len(patches), _CHUNK))
    return features


def _jumps(rng: np.random.Generator, count: int, level: Level, tries: int) -> list[NDArray[np.int32]]:
    """Draw the random search's displacements, within radii that shrink from half the larger side."""
    radius = max(level.size) / 2
    jumps = []
    for _ in range(tries):
        jumps.append((rng.random((2, count), np.float32) * (2 * radius) - radius).astype(np.int32))
        radius *= 0.35
    return jumps
