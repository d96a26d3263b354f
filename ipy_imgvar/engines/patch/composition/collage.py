"""Draw arrangements of strips for one source, and make the pictures of those that are taken."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.regions import uniform_filter
from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.composition.seams import find_seams
from ipy_imgvar.engines.patch.composition.strips import (
    Strips,
    draw_strips,
    leaves_whole,
    picture,
    refined,
    scaled,
    tones,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers
    from ipy_imgvar.engines.patch.matching.pyramid import Level

__all__ = ["Collage", "closer", "things_across"]

#: Short side, in pixels, below which a picture is too small to be cut.
_LEAST_PX: Final = 24
#: How many of the cheapest draws are compared with the source's colours.
_WEIGHED: Final = 60
#: Quantiles of each channel that are compared.
_QUANTILES: Final = 64
#: What a mean difference of these by 1 costs, in variances of the source.
_UNLIKE: Final = 25.0
#: Share of the width from which a subject is a part of the scene, such as a row of trees.
_WIDE: Final = 0.5
#: How much larger than the source `closer` shows it.
_LENS: Final = 1.15
#: How much of the difference to its blur over 3x3 pixels is added to what is enlarged.
_SHARPEN: Final = 0.35
#: How much more what is cut off at the top counts there than what is cut off at the bottom.
_TOP: Final = 3.0
#: Draws for each picture; about a third of them don't fill the picture. This and all that follow were chosen by eye.
_DRAWS: Final = 200
#: The dearest draw that is a candidate, beside the cheapest.
_DEAREST: Final = 1.5
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


def closer(
    source: NDArray[np.float32], weight: NDArray[np.float32]
) -> tuple[NDArray[np.float32], Callable[[NDArray[np.float32]], NDArray[np.float32]]]:
    """Return a source as a longer lens shows it, with more to the sides than a picture holds.

    A picture has more to choose from there, and shows less twice.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    weight : ndarray of shape (h, w), float32
        What is lost with each pixel of the rows that are left out, above or below.

    Returns
    -------
    ndarray of shape (H, W * lens, C), float32, 0..1
    callable
        Does the same to a map of the source, of any size.
    """
    rows = weight.sum(axis=1, dtype=np.float64)
    kept = max(1, round(len(rows) / _LENS))
    # What is cut off at the top, a head, is missed more than what is cut off at the bottom.
    lost = [_TOP * rows[:top].sum() + rows[top + kept :].sum() for top in range(len(rows) - kept + 1)]
    first, share = int(np.argmin(lost)) / len(rows), 1 / _LENS

    def show(image: NDArray[np.float32]) -> NDArray[np.float32]:
        height, width = image.shape[:2]
        top = min(round(first * height), height - 1)
        part = image[top : max(top + 1, round((first + share) * height))]
        return resize(part, (height, round(width * _LENS)))

    return np.clip(_sharpened(show(source)), 0, 1), show


def things_across(level: Level) -> list[NDArray[np.bool_]]:
    """Return the masks of the subjects whose sides a level shows, each of shape (H, W); strips move sidewards only."""
    return [
        region
        for region in level.regions
        if region.any()
        and not (region[:, 0].any() or region[:, -1].any())
        and region.any(axis=0).mean() < _WIDE
    ]


def _ordered(image: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Return so many quantiles of each channel, shape (count, C)."""
    values = np.sort(image.reshape(-1, image.shape[2]), axis=0)
    return np.asarray(values[np.linspace(0, len(values) - 1, count).astype(np.intp)])


def _sharpened(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an enlarged image of shape (H, W, C) about as sharp as it was: more of what differs from its blur."""
    blurred = image
    for axis in (0, 1):
        moved = np.moveaxis(blurred, axis, 0)
        padded = np.concatenate([moved[:1], moved, moved[-1:]])
        blurred = np.moveaxis((padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4, 0, axis)
    return image + np.float32(_SHARPEN) * (image - blurred)


class Collage:
    """Arrangements of strips of one source.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    levels : list of Level
        The source's scales from the last that is searched exactly, coarsest first. The output has as many rows as the
        source, and no more columns.
    detail : ndarray of shape (h, w, 1), float32
        What `fine_detail` returns: a seam should not cut through a mast that is too thin for the first level.
    whole : ndarray of shape (h, w), float32
        At the first level's size: how much it costs to cut through a pixel or to show it twice, 0 to 1, or infinity
        where no seam may go.
    things : list of ndarray of shape (h, w), bool
        At the first level's size: masks of things that are not to be cut.
    colours : ndarray of shape (h, w, C), float32, 0..1
        A small copy of the whole source, whose colours a picture should have.
    views : int
        1, or 2 where strips may be mirrored.
    workers : Workers
    """

    def __init__(
        self,
        source: NDArray[np.float32],
        levels: list[Level],
        detail: NDArray[np.float32],
        whole: NDArray[np.float32],
        *,
        things: list[NDArray[np.bool_]],
        colours: NDArray[np.float32],
        views: int,
        workers: Workers,
    ) -> None:
        self._source, self._levels, self._views = source, levels, views
        self._channels = source.shape[2]
        self._things = things
        image = levels[0].image[..., : self._channels]
        image = np.concatenate([image, resize(detail, levels[0].size)], axis=2)
        self._colours = _ordered(resize(colours, levels[0].output), _QUANTILES)
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
        return min(levels[0].output) >= _LEAST_PX and levels[0].size[0] == levels[0].output[0]

    def draw(self, rng: np.random.Generator, count: int, joins: int, workers: Workers) -> list[Strips]:
        """Return up to `count` good arrangements, the cheapest first.

        Their costs are in variances of the source.

        Parameters
        ----------
        rng : numpy.random.Generator
        count : int
        joins : int
            Most seams in a picture; half of the draws have fewer, where there may be more than one.
        workers : Workers
        """
        shape = self._levels[0].output
        drawn = []
        for trial in range(_DRAWS):
            workers.check()
            most = max(1, joins - trial % 2)
            drawn.append(draw_strips(rng, self._seams, shape, self._weight, joins=most, views=self._views))
        good = sorted((one for one in drawn if one is not None), key=lambda strips: strips.cost)
        known = [replace(one, cost=one.cost / self._variance + self._unlike(one)) for one in good[:_WEIGHED]]
        known = sorted(
            (one for one in known if leaves_whole(one, self._things)), key=lambda strips: strips.cost
        )
        return [one for one in known if one.cost <= _DEAREST * known[0].cost][:count]

    def _unlike(self, strips: Strips) -> float:
        """Return what it costs that a picture has other colours than the source, or in other proportions."""
        return _UNLIKE * float(
            np.abs(_ordered(self.rough(strips), len(self._colours)) - self._colours).mean()
        )

    def rough(self, strips: Strips) -> NDArray[np.float32]:
        """Return the same as `small`, but with its seams as they are."""
        image = self._levels[0].image[..., : self._channels]
        return picture(strips, image, [])

    def small(self, strips: Strips) -> NDArray[np.float32]:
        """Return what an arrangement looks like at the first level's size, with the source's channels."""
        image = self._levels[0].image[..., : self._channels]
        return picture(strips, image, tones(strips, image))

    def full(self, strips: Strips, workers: Workers) -> NDArray[np.float32]:
        """Return the picture of an arrangement, shape (H, W, C), float32, about 0..1."""
        for level in self._levels[1:]:
            workers.check()
            strips = refined(strips, level.image[..., : self._channels], level.output)
        larger = [level for level in self._levels if min(level.size) >= _TONES_PX] or self._levels[-1:]
        image = larger[0].image[..., : self._channels]
        workers.check()
        changes = tones(scaled(strips, larger[0].output, larger[0].size[1]), image)
        workers.check()
        return picture(strips, self._source, changes)
