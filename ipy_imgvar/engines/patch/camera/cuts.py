"""Say what a window would cut that the source shows whole.

A border that passes through a thing is no fault where the source's own border passes through it too: a coat goes on
below the picture. So a place is a *cut* where its colour is not found at the source's border beside it: a hat in front
of a sky that reaches the border.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.findings import Findings
from ipy_imgvar.engines.patch.arrays.resize import reduced_shape, resize
from ipy_imgvar.engines.patch.subjects.saliency import saliency

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Cuts"]

#: Short side, in pixels, at which colours are compared. Smaller and a hat's rim is lost.
_COMPARED_PX: Final = 128
#: How far along the border a colour is looked for, in pixels at 128 px: things lean. This and all that follow were
#: chosen by eye.
_REACH: Final = 6
#: Difference of colours, 0..1, that is no cut, beside the border's own contrast.
_TOLERANCE: Final = 0.05
#: The largest difference that counts.
_LARGEST: Final = 0.3
#: What a cut counts at each side: a head cut at the top is the worst, and below there is mostly ground.
_WEIGHTS: Final = {"top": 4.0, "bottom": 1.0, "left": 2.0, "right": 2.0}
#: What a cut counts where nothing is salient, beside 1 where all is.
_ORDINARY: Final = 0.2
#: Points at which each side of a window is looked at.
_POINTS: Final = 33


class Cuts:
    """The cuts of one source: a cost for each place and side, computed once.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    subject : ndarray of shape (h, w), float32, or None
        A mask, 1 inside the subject, where one is known for certain: nothing of it is cut that the source shows.
    findings : Findings or None
        What is known of the source.
    """

    def __init__(
        self,
        source: NDArray[np.float32],
        subject: NDArray[np.float32] | None = None,
        findings: Findings | None = None,
    ) -> None:
        small = resize(source, reduced_shape(source, _COMPARED_PX))
        ranks = (findings or Findings()).once("saliency", lambda: saliency(source)).ranks
        weight = _ORDINARY + (1 - _ORDINARY) * resize(ranks[..., None], small.shape[:2])[..., 0]
        layers = [small]
        if subject is not None:
            layers.append(resize(subject[..., None], small.shape[:2]))
            weight = np.maximum(weight, layers[1][..., 0])
        image = np.concatenate(layers, axis=2)
        self._maps = {
            "top": _new_at_top(image) * weight,
            "bottom": _new_at_top(image[::-1])[::-1] * weight,
            "left": _new_at_top(image.swapaxes(0, 1)).T * weight,
            "right": _new_at_top(image.swapaxes(0, 1)[::-1])[::-1].T * weight,
        }

    def cost(self, corners: NDArray[np.float64]) -> float:
        """Return what a window cuts: 0 for nothing; about .1 for a head.

        Parameters
        ----------
        corners : ndarray of shape (4, 2), float64
            Rows and columns, in heights and widths: top left, top right, bottom right, bottom left.
        """
        total = 0.0
        share = np.linspace(0, 1, _POINTS)[:, None]
        for number, side in enumerate(("top", "right", "bottom", "left")):
            line = corners[number] * (1 - share) + corners[(number + 1) % 4] * share
            cells = self._maps[side]
            row, col = (
                np.clip((line[:, axis] * cells.shape[axis]).astype(np.intp), 0, cells.shape[axis] - 1)
                for axis in (0, 1)
            )
            total += _WEIGHTS[side] * float(cells[row, col].mean())
        return total


def _new_at_top(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return, for each pixel, how far its colour differs from all near its column at the upper border, 0..0.3."""
    width = image.shape[1]
    padded = np.pad(image[:1], ((0, 0), (_REACH, _REACH), (0, 0)), mode="edge")
    shifted = [padded[0, shift : shift + width] for shift in range(2 * _REACH + 1)]
    least = np.minimum.reduce([np.abs(image - line).max(axis=2) for line in shifted])
    own = np.mean([np.abs(image[0] - line).max(axis=1) for line in shifted], axis=0)
    return np.asarray(np.clip(least - own - _TOLERANCE, 0, _LARGEST), np.float32)
