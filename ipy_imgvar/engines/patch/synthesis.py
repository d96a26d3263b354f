"""New pictures from the patches of one.

The method is that of Granot et al., "Drop the GAN" (CVPR 2022): from coarse to fine, every patch of the
output is replaced by its nearest neighbour among the source's patches, and overlaps are averaged.
Departures, and why:

- Unusual regions are kept whole and placed first (`keep`, `layout`), since plain matching scrambles faces.
  They move against the ground, and where mirroring is allowed each may be mirrored without the other: this,
  not the noise, is what makes an arrangement new.
- Above strength 0.3 the search begins at about 30 px instead of 15, where a patch sees half the picture and
  puts everything back in its old place.
- Ground away from a subject may not use what lies at a subject's outline, so that no half head is left
  behind.
- Several layouts are tried at the coarsest level, and one that is a moved copy is not chosen (`novelty`).
- Exact matching only where the levels are tiny; above, the field is inherited and mended along its seams,
  since everything else is a copy already. There a pixel shows the one patch centred on it, without a vote:
  averages at seams cost sharpness and hide nothing.
- Re-framing (a smaller source in a full canvas) only below strength 0.4: above, arrangements differ without
  it.

It cannot invent content, pose or style. Reading requests and writing files is `engine`'s job.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .arrange import Arrangement, best, descend, initial
from .blas import single_threaded_blas
from .keep import subjects
from .knobs import knobs
from .layout import Layout, draw
from .patches import PATCH, grid
from .placing import Place, can_shrink
from .pyramid import EXACT_PAIRS, Level, pyramid
from .refine import dense, fine
from .resize import resize
from .tone import draw_tone
from .vote import unpack
from .workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from numpy.typing import NDArray

__all__ = ["is_flat", "synthesise"]

_FLAT = 1.5 / 255
_TINY = 9
_FLIP_FROM = 0.3
_REFRAME_EVERY = 3
_REFRAME_BELOW = 0.4
_RGBA = 4
_ZOOM = (0.82, 0.95)
_SHRUNK_FROM = 0.6
_SHRUNK_EVERY = 4
_SHRUNK = 0.4
"""What a smaller scale costs a candidate: ground has to be found for what it leaves free."""

_DENSE_PATCHES = 130 * 200
_CANDIDATE_PAIRS = 800**2


def is_flat(source: NDArray[np.float32]) -> bool:
    """Return whether a picture is of one colour, so that only its tone can vary.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
    """
    return bool((source.max(axis=(0, 1)) - source.min(axis=(0, 1))).max() < _FLAT)


def synthesise(
    source: NDArray[np.float32],
    *,
    shape: tuple[int, int],
    n: int,
    strength: float,
    seed: int,
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
    workers = Workers(threads, check)
    with single_threaded_blas():
        run = _Run(
            source,
            shape=shape,
            flip=flip,
            strength=strength,
            seed=seed,
            keep=keep,
            workers=workers,
            progress=progress,
            n=n,
        )
        for number in range(n):
            workers.check()
            yield run.picture(number, tone=tone)
            run.report(number + 1, 0, f"{number + 1} of {n}")


class _Run:
    """One call's source, with what its pictures share."""

    def __init__(
        self,
        source: NDArray[np.float32],
        *,
        shape: tuple[int, int],
        flip: bool,
        strength: float,
        seed: int,
        keep: NDArray[np.bool_] | None,
        workers: Workers,
        progress: Callable[[float, str], None] | None,
        n: int,
    ) -> None:
        self.source, self.shape, self.strength, self.seed = source, shape, strength, seed
        self.keep, self.workers, self.progress, self.n = keep, workers, progress, n
        self.knobs = knobs(strength)
        if shape != source.shape[:2]:
            self.knobs = replace(self.knobs, part=0.0, coarsest=18)
        self.rigid = is_flat(source) or min(*source.shape[:2], *shape) < _TINY
        self.siblings: list[NDArray[np.float32]] = []
        self._pyramids: dict[float, list[Level]] = {}
        if not self.rigid:
            self.subjects = self._subjects()
            self.views = 2 if flip and keep is None and strength >= _FLIP_FROM else 1
            self.reframed = keep is None and shape == source.shape[:2]
            self.shrunk = self.reframed and strength >= _SHRUNK_FROM and can_shrink(self.subjects)

    def _subjects(self) -> tuple[NDArray[np.float32], ...]:
        if self.keep is not None:
            return (self.keep.astype(np.float32),)
        return tuple(subjects(self.source, self.knobs.cover))

    def picture(self, number: int, *, tone: bool) -> NDArray[np.uint8]:
        """Make picture `number`."""
        rng = np.random.default_rng([self.seed, number])
        light = draw_tone(rng, self.strength)
        image = self._crop(rng) if self.rigid else self._synthesised(rng, number)
        result = self._finished(image)
        if tone and self.keep is None:
            result = light.apply(result)
        return result

    def report(self, number: int, part: float, text: str) -> None:
        """Tell how far the whole call is, when `part` (0..1) of picture `number` is done."""
        if self.progress is not None:
            self.progress(min(1.0, (number + part) / self.n), text)

    def _crop(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return a slightly smaller part of a picture too small or too flat for patches, enlarged."""
        if self.keep is not None:
            return self.source
        if is_flat(self.source):
            colour: NDArray[np.float32] = self.source.mean(axis=(0, 1))
            return np.tile(colour, (*self.shape, 1))
        height, width = self.source.shape[:2]
        rows, cols = max(1, height - height // 6), max(1, width - width // 6)
        top, left = rng.integers(0, height - rows + 1), rng.integers(0, width - cols + 1)
        part = self.source[top : top + rows, left : left + cols]
        return np.clip(resize(part, self.shape), 0, 1)

    def _synthesised(self, rng: np.random.Generator, number: int) -> NDArray[np.float32]:
        found, layout, levels, at = self._arranged(rng, number)
        field, image = found.field, found.image[..., : self.source.shape[2]]
        for place in range(at, len(levels)):
            self.report(number, 0.4 + 0.6 * (place - at) / (len(levels) - at), "details")
            level = levels[place]
            asked = grid(level.output)
            if asked[0] * asked[1] <= _DENSE_PATCHES:
                field, image = dense(field, layout, level, rng, self.workers)
            else:
                field, words = fine(field, level, rng, self.workers)
                if place + 1 == len(levels):
                    image = unpack(words, self.source.shape[2])
        return image

    def _levels(self, zoom: float) -> list[Level]:
        """Return the levels of the source at a scale, made once."""
        if zoom not in self._pyramids:
            source = self.source
            if zoom < 1:
                height, width = source.shape[:2]
                smaller = max(PATCH, round(height * zoom)), max(PATCH, round(width * zoom))
                source = np.clip(resize(source, smaller, sharp=True), 0, 1)
            self._pyramids[zoom] = pyramid(source, self.shape, self.subjects, self.knobs.coarsest, self.views)
        return self._pyramids[zoom]

    def _zooms(self, rng: np.random.Generator, number: int) -> list[float]:
        """Return the scale of the source for each candidate of a picture."""
        count = self.knobs.candidates
        if self.shrunk:
            return [self.knobs.zoom if trial % _SHRUNK_EVERY == 0 else 1.0 for trial in range(1, count + 1)]
        if self.reframed and self.strength < _REFRAME_BELOW and number % _REFRAME_EVERY == _REFRAME_EVERY - 1:
            return [rng.uniform(*_ZOOM)] * count
        return [1.0] * count

    def _arranged(
        self, rng: np.random.Generator, number: int
    ) -> tuple[Arrangement, Layout, list[Level], int]:
        """Choose an arrangement; return it, its layout, its levels, and how many of them it has gone through."""
        zooms = self._zooms(rng, number)
        layouts = [
            self._layout(rng, self._levels(zoom)[0], 1 if (number + trial // 2) % 2 else -1)
            for trial, zoom in enumerate(zooms)
        ]
        if not _exact(self._levels(zooms[0])):
            return initial(layouts[0], self._levels(zooms[0])[0]), layouts[0], self._levels(zooms[0]), 0
        self.report(number, 0, "arrangement")
        candidates = self._descended(layouts, [self._levels(zoom) for zoom in zooms])
        colours = self.source.shape[2]
        reference = self._levels(1.0)
        reference_image = reference[_tried(reference) - 1].image[..., :colours]
        handicaps = [_SHRUNK * (zoom < 1) for zoom in zooms]
        chosen = best(candidates, reference_image, self.siblings, self.knobs, handicaps)
        layout, found, levels = layouts[chosen], candidates[chosen], self._levels(zooms[chosen])
        self.siblings.append(found.image[..., :colours])
        self.report(number, 0.2, "arrangement")
        exact = _exact(levels)
        if len(exact) > _tried(levels):
            found = descend(found.image, layout, exact[_tried(levels) :], self.knobs, self.workers)
        return found, layout, levels, len(exact)

    def _descended(self, layouts: list[Layout], pyramids: list[list[Level]]) -> list[Arrangement]:
        """Carry every candidate through the smallest levels, several at a time, since each step is small."""
        found: dict[int, Arrangement] = {}
        alone = Workers(1, None)

        def run(trial: int) -> None:
            levels = pyramids[trial]
            tried = _exact(levels)[: _tried(levels)]
            start = layouts[trial].start(levels[0])
            found[trial] = descend(start, layouts[trial], tried, self.knobs, alone)

        self.workers.each(run, range(len(layouts)))
        return [found[trial] for trial in range(len(layouts))]

    def _layout(self, rng: np.random.Generator, level: Level, sign: int) -> Layout:
        layout = draw(rng, self.knobs, level, sign)
        return layout if self.keep is None else replace(layout, places=(Place(0.0, 0.0),))

    def _finished(self, image: NDArray[np.float32]) -> NDArray[np.uint8]:
        if self.keep is not None:
            image = np.where(self.keep[..., None], self.source, image)
        if image.shape[2] == _RGBA:
            alpha = image[..., 3:]
            colour = np.divide(image[..., :3], alpha, out=np.zeros_like(image[..., :3]), where=alpha > 0)
            image = np.concatenate([np.minimum(colour, 1), alpha], axis=2)
        result: NDArray[np.uint8] = np.rint(np.clip(image, 0, 1) * np.float32(255)).astype(np.uint8)
        return result


def _exact(levels: list[Level]) -> list[Level]:
    """Return the levels, coarsest first, that are searched exactly."""
    return [level for level in levels if level.pairs <= EXACT_PAIRS]


def _tried(levels: list[Level]) -> int:
    """Return how many of the exact levels every candidate goes through."""
    return max(1, sum(level.pairs <= _CANDIDATE_PAIRS for level in levels))
