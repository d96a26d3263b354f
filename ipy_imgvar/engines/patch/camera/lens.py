"""Show a source through a window that may be turned and tilted, by one bicubic resampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.camera.framing import Framing

__all__ = ["shoot"]

#: Pillow's mode for a number of channels. Premultiplied colours keep a transparent surrounding out of an edge.
_MODES: Final = {1: "L", 3: "RGB", 4: "RGBa"}


def shoot(source: NDArray[np.uint8], framing: Framing, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return what a framing shows of a source.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), uint8
        C = 1 is grey, 3 RGB, 4 premultiplied RGBA. At the resolution of `shape` or somewhat above.
    framing : Framing
    shape : tuple of int
        (rows, columns) of the result.

    Returns
    -------
    ndarray of shape (*shape, C), uint8
    """
    height, width, channels = source.shape
    corners = framing.corners * (height, width)
    coefficients = _homography(corners, shape)
    image = Image.frombytes(_MODES[channels], (width, height), np.ascontiguousarray(source).tobytes())
    shown = image.transform(
        (shape[1], shape[0]), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BICUBIC
    )
    return np.asarray(shown).reshape(*shape, channels)


def _homography(corners: NDArray[np.float64], shape: tuple[int, int]) -> list[float]:
    """Return Pillow's eight numbers of the projective map that takes an output's corners to a source's points.

    Parameters
    ----------
    corners : ndarray of shape (4, 2), float64
        Rows and columns, in pixels, of what the output's corners show: top left, top right, bottom right, bottom left.
    shape : tuple of int
        (rows, columns) of the output.
    """
    rows, cols = shape
    outputs = ((0, 0), (0, cols), (rows, cols), (rows, 0))
    equations, values = [], []
    for (row, col), (source_row, source_col) in zip(outputs, corners, strict=True):
        equations.append([col, row, 1, 0, 0, 0, -source_col * col, -source_col * row])
        equations.append([0, 0, 0, col, row, 1, -source_row * col, -source_row * row])
        values += [source_col, source_row]
    return [float(number) for number in np.linalg.solve(np.array(equations), np.array(values))]
