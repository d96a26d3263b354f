"""Find a source patch for every patch of the output: exactly where that is cheap, else by PatchMatch.

The output's patches are the queries, the source's the keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.matching.field import NearestNeighborField
from ipy_imgvar.engines.patch.matching.patches import PATCH, grid

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers

__all__ = ["Match", "nearest_complete", "patch_match"]

#: The completeness constant of Granot et al. 2022, equation 3, in mean squared differences of values of 0..1. Smaller
#: shows more of the source, larger repeats what matches best. Chosen by eye, after 0.005, 0.012 and 0.03.
ALPHA: Final = 0.007
#: Queries that one chunk compares with every key.
_CHUNK_QUERIES: Final = 512
#: A random key is taken only below this share of the distance so far, since each leap is a new seam. Chosen by eye.
_LEAP: Final = 0.7


@dataclass(frozen=True, slots=True)
class Match:
    """The result of an exact search.

    Attributes
    ----------
    index : ndarray of shape (Q,), intp
        For each query, its key.
    distance : ndarray of shape (Q,), float32
        Mean squared difference to it.
    key_distance : ndarray of shape (K,), float32
        For each key, the mean squared difference to the query nearest to it: how much the output lacks it.
    """

    index: NDArray[np.intp]
    distance: NDArray[np.float32]
    key_distance: NDArray[np.float32]


def nearest_complete(
    queries: NDArray[np.float32], keys: NDArray[np.float32], scale: float, workers: Workers
) -> Match:
    """Compare every query with every key and favour keys that the output does not show yet.

    The choice minimises D / (alpha + min over queries of D), Granot et al. 2022, equation 3.

    Parameters
    ----------
    queries : ndarray of shape (Q, F), float32
    keys : ndarray of shape (K, F), float32
    scale : float
        Divides squared distances, so that they are means over a patch's values.
    workers : Workers
    """
    left, right = _factors(queries, keys, scale)
    distances = np.empty((len(queries), len(keys)), np.float32)
    starts = range(0, len(queries), _CHUNK_QUERIES)
    lows = np.empty((len(starts), len(keys)), np.float32)

    def measure(start: int) -> None:
        block = distances[start : start + _CHUNK_QUERIES]
        np.matmul(left[start : start + _CHUNK_QUERIES], right, out=block)
        # Rounding can leave a distance slightly below 0, and the quotient below must not change its sign.
        np.maximum(block, 0, out=block)
        np.min(block, axis=0, out=lows[start // _CHUNK_QUERIES])

    workers.each(measure, starts)
    key_distance = lows.min(axis=0)
    weight = 1 / (ALPHA + key_distance)
    index = np.empty(len(queries), np.intp)
    distance = np.empty(len(queries), np.float32)

    def choose(start: int) -> None:
        block = distances[start : start + _CHUNK_QUERIES]
        block *= weight
        best = block.argmin(axis=1)
        index[start : start + _CHUNK_QUERIES] = best
        distance[start : start + _CHUNK_QUERIES] = block[np.arange(len(block)), best] / weight[best]

    workers.each(choose, starts)
    return Match(index, distance, key_distance)


def _factors(
    queries: NDArray[np.float32], keys: NDArray[np.float32], scale: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return two matrices whose product is all squared distances: [q, 1, |q|^2] and [-2k, |k|^2, 1] / scale."""
    left = np.concatenate(
        [queries, np.ones((len(queries), 1), np.float32), np.einsum("qf,qf->q", queries, queries)[:, None]],
        axis=1,
    )
    right = np.concatenate(
        [keys * -2, np.einsum("kf,kf->k", keys, keys)[:, None], np.ones((len(keys), 1), np.float32)], axis=1
    )
    return left, right.T * np.float32(1 / scale)


def patch_match(
    field: NearestNeighborField,
    queries: NDArray[np.float32],
    keys: Callable[[NDArray[np.intp]], NDArray[np.float32]],
    movable: NDArray[np.intp],
    jumps: list[NDArray[np.int32]],
    *,
    view: int,
) -> NearestNeighborField:
    """Improve a field by one round of propagation and random search (Barnes et al. 2009, section 3.2).

    All patches move at once instead of in scan order, so that the round is a few array operations.

    Parameters
    ----------
    field : NearestNeighborField
    queries : ndarray of shape (Q, F), float32
        Features of the patches in `movable`, in that order.
    keys : callable
        Returns the features, shape (N, F), float32, of N source patches given by their flat indices.
    movable : ndarray of shape (Q,), intp
        Flat indices of the output patches that may change.
    jumps : list of ndarray of shape (2, Q), int32
        One random displacement per patch and try, in rows and columns.
    view : int
        Width in pixels of each of the views that the source is made of; no patch may lie across two.

    Returns
    -------
    NearestNeighborField
    """
    round_ = _Round(field, queries, keys, movable, view)
    for down, across in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        round_.propagate(down, across)
    for jump in jumps:
        round_.jump(jump)
    return round_.result()


class _Round:
    """The state of one round: positions of the movable patches, and their distances."""

    def __init__(
        self,
        field: NearestNeighborField,
        queries: NDArray[np.float32],
        keys: Callable[[NDArray[np.intp]], NDArray[np.float32]],
        movable: NDArray[np.intp],
        view: int,
    ) -> None:
        self.field = field
        self.queries = queries
        self.keys = keys
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
        self.distance = _squared_distance(queries, keys(index))

    def propagate(self, down: int, across: int) -> None:
        """Try, for every patch, the displacement of one neighbour."""
        row = np.clip(self.at_row + down, 0, self.shape[0] - 1)
        col = np.clip(self.at_col + across, 0, self.shape[1] - 1)
        neighbour = row * self.shape[1] + col
        self._try(self.all_rows[neighbour], self.all_cols[neighbour], 1.0)

    def jump(self, jump: NDArray[np.int32]) -> None:
        """Try, for every patch, a random position about its own, clamped to the source."""
        rows = np.clip(self.at_row + self.rows + jump[0], 0, self.limit[0] - 1) - self.at_row
        cols = np.clip(self.at_col + self.cols + jump[1], 0, self.limit[1] - 1) - self.at_col
        self._try(rows.astype(np.int32), cols.astype(np.int32), _LEAP)

    def _try(self, rows: NDArray[np.int32], cols: NDArray[np.int32], share: float) -> None:
        """Take the displacements whose distance is below a share of the distance so far."""
        source_row = self.at_row + rows
        source_col = self.at_col + cols
        fits = (rows != self.rows) | (cols != self.cols)
        fits &= (source_row >= 0) & (source_row < self.limit[0])
        fits &= (source_col >= 0) & (source_col < self.limit[1])
        fits &= source_col % self.view <= self.view - PATCH
        # Features are gathered only where they can matter: the gather is most of the cost.
        pick = np.flatnonzero(fits)
        index = source_row[pick] * self.limit[1] + source_col[pick]
        distance = _squared_distance(self.queries[pick], self.keys(index))
        better = distance < self.distance[pick] * np.float32(share)
        pick = pick[better]
        self.distance[pick] = distance[better]
        self.rows[pick] = rows[pick]
        self.cols[pick] = cols[pick]
        self.all_rows[self.movable[pick]] = rows[pick]
        self.all_cols[self.movable[pick]] = cols[pick]

    def result(self) -> NearestNeighborField:
        rows, cols = self.all_rows.reshape(self.shape), self.all_cols.reshape(self.shape)
        return NearestNeighborField(rows, cols, self.field.output, self.field.source)


def _squared_distance(queries: NDArray[np.float32], keys: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the squared distance of each query to its key, shape (Q,); `keys` is overwritten."""
    keys -= queries
    total: NDArray[np.float32] = np.einsum("qf,qf->q", keys, keys)
    return total
