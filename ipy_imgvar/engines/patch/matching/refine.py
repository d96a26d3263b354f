"""Carry an arrangement to full size: match densely while that is cheap, then only along the seams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ipy_imgvar.engines.patch.arrays.regions import dilation
from ipy_imgvar.engines.patch.matching.overlay import paste, paste_field
from ipy_imgvar.engines.patch.matching.patches import PATCH, RADIUS, project
from ipy_imgvar.engines.patch.matching.search import patch_match
from ipy_imgvar.engines.patch.matching.vote import copy, vote, vote_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers
    from ipy_imgvar.engines.patch.matching.field import NearestNeighborField
    from ipy_imgvar.engines.patch.matching.pyramid import Level

__all__ = ["dense", "fine"]

#: Rounds of PatchMatch at a dense level; the field is inherited, so few change much. Chosen by eye.
_ROUNDS: Final = 2
#: Random positions tried for each patch in a round at a dense level. This and the next three were chosen by eye and
#: by timing.
_DENSE_TRIES: Final = 4
#: The same at a fine level.
_FINE_TRIES: Final = 2
#: The same at a large fine level, where tries cost more than they mend.
_LARGE_TRIES: Final = 0
#: Pixels above which a fine level is large.
_LARGE_PIXELS: Final = 300 * 400
#: Each try's radius as a share of the one before it; Barnes et al. 2009, section 3.2, use 0.5.
_RADIUS_STEP: Final = 0.35
#: How far from a seam patches are matched again at a fine level, in patches. Chosen by eye and by timing.
_SEAM_REACH: Final = 1
#: Short side, in pixels, for which a seam is feathered by one more pixel to either side. Chosen by eye at 512 and 1024.
_FEATHER_EVERY_PX: Final = 400
#: Patches whose features one chunk computes: 6 MB of values.
_CHUNK_PATCHES: Final = 8_192


def dense(
    field: NearestNeighborField,
    overlay: NDArray[np.int32],
    level: Level,
    rng: np.random.Generator,
    workers: Workers,
) -> tuple[NearestNeighborField, NDArray[np.float32]]:
    """Improve the whole field at a middle level.

    Parameters
    ----------
    field : NearestNeighborField
        Of the level before.
    overlay : ndarray of shape level.output, int32
        The subjects' source pixels, see `overlay`.
    level : Level
    rng : numpy.random.Generator
    workers : Workers

    Returns
    -------
    NearestNeighborField
    ndarray of shape (*level.output, C), float32, 0..1
        The image that the field shows.
    """
    channels = level.channels
    field = paste_field(field.rescale(level.output, level.atlas), overlay)
    keys = level.features(workers)
    free = overlay[RADIUS:-RADIUS, RADIUS:-RADIUS].reshape(-1) < 0
    movable = np.flatnonzero(free)
    for _ in range(_ROUNDS):
        workers.check()
        image = vote(level.words, field, channels)
        paste(image, level, overlay)
        queries = project(image, level.directions, workers)
        jumps = _jumps(rng, len(movable), level, _DENSE_TRIES)
        field = patch_match(field, queries[movable], keys.__getitem__, movable, jumps, view=level.size[1])
    image = vote(level.words, field, channels)
    paste(image, level, overlay)
    return field, image


def fine(
    field: NearestNeighborField, level: Level, rng: np.random.Generator, workers: Workers, *, last: bool
) -> tuple[NearestNeighborField, NDArray[np.uint64]]:
    """Inherit a field at a large level, mend it along its seams, and show it.

    Features are computed for the patches compared only: seams are a small part of a large picture.

    Parameters
    ----------
    field : NearestNeighborField
        Of the level before.
    level : Level
    rng : numpy.random.Generator
    workers : Workers
    last : bool
        Whether no level follows. If so, seams are feathered, from 400 px on by one pixel more to either side for
        every 400. Below, and between levels, an average would only cost sharpness.

    Returns
    -------
    NearestNeighborField
    ndarray of shape level.output, uint64
        Packed pixels, each a copy, or a vote near a feathered seam.
    """
    field = field.rescale(level.output, level.atlas)
    words = copy(level.words, field, workers)
    movable = np.flatnonzero(dilation(field.seams(), _SEAM_REACH))
    atlas = level.words.reshape(level.atlas)
    tries = _FINE_TRIES if words.size <= _LARGE_PIXELS else _LARGE_TRIES
    field = patch_match(
        field,
        _features_at(words, movable, level, workers),
        lambda index: _features_at(atlas, index, level, workers),
        movable,
        _jumps(rng, len(movable), level, tries),
        view=level.size[1],
    )
    words = copy(level.words, field, workers)
    reach = min(RADIUS, min(level.output) // _FEATHER_EVERY_PX)
    if last and reach:
        near = dilation(np.pad(field.seams(), RADIUS, mode="edge"), reach)
        pixels = np.flatnonzero(near)
        words.reshape(-1)[pixels] = vote_at(level.words, field, pixels, reach, workers)
    return field, words


def _features_at(
    words: NDArray[np.uint64], patches: NDArray[np.intp], level: Level, workers: Workers
) -> NDArray[np.float32]:
    """Return the features of some patches of a packed image of shape (H, W), shape (len(patches), F)."""
    windows = sliding_window_view(words, (PATCH, PATCH))
    cols = windows.shape[1]
    directions = level.lane_directions
    features = np.empty((len(patches), directions.shape[1]), np.float32)

    def run(start: int) -> None:
        row, col = np.divmod(patches[start : start + _CHUNK_PATCHES], cols)
        lanes = windows[row, col].reshape(len(row), -1).view(np.uint16)
        np.matmul(lanes.astype(np.float32), directions, out=features[start : start + _CHUNK_PATCHES])

    workers.each(run, range(0, len(patches), _CHUNK_PATCHES))
    return features


def _jumps(rng: np.random.Generator, count: int, level: Level, tries: int) -> list[NDArray[np.int32]]:
    """Draw displacements for the random search, within radii that shrink from half the larger side.

    Returns
    -------
    list of ndarray of shape (2, count), int32
        One for each try, in pixels: rows, then columns.
    """
    radius = max(level.size) / 2
    jumps = []
    for _ in range(tries):
        jumps.append((rng.random((2, count), np.float32) * (2 * radius) - radius).astype(np.int32))
        radius *= _RADIUS_STEP
    return jumps
