"""Another light on the same scene: exposure, colour temperature, saturation, contrast, direction and vignette.

Every step keeps black at black and white at white, so that a white ground stays white and nothing clips. Colour
temperature and saturation belong to photographs in colour: a grey photograph stays grey, also where it is stored as
RGB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers

__all__ = ["LIGHT_DIMENSIONS", "Light", "colourfulness", "draw_light"]

#: Channels of a picture in colour; one channel is grey, and a fourth is alpha.
_COLOURS: Final = 3
#: Weights of red, green and blue in a grey of the same brightness (ITU-R BT.601).
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
#: Rows that are lit at once, so that the float planes of a large picture stay in a core's cache.
_ROWS: Final = 64
#: Numbers that `draw_light` turns into a light.
LIGHT_DIMENSIONS: Final = 6
#: How far the light goes at strength 0 and 1, as factors on the ranges below. Chosen by eye, as are the next six.
_AMOUNT: Final = (0.3, 1.2)
#: Range of the exposure, as the natural logarithm of a factor on v / (1 - v), where v is a value of 0..1.
_EXPOSURE: Final = 0.42
#: The least part of that range: two pictures whose light is hardly different look like one.
_LEAST_EXPOSURE: Final = 0.4
#: The same for `Light.warmth`.
_WARMTH: Final = 0.22
#: Range of the saturation about 1: down, up.
_SATURATION: Final = (0.3, 0.35)
#: Range of the directional gradient, in the unit of the exposure, at the border.
_GRADIENT: Final = 0.45
#: The same for the vignette, in the corners.
_VIGNETTE: Final = 0.4
#: Range of the contrast.
_CONTRAST: Final = 0.25
#: Share of the most colourful pixels, 0..1, that say whether a photograph is in colour: a small red kite counts.
_MOST_COLOURFUL: Final = 0.02
#: Differences of the largest and smallest channel, 0..1, from which a photograph counts as in colour, and as fully so:
#: below the first lies the noise of a JPEG.
_COLOURED: Final = (0.04, 0.16)
#: Every how many rows and columns colours are looked at.
_SPARSE: Final = 4


@dataclass(frozen=True, slots=True)
class Light:
    """One light.

    Attributes
    ----------
    exposure : float
        Natural logarithm of the factor on v / (1 - v) of every value v, 0..1; above 0 is brighter.
    warmth : float
        Added to the exposure of red and taken from that of blue.
    saturation : float
        Factor on the distance from grey; 0 is grey, 1 changes nothing. Above 1 it is less for what is saturated
        already, so that reds keep their texture.
    contrast : float
        Above 0 an S-curve about the middle grey, below 0 its opposite; -1..1.
    gradient : float
        How much the exposure changes from the middle to the border in the direction `angle`.
    angle : float
        In radians, counter-clockwise from the right.
    vignette : float
        How much less the exposure is in the corners.
    """

    exposure: float = 0.0
    warmth: float = 0.0
    saturation: float = 1.0
    contrast: float = 0.0
    gradient: float = 0.0
    angle: float = 0.0
    vignette: float = 0.0

    def apply(self, image: NDArray[np.uint8], workers: Workers) -> NDArray[np.uint8]:
        """Return the image in this light.

        Parameters
        ----------
        image : ndarray of shape (H, W, C), uint8
            C = 1 is grey, 3 RGB, 4 straight RGBA, whose alpha is left alone.
        workers : Workers

        Returns
        -------
        ndarray of shape (H, W, C), uint8
        """
        colours = min(image.shape[2], _COLOURS)
        curve = self._curve()
        field = self._field(image.shape[0], image.shape[1])
        result = image.copy()

        def run(top: int) -> None:
            rows = slice(top, top + _ROWS)
            factor = np.exp(field[0][rows, None] + field[1])
            planes = [
                _expose(curve[image[rows, :, channel]], factor * np.float32(np.exp(self.exposure + warmth)))
                for channel, warmth in zip(range(colours), (self.warmth, 0.0, -self.warmth), strict=False)
            ]
            if colours == _COLOURS and self.saturation != 1:
                _saturate(planes, self.saturation)
            for channel, plane in enumerate(planes):
                # The cast to uint8 cuts, so half a step rounds.
                result[rows, :, channel] = np.clip(plane * np.float32(255) + np.float32(0.5), 0, 255)

        workers.each(run, range(0, len(image), _ROWS))
        return result

    def _curve(self) -> NDArray[np.float32]:
        """Return the value of each of the 256 levels, 0..1, after the change of contrast."""
        ramp = np.linspace(0, 1, 256, dtype=np.float32)
        smooth = ramp * ramp * (3 - 2 * ramp)
        return np.asarray(ramp + np.float32(self.contrast) * (smooth - ramp), np.float32)

    def _field(self, height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the changes of exposure down the rows and across the columns; their sum is that of a pixel."""
        down, across = (np.linspace(-1, 1, size, dtype=np.float32) for size in (height, width))
        half = np.float32(self.vignette / 2)
        rows = np.float32(-self.gradient * np.sin(self.angle)) * down - half * down**2
        cols = np.float32(self.gradient * np.cos(self.angle)) * across - half * across**2
        return rows, cols


def _expose(values: NDArray[np.float32], factor: NDArray[np.float32]) -> NDArray[np.float32]:
    """Multiply v / (1 - v) by a factor, for values v of 0..1: black and white stay."""
    return np.asarray(values * factor / (1 + (factor - 1) * values))


def _saturate(planes: list[NDArray[np.float32]], saturation: float) -> None:
    """Move red, green and blue, in place, away from their grey or towards it."""
    grey = planes[0] * _LUMA[0] + planes[1] * _LUMA[1] + planes[2] * _LUMA[2]
    gain: NDArray[np.float32] | np.float32 = np.float32(saturation)
    if saturation > 1:
        chroma = np.maximum.reduce(planes) - np.minimum.reduce(planes)
        gain = 1 + np.float32(saturation - 1) * (1 - chroma)
    for channel, plane in enumerate(planes):
        planes[channel] = grey + gain * (plane - grey)


def colourfulness(image: NDArray[np.uint8]) -> float:
    """Return how far a photograph is in colour: 0 (grey, or nearly) to 1.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), uint8
    """
    if image.shape[2] < _COLOURS:
        return 0.0
    part = image[::_SPARSE, ::_SPARSE, :_COLOURS].astype(np.float32) / np.float32(255)
    chroma = np.sort((part.max(axis=2) - part.min(axis=2)).reshape(-1))
    top = chroma[-max(1, round(_MOST_COLOURFUL * chroma.size)) :].mean()
    return float(np.clip((top - _COLOURED[0]) / (_COLOURED[1] - _COLOURED[0]), 0, 1))


def draw_light(point: Sequence[float], strength: float, colour: float, *, reach: float = 1.0) -> Light:
    """Return the light that six numbers of 0..1 stand for; the stronger, 0..1, the further from the source's.

    Parameters
    ----------
    point : sequence of 6 float
        In 0..1.
    strength : float
        0..1.
    colour : float
        What `colourfulness` returns; 0 leaves the colours alone.
    reach : float
        Factor on how far the light goes.
    """
    amount = reach * (_AMOUNT[0] + (_AMOUNT[1] - _AMOUNT[0]) * strength)
    exposure, warmth, saturation, contrast, gradient, angle = (2 * value - 1 for value in point)
    down, up = _SATURATION
    least = _LEAST_EXPOSURE * np.sign(exposure)
    return Light(
        exposure=float(_EXPOSURE * amount * (least + (1 - _LEAST_EXPOSURE) * exposure)),
        warmth=_WARMTH * amount * warmth * colour,
        saturation=1 + min(amount, 1.0) * colour * saturation * (up if saturation > 0 else down),
        contrast=_CONTRAST * amount * contrast,
        gradient=_GRADIENT * amount * (gradient + 1) / 2,
        angle=float(np.pi * angle),
        vignette=_VIGNETTE * amount * (1 - (gradient + 1) / 2),
    )
