"""New pictures from the patches of one.

The method is that of Granot et al., "Drop the GAN" (CVPR 2022): from coarse to fine, every patch of the
output is replaced by its nearest neighbour among the source's patches, and overlaps are averaged.
Departures, and why:

- Things on a ground, or else the most unusual part, are kept whole and placed first (`keep`, `placing`), since
  plain matching scrambles faces. They move against the ground and, where they are many, against each other; the
  ground's horizon may sink or rise. This, not the noise, is what makes an arrangement new.
- Above strength 0.3 the search begins at about 30 px instead of 15, where a patch sees half the picture and
  puts everything back in its old place. What that size loses (masts, wires) is matched as one more channel.
- Ground away from a subject may not use what lies at a subject's outline, so that no half head is left
  behind.
- Several layouts are tried at the smallest levels. One that is a moved copy of the source or of a sibling is
  not chosen (`novelty`).
- Exact matching only where the levels are tiny; above, the field is inherited and mended along its seams,
  since everything else is a copy already. There a pixel shows the one patch centred on it, without a vote;
  only the last level's seams are feathered, by a few pixels where the picture is large.
- A smaller source in a full canvas (re-framing) for every third picture below strength 0.4, and as some of
  the candidates from 0.6 where there is a ground to extend.

It cannot invent content, pose or style. Reading requests and writing files is `engine`'s job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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

_FLAT = 1.5 / 255
_SPARSE = 16
_TINY = 9
_RGBA = 4
_DENSE_PATCHES = 130 * 200


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
        Rows and columns of the pictures. Another shape than the source's gives a new arrangement at the same
        scale.
    n : int
        How many pictures. Picture i depends on `seed` and i, not on `n`.
    strength : float
        0 (a second shot of the scene) to 1 (as free as the material allows).
    seed : int
        The same seed and source give the same bytes, for any `threads`.
    only : int or None
        Yield this picture alone, counted from 0 and with the bytes it has in a longer call; `n` then has no effect.
        The arrangements before it are found too, since each keeps away from them.
    keep : ndarray of shape (H, W), bool, or None
        True keeps a pixel in place and equal to the source's; needs `shape` to be the source's. None chooses
        what stays whole, which may then move.
    flip : bool
        Whether pictures may be mirrored (which would mirror text).
    tone : bool
        Whether light and colour may vary. Never applied where the caller keeps pixels.
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

    References
    ----------
    Granot et al., "Drop the GAN: In Defense of Patches Nearest Neighbors as Single Image Generative Models",
    CVPR 2022. Barnes et al., "PatchMatch", SIGGRAPH 2009. Simakov et al., "Summarizing Visual Data Using
    Bidirectional Similarity", CVPR 2008.
    """
    with single_threaded_blas():
        numbers = range(n) if only is None else range(only, only + 1)
        run = _Run(
            source, shape=shape, numbers=numbers, seed=seed, keep=keep, workers=Workers(threads, check)
        )
        run.progress = progress
        if not run.rigid:
            run.composer = Composer(source, shape=shape, strength=strength, keep=keep, flip=flip)
        run.look_at_earlier()
        for done, number in enumerate(numbers, start=1):
            yield run.picture(number, strength if tone and keep is None else None)
            run.report(number, 1, f"{done} of {len(numbers)}")


class _Run:
    """One call, with what its pictures share."""

    composer: Composer
    progress: Callable[[float, str], None] | None = None

    def __init__(
        self,
        source: NDArray[np.float32],
        *,
        shape: tuple[int, int],
        numbers: range,
        seed: int,
        keep: NDArray[np.bool_] | None,
        workers: Workers,
    ) -> None:
        self.source, self.shape, self.numbers, self.seed = source, shape, numbers, seed
        self.keep, self.workers = keep, workers
        self.rigid = is_flat(source) or min(*source.shape[:2], *shape) < _TINY

    def look_at_earlier(self) -> None:
        """Find the arrangements of the pictures before the first one, which it has to keep away from."""
        if self.rigid:
            return
        for number in range(self.numbers.start):
            self.report(self.numbers.start, 0, "earlier arrangements")
            self.composer.choose(self._random(number), number, self.workers)

    def picture(self, number: int, tone: float | None) -> NDArray[np.uint8]:
        """Make picture `number`; `tone` is the strength of its change of light, None for no change."""
        self.workers.check()
        image = self._crop(number) if self.rigid else self._synthesised(number)
        result = self._finished(image)
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
        rows, cols = max(1, height - height // 6), max(1, width - width // 6)
        top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - cols + 1)
        part = self.source[top : top + rows, left : left + cols]
        return np.clip(resize(part, self.shape), 0, 1)

    def _synthesised(self, number: int) -> NDArray[np.float32]:
        self.report(number, 0, "arrangement")
        composition = self.composer.compose(self._random(number), number, self.workers)
        field, rng, levels = composition.found.field, composition.rng, composition.levels
        channels = self.source.shape[2]
        image = composition.found.image[..., :channels]
        for place, level in enumerate(levels):
            self.report(number, 0.3 + 0.7 * place / len(levels), "details")
            asked = grid(level.output)
            if asked[0] * asked[1] <= _DENSE_PATCHES:
                forced = composition.layout.forced(level)
                field, image = dense(field, forced, level, rng, self.workers)
            else:
                last = place + 1 == len(levels)
                field, words = fine(field, level, rng, self.workers, last=last)
                if last:
                    image = unpack(words, channels)
        return image

    def _finished(self, image: NDArray[np.float32]) -> NDArray[np.uint8]:
        if self.keep is not None:
            image = np.where(self.keep[..., None], self.source, image)
        if image.shape[2] == _RGBA:
            alpha = image[..., 3:]
            colour = np.divide(image[..., :3], alpha, out=np.zeros_like(image[..., :3]), where=alpha > 0)
            image = np.concatenate([np.minimum(colour, 1), alpha], axis=2)
        result: NDArray[np.uint8] = np.rint(np.clip(image, 0, 1) * np.float32(255)).astype(np.uint8)
        return result
