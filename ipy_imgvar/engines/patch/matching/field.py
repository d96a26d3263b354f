"""The nearest-neighbour field: where in the source every patch of the output comes from.

It stores displacements (source position minus output position), because a region copied as a whole has one
displacement, and seams are where it changes (Barnes et al., "PatchMatch", 2009, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ipy_imgvar.engines.patch.matching.patches import RADIUS, grid

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NearestNeighborField"]


@dataclass(frozen=True, slots=True)
class NearestNeighborField:
    """Displacements of the patches of one output.

    Attributes
    ----------
    rows, cols : ndarray of shape grid(output), int32
        Source row (column) minus output row (column) of each patch's top-left pixel.
    output, source : tuple of int
        Shapes of the two images, in pixels.
    """

    rows: NDArray[np.int32]
    cols: NDArray[np.int32]
    output: tuple[int, int]
    source: tuple[int, int]

    @classmethod
    def from_positions(
        cls,
        rows: NDArray[np.integer],
        cols: NDArray[np.integer],
        output: tuple[int, int],
        source: tuple[int, int],
    ) -> NearestNeighborField:
        """Make a field from absolute source positions, moved inside the source where they stick out."""
        last_row, last_col = grid(source)
        down, across = np.arange(rows.shape[0]), np.arange(rows.shape[1])
        return cls(
            (np.clip(rows, 0, last_row - 1) - down[:, None]).astype(np.int32),
            (np.clip(cols, 0, last_col - 1) - across).astype(np.int32),
            output,
            source,
        )

    @classmethod
    def from_flat(
        cls, index: NDArray[np.integer], output: tuple[int, int], source: tuple[int, int]
    ) -> NearestNeighborField:
        """Make a field from one flat index among the source's patches for each of the output's."""
        rows, cols = np.divmod(index.reshape(grid(output)), grid(source)[1])
        return cls.from_positions(rows, cols, output, source)

    def rescale(self, output: tuple[int, int], source: tuple[int, int]) -> NearestNeighborField:
        """Return the same arrangement at another level's sizes: displacements scale, positions clamp."""
        rows, cols = grid(output)
        old_rows, old_cols = self.rows.shape
        pick_rows = _nearest_centres(rows, output[0], old_rows, self.output[0])
        pick_cols = _nearest_centres(cols, output[1], old_cols, self.output[1])
        # Scaled and rounded before they are picked: the old level has fewer patches than the new one.
        down = np.rint(self.rows * (source[0] / self.source[0])).astype(np.int32)[pick_rows][:, pick_cols]
        across = np.rint(self.cols * (source[1] / self.source[1])).astype(np.int32)[pick_rows][:, pick_cols]
        down += np.arange(rows, dtype=np.int32)[:, None]
        across += np.arange(cols, dtype=np.int32)
        return NearestNeighborField.from_positions(down, across, output, source)

    def source_patches(self) -> NDArray[np.intp]:
        """Return the flat source patch of every output patch, in row order, shape (rows * cols,)."""
        rows, cols = self.rows.shape
        down = self.rows + np.arange(rows)[:, None]
        index = down * grid(self.source)[1] + self.cols + np.arange(cols)
        return index.reshape(-1).astype(np.intp)

    def source_pixels(self) -> NDArray[np.int32]:
        """Return, for every output pixel, the flat source pixel that the patch centred on it shows there.

        Pixels within 3 of the border have no patch centred on them; they follow the nearest patch.

        Returns
        -------
        ndarray of shape output, int32
        """
        height, width = self.output
        step = self.rows * np.int32(self.source[1]) + self.cols
        flat: NDArray[np.int32] = np.pad(step, RADIUS, mode="edge")
        flat += np.arange(height, dtype=np.int32)[:, None] * np.int32(self.source[1])
        flat += np.arange(width, dtype=np.int32)
        return flat

    def seams(self) -> NDArray[np.bool_]:
        """Mark the patches whose displacement differs from that of one of their four neighbours."""
        marks = np.zeros(self.rows.shape, bool)
        # One number for each displacement; 4 widths leave room for columns to either side.
        step = self.rows * np.int32(4 * self.source[1]) + self.cols
        across = step[:, 1:] != step[:, :-1]
        down = step[1:] != step[:-1]
        marks[:, 1:] |= across
        marks[:, :-1] |= across
        marks[1:] |= down
        marks[:-1] |= down
        return marks


def _nearest_centres(count: int, size: int, old_count: int, old_size: int) -> NDArray[np.intp]:
    """Map patches of an axis to the old level's patches whose centres lie nearest."""
    centre = (np.arange(count) + RADIUS + 0.5) * (old_size / size) - 0.5
    pick: NDArray[np.intp] = np.clip(np.rint(centre).astype(np.intp) - RADIUS, 0, old_count - 1)
    return pick
