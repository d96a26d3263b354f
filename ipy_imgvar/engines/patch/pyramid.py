"""The source at every scale, with what is derived from it once and shared by all variations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from .patches import PATCH, basis, grid, project, vectors
from .resize import resize
from .vote import pack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .workers import Workers

__all__ = ["Level", "pyramid"]

COARSEST = 18
"""Short side, in pixels, at or below which no further level is made."""

_QUARTERING_BELOW = 90


@dataclass
class Level:
    """One scale of the source, and the shape of the output there.

    Attributes
    ----------
    image : ndarray of shape (H, W, C), float32, 0..1
    output : tuple of int
        Shape of the output at this scale.
    """

    image: NDArray[np.float32]
    output: tuple[int, int]

    @property
    def source(self) -> tuple[int, int]:
        """Shape of the source at this scale, in pixels."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def pairs(self) -> int:
        """How many comparisons it takes to compare every patch of the output with every one of the source."""
        asked, known = grid(self.output), grid(self.source)
        return asked[0] * asked[1] * known[0] * known[1]

    @cached_property
    def packed(self) -> NDArray[np.uint64]:
        """The pixels as words for voting, shape (H * W,)."""
        return pack(self.image)

    @cached_property
    def sharp_patches(self) -> NDArray[np.float32]:
        """The patches to match what has been voted, shape (patches, 49 * C)."""
        return vectors(self.image)

    @cached_property
    def soft_patches(self) -> NDArray[np.float32]:
        """The patches to match what was enlarged from a coarser level (Granot et al. 2022, section 3.2)."""
        height, width = self.source
        small = resize(self.image, (max(PATCH, round(height * 0.75)), max(PATCH, round(width * 0.75))))
        return vectors(resize(small, self.source))

    @cached_property
    def directions(self) -> NDArray[np.float32]:
        """The projection from patches to features, shape (49 * C, F)."""
        return basis(self.image, np.random.default_rng(0))

    def features(self, workers: Workers) -> NDArray[np.float32]:
        """Return the features of all source patches, shape (patches, F); computed once."""
        if self._features is None:
            self._features = project(self.image, self.directions, workers)
        return self._features

    _features: NDArray[np.float32] | None = None


def pyramid(source: NDArray[np.float32], shape: tuple[int, int]) -> list[Level]:
    """Return the levels, coarsest first.

    The scale halves from the full size until the short side is at most 90, then shrinks by 0.75 until it is
    at most 18: large steps where only detail is added, small ones where the arrangement is found.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    shape : tuple of int
        (rows, columns) of the output at full scale.
    """
    height, width = source.shape[:2]
    short = min(height, width, *shape)
    levels = [Level(source, shape)]
    image, scale = source, 1.0
    while True:
        scale *= 0.5 if short * scale > _QUARTERING_BELOW else 0.75
        output = round(shape[0] * scale), round(shape[1] * scale)
        smaller = round(height * scale), round(width * scale)
        if short * scale / 0.75 <= COARSEST or min(*output, *smaller) < 2 * PATCH:
            return levels[::-1]
        image = resize(image, smaller)
        levels.append(Level(image, output))
