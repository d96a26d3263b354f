"""Put the subjects' own pixels over an image, and their displacements into its field.

An overlay says which source pixel a subject puts at each output pixel: an ndarray of the output's shape, int32, of
flat pixels of the atlas (`pyramid.Level`), and -1 where no subject lies. `Layout.overlay` makes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ipy_imgvar.engines.patch.matching.field import NearestNeighborField
from ipy_imgvar.engines.patch.matching.patches import RADIUS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.matching.pyramid import Level

__all__ = ["paste", "paste_field"]


def paste(image: NDArray[np.float32], level: Level, overlay: NDArray[np.int32]) -> None:
    """Overwrite an image of shape (*level.output, C), float32, with the subjects' source pixels."""
    covered = overlay >= 0
    image[covered] = level.atlas_pixels[overlay[covered]]


def paste_field(field: NearestNeighborField, overlay: NDArray[np.int32]) -> NearestNeighborField:
    """Return the field in which the patches centred on a subject move as the subject does."""
    rows, cols = field.rows.shape
    centre = overlay[RADIUS : RADIUS + rows, RADIUS : RADIUS + cols]
    covered = centre >= 0
    row, col = np.divmod(centre, field.source[1])
    down = np.arange(rows)[:, None]
    across = np.arange(cols)
    new_rows = np.where(covered, row - RADIUS, field.rows + down)
    new_cols = np.where(covered, col - RADIUS, field.cols + across)
    return NearestNeighborField.from_positions(new_rows, new_cols, field.output, field.source)
