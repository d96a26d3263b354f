"""Put the subjects' own pixels over an image, and their displacements into its field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ipy_imgvar.engines.patch.matching.field import Field
from ipy_imgvar.engines.patch.matching.patches import RADIUS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.matching.pyramid import Level

__all__ = ["force", "force_field"]


def force(image: NDArray[np.float32], level: Level, forced: NDArray[np.int32]) -> None:
    """Put the pieces' source pixels into the image, in place."""
    kept = forced >= 0
    image[kept] = level.pixels[forced[kept]]


def force_field(field: Field, forced: NDArray[np.int32]) -> Field:
    """Return the field with the patches centred on a piece moved as the piece is."""
    rows, cols = field.rows.shape
    centre = forced[RADIUS : RADIUS + rows, RADIUS : RADIUS + cols]
    kept = centre >= 0
    row, col = np.divmod(centre, field.source[1])
    down = np.arange(rows)[:, None]
    across = np.arange(cols)
    new_rows = np.where(kept, row - RADIUS, field.rows + down)
    new_cols = np.where(kept, col - RADIUS, field.cols + across)
    return Field.from_positions(new_rows, new_cols, field.output, field.source)
