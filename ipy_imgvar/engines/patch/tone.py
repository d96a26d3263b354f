"""Another light on the same scene: gamma, colour temperature and saturation.

Every step leaves black, white and grey alone where a shift of the white balance would tint them: temperature
is a different gamma per channel, not a gain, so a white ground stays white.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Tone", "draw_tone"]

#: Channels of a picture in colour; one channel is grey, and a fourth is alpha.
_COLOURS: Final = 3
#: Weights of red, green and blue in a grey of the same brightness (ITU-R BT.601).
_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)
#: Rows that are lit at once, so that the float planes of a large picture stay small.
_ROWS: Final = 128
#: How far the light goes at strength 0, as a share of how far it goes at 1. Chosen by eye, as are the next.
_LEAST_AMOUNT: Final = 0.25
#: At strength 1, the natural logarithm of gamma is drawn between minus and plus this.
_GAMMA: Final = 0.25
#: The same for `Tone.warmth`.
_WARMTH: Final = 0.12
#: At strength 1, the saturation is drawn between 1 plus these.
_SATURATION: Final = (-0.3, 0.35)


@dataclass(frozen=True, slots=True)
class Tone:
    """One light.

    Attributes
    ----------
    gamma : float
        Exponent of all channels, above 0; below 1 is brighter.
    warmth : float
        Exponents e^-warmth for red and e^warmth for blue; green stays, so no cast is green or magenta.
    saturation : float
        Factor on the distance from grey; 0 is grey, 1 changes nothing.
    """

    gamma: float
    warmth: float
    saturation: float

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the image in this light.

        Parameters
        ----------
        image : ndarray of shape (H, W, C), uint8
            C = 1 is grey, 3 RGB, 4 straight RGBA, whose alpha is left alone.

        Returns
        -------
        ndarray of shape (H, W, C), uint8
        """
        ramp = np.linspace(0, 1, 256, dtype=np.float32)
        colours = min(image.shape[2], _COLOURS)
        powers = (-self.warmth, 0.0, self.warmth) if colours == _COLOURS else (0.0,)
        tables = [255 * ramp ** np.float32(self.gamma * np.exp(power)) for power in powers]
        result = image.copy()
        for top in range(0, len(image), _ROWS):
            part = image[top : top + _ROWS]
            planes = [table[part[..., channel]] for channel, table in enumerate(tables)]
            if colours == _COLOURS:
                grey = planes[0] * _LUMA[0] + planes[1] * _LUMA[1] + planes[2] * _LUMA[2]
                planes = [grey + np.float32(self.saturation) * (plane - grey) for plane in planes]
            for channel, plane in enumerate(planes):
                # The cast to uint8 cuts, so half a step rounds.
                result[top : top + _ROWS, :, channel] = np.clip(plane + np.float32(0.5), 0, 255)
        return result


def draw_tone(rng: np.random.Generator, strength: float) -> Tone:
    """Draw a light; the stronger, 0..1, the further from the source's."""
    amount = _LEAST_AMOUNT + (1 - _LEAST_AMOUNT) * strength
    return Tone(
        gamma=float(np.exp(rng.uniform(-_GAMMA, _GAMMA) * amount)),
        warmth=float(rng.uniform(-_WARMTH, _WARMTH) * amount),
        saturation=float(1 + rng.uniform(*_SATURATION) * amount),
    )
