"""Spread the difference of tone across a seam, so that no step shows there.

Each side of a seam is changed by half of the difference at the seam itself, and by less the further away: a membrane
that is held at the seam, as in Farbman et al., "Coordinates for Instant Image Cloning" (SIGGRAPH 2009), section 2. It
is relaxed on small copies, the smallest first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.resize import resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["membrane"]

#: How far from a seam its difference is felt, in short sides: a membrane without an end would tint the whole picture.
#: This and the next two were chosen by eye.
_REACH: Final = 0.35
#: Sizes at which the membrane is relaxed, as parts of the whole, and rounds at each.
_ROUNDS: Final = ((4, 40), (2, 30), (1, 20))
#: Share of a pixel of a small copy that must be held for all of it to be.
_HELD: Final = 0.05


def membrane(values: NDArray[np.float32], held: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return a smooth field that has given values at some pixels and falls off to 0 away from them.

    Parameters
    ----------
    values : ndarray of shape (H, W, C), float32
        Any range; read where `held` is true only.
    held : ndarray of shape (H, W), bool

    Returns
    -------
    ndarray of shape (H, W, C), float32
    """
    height, width, channels = values.shape
    field = np.zeros((1, 1, channels), np.float32)
    weight = held.astype(np.float32)[..., None]
    for part, rounds in _ROUNDS:
        shape = max(2, height // part), max(2, width // part)
        if part == 1:
            shape = height, width
        share = resize(weight, shape)
        sums = resize(values * weight, shape)
        fixed = share[..., 0] > _HELD
        field = resize(field, shape)
        aims = sums[fixed] / share[fixed]
        # The screened Laplace equation: each pixel is the mean of its neighbours, drawn to 0 a little.
        pull = np.float32(1 / (4 + (1 / (_REACH * min(shape))) ** 2))
        for _ in range(rounds):
            field[fixed] = aims
            around = np.pad(field, ((1, 1), (1, 1), (0, 0)), mode="edge")
            field = (around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]) * pull
        field[fixed] = aims
    return field
