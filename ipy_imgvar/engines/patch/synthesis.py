"""The pictures of one call, each by the boldest means that its source bears.

- `arrangement`: the material put together anew (`composition`), from strength 0.3 on where a judge finds that it holds
  together; at any strength where pixels stay in place or the shape is another one.
- `layers`: a subject whose mask is certain, larger before its ground (`layers`); then a second shot of that.
- `camera`: a second shot, in another framing and light (`camera`).

None of them can invent content, pose or style. Reading requests and writing files is `engine`'s job.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from ipy_imgvar.engines.patch.arrays.blas import single_threaded_blas
from ipy_imgvar.engines.patch.arrays.eightbit import straight_uint8, to_uint8
from ipy_imgvar.engines.patch.arrays.workers import Workers
from ipy_imgvar.engines.patch.camera.shots import Shots
from ipy_imgvar.engines.patch.composition.artefacts import ArtefactJudge
from ipy_imgvar.engines.patch.composition.composer import Composer
from ipy_imgvar.engines.patch.layers.composite import Layers, draw_layers
from ipy_imgvar.engines.patch.layers.composite import prepare as take_apart
from ipy_imgvar.engines.patch.matching.patches import grid
from ipy_imgvar.engines.patch.matching.refine import dense, fine
from ipy_imgvar.engines.patch.matching.vote import unpack
from ipy_imgvar.engines.patch.strength import rearranges, tune
from ipy_imgvar.engines.patch.subjects.matte import is_certain, matte
from ipy_imgvar.engines.patch.subjects.text import has_text

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.scene import Scene, Settings

__all__ = ["Means", "Picture", "synthesise"]

#: How a picture is made: a second shot, a subject enlarged before its ground, or patches put together anew.
Means: TypeAlias = Literal["camera", "layers", "arrangement"]

#: Patches up to which a level is matched everywhere, and above which only along its seams. Chosen by timing and by eye.
_DENSE_PATCHES: Final = 130 * 200
#: Last number of the seeds of layers: [seed, number] alone is the arrangement's, and `shots` has 1 and 2.
_LAYERS_STREAM: Final = 3
#: Pictures of a call whose arrangements may be refused before no more are tried.
_MOST_REFUSED: Final = 2
#: Share of a picture's time, 0..1, that its arrangement takes, for progress. An estimate.
_ARRANGEMENT_SHARE: Final = 0.3


class Picture(NamedTuple):
    """One picture and how it was made.

    Attributes
    ----------
    pixels : ndarray of shape (H, W, C), uint8
        C = 4 is straight RGBA.
    means : str
        "camera", "layers" or "arrangement".
    """

    pixels: NDArray[np.uint8]
    means: Means


def synthesise(
    scene: Scene,
    settings: Settings,
    *,
    numbers: range,
    threads: int = 2,
    progress: Callable[[float, str], None] | None = None,
    check: Callable[[], None] | None = None,
) -> Generator[Picture]:
    """Yield new pictures of a scene, one by one as they are ready.

    Parameters
    ----------
    scene : Scene
    settings : Settings
    numbers : range
        Which pictures, counted from 0. Picture i has the same bytes in every call with the same scene and settings.
    threads : int
        Threads for the large steps; their number changes no byte.
    progress : callable or None
        Called with the share of the work done, 0..1, and a text.
    check : callable or None
        Called often; raises to cancel.

    Yields
    ------
    Picture
        Its pixels have `scene.shape`.
    """
    with single_threaded_blas():
        run = _Run(scene, settings, numbers, Workers(threads, check), progress)
        for done, number in enumerate(numbers, start=1):
            yield run.picture(number)
            run.report(number, 1, f"{done} of {len(numbers)}")


def _apart(source: NDArray[np.float32], subject: NDArray[np.float32]) -> Layers | None:
    """Return a source taken apart; None where the outline of its subject is not certain."""
    outline = matte(source, subject)
    return take_apart(source, outline) if is_certain(outline) else None


class _Run:
    """One call, with what its pictures share."""

    def __init__(
        self,
        scene: Scene,
        settings: Settings,
        numbers: range,
        workers: Workers,
        progress: Callable[[float, str], None] | None,
    ) -> None:
        self.scene, self.settings, self.numbers = scene, settings, numbers
        self.workers, self.progress = workers, progress
        self.layers: Layers | None = None
        self.composer: Composer | None = None
        self.most_artefacts, self.refused = math.inf, 0
        workers.check()
        anew = rearranges(settings.strength)
        known = scene.findings
        flip = settings.flip and anew and not known.once("text", lambda: has_text(scene.source))
        settings = replace(settings, flip=flip, tone=settings.tone and not scene.fixed)
        subject = scene.subject
        if anew and subject is not None and scene.free:
            self.layers = known.once("layers", partial(_apart, scene.source, subject))
            subject = subject if self.layers is None else self.layers.reach(scene.source.shape[:2])
        workers.check()
        self.shots = Shots(scene.source, settings, subject, known)
        if scene.has_patches and (anew or not scene.free):
            self._prepare_composer(flip=flip)

    def _prepare_composer(self, *, flip: bool) -> None:
        """Set what arranges and what judges it, unless the source does not bear it; go up to the first picture."""
        judge, strength, scene = None, self.settings.strength, self.scene
        if scene.free:
            tuning = tune(strength)
            artefacts = scene.findings.once("judge", lambda: ArtefactJudge(scene.source))
            if artefacts.bears() < tuning.least_bearing:
                return
            judge, self.most_artefacts = artefacts.score, tuning.most_artefacts
        self.composer = Composer(
            scene.source,
            shape=scene.shape,
            strength=strength,
            keep=scene.keep,
            flip=flip,
            judge=judge,
            findings=scene.findings,
        )
        for number in range(self.numbers.start):
            self.report(self.numbers.start, 0, "earlier arrangements")
            if self.composer is not None:
                self._accepts(self.composer.choose(self._random(number), number, self.workers).artefacts)

    def _accepts(self, artefacts: float) -> bool:
        """Return whether an arrangement is good enough, and give up after too many that are not."""
        # Without a judge it is NaN, which is not larger than anything.
        accepted = not artefacts > self.most_artefacts
        self.refused += not accepted
        if self.refused >= _MOST_REFUSED:
            self.composer = None
        return accepted

    def picture(self, number: int) -> Picture:
        """Make picture `number`."""
        self.workers.check()
        scene, shot = self.scene, self.shots.plan(number, self.workers)
        image = self._arranged(number)
        if image is not None:
            pixels = straight_uint8(scene.restored(image))
            return Picture(shot.lit(pixels, self.workers), "arrangement")
        if scene.fixed:
            return Picture(straight_uint8(scene.source), "camera")
        if self.layers is None:
            detailed = to_uint8(scene.source) if scene.detailed is None else scene.detailed
            return Picture(shot.take(detailed, scene.shape, self.workers), "camera")
        rng = np.random.default_rng([self.settings.seed, number, _LAYERS_STREAM])
        layered = to_uint8(self.layers.compose(*draw_layers(rng, self.settings.strength)))
        return Picture(shot.take(layered, scene.shape, self.workers), "layers")

    def report(self, number: int, part: float, text: str) -> None:
        """Tell how far the whole call is, when `part` (0..1) of picture `number` is done."""
        if self.progress is not None:
            self.progress(min(1.0, (number - self.numbers.start + part) / len(self.numbers)), text)

    def _random(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, number])

    def _arranged(self, number: int) -> NDArray[np.float32] | None:
        """Return picture `number` as an arrangement, or None where none is good enough.

        Returns
        -------
        ndarray of shape (*shape, C), float32, or None
            About 0..1, premultiplied where C is 4.
        """
        self.report(number, 0, "arrangement")
        if self.composer is None:
            return None
        composition = self.composer.compose(self._random(number), number, self.workers)
        if not self._accepts(composition.artefacts):
            return None
        field, rng, levels = composition.arrangement.field, composition.rng, composition.levels
        channels = self.scene.source.shape[2]
        # Without the channel of fine detail that the coarse levels have.
        image = composition.arrangement.image[..., :channels]
        for done, level in enumerate(levels):
            self.report(number, _ARRANGEMENT_SHARE + (1 - _ARRANGEMENT_SHARE) * done / len(levels), "details")
            rows, cols = grid(level.output)
            if rows * cols <= _DENSE_PATCHES:
                field, image = dense(field, composition.layout.overlay(level), level, rng, self.workers)
            else:
                last = done + 1 == len(levels)
                field, words = fine(field, level, rng, self.workers, last=last)
                if last:
                    image = unpack(words, channels)
        return image
