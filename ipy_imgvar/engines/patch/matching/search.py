"""Find a source patch for every patch of the output: exactly where that is cheap, else by PatchMatch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ipy_imgvar.engines.patch.matching.field import Field
from ipy_imgvar.engines.patch.matching.patches import PATCH, grid

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers

__all__ = ["Match", "nearest_complete", "patch_match"]

ALPHA = 0.007
"""The completeness constant of Granot et al. 2022, equation 3; smaller shows more of the source."""

_CHUNK_ROWS = 512
_LEAP = 0.7
"""How much nearer a patch found at random must be: each leap is a new seam."""


@dataclass(frozen=True, slots=True)
class Match:
    """What an exact search found.

    Attributes
    ----------
    index : ndarray of shape (Q,), intp
        For each asking patch, its source patch.
    distance : ndarray of shape (Q,), float32
        Mean squared difference to it.
    missing : ndarray of shape (K,), float32
        For each source patch, the mean squared difference to the asking patch nearest to it.
    """

    index: NDArray[np.intp]
    distance: NDArray[np.float32]
    missing: NDArray[np.float32]


def nearest_complete(
    asked: NDArray[np.float32], known: NDArray[np.float32], scale: float, workers: Workers
) -> Match:
    """Compare every patch with every other and favour source patches that the output does not show yet.

    The choice minimises D / (alpha + min over asked of D), Granot et al. 2022, equation 3. The whole
    distance matrix is one product of augmented vectors, [q, 1, |q|^2] . [-2k, |k|^2, 1].

    Parameters
    ----------
    asked : ndarray of shape (Q, F), float32
    known : ndarray of shape (K, F), float32
    scale : float
        Divides squared distances, so that they are means over a patch's values.
    workers : Workers
    """
    left = np.concatenate(
        [asked, np.ones((len(asked), 1), np.float32), np.einsum("qf,qf->q", asked, asked)[:, None]], axis=1
    )
    right = np.concatenate(
        [known * -2, np.einsum("kf,kf->k", known, known)[:, None], np.ones((len(known), 1), np.float32)],
        axis=1,
    ).T * np.float32(1 / scale)
    distances = np.empty((len(asked), len(known)), np.float32)
    starts = range(0, len(asked), _CHUNK_ROWS)
    lows = np.empty((len(starts), len(known)), np.float32)

    def measure(start: int) -> None:
        block = distances[start : start + _CHUNK_ROWS]
        np.matmul(left[start : start + _CHUNK_ROWS], right, out=block)
        # Rounding can leave a distance slightly below 0, and the quotient below must not change its sign.
        np.maximum(block, 0, out=block)
        np.min(block, axis=0, out=lows[start // _CHUNK_ROWS])

    workers.each(measure, starts)
    missing = lows.min(axis=0)
    weight = 1 / (ALPHA + missing)
    index = np.empty(len(asked), np.intp)
    distance = np.empty(len(asked), np.float32)

    def choose(start: int) -> None:
        block = distances[start : start + _CHUNK_ROWS]
        block *= weight
        best = block.argmin(axis=1)
        index[start : start + _CHUNK_ROWS] = best
        distance[start : start + _CHUNK_ROWS] = block[np.arange(len(block)), best] / weight[best]

    workers.each(choose, starts)
    return Match(index, distance, missing)


def patch_match(
    field: Field,
    asked: NDArray[np.float32],
    known: Callable[[NDArray[np.intp]], NDArray[np.float32]],
    movable: NDArray[np.intp],
    radii: list[NDArray[np.int32]],
    *,
    view: int,
) -> Field:
    """Improve a field by one round of propagation and random search (Barnes et al. 2009, section 3.2).

    All patches move at once instead of in scan order, so that the round is a few array operations.

    Parameters
    ----------
    field : Field
    asked : ndarray of shape (Q, F), float32
        Features of the patches in `movable`, in that order.
    known : callable
        Returns the features, shape (N, F), float32, of N source patches given by their flat indices.
    movable : ndarray of shape (Q,), intp
        Flat indices of the output patches that may change.
    radii : list of ndarray of shape (2, Q), int32
        One random displacement per patch and try, in rows and columns.
    view : int
        Width in pixels of each of the views that the source is made of; no patch may lie across two.

    Returns
    -------
    Field
    """
    round_ = _Round(field, asked, known, movable, view)
    for down, across in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        round_.propagate(down, across)
    for jump in radii:
        round_.jump(jump)
    return round_.result()


class _Round:
    """The state of one round: positions of the movable patches, and their distances."""

    def __init__(
        self,
        field: Field,
        asked: NDArray[np.float32],
        known: Callable[[NDArray[np.intp]], NDArray[np.float32]],
        movable: NDArray[np.intp],
        view: int,
    ) -> None:
        self.field = field
        self.asked = asked
        self.known = known
        self.movable = movable
        self.view = view
        self.shape = field.rows.shape
        self.limit = grid(field.source)
        self.at_row, self.at_col = np.divmod(movable, self.shape[1])
        self.all_rows = field.rows.reshape(-1).copy()
        self.all_cols = field.cols.reshape(-1).copy()
        self.rows = self.all_rows[movable]
        self.cols = self.all_cols[movable]
        index = (self.at_row + self.rows) * self.limit[1] + self.at_col + self.cols
        self.distance = _squared(asked, known(index))

    def propagate(self, down: int, across: int) -> None:
        row = np.clip(self.at_row + down, 0, self.shape[0] - 1)
        col = np.clip(self.at_col + across, 0, self.shape[1] - 1)
        neighbour = row * self.shape[1] + col
        self._try(self.all_rows[neighbour], self.all_cols[neighbour], 1.0)

    def jump(self, jump: NDArray[np.int32]) -> None:
        rows = np.clip(self.at_row + self.rows + jump[0], 0, self.limit[0] - 1) - self.at_row
        cols = np.clip(self.at_col + self.cols + jump[1], 0, self.limit[1] - 1) - self.at_col
        self._try(rows.astype(np.int32), cols.astype(np.int32), _LEAP)

    def _try(self, rows: NDArray[np.int32], cols: NDArray[np.int32], worth: float) -> None:
        source_row = self.at_row + rows
        source_col = self.at_col + cols
        fits = (rows != self.rows) | (cols != self.cols)
        fits &= (source_row >= 0) & (source_row < self.limit[0])
        fits &= (source_col >= 0) & (source_col < self.limit[1])
        fits &= source_col % self.view <= self.view - PATCH
        pick = np.flatnonzero(fits)
        index = source_row[pick] * self.limit[1] + source_col[pick]
        distance = _squared(self.asked[pick], self.known(index))
        better = distance < self.distance[pick] * np.float32(worth)
        pick = pick[better]
        self.distance[pick] = distance[better]
        self.rows[pick] = rows[pick]
        self.cols[pick] = cols[pick]
        self.all_rows[self.movable[pick]] = rows[pick]
        self.all_cols[self.movable[pick]] = cols[pick]

    def result(self) -> Field:
        rows, cols = self.all_rows.reshape(self.shape), self.all_cols.reshape(self.shape)
        return Field(rows, cols, self.field.output, self.field.source)


def _squared(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    right -= left
    total: NDArray[np.float32] = np.einsum("qf,qf->q", right, right)
    return total
