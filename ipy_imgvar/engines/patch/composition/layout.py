"""Draw where subjects go, and where the ground between them starts from.

This is what makes a picture new. A subject moves against the ground and against the other subjects; the
ground is turned around like a cylinder, so that what leaves on one side comes back on the other and nothing
is mirrored at a border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.composition.placement import (
    Placement,
    place_subjects,
    source_height,
    visible_pixels,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.matching.pyramid import Level
    from ipy_imgvar.engines.patch.strength import Tuning

__all__ = ["Layout", "draw_layout"]

#: The golden section, 0..1: steps of this share of a whole spread any number of pictures evenly.
_GOLDEN: Final = 0.618
#: Least share of `Tuning.shift_cols` that the whole moves by. This and all that follow were chosen by eye.
_LEAST_SHIFT: Final = 0.4
#: Divides the random part, 0..0.6, of a shift that is spread evenly: two seeds differ by up to a fifth of the range.
_SHIFT_JITTER: Final = 3
#: Range of the part of `Tuning.separation`, in widths, by which the ground falls behind its subjects.
_GROUND_LAG: Final = (0.1, 0.6)
#: How far aside a subject may be from where its ground goes and still count as a part of it, in widths.
_TOGETHER: Final = 0.04
#: Probability of the mirrored view.
_MIRROR: Final = 0.5
#: `Tuning.separation`, 0..1, from which subjects and ground are mirrored one without the other.
_MIRROR_APART_FROM: Final = 0.5
#: Range of the factor on fade and noise: some candidates start boldly, others timidly.
_BOLDNESS: Final = (0.3, 1.7)
#: Rows and columns of the net of displacements that bends the ground: few, so that it bends smoothly.
_BEND_NET: Final = 5


@dataclass(frozen=True, slots=True)
class Layout:
    """One arrangement, before any patch is matched.

    Attributes
    ----------
    placements : tuple of Placement
        Of each subject, in the order of `Level.subjects`.
    ground : Placement
        Of all the rest; columns wrap around.
    fade : float
        How far the ground is mixed towards the mean colour, 0..1.
    bend : ndarray of shape (5, 5, 2), float32
        Smooth displacement of the ground, in heights and widths.
    noise : ndarray of shape (H, W, C), float32
        Added to the start (values of 0..1), at the coarsest output's shape.
    """

    placements: tuple[Placement, ...]
    ground: Placement
    fade: float
    bend: NDArray[np.float32]
    noise: NDArray[np.float32]

    def overlay(self, level: Level) -> NDArray[np.int32]:
        """Return which source pixel a subject puts at each output pixel of a level.

        Returns
        -------
        ndarray of shape level.output, int32
            Flat pixels of the atlas; -1 where no subject lies.
        """
        width = level.size[1]
        result = np.full(level.output, -1, np.int32)
        for region, placement in zip(level.regions, self.placements, strict=True):
            view = region[:, ::-1] if placement.view else region
            (row, col), inside = visible_pixels(view, placement, level.output)
            result[inside] = row * level.atlas[1] + placement.view * width + col
        return result

    def origin(self, shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return which position of the source the ground comes from.

        Returns
        -------
        tuple of two ndarray of shape `shape`, float32
            Rows, 0..1, and columns, 0..1 (wrapped).
        """
        bend = resize(self.bend, shape)
        down = (np.arange(shape[0], dtype=np.float32) + np.float32(0.5)) / np.float32(shape[0])
        across = (np.arange(shape[1], dtype=np.float32) + 0.5) / shape[1]
        rows = np.clip(source_height(down, self.ground.rows)[:, None] + bend[..., 0], 0, 1)
        cols = (across - self.ground.cols + bend[..., 1]) % 1
        return rows.astype(np.float32), cols.astype(np.float32)

    def start(self, level: Level) -> NDArray[np.float32]:
        """Return the image that the coarsest level begins with, shape (*level.output, C)."""
        moved = np.zeros(level.size, bool)
        for region, placement in zip(level.regions, self.placements, strict=True):
            same_view = placement.view == self.ground.view
            together = same_view and abs(placement.cols - self.ground.cols) < _TOGETHER
            # In another shape than the source's, nothing stays where its ground goes.
            if not together or level.output != level.size:
                moved |= region
        rows, cols = self.origin(level.output)
        height, width = level.size
        row = np.minimum((rows * height).astype(np.intp), height - 1)
        col = np.minimum((cols * width).astype(np.intp), width - 1)
        ground = level.inpaint(moved)
        image = (ground[:, ::-1] if self.ground.view else ground)[row, col]
        image += np.float32(self.fade) * (level.image.mean(axis=(0, 1)) - image)
        image += self.noise
        return image


def draw_layout(
    rng: np.random.Generator,
    tuning: Tuning,
    level: Level,
    *,
    sign: int,
    number: int,
    fixed: tuple[Placement, ...] | None = None,
) -> Layout:
    """Draw one arrangement at random.

    Parameters
    ----------
    rng : numpy.random.Generator
    tuning : Tuning
    level : Level
        The coarsest.
    sign : int
        1 or -1: the side to which the whole moves.
    number : int
        The picture's. Where all moves as one, how far is spread evenly over the pictures.
    fixed : tuple of Placement or None
        The subjects' placements, if they are not to be drawn.
    """
    down = tuning.shift_rows * rng.uniform(-1, 1)
    share = rng.uniform(_LEAST_SHIFT, 1)
    if not tuning.separation:
        spread = ((share - _LEAST_SHIFT) / _SHIFT_JITTER + number * _GOLDEN) % 1
        share = _LEAST_SHIFT + (1 - _LEAST_SHIFT) * spread
    aside = sign * tuning.shift_cols * share
    ground = Placement(down, aside)
    view = 0
    if tuning.separation:
        lag = sign * tuning.separation * rng.uniform(*_GROUND_LAG)
        ground = Placement(down, aside - lag, _draw_view(rng, level))
        view = _draw_view(rng, level) if tuning.separation >= _MIRROR_APART_FROM else ground.view
    placements = fixed or tuple(place_subjects(rng, tuning, level, Placement(down, aside, view)))
    bend = rng.normal(0, tuning.bend_std, (_BEND_NET, _BEND_NET, 2)).astype(np.float32)
    boldness = rng.uniform(*_BOLDNESS) if tuning.separation else 1.0
    noise = rng.normal(0, tuning.noise_std * boldness, (*level.output, level.channels)).astype(np.float32)
    return Layout(placements, ground, min(1.0, tuning.fade * boldness), bend, noise)


def _draw_view(rng: np.random.Generator, level: Level) -> int:
    return int(rng.random() < _MIRROR) if level.views > 1 else 0
