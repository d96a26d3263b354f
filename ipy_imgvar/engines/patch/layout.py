"""Where things go: the subjects' places, and where the ground between them starts from.

This is what makes a picture new. A subject moves against the ground and against the other subjects; the
ground is turned around like a cylinder, so that what leaves on one side comes back on the other and nothing
is mirrored at a border.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .keep import box_mean
from .resize import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .knobs import Knobs
    from .pyramid import Level

__all__ = ["Layout", "Place", "can_shrink", "draw"]

_CUT = 0.08
"""How far a subject that the source's border cuts off may move away from it, as a share of the side."""

_TOGETHER = 0.04
"""How far a subject may be from where its ground goes and still count as a part of it, in widths."""

_TRIES = 12
_MIRRORED = 0.5
_BOLDNESS = (0.3, 1.7)
_TURNED_FROM = 0.5
"""How far apart subjects and ground must be to be mirrored one without the other."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something goes.

    Attributes
    ----------
    rows, cols : float
        How far it moves within its view, in heights and widths of the source. For the ground, `rows` is how
        far its middle sinks, while its top and bottom stay.
    view : int
        Which view of the source it is taken from: 0 as it is, 1 mirrored.
    """

    rows: float
    cols: float
    view: int = 0


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
        height, width = level.size
        rows, cols = level.output
        result = np.full(level.output, -1, np.int32)
        for region, place in zip(level.regions, self.places, strict=True):
            row, col = np.nonzero(region[:, ::-1] if place.view else region)
            new_row = row + round(place.rows * height + (rows - height) / 2)
            new_col = col + round(place.cols * width + (cols - width) / 2)
            inside = (new_row >= 0) & (new_row < rows) & (new_col >= 0) & (new_col < cols)
            result[new_row[inside], new_col[inside]] = (row * level.sheet[1] + place.view * width + col)[
                inside
            ]
        return result

    def origin(self, shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return which place of the source the ground comes from, rows 0..1 and columns 0..1 (wrapped)."""
        bend = resize(self.bend, shape)
        down = (np.arange(shape[0], dtype=np.float32) + 0.5) / shape[0]
        across = (np.arange(shape[1], dtype=np.float32) + 0.5) / shape[1]
        rows = np.clip(_sunk(down, self.ground.rows)[:, None] + bend[..., 0], 0, 1)
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
        ground = _without(level.image, moved)
        image = (ground[:, ::-1] if self.ground.view else ground)[row, col]
        image += np.float32(self.fade) * (level.image.mean(axis=(0, 1)) - image)
        image += self.noise
        return image


def draw(rng: np.random.Generator, knobs: Knobs, level: Level, sign: int) -> Layout:
    """Draw one arrangement at random.

    Parameters
    ----------
    rng : numpy.random.Generator
    knobs : Knobs
    level : Level
        The coarsest.
    sign : int
        1 or -1: the side to which the whole moves.
    """
    sunk = knobs.shift_rows * rng.uniform(-1, 1)
    aside = sign * knobs.shift_cols * rng.uniform(0.4, 1)
    ground = Place(sunk, aside)
    view = 0
    if knobs.part:
        ground = Place(sunk, aside - sign * knobs.part * rng.uniform(0.1, 0.6), _view(rng, level))
        view = _view(rng, level) if knobs.part >= _TURNED_FROM else ground.view
    places = _places(rng, knobs, level, Place(sunk, aside, view))
    bend = rng.normal(0, knobs.warp, (5, 5, 2)).astype(np.float32)
    boldness = rng.uniform(*_BOLDNESS) if knobs.part else 1.0
    noise = rng.normal(0, knobs.noise / 2 * boldness, (*level.output, level.channels)).astype(np.float32)
    return Layout(tuple(places), ground, min(1.0, knobs.fade * boldness), bend, noise)


def can_shrink(subjects: tuple[NDArray[np.float32], ...]) -> bool:
    """Return whether the source may be shown smaller: not where it cuts a subject off on opposite sides."""
    spans = [
        line[0] and line[-1] for mask in subjects for line in (mask.any(axis=0), mask.any(axis=1))
    ]
    return bool(subjects) and not any(spans)


def _view(rng: np.random.Generator, level: Level) -> int:
    return int(rng.random() < _MIRRORED) if level.views > 1 else 0


def _sunk(down: NDArray[np.float32], amount: float) -> NDArray[np.float32]:
    """Return the source's height for heights of the output, 0..1, where the middle has sunk by `amount`.

    Top and bottom stay, so that what is between is stretched on one side and pressed together on the other,
    and nothing has to be repeated at a border.
    """
    return down - 4 * amount * down * (1 - down)


def _sunk_to(height: float, amount: float) -> float:
    """Return where a height of the source goes, 0..1: the inverse of `_sunk`."""
    if abs(amount) < 1e-6:  # noqa: PLR2004 - nothing to solve
        return height
    middle = 1 - 4 * amount
    return float((np.sqrt(middle**2 + 16 * amount * height) - middle) / (8 * amount))


def _places(rng: np.random.Generator, knobs: Knobs, level: Level, whole: Place) -> list[Place]:
    """Place the subjects one by one, largest first, where none covers another.

    A subject stands on its ground: its lowest row goes where the ground there goes.
    """
    ratio = level.output[0] / level.size[0], level.output[1] / level.size[1]
    places: list[Place] = []
    taken: NDArray[np.bool_] | None = None
    for number, mask in enumerate(level.subjects):
        seen = mask[:, ::-1] if whole.view else mask
        least = np.inf
        for trial in range(_TRIES):
            reach = knobs.part * (1 - trial / _TRIES) if number else 0.0
            down, across = rng.uniform(-0.12, 0.12) * reach, rng.uniform(-0.5, 0.5) * reach
            out = knobs.out * rng.uniform(0.5, 1)
            rows = _placed_rows(seen.any(axis=1), whole.rows, down, ratio[0], out)
            cols = _placed_cols(seen.any(axis=0), whole.cols + across, ratio[1], out)
            shown = _moved(seen, rows, cols, ratio)
            covered = 0 if taken is None else int((shown & taken).sum())
            if covered < least:
                least, place, footprint = covered, Place(rows, cols, whole.view), shown
            if not covered:
                break
        taken = footprint if taken is None else taken | footprint
        places.append(place)
    return places


def _placed_rows(line: NDArray[np.bool_], sunk: float, down: float, ratio: float, out: float) -> float:
    low, high = _ends(line)
    base = _sunk_to(high, sunk) + down
    return _within((low, high), base * ratio - (ratio - 1) / 2 - high, ratio, out)


def _placed_cols(line: NDArray[np.bool_], across: float, ratio: float, out: float) -> float:
    low, high = _ends(line)
    centre = (low + high) / 2
    return _within((low, high), (centre + across) * ratio - (ratio - 1) / 2 - centre, ratio, out)


def _ends(line: NDArray[np.bool_]) -> tuple[float, float]:
    inside = np.flatnonzero(line)
    return inside[0] / len(line), (inside[-1] + 1) / len(line)


def _moved(mask: NDArray[np.float32], rows: float, cols: float, ratio: tuple[float, float]) -> NDArray[np.bool_]:
    """Mark what a subject covers of the output when it is in its place."""
    height, width = mask.shape
    shown = np.zeros((round(height * ratio[0]), round(width * ratio[1])), bool)
    row, col = np.nonzero(mask)
    row = row + round(rows * height + (shown.shape[0] - height) / 2)
    col = col + round(cols * width + (shown.shape[1] - width) / 2)
    inside = (row >= 0) & (row < shown.shape[0]) & (col >= 0) & (col < shown.shape[1])
    shown[row[inside], col[inside]] = True
    return shown


def _within(ends: tuple[float, float], move: float, ratio: float, out: float) -> float:
    """Limit a subject's move so that it neither leaves the picture nor shows where the border cut it off.

    Parameters
    ----------
    ends : tuple of float
        Where it begins and ends along the axis, 0..1.
    move : float
        Of the source in the middle of the output, in sizes of the source.
    ratio : float
        The output's size over the source's.
    out : float
        How far it may leave the picture where the border cuts it off already.
    """
    spare = (ratio - 1) / 2
    low, high = ends
    least = -spare - low - (out if low == 0 else 0)
    most = spare + 1 - high + (out if high == 1 else 0)
    if low == 0 and high < 1:
        most = min(most, -spare + _CUT)
    if high == 1 and low > 0:
        least = max(least, spare - _CUT)
    if low == 0 and high == 1:
        least, most = -spare - _CUT, spare + _CUT
    return float(min(max(move, least), most))


def _without(image: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Fill the masked pixels with a blend of what surrounds them, in ever larger squares."""
    filled = image.copy()
    if mask.all():
        return filled
    weight = (~mask).astype(np.float32)
    layers = [image[..., channel] * weight for channel in range(image.shape[2])]
    missing = mask.copy()
    while missing.any():
        weight = box_mean(weight, 2)
        layers = [box_mean(layer, 2) for layer in layers]
        ready = missing & (weight > 1e-3)  # noqa: PLR2004 - enough to divide by
        for channel, layer in enumerate(layers):
            filled[..., channel][ready] = layer[ready] / weight[ready]
        missing &= ~ready
    return filled
