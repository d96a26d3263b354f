"""Where things go: the subjects' places, and where the ground between them starts from.

This is what makes a picture new. A subject moves against the ground and against the other subjects; the
ground is turned around like a cylinder, so that what leaves on one side comes back on the other and nothing
is mirrored at a border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.composition.placement import Place, landed, placed, sunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.matching.pyramid import Level
    from ipy_imgvar.engines.patch.strength import Knobs

__all__ = ["Layout", "draw"]

_GOLDEN = 0.618
"""Steps of this share of a whole spread any number of pictures evenly."""

_TOGETHER = 0.04
"""How far aside a subject may be from where its ground goes and still count as a part of it, in widths."""

_MIRRORED = 0.5
_BOLDNESS = (0.3, 1.7)
_TURNED_FROM = 0.5
"""How far apart subjects and ground must be to be mirrored one without the other."""


@dataclass(frozen=True, slots=True)
class Layout:
    """One arrangement, before any patch is matched.

    Attributes
    ----------
    places : tuple of Place
        Of each subject, in the order of `Level.subjects`.
    ground : Place
        Of all the rest; columns wrap around.
    fade : float
        How far the ground is mixed towards the mean colour, 0..1.
    bend : ndarray of shape (5, 5, 2), float32
        Smooth displacement of the ground, in heights and widths.
    noise : ndarray of shape (H, W, C), float32
        Added to the start, at the coarsest output's shape.
    """

    places: tuple[Place, ...]
    ground: Place
    fade: float
    bend: NDArray[np.float32]
    noise: NDArray[np.float32]

    def forced(self, level: Level) -> NDArray[np.int32]:
        """Return which source pixel a subject puts at each output pixel of a level.

        Returns
        -------
        ndarray of shape level.output, int32
            Flat pixels of the sheet; -1 where no subject lies.
        """
        width = level.size[1]
        result = np.full(level.output, -1, np.int32)
        for region, place in zip(level.regions, self.places, strict=True):
            (row, col), there = landed(region[:, ::-1] if place.view else region, place, level.output)
            result[there] = row * level.sheet[1] + place.view * width + col
        return result

    def origin(self, shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return which place of the source the ground comes from, rows 0..1 and columns 0..1 (wrapped)."""
        bend = resize(self.bend, shape)
        down = (np.arange(shape[0], dtype=np.float32) + np.float32(0.5)) / np.float32(shape[0])
        across = (np.arange(shape[1], dtype=np.float32) + 0.5) / shape[1]
        rows = np.clip(sunk(down, self.ground.rows)[:, None] + bend[..., 0], 0, 1)
        cols = (across - self.ground.cols + bend[..., 1]) % 1
        return rows.astype(np.float32), cols.astype(np.float32)

    def start(self, level: Level) -> NDArray[np.float32]:
        """Return the picture that the coarsest level begins with, shape (*level.output, C)."""
        moved = np.zeros(level.size, bool)
        for region, place in zip(level.regions, self.places, strict=True):
            together = place.view == self.ground.view and abs(place.cols - self.ground.cols) < _TOGETHER
            if not together or level.output != level.size:
                moved |= region
        rows, cols = self.origin(level.output)
        height, width = level.size
        row = np.minimum((rows * height).astype(np.intp), height - 1)
        col = np.minimum((cols * width).astype(np.intp), width - 1)
        ground = level.without(moved)
        image = (ground[:, ::-1] if self.ground.view else ground)[row, col]
        image += np.float32(self.fade) * (level.image.mean(axis=(0, 1)) - image)
        image += self.noise
        return image


def draw(
    rng: np.random.Generator,
    knobs: Knobs,
    level: Level,
    *,
    sign: int,
    number: int,
    fixed: tuple[Place, ...] | None = None,
) -> Layout:
    """Draw one arrangement at random.

    Parameters
    ----------
    rng : numpy.random.Generator
    knobs : Knobs
    level : Level
        The coarsest.
    sign : int
        1 or -1: the side to which the whole moves.
    number : int
        The picture's. Where all moves as one, how far is spread evenly over the pictures.
    fixed : tuple of Place or None
        Where the subjects are, if that is not to be drawn.
    """
    down = knobs.shift_rows * rng.uniform(-1, 1)
    share = rng.uniform(0.4, 1)
    if not knobs.part:
        share = 0.4 + 0.6 * (((share - 0.4) / 3 + number * _GOLDEN) % 1)
    aside = sign * knobs.shift_cols * share
    ground = Place(down, aside)
    view = 0
    if knobs.part:
        ground = Place(down, aside - sign * knobs.part * rng.uniform(0.1, 0.6), _view(rng, level))
        view = _view(rng, level) if knobs.part >= _TURNED_FROM else ground.view
    places = fixed or tuple(placed(rng, knobs, level, Place(down, aside, view)))
    bend = rng.normal(0, knobs.warp, (5, 5, 2)).astype(np.float32)
    boldness = rng.uniform(*_BOLDNESS) if knobs.part else 1.0
    noise = rng.normal(0, knobs.noise / 2 * boldness, (*level.output, level.channels)).astype(np.float32)
    return Layout(places, ground, min(1.0, knobs.fade * boldness), bend, noise)


def _view(rng: np.random.Generator, level: Level) -> int:
    return int(rng.random() < _MIRRORED) if level.views > 1 else 0
