"""Where things go: the subjects' places, and where the ground between them starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .keep import _box
from .resize import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .knobs import Knobs
    from .pyramid import Level

__all__ = ["Layout", "Piece", "draw"]

_HALF = 0.5


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the source that is shown whole.

    Attributes
    ----------
    mask : ndarray of shape (h, w), float32
        1 where the source belongs to it, at any resolution.
    rows, cols : float
        How far it moves, in source heights and widths.
    """

    mask: NDArray[np.float32]
    rows: float
    cols: float


@dataclass(frozen=True, slots=True)
class Layout:
    """One arrangement, before any patch is matched.

    Attributes
    ----------
    pieces : tuple of Piece
    rows, cols : float
        How far the ground moves, in heights and widths; columns wrap around.
    bend : ndarray of shape (5, 5, 2), float32
        Smooth displacement of the ground, in heights and widths.
    noise : ndarray of shape (H, W, C), float32
        Added to the start, at the coarsest output's shape.
    """

    pieces: tuple[Piece, ...]
    rows: float
    cols: float
    bend: NDArray[np.float32]
    noise: NDArray[np.float32]

    def forced(self, level: Level) -> NDArray[np.int32]:
        """Return which source pixel a piece puts at each output pixel of a level.

        Returns
        -------
        ndarray of shape level.output, int32
            Flat source pixels; -1 where no piece lies.
        """
        height, width = level.source
        rows, cols = level.output
        result = np.full(level.output, -1, np.int32)
        for piece in self.pieces:
            mask = resize(piece.mask[..., None], level.source)[..., 0] > _HALF
            row, col = np.nonzero(mask)
            new_row = row + round(piece.rows * height + (rows - height) / 2)
            new_col = col + round(piece.cols * width + (cols - width) / 2)
            inside = (new_row >= 0) & (new_row < rows) & (new_col >= 0) & (new_col < cols)
            result[new_row[inside], new_col[inside]] = (row * width + col)[inside]
        return result

    def origin(self, shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return which place of the source the ground comes from, rows 0..1 and columns 0..1 (wrapped)."""
        bend = resize(self.bend, shape)
        down = (np.arange(shape[0], dtype=np.float32) + 0.5) / shape[0]
        across = (np.arange(shape[1], dtype=np.float32) + 0.5) / shape[1]
        rows = np.clip(down[:, None] - self.rows + bend[..., 0], 0, 1)
        cols = (across - self.cols + bend[..., 1]) % 1
        return rows.astype(np.float32), cols.astype(np.float32)

    def start(self, level: Level, fade: float) -> NDArray[np.float32]:
        """Return the picture that the coarsest level begins with, shape (*level.output, C)."""
        ground = _without(level.image, self.forced_mask(level))
        rows, cols = self.origin(level.output)
        height, width = level.source
        row = np.minimum((rows * height).astype(np.intp), height - 1)
        col = np.minimum((cols * width).astype(np.intp), width - 1)
        image = ground[row, col]
        image += np.float32(fade) * (level.image.mean(axis=(0, 1)) - image)
        image += self.noise
        return image

    def forced_mask(self, level: Level) -> NDArray[np.bool_]:
        """Mark the source pixels of a level that belong to a piece which moves against the ground."""
        mask = np.zeros(level.source, bool)
        for piece in self.pieces:
            if abs(piece.rows - self.rows) + abs(piece.cols - self.cols) > 0.03:  # noqa: PLR2004
                mask |= resize(piece.mask[..., None], level.source)[..., 0] > _HALF
        return mask


def draw(
    rng: np.random.Generator,
    knobs: Knobs,
    level: Level,
    masks: list[NDArray[np.bool_]],
    sign: int,
) -> Layout:
    """Draw one arrangement at random.

    Parameters
    ----------
    rng : numpy.random.Generator
    knobs : Knobs
    level : Level
        The coarsest.
    masks : list of ndarray of shape (h, w), bool
        The subjects, each of which becomes a piece.
    sign : int
        1 or -1: the side to which the whole moves.
    """
    whole_cols = sign * knobs.shift_cols * rng.uniform(0.4, 1)
    whole_rows = knobs.shift_rows * rng.uniform(-1, 1)
    apart = knobs.part * rng.uniform(0.3, 1, 2 + 2 * len(masks))
    pieces = []
    for number, mask in enumerate(masks):
        side = rng.choice([-1, 1])
        cols = whole_cols + side * 0.15 * apart[2 + 2 * number]
        rows = whole_rows + rng.uniform(-0.04, 0.04) * knobs.part
        cols, rows = _within(mask, cols, rows)
        pieces.append(Piece(mask.astype(np.float32), rows, cols))
    ground = whole_cols - sign * 0.5 * apart[0]
    bend = rng.normal(0, knobs.warp, (5, 5, 2)).astype(np.float32)
    noise = rng.normal(0, knobs.noise / 2, (*level.output, level.image.shape[2])).astype(np.float32)
    return Layout(tuple(pieces), whole_rows, ground, bend, noise)


def _within(mask: NDArray[np.bool_], cols: float, rows: float) -> tuple[float, float]:
    """Limit a subject's move so that it neither leaves the picture nor shows where it was cut off."""

    def limit(axis: int, move: float) -> float:
        places = np.flatnonzero(mask.any(axis=1 - axis))
        size = mask.shape[axis]
        before, after = places[0] / size, (size - 1 - places[-1]) / size
        low = -before - 0.04 if places[0] > 0 else -0.04
        high = after + 0.04 if places[-1] < size - 1 else 0.04
        return float(np.clip(move, low, high))

    return limit(1, cols), limit(0, rows)


def _without(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Fill the masked pixels with a blend of what surrounds them."""
    if not mask.any() or mask.all():
        return image.copy()
    open_ = (~mask).astype(np.float32)
    filled = image.copy()
    weight = open_
    layers = [image[..., channel] * open_ for channel in range(image.shape[2])]
    missing = mask.copy()
    while missing.any():
        weight = _box(weight, 2)
        layers = [_box(layer, 2) for layer in layers]
        ready = missing & (weight > 1e-3)  # noqa: PLR2004
        for channel, layer in enumerate(layers):
            filled[..., channel][ready] = layer[ready] / weight[ready]
        missing &= ~ready
    return filled
