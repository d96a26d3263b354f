"""Where a subject may go: on its ground, in the picture, and never so that a cut shows.

Placements are moves of the source against the output, both centred, in heights and widths of the source. The
source may be smaller than the output; `ratio` is the output's size over the source's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.matching.pyramid import Level
    from ipy_imgvar.engines.patch.strength import Tuning

__all__ = ["Placement", "can_shrink", "place_subjects", "source_height", "visible_pixels"]

#: Rows and columns of some pixels, each of shape (N,).
Pixels: TypeAlias = "tuple[NDArray[np.intp], NDArray[np.intp]]"

#: How far a subject that the source's border cuts off may move away from that border, as a share of the side: too
#: little to show. This and the next five were chosen by eye.
_CUT: Final = 0.03
#: Overhang above and below, as a share of that at the sides: heads are above.
_OVERHANG_ROWS: Final = 0.3
#: Least share of `Tuning.overhang` that a subject may use; the share is drawn between this and 1.
_LEAST_OVERHANG: Final = 0.5
#: How far a subject may move up and down from where all would go together, in heights: little, since ground recedes
#: upward.
_ROWS_APART: Final = 0.12
#: The same aside, in widths.
_COLS_APART: Final = 0.5
#: Positions tried for each subject until it covers no other; each try comes nearer to where all would go together.
_TRIES: Final = 12
#: Sinking, in heights, below which there is no equation to solve.
_NO_SINK: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Placement:
    """A subject's or the ground's move.

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

    def limit(self, move: float, ratio: float, overhang: float) -> float:
        """Limit a move so that it neither leaves the picture nor shows where a border cut the subject off.

        Over the border that cut it off, it may go by `overhang`.
        """
        spare = (ratio - 1) / 2
        if self.spans:
            return float(min(max(move, -spare - _CUT), spare + _CUT))
        least = -spare - self.low - (overhang if self.low == 0 else 0)
        most = spare + 1 - self.high + (overhang if self.high == 1 else 0)
        if self.low == 0:
            most = min(most, -spare + _CUT)
        if self.high == 1:
            least = max(least, spare - _CUT)
        return float(min(max(move, least), most))


def can_shrink(subjects: tuple[NDArray[np.float32], ...]) -> bool:
    """Return whether the source may be shown smaller: not where it cuts a subject off on opposite sides."""
    return bool(subjects) and not any(_Extent.of(mask, axis).spans for mask in subjects for axis in (0, 1))


def source_height(heights: NDArray[np.float32], sink: float) -> NDArray[np.float32]:
    """Return the source's heights for heights of the output, 0..1, where the middle has sunk by `sink`.

    Top and bottom stay, so the ground between is stretched on one side and compressed on the other, and
    nothing has to be repeated at a border. Below 0.25 it does not fold.
    """
    # The slope at the ends is 1 -+ 4 * sink, which must not change its sign.
    return heights - np.float32(4 * sink) * heights * (1 - heights)


def _output_height(height: float, sink: float) -> float:
    """Return where a height of the source goes, 0..1: the inverse of `source_height`."""
    if abs(sink) < _NO_SINK:
        return height
    middle = 1 - 4 * sink
    return float((np.sqrt(middle**2 + 16 * sink * height) - middle) / (8 * sink))


def place_subjects(
    rng: np.random.Generator, tuning: Tuning, level: Level, whole: Placement
) -> list[Placement]:
    """Place the subjects one by one, largest first, where they cover each other least.

    Parameters
    ----------
    rng : numpy.random.Generator
    tuning : Tuning
    level : Level
        The coarsest.
    whole : Placement
        Where all would go together; `rows` is how far the ground's middle sinks.
    """
    ratio = level.output[0] / level.size[0], level.output[1] / level.size[1]
    placements: list[Placement] = []
    occupied = np.zeros((0, 0), bool)
    for mask in level.subjects:
        view = mask[:, ::-1] if whole.view else mask
        least = np.inf
        for trial in range(_TRIES):
            reach = tuning.separation * (1 - trial / _TRIES) if placements else 0.0
            aside = Placement(
                rng.uniform(-_ROWS_APART, _ROWS_APART) * reach,
                whole.cols + rng.uniform(-_COLS_APART, _COLS_APART) * reach,
            )
            overhang = tuning.overhang * rng.uniform(_LEAST_OVERHANG, 1)
            candidate = _on_ground(view, whole, aside, ratio, overhang)
            candidate_footprint = _footprint(view, candidate, ratio)
            covered = int((candidate_footprint & occupied).sum()) if occupied.size else 0
            if covered < least:
                least, placement, footprint = covered, candidate, candidate_footprint
            if not covered:
                break
        occupied = footprint | occupied if occupied.size else footprint
        placements.append(placement)
    return placements


def _on_ground(
    mask: NDArray[np.float32], whole: Placement, aside: Placement, ratio: tuple[float, float], overhang: float
) -> Placement:
    """Put a subject's lowest row where the ground there goes, and its middle column aside."""
    down, across = _Extent.of(mask, 0), _Extent.of(mask, 1)
    base = _output_height(down.high, whole.rows) + aside.rows
    centre = (across.low + across.high) / 2
    rows = base * ratio[0] - (ratio[0] - 1) / 2 - down.high
    cols = (centre + aside.cols) * ratio[1] - (ratio[1] - 1) / 2 - centre
    return Placement(
        down.limit(rows, ratio[0], overhang * _OVERHANG_ROWS),
        across.limit(cols, ratio[1], overhang),
        whole.view,
    )


def _footprint(
    mask: NDArray[np.float32], placement: Placement, ratio: tuple[float, float]
) -> NDArray[np.bool_]:
    """Mark the output's pixels that a subject covers, at the resolution of its mask."""
    shown = np.zeros((round(mask.shape[0] * ratio[0]), round(mask.shape[1] * ratio[1])), bool)
    _, inside = visible_pixels(mask, placement, (shown.shape[0], shown.shape[1]))
    shown[inside] = True
    return shown


def visible_pixels(
    mask: NDArray[Any], placement: Placement, output: tuple[int, int]
) -> tuple[Pixels, Pixels]:
    """Return the marked pixels that the output shows, and where it shows them.

    Parameters
    ----------
    mask : ndarray of shape (H, W)
        A subject, as the view that its placement names shows it: mirrored in view 1.
    placement : Placement
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
    new_row = row + round(placement.rows * height + (output[0] - height) / 2)
    new_col = col + round(placement.cols * width + (output[1] - width) / 2)
    inside = (new_row >= 0) & (new_row < output[0]) & (new_col >= 0) & (new_col < output[1])
    return (row[inside], col[inside]), (new_row[inside], new_col[inside])
