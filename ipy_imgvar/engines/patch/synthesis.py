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

from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.blas import single_threaded_blas
from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.arrays.workers import Workers
from ipy_imgvar.engines.patch.composition.composer import Composer
from ipy_imgvar.engines.patch.matching.patches import grid
from ipy_imgvar.engines.patch.matching.refine import dense, fine
from ipy_imgvar.engines.patch.matching.vote import unpack
from ipy_imgvar.engines.patch.tone import draw_tone

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

__all__ = ["is_flat", "synthesise"]

#: Range of the values (0..1) of a picture of one colour: a step and a half of 8 bits, which rounding may leave.
_FLAT: Final = 1.5 / 255
#: Every how many rows and columns `is_flat` looks first.
_SPARSE: Final = 16
#: Short side, in pixels, below which there are too few patches to rearrange.
_TINY: Final = 9
#: A picture without patches loses one row or column in so many, so that its crops differ.
_CROP_PARTS: Final = 6
#: Channels of a picture with transparency.
_RGBA: Final = 4
#: Patches up to which a level is matched everywhere, and above which only along its seams. Chosen by timing and by eye.
_DENSE_PATCHES: Final = 130 * 200
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


def synthesise(
    source: NDArray[np.float32],
    *,
    shape: tuple[int, int],
    n: int,
    strength: float,
    seed: int,
    only: int | None = None,
    keep: NDArray[np.bool_] | None = None,
    flip: bool = True,
    tone: bool = True,
    threads: int = 2,
    progress: Callable[[float, str], None] | None = None,
    check: Callable[[], None] | None = None,
) -> Generator[NDArray[np.uint8]]:
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
    flip, tone : bool
        Whether pictures may be mirrored (text too), and whether light and colour may vary (never with `keep`).
    threads : int
        Threads for the large steps.
    progress : callable or None
        Called with the share of the work done, 0..1, and a text.
    check : callable or None
        Called often; raises to cancel.

    Yields
    ------
    ndarray of shape (*shape, C), uint8
        C = 4 is straight RGBA.
    """
    numbers = range(n) if only is None else range(only, only + 1)
    with single_threaded_blas():
        workers = Workers(threads, check)
        run = _Run(
            source, shape=shape, numbers=numbers, seed=seed, keep=keep, workers=workers, progress=progress
        )
        run.compose(strength, flip=flip)
        for done, number in enumerate(numbers, start=1):
            yield run.picture(number, strength if tone and keep is None else None)
            run.report(number, 1, f"{done} of {len(numbers)}")


class _Run:
    """One call, with what its pictures share."""

    composer: Composer

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
        self.has_patches = not is_flat(source) and min(*source.shape[:2], *shape) >= _TINY

    def compose(self, strength: float, *, flip: bool) -> None:
        """Find the subjects, and the arrangements before the first picture's, which it has to keep away from."""
        if not self.has_patches:
            return
        self.composer = Composer(self.source, shape=self.shape, strength=strength, keep=self.keep, flip=flip)
        for number in range(self.numbers.start):
            self.report(self.numbers.start, 0, "earlier arrangements")
            self.composer.choose(self._random(number), number, self.workers)

    def picture(self, number: int, tone: float | None) -> NDArray[np.uint8]:
        """Make picture `number`; `tone` is the strength of its change of light, None for no change."""
        self.workers.check()
        image = self._synthesise(number) if self.has_patches else self._crop(number)
        result = self._to_uint8(image)
        return result if tone is None else draw_tone(self._random(number), tone).apply(result)

    def report(self, number: int, part: float, text: str) -> None:
        """Tell how far the whole call is, when `part` (0..1) of picture `number` is done."""
        if self.progress is not None:
            self.progress(min(1.0, (number - self.numbers.start + part) / len(self.numbers)), text)

    def _random(self, number: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, number])

    def _crop(self, number: int) -> NDArray[np.float32]:
        """Return a slightly smaller part of a picture too small or too flat for patches, enlarged."""
        if self.keep is not None:
            return self.source
        if is_flat(self.source):
            colour: NDArray[np.float32] = self.source.mean(axis=(0, 1))
            return np.tile(colour, (*self.shape, 1))
        rng = self._random(number)
        height, width = self.source.shape[:2]
        rows, cols = max(1, height - height // _CROP_PARTS), max(1, width - width // _CROP_PARTS)
        top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - cols + 1)
        part = self.source[top : top + rows, left : left + cols]
        return np.clip(resize(part, self.shape), 0, 1)

    def _synthesise(self, number: int) -> NDArray[np.float32]:
        """Return picture `number`, shape (*shape, C), float32, about 0..1, premultiplied where C is 4."""
        self.report(number, 0, "arrangement")
        composition = self.composer.compose(self._random(number), number, self.workers)
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

    def _to_uint8(self, image: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Put the kept pixels back, divide by alpha, and round to 8 bits."""
        if self.keep is not None:
            image = np.where(self.keep[..., None], self.source, image)
        if image.shape[2] == _RGBA:
            alpha = image[..., 3:]
            colour = np.divide(image[..., :3], alpha, out=np.zeros_like(image[..., :3]), where=alpha > 0)
            image = np.concatenate([np.minimum(colour, 1), alpha], axis=2)
        result: NDArray[np.uint8] = np.rint(np.clip(image, 0, 1) * np.float32(255)).astype(np.uint8)
        return result
