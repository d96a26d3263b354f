"""Another light on the same scene: gamma, colour temperature and saturation.

Every step leaves black, white and grey alone where a shift of the white balance would tint them: temperature
is a different gamma per channel, not a gain, so a white ground stays white.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Tone", "draw_tone"]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_ROWS = 128


@dataclass(frozen=True, slots=True)
class Tone:
    """One light.

    Attributes
    ----------
    gamma : float
        Exponent of all channels; below 1 is brighter.
    warmth : float
        Exponents e^-warmth for red and e^warmth for blue; green stays, so no cast is green or magenta.
    saturation : float
        Factor on the distance from grey.
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
        colours = min(image.shape[2], 3)
        powers = (-self.warmth, 0.0, self.warmth) if colours == 3 else (0.0,)  # noqa: PLR2004
        tables = [255 * ramp ** np.float32(self.gamma * np.exp(power)) for power in powers]
        result = image.copy()
        for top in range(0, len(image), _ROWS):
            part = image[top : top + _ROWS]
            lit = [table[part[..., channel]] for channel, table in enumerate(tables)]
            if colours == 3:  # noqa: PLR2004
                grey = lit[0] * _LUMA[0] + lit[1] * _LUMA[1] + lit[2] * _LUMA[2]
                lit = [grey + np.float32(self.saturation) * (plane - grey) for plane in lit]
            for channel, plane in enumerate(lit):
                result[top : top + _ROWS, :, channel] = np.clip(plane + np.float32(0.5), 0, 255)
        return result


def draw_tone(rng: np.random.Generator, strength: float) -> Tone:
    """Draw a light; the stronger, the further from the source's."""
    amount = 0.25 + 0.75 * strength
    return Tone(
        gamma=float(np.exp(rng.uniform(-0.25, 0.25) * amount)),
        warmth=float(rng.uniform(-0.12, 0.12) * amount),
        saturation=float(1 + rng.uniform(-0.3, 0.35) * amount),
    )
