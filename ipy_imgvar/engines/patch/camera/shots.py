"""The second shots of one source: for each picture a framing and a light, unlike those of the pictures before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.eightbit import straight, to_uint8
from ipy_imgvar.engines.patch.arrays.findings import Findings
from ipy_imgvar.engines.patch.arrays.resize import reduced_shape, resize
from ipy_imgvar.engines.patch.camera.cuts import Cuts
from ipy_imgvar.engines.patch.camera.framing import (
    FRAMING_DIMENSIONS,
    Framing,
    draw_framing,
    quasirandom,
)
from ipy_imgvar.engines.patch.camera.lens import shoot
from ipy_imgvar.engines.patch.camera.light import LIGHT_DIMENSIONS, Light, colourfulness, draw_light

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.arrays.workers import Workers
    from ipy_imgvar.engines.patch.scene import Settings

__all__ = ["Shot", "Shots"]

#: Short side, in pixels, at which two shots are compared: there their difference is never more than at full size.
_COMPARED_PX: Final = 48
#: How far two shots, or a shot and the source, should be apart: mean absolute difference in levels of 255, by eye.
_APART: Final = 8.0
#: How far the light goes, in turn, until a shot is far enough from the others.
_REACHES: Final = (1.0, 1.3, 1.7, 2.2)
#: Last numbers of the seeds: [seed, number] alone is the arrangement's.
_PICTURE_STREAM, _OFFSET_STREAM = 1, 2


@dataclass(frozen=True, slots=True)
class Shot:
    """How one picture is taken.

    Attributes
    ----------
    framing : Framing
    light : Light or None
        None leaves the light as it is.
    """

    framing: Framing
    light: Light | None

    def take(self, image: NDArray[np.uint8], shape: tuple[int, int], workers: Workers) -> NDArray[np.uint8]:
        """Return the shot of an image, premultiplied where it has alpha, as straight pixels of a shape.

        Parameters
        ----------
        image : ndarray of shape (H, W, C), uint8
        shape : tuple of int
            (rows, columns).
        workers : Workers
        """
        shown = straight(shoot(image, self.framing, shape, workers))
        return self.lit(shown, workers)

    def lit(self, pixels: NDArray[np.uint8], workers: Workers) -> NDArray[np.uint8]:
        """Return straight pixels, shape (H, W, C), uint8, in the shot's light."""
        return pixels if self.light is None else self.light.apply(pixels, workers)


class Shots:
    """Plans the shots of one source, in order: each is to differ from the source and from those before.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
        C = 4 is premultiplied RGBA.
    settings : Settings
    subject : ndarray of shape (h, w), float32, or None
        A mask, 1 inside, of a subject that no shot may cut; the same one in every call with the same `findings`.
    findings : Findings or None
        What is known of the source.
    """

    def __init__(
        self,
        source: NDArray[np.float32],
        settings: Settings,
        subject: NDArray[np.float32] | None = None,
        findings: Findings | None = None,
    ) -> None:
        findings = findings or Findings()
        self._settings = settings
        self._aspect = source.shape[1] / source.shape[0]
        self._cuts = findings.once(("cuts", subject is None), lambda: Cuts(source, subject, findings))
        small = resize(source, reduced_shape(source, _COMPARED_PX))
        self._small = to_uint8(small)
        self._flat = not np.ptp(self._small, axis=(0, 1)).any()
        self._colour = colourfulness(to_uint8(source))
        self._offset = self._random(0, _OFFSET_STREAM).random(FRAMING_DIMENSIONS + LIGHT_DIMENSIONS)
        self._shots: list[Shot] = []
        self._seen = [straight(self._small)]

    def plan(self, number: int, workers: Workers) -> Shot:
        """Return the shot of picture `number`, counted from 0; it plans those before it too."""
        while len(self._shots) <= number:
            self._plan_next(workers)
        return self._shots[number]

    def _random(self, number: int, stream: int) -> np.random.Generator:
        return np.random.default_rng([self._settings.seed, number, stream])

    def _plan_next(self, workers: Workers) -> None:
        number = len(self._shots)
        point = quasirandom(number, self._offset)
        framing = draw_framing(
            self._random(number, _PICTURE_STREAM),
            point[:FRAMING_DIMENSIONS],
            strength=self._settings.strength,
            aspect=self._aspect,
            mirrored=self._settings.flip and (number + int(2 * self._offset[0])) % 2 == 1,
            cost=self._cuts.cost,
            siblings=[shot.framing for shot in self._shots],
        )
        best, farthest = None, -1.0
        for reach in _REACHES if self._settings.tone else (0.0,):
            shot = Shot(framing, self._light(point[FRAMING_DIMENSIONS:], reach))
            shown = shot.take(self._small, (self._small.shape[0], self._small.shape[1]), workers)
            nearest = min(float(np.abs(shown - one.astype(np.float32)).mean()) for one in self._seen)
            if nearest > farthest:
                best, farthest, picture = shot, nearest, shown
            if nearest >= _APART:
                break
        assert best is not None  # noqa: S101 - there is at least one reach
        self._shots.append(best)
        self._seen.append(picture)

    def _light(self, point: NDArray[np.float64], reach: float) -> Light | None:
        if not self._settings.tone:
            return None
        light = draw_light(point.tolist(), self._settings.strength, self._colour, reach=reach)
        # One colour stays one colour.
        return replace(light, gradient=0.0, vignette=0.0) if self._flat else light
