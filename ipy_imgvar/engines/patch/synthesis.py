"""New pictures from the patches of one.

The method is that of Granot et al., "Drop the GAN: In Defense of Patches Nearest Neighbors as Single Image Generative
Models" (CVPR 2022): from coarse to fine, every patch of the output is replaced by its nearest neighbour among the
source's patches, and overlaps are averaged. Departures, and why:

- Objects on a ground, or else the most salient part, stay whole and are placed first (`subjects`,
  `composition.placement`), since plain matching scrambles faces. They move against the ground and, where they are
  many, against each other; the ground's horizon may sink or rise. This, not the noise, is what makes an arrangement
  new.
- Above strength 0.3 the search begins at about 30 px instead of 15, where a patch sees half the picture and
  puts everything back in its old position. What that size loses (masts, wires) is matched as one more channel.
- Ground away from a subject may not use what lies at a subject's outline, so that no half head is left
  behind.
- Several layouts are tried at the smallest levels. One that is a moved copy of the source or of a sibling is
  not chosen (`composition.novelty`).
- Exact matching only where the levels are tiny; above, the field is inherited and mended along its seams by
  PatchMatch (Barnes et al., SIGGRAPH 2009), since everything else is a copy already. There a pixel shows the one
  patch centred on it, without a vote; only the last level's seams are feathered, by a few pixels where the picture is
  large.
- A smaller source in a full canvas (re-framing) for every third picture below strength 0.4, and as some of
  the candidates from 0.6 where there is a ground to extend.

Arrangements are judged by how coherent and how complete they are (Simakov et al., "Summarizing Visual Data Using
Bidirectional Similarity", CVPR 2008). The method cannot invent content, pose or style. Reading requests and writing
files is `engine`'s job.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

import numpy as np

from ipy_imgvar.engines.patch.arrays.blas import single_threaded_blas
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

__all__ = ["Means", "Picture", "is_flat", "synthesise"]

#: How a picture is made: a second shot, a subject enlarged before its ground, or patches put together anew.
Means: TypeAlias = Literal["camera", "layers", "arrangement"]

#: Range of the values (0..1) of a picture of one colour: a step and a half of 8 bits, which rounding may leave.
_FLAT: Final = 1.5 / 255
#: Every how many rows and columns `is_flat` looks first.
_SPARSE: Final = 16
#: Short side, in pixels, below which there are too few patches to rearrange.
_TINY: Final = 9
#: Channels of a picture with transparency.
_RGBA: Final = 4
#: Patches up to which a level is matched everywhere, and above which only along its seams. Chosen by timing and by eye.
_DENSE_PATCHES: Final = 130 * 200
#: Last number of the seeds of layers: [seed, number] alone is the arrangement's, and `shots` has 1 and 2.
_LAYERS_STREAM: Final = 3
#: Pictures of a call whose arrangements may be refused before no more are tried.
_MOST_REFUSED: Final = 2
#: Share of a picture's time, 0..1, that its arrangement takes, for progress. An estimate.
_ARRANGEMENT_SHARE: Final = 0.3


def is_flat(source: NDArray[np.float32]) -> bool:
    """Return whether a picture is of one colour, so that only its tone can vary.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    """

    def flat(part: NDArray[np.float32]) -> bool:
        return bool((part.max(axis=(0, 1)) - part.min(axis=(0, 1))).max() < _FLAT)

    # A few pixels tell it of nearly every picture.
    return flat(source[::_SPARSE, ::_SPARSE]) and flat(source)


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
    source: NDArray[np.float32],
    *,
    shape: tuple[int, int],
    n: int,
    strength: float,
    seed: int,
    only: int | None = None,
    keep: NDArray[np.bool_] | None = None,
    detailed: NDArray[np.uint8] | None = None,
    subject: NDArray[np.float32] | None = None,
    flip: bool = True,
    tone: bool = True,
    threads: int = 2,
    progress: Callable[[float, str], None] | None = None,
    check: Callable[[], None] | None = None,
) -> Generator[Picture]:
    """Yield new pictures of a source, one by one as they are ready.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
        C is 1 (grey), 3 (RGB) or 4 (RGBA, premultiplied).
    shape : tuple of int
        Rows and columns of the pictures; another shape than the source's is a new arrangement at the same scale.
    n : int
        How many pictures. Picture i depends on `seed` and i, not on `n`.
    strength : float
        0 (a second shot of the scene) to 1 (as free as the material allows).
    seed : int
        The same seed and source give the same bytes, for any `threads`.
    only : int or None
        Yield this picture alone, counted from 0, with the bytes it has in a longer call; `n` then has no effect.
    keep : ndarray of shape (H, W), bool, or None
        True keeps a pixel in place and equal to the source's; needs `shape` to be the source's. None chooses
        subjects that stay whole, but may move.
    detailed : ndarray of shape (H', W', C), uint8, or None
        The source with more pixels than `shape`, premultiplied where C is 4, for shots that show a part of it.
    subject : ndarray of shape (h, w), float32, 0..1, or None
        A mask of the source's subject, 1 inside, of any size: no shot cuts it, and where it is certain the subject may
        be shown larger before its ground.
    flip, tone : bool
        Whether pictures without text may be mirrored, and whether light and colour may vary (never with `keep`).
    threads : int
        Threads for the large steps.
    progress : callable or None
        Called with the share of the work done, 0..1, and a text.
    check : callable or None
        Called often; raises to cancel.

    Yields
    ------
    Picture
        Its pixels have `shape`.
    """
    numbers = range(n) if only is None else range(only, only + 1)
    with single_threaded_blas():
        workers = Workers(threads, check)
        run = _Run(
            source, shape=shape, numbers=numbers, seed=seed, keep=keep, workers=workers, progress=progress
        )
        run.prepare(strength, detailed, subject, flip=flip, tone=tone)
        for done, number in enumerate(numbers, start=1):
            yield run.picture(number)
            run.report(number, 1, f"{done} of {len(numbers)}")


class _Run:
    """One call, with what its pictures share."""

    shots: Shots
    composer: Composer | None = None
    layers: Layers | None = None
    most_artefacts: float = math.inf
    refused: int = 0
    detailed: NDArray[np.uint8]

    def __init__(
        self,
        source: NDArray[np.float32],
        *,
        shape: tuple[int, int],
        numbers: range,
        seed: int,
        keep: NDArray[np.bool_] | None,
        workers: Workers,
        progress: Callable[[float, str], None] | None,
    ) -> None:
        self.source, self.shape, self.numbers, self.seed = source, shape, numbers, seed
        self.keep, self.workers, self.progress = keep, workers, progress

    def prepare(
        self,
        strength: float,
        detailed: NDArray[np.uint8] | None,
        subject: NDArray[np.float32] | None,
        *,
        flip: bool,
        tone: bool,
    ) -> None:
        """Look at the source: what a shot would cut, and by which means its pictures can be made."""
        self.workers.check()
        self.strength = strength
        self.detailed = _to_uint8(self.source) if detailed is None else detailed
        anew = rearranges(strength)
        # Below, nothing is mirrored.
        flip = flip and anew and not has_text(self.source)
        if anew and subject is not None and not self._must_arrange():
            outline = matte(self.source, subject)
            if is_certain(outline):
                self.layers = take_apart(self.source, outline)
        self.shots = Shots(
            self.source,
            strength=strength,
            seed=self.seed,
            flip=flip,
            tone=tone and self.keep is None,
            subject=subject,
        )
        self.workers.check()
        if is_flat(self.source) or min(*self.source.shape[:2], *self.shape) < _TINY:
            return
        if self._must_arrange() or anew:
            self._prepare_composer(strength, flip=flip)
        for number in range(self.numbers.start):
            self.report(self.numbers.start, 0, "earlier arrangements")
            if self.composer is not None:
                self._accepts(self.composer.choose(self._random(number), number, self.workers).artefacts)

    def _prepare_composer(self, strength: float, *, flip: bool) -> None:
        """Set what arranges, and what judges it, unless the source does not bear it."""
        judge = None
        if not self._must_arrange():
            tuning, artefacts = tune(strength), ArtefactJudge(self.source)
            if artefacts.bears() < tuning.least_bearing:
                return
            judge, self.most_artefacts = artefacts.score, tuning.most_artefacts
        self.composer = Composer(
            self.source, shape=self.shape, strength=strength, keep=self.keep, flip=flip, judge=judge
        )

    def _must_arrange(self) -> bool:
        """Return whether no shot will do: pixels stay in place, or the shape is another one."""
        return self.keep is not None or self.shape != self.source.shape[:2]

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
        shot = self.shots.plan(number, self.workers)
        image = self._arranged(number)
        if image is not None:
            if self.keep is not None:
                image = np.where(self.keep[..., None], self.source, image)
            pixels = _straight_uint8(image)
            return Picture(
                pixels if shot.light is None else shot.light.apply(pixels, self.workers), "arrangement"
            )
        if self.keep is not None:
            return Picture(_straight_uint8(self.source), "camera")
        if self.layers is None:
            return Picture(shot.take(self.detailed, self.shape, self.workers), "camera")
        rng = np.random.default_rng([self.seed, number, _LAYERS_STREAM])
        layered = _to_uint8(self.layers.compose(*draw_layers(rng, self.strength)))
        return Picture(shot.take(layered, self.shape, self.workers), "layers")

    def report(self, number: int, part: float, text: str) -> None:
        """Tell how far the whole call is, when `part` (0..1) of picture `number` is done."""
        if self.progress is not None:
            self.progress(min(1.0, (number - self.numbers.start + part) / len(self.numbers)), text)

    def _random(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, number])

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
        channels = self.source.shape[2]
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


def _to_uint8(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round a picture of values of 0..1 to 8 bits."""
    return np.asarray(np.rint(np.clip(image, 0, 1) * np.float32(255)), np.uint8)


def _straight_uint8(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Round a picture to 8 bits, its colours divided by alpha first where it has alpha."""
    if image.shape[2] == _RGBA:
        alpha = image[..., 3:]
        colour = np.divide(image[..., :3], alpha, out=np.zeros_like(image[..., :3]), where=alpha > 0)
        image = np.concatenate([np.minimum(colour, 1), alpha], axis=2)
    return _to_uint8(image)
