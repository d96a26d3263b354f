"""Show a source through a window that may be turned and tilted, by one bicubic resampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers
    from ipy_imgvar.engines.patch.camera.framing import Framing

__all__ = ["shoot"]

#: Pillow's mode for a number of channels. Premultiplied colours keep a transparent surrounding out of an edge.
_MODES: Final = {1: "L", 3: "RGB", 4: "RGBa"}
#: Pixels that one chunk resamples: some 10 ms of work, so that a cancel is seen soon.
_BAND_PIXELS: Final = 65_536


def shoot(
    source: NDArray[np.uint8], framing: Framing, shape: tuple[int, int], workers: Workers
) -> NDArray[np.uint8]:
    """Return what a framing shows of a source.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), uint8
        C = 1 is grey, 3 RGB, 4 premultiplied RGBA. At the resolution of `shape` or somewhat above.
    framing : Framing
    shape : tuple of int
        (rows, columns) of the result.
    workers : Workers

    Returns
    -------
    ndarray of shape (*shape, C), uint8
    """
    height, width, channels = source.shape
    image = Image.frombytes(_MODES[channels], (width, height), np.ascontiguousarray(source).tobytes())
    homography = _homography(framing.corners * (height, width), shape)
    shown = np.empty((*shape, channels), np.uint8)
    band = max(1, _BAND_PIXELS // shape[1])

    def run(top: int) -> None:
        rows = min(band, shape[0] - top)
        # The same map for an output that begins `top` rows further down.
        moved = homography @ np.array(((1, 0, 0), (0, 1, top), (0, 0, 1)), np.float64)
        numbers = [float(number) for number in (moved / moved[2, 2]).reshape(-1)[:8]]
        method = Image.Transform.PERSPECTIVE
        part = image.transform((shape[1], rows), method, numbers, Image.Resampling.BICUBIC)
        shown[top : top + rows] = np.asarray(part).reshape(rows, shape[1], channels)

    workers.each(run, range(0, shape[0], band))
    return shown


def _homography(corners: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return the projective map, shape (3, 3), of (column, row, 1) that takes an output's corners to a source's points.

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
    return np.append(np.linalg.solve(np.array(equations), np.array(values)), 1.0).reshape(3, 3)
