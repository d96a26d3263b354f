"""Draw arrangements of strips for one source, and make the pictures of those that are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.regions import uniform_filter
from ipy_imgvar.engines.patch.composition.seams import find_seams
from ipy_imgvar.engines.patch.composition.strips import Strips, draw_strips, picture, refined, scaled, tones

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers
    from ipy_imgvar.engines.patch.matching.pyramid import Level

__all__ = ["Collage"]

#: Short side, in pixels, below which a picture is too small to be cut.
_LEAST_PX: Final = 24
#: Draws for each picture; about a third of them don't fill the picture. This and all that follow were chosen by eye.
_DRAWS: Final = 120
#: The dearest draw that is a candidate, beside the cheapest.
_DEAREST: Final = 1.6
#: Radius, in pixels at 54 px, of the means that contrast is measured against.
_CONTRAST_RADIUS: Final = 4
#: What it costs to cut through a subject, in variances of the source.
_CUT: Final = 1.0
#: What it costs to show a subject twice, in means of the contrast elsewhere.
_AGAIN: Final = 4.0
#: Short side, in pixels, from which tones are compared.
_TONES_PX: Final = 90
#: The least variance, summed over channels, that is divided by.
_LEAST_VARIANCE: Final = 1e-6


class Collage:
    """Arrangements of strips of one source.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    levels : list of Level
        The source's scales from the last that is searched exactly, coarsest first; the output has the source's shape.
    whole : ndarray of shape (h, w), float32
        At the first level's size: how much it costs to cut through a pixel or to show it twice, 0 to 1, or infinity
        where no seam may go.
    views : int
        1, or 2 where strips may be mirrored.
    workers : Workers
    """

    def __init__(
        self,
        source: NDArray[np.float32],
        levels: list[Level],
        whole: NDArray[np.float32],
        views: int,
        workers: Workers,
    ) -> None:
        self._source, self._levels, self._views = source, levels, views
        image = levels[0].image
        self._variance = float(image.var(axis=(0, 1)).sum()) + _LEAST_VARIANCE
        self._seams = find_seams(
            image, whole * np.float32(_CUT * self._variance), mirrored=views > 1, check=workers.check
        )
        planes = [image[..., channel] for channel in range(image.shape[2])]
        contrast = sum(np.abs(plane - uniform_filter(plane, _CONTRAST_RADIUS)) for plane in planes)
        contrast = uniform_filter(np.asarray(contrast, np.float32), 2)
        weight = contrast / (contrast.mean() + np.float32(_LEAST_VARIANCE)) + np.float32(_AGAIN) * np.minimum(
            whole, 1
        )
        self._weight = weight * np.float32(self._variance)

    @staticmethod
    def suits(levels: list[Level]) -> bool:
        """Return whether a source of these levels is large enough to be cut."""
        return min(levels[0].size) >= _LEAST_PX and levels[0].size == levels[0].output

    def draw(self, rng: np.random.Generator, count: int, joins: int, workers: Workers) -> list[Strips]:
        """Return up to `count` good arrangements, the cheapest first.

        Parameters
        ----------
        rng : numpy.random.Generator
        count : int
        joins : int
            Most seams in a picture; half of the draws have fewer, where there may be more than one.
        workers : Workers
        """
        shape = self._levels[0].size
        drawn = []
        for trial in range(_DRAWS):
            workers.check()
            most = max(1, joins - trial % 2)
            drawn.append(draw_strips(rng, self._seams, shape, self._weight, joins=most, views=self._views))
        good = sorted((one for one in drawn if one is not None), key=lambda strips: strips.cost)
        return [one for one in good if one.cost <= _DEAREST * good[0].cost][:count]

    def rough(self, strips: Strips) -> NDArray[np.float32]:
        """Return the same as `small`, but with its seams as they are."""
        image = self._levels[0].image[..., : self._source.shape[2]]
        return picture(strips, image, [])

    def small(self, strips: Strips) -> NDArray[np.float32]:
        """Return what an arrangement looks like at the first level's size, with the source's channels."""
        image = self._levels[0].image[..., : self._source.shape[2]]
        return picture(strips, image, tones(strips, image))

    def full(self, strips: Strips, workers: Workers) -> NDArray[np.float32]:
        """Return the picture of an arrangement, shape (H, W, C), float32, about 0..1."""
        for level in self._levels[1:]:
            workers.check()
            strips = refined(strips, level.image[..., : self._source.shape[2]])
        channels = self._source.shape[2]
        larger = [level for level in self._levels if min(level.size) >= _TONES_PX] or self._levels[-1:]
        image = larger[0].image[..., :channels]
        workers.check()
        changes = tones(scaled(strips, larger[0].size), image)
        workers.check()
        return picture(strips, self._source, changes)
