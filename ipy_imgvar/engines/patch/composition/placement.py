"""Where a subject may go: on its ground, in the picture, and never so that a cut shows.

Places are moves of the source against the output, both centred, in heights and widths of the source. The
source may be smaller than the output; `ratio` is the output's size over the source's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.matching.pyramid import Level
    from ipy_imgvar.engines.patch.strength import Knobs

__all__ = ["Place", "can_shrink", "landed", "placed", "sunk"]

Pixels: TypeAlias = "tuple[NDArray[np.intp], NDArray[np.intp]]"

_CUT = 0.03
"""How far a subject that the source's border cuts off may move away from it, as a share of the side."""

_OUT_ABOVE = 0.3
"""How far a subject may leave the picture above and below, compared with the sides: heads are above."""

_DOWN, _ASIDE = 0.12, 0.5
"""How far a subject may move from where all would go together: ground recedes upward, so less up and down."""

_TRIES = 12


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
class _Extent:
    """Where a subject begins and ends along an axis, 0..1."""

    low: float
    high: float

    @classmethod
    def of(cls, mask: NDArray[np.float32], axis: int) -> _Extent:
        inside = np.flatnonzero(mask.any(axis=1 - axis))
        size = mask.shape[axis]
        return cls(float(inside[0] / size), float((inside[-1] + 1) / size))

    @property
    def spans(self) -> bool:
        """Whether both borders cut it off."""
        return self.low == 0 and self.high == 1

    def within(self, move: float, ratio: float, out: float) -> float:
        """Limit a move so that it neither leaves the picture nor shows where a border cut the subject off.

        Where a border did, it may go `out` that far.
        """
        spare = (ratio - 1) / 2
        if self.spans:
            return float(min(max(move, -spare - _CUT), spare + _CUT))
        least = -spare - self.low - (out if self.low == 0 else 0)
        most = spare + 1 - self.high + (out if self.high == 1 else 0)
        if self.low == 0:
            most = min(most, -spare + _CUT)
        if self.high == 1:
            least = max(least, spare - _CUT)
        return float(min(max(move, least), most))


def can_shrink(subjects: tuple[NDArray[np.float32], ...]) -> bool:
    """Return whether the source may be shown smaller: not where it cuts a subject off on opposite sides."""
    return bool(subjects) and not any(_Extent.of(mask, axis).spans for mask in subjects for axis in (0, 1))


def sunk(down: NDArray[np.float32], amount: float) -> NDArray[np.float32]:
    """Return the source's height for heights of the output, 0..1, where the middle has sunk by `amount`.

    Top and bottom stay, so that what is between is stretched on one side and pressed together on the other,
    and nothing has to be repeated at a border. Below 0.25 it does not fold.
    """
    return down - np.float32(4 * amount) * down * (1 - down)


def _sunk_to(height: float, amount: float) -> float:
    """Return where a height of the source goes, 0..1: the inverse of `sunk`."""
    if abs(amount) < 1e-6:  # noqa: PLR2004 - nothing to solve
        return height
    middle = 1 - 4 * amount
    return float((np.sqrt(middle**2 + 16 * amount * height) - middle) / (8 * amount))


def placed(rng: np.random.Generator, knobs: Knobs, level: Level, whole: Place) -> list[Place]:
    """Place the subjects one by one, largest first, where they cover each other least.

    Parameters
    ----------
    rng : numpy.random.Generator
    knobs : Knobs
    level : Level
        The coarsest.
    whole : Place
        Where all would go together; `rows` is how far the ground's middle sinks.
    """
    ratio = level.output[0] / level.size[0], level.output[1] / level.size[1]
    places: list[Place] = []
    taken = np.zeros((0, 0), bool)
    for mask in level.subjects:
        seen = mask[:, ::-1] if whole.view else mask
        least = np.inf
        for trial in range(_TRIES):
            reach = knobs.part * (1 - trial / _TRIES) if places else 0.0
            aside = Place(
                rng.uniform(-_DOWN, _DOWN) * reach, whole.cols + rng.uniform(-_ASIDE, _ASIDE) * reach
            )
            found = _on_ground(seen, whole, aside, ratio, knobs.out * rng.uniform(0.5, 1))
            shown = _footprint(seen, found, ratio)
            covered = int((shown & taken).sum()) if taken.size else 0
            if covered < least:
                least, place, footprint = covered, found, shown
            if not covered:
                break
        taken = footprint | taken if taken.size else footprint
        places.append(place)
    return places


def _on_ground(
    mask: NDArray[np.float32], whole: Place, aside: Place, ratio: tuple[float, float], out: float
) -> Place:
    """Put a subject's lowest row where the ground there goes, and its middle column aside."""
    down, across = _Extent.of(mask, 0), _Extent.of(mask, 1)
    base = _sunk_to(down.high, whole.rows) + aside.rows
    centre = (across.low + across.high) / 2
    rows = base * ratio[0] - (ratio[0] - 1) / 2 - down.high
    cols = (centre + aside.cols) * ratio[1] - (ratio[1] - 1) / 2 - centre
    return Place(
        down.within(rows, ratio[0], out * _OUT_ABOVE), across.within(cols, ratio[1], out), whole.view
    )


def _footprint(mask: NDArray[np.float32], place: Place, ratio: tuple[float, float]) -> NDArray[np.bool_]:
    """Mark what a subject covers of the output when it is in its place."""
    shown = np.zeros((round(mask.shape[0] * ratio[0]), round(mask.shape[1] * ratio[1])), bool)
    _, there = landed(mask, place, (shown.shape[0], shown.shape[1]))
    shown[there] = True
    return shown


def landed(mask: NDArray[Any], place: Place, output: tuple[int, int]) -> tuple[Pixels, Pixels]:
    """Return the marked pixels that the output shows, and where it shows them.

    Parameters
    ----------
    mask : ndarray of shape (H, W)
        A subject, seen as its place shows it: already mirrored where that does.
    place : Place
    output : tuple of int
        Rows and columns of the output.

    Returns
    -------
    tuple of two ndarray of shape (N,), intp
        Rows and columns in the mask.
    tuple of two ndarray of shape (N,), intp
        Rows and columns in the output.
    """
    height, width = mask.shape
    row, col = np.nonzero(mask)
    new_row = row + round(place.rows * height + (output[0] - height) / 2)
    new_col = col + round(place.cols * width + (output[1] - width) / 2)
    inside = (new_row >= 0) & (new_row < output[0]) & (new_col >= 0) & (new_col < output[1])
    return (row[inside], col[inside]), (new_row[inside], new_col[inside])
