"""Judge how likely a new arrangement shows a visible defect, from small copies of it and of its source.

Three measures, each without a unit, are weighed against one another:

- How much of the source's contrast lies along lines and outlines, which a new arrangement breaks (the coherence of the
  structure tensor; Bigün and Granlund, "Optimal Orientation Detection of Linear Symmetry", ICCV 1987, section 3).
- How far the source's windows are from the most similar windows elsewhere in it: what recurs can be put together
  anew.
- How far the picture's windows are from the most similar windows of the source, as a multiple of how far the source's
  are from one another. It counts where the source has lines: there a defect is seen.

The first two belong to the source alone and tell faces, cups and vehicles from textures and far scenes before
anything is made. The third also orders the arrangements of one source. Windows are compared by the lowest
coefficients of their cosine transform: natural windows differ most along these, as along principal components, and
they need no fit to each source.

The weights are fitted to pictures that were scored by eye. No measure certifies one picture: of those below a
threshold some are torn.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.regions import uniform_filter
from ipy_imgvar.engines.patch.arrays.resize import reduced_shape, resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ArtefactJudge"]

#: Short side, in pixels, at which windows are compared.
_COMPARED_PX: Final = 64
#: Channels of colour; alpha comes after them.
_COLOURS: Final = 3
#: Side of a window in pixels: a sixth of the picture. Of 11, 15 and 21, this told good from bad best.
_WINDOW: Final = 11
#: Cosine frequencies of lightness and of each difference of colours, per axis; those with a sum below it are used.
_FREQUENCIES: Final = (5, 2)
#: Every how many pixels, down and across, a window of the source and of a picture is looked up among all those of the
#: source.
_STEP: Final = 2
_PICTURE_STEP: Final = 3
#: Pixels on each side of a window's centre, without its outermost: those have no gradient within it.
_WINDOW_RADIUS: Final = _WINDOW // 2 - 1
#: How many matrices are remembered: two for each step and size.
_REMEMBERED: Final = 16
#: Short side, in pixels, and radius of the squares at which outlines are measured.
_OUTLINES_PX: Final = 128
_OUTLINES_RADIUS: Final = 3
#: Short side, in pixels, at which sharpness is measured, the radii of its fine and coarse means, and its cells a side.
_FOCUS_PX: Final = 256
_FOCUS_RADII: Final = (1, 4)
_FOCUS_CELLS: Final = 16
#: What is added to a cell's coarse contrast to divide by: noise.
_FOCUS_NOISE: Final = np.float32(0.004)
#: The variation of sharpness from which a lens had one thing in focus. Of 40 photographs, textures and far scenes had
#: 0.12 to 0.42 (and a sunset 0.64), portraits and flowers before a blurred ground 0.39 to 0.60.
_SHALLOW: Final = 0.45
#: Short side, in pixels, below which too few windows are left that don't overlap: no arrangement is trusted.
_LEAST_PX: Final = 36
#: Root mean square difference, of values of 0..1, that is added to distances to divide by: noise and rounding.
_NOISE: Final = np.float32(0.03)
#: The same for the contrast of a window.
_LEAST_CONTRAST: Final = np.float32(0.01)
#: What is added to a square of gradients, of values of 0..1 over two pixels, to divide by: below it nothing is seen.
_LEAST_GRADIENT: Final = np.float32(1e-5)
#: What is added to the relative distance of a picture, 0.02 (a shifted copy) to 0.5, before its logarithm: what the
#: best quarter of the pictures has, so that a shifted copy with a small defect isn't taken for perfect.
_UNAVOIDABLE: Final = 0.08
#: Quantile of the source's windows that says how unlike the rest its odd parts are.
_ODD: Final = 0.9
#: Squared distance of windows that may not be compared, above any real one (3 for white and black).
_FAR: Final = np.float32(1e3)
#: The least sum of squared gradients that is divided by: a flat picture has none.
_TINY: Final = 1e-5
#: What one unit of each measure adds to the logit of a visible defect, and the constant: a logistic fit, ridge 1, to
#: 320 pictures (four at each of the strengths 0.5 and 0.85) of 40 photographs, 39 % of them without a visible defect.
#: Where each photograph was judged by the fit to the 39 others, a picture without a defect scored better than one with
#: a defect in 89 % of all pairs, and in 80 % of the 65 pairs of one source and strength.
_OUTLINES_WEIGHT: Final = 7.58
_ODDNESS_WEIGHT: Final = 8.55
_MISFIT_WEIGHT: Final = 4.12
_CONSTANT: Final = -3.56
#: The same, fitted without a picture: outlines, oddness, and the constant.
_SOURCE_WEIGHTS: Final = (9.78, 5.37, -9.31)


class ArtefactJudge:
    """Judges the arrangements of one source.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
        Any size; C is 1 (grey), 3 (RGB) or 4 (RGBA, premultiplied; alpha does not count).

    Notes
    -----
    Construction takes one core about 15 ms, a score 4 ms. Both run in the calling thread, so the engine's threads
    change no score; BLAS itself must be held to one thread (`arrays.blas`).
    """

    def __init__(self, source: NDArray[np.float32]) -> None:
        self._trusted = min(reduced_shape(source, _COMPARED_PX)) >= _LEAST_PX
        if not self._trusted:
            return
        outlined = resize(source[..., :_COLOURS], reduced_shape(source, _OUTLINES_PX))
        small = resize(outlined, reduced_shape(source, _COMPARED_PX))
        #: Variation of sharpness over the picture, 0 (even) to about 1 (one thing in focus).
        self.focus = _focus_variation(source[..., :_COLOURS])
        features = _features(small)
        both = np.stack([features, _features(small[:, ::-1])])
        self._short = min(small.shape[:2])
        self._grid = features.shape[:2]
        self._keys = both.reshape(-1, both.shape[-1])
        recurrence = _distances_elsewhere(features)
        self._usual = float(recurrence.mean()) + _NOISE
        aligned, gradients = _alignment(_grey(small), _WINDOW_RADIUS)
        self._alignment = (aligned / (gradients + _LEAST_GRADIENT))[
            _WINDOW_RADIUS:-_WINDOW_RADIUS, _WINDOW_RADIUS:-_WINDOW_RADIUS
        ]
        contrast = np.linalg.norm(features[::_STEP, ::_STEP, 1:], axis=2)
        aligned, gradients = _alignment(_grey(outlined), _OUTLINES_RADIUS)
        #: Share of the gradients, 0..1, that lies along lines.
        self.outlines = float(aligned.sum() / max(float(gradients.sum()), _TINY))
        #: Distance of the windows that recur least to their nearest elsewhere, in their contrasts.
        self.oddness = float(np.quantile(recurrence / (contrast + _LEAST_CONTRAST), _ODD))

    def bears(self) -> float:
        """Return how well the source bears a new arrangement, before one is made.

        Returns
        -------
        float
            0 (a face, a cup, straight lines, one thing in focus; or too small to judge) to 1 (a texture, a far scene,
            many small things).
        """
        if not self._trusted or self.focus > _SHALLOW:
            return 0.0
        outlines, oddness, constant = _SOURCE_WEIGHTS
        return 1 - _logistic(outlines * self.outlines + oddness * self.oddness + constant)

    def score(self, picture: NDArray[np.float32]) -> float:
        """Return how likely an arrangement of the source shows a visible defect.

        Parameters
        ----------
        picture : ndarray of shape (h, w, C), float32, 0..1
            In the source's light, and showing the source at about its own scale. A short side below 64 px is enlarged,
            and its blur may count as a defect.

        Returns
        -------
        float
            0 (convincing) to 1 (torn), comparable among sources; always 1 where the source is too small to judge.
        """
        if not self._trusted or min(picture.shape[:2]) < _WINDOW:
            return 1.0
        logit = _OUTLINES_WEIGHT * self.outlines + _ODDNESS_WEIGHT * self.oddness + _CONSTANT
        return _logistic(logit + _MISFIT_WEIGHT * self.misfit(picture))

    def misfit(self, picture: NDArray[np.float32]) -> float:
        """Return the logarithm of how far a picture's windows are from the source's, in the source's own distances."""
        rows, cols = picture.shape[:2]
        scale = self._short / min(rows, cols)
        small = resize(picture[..., :_COLOURS], (round(rows * scale), round(cols * scale)))
        queries = _features(small, _PICTURE_STEP)
        distance, index = _nearest(queries.reshape(-1, queries.shape[2]), self._keys)
        mirrored, row, col = np.unravel_index(index, (2, *self._grid))
        col = np.where(mirrored, self._grid[1] - 1 - col, col)
        return math.log(float((distance * self._alignment[row, col]).mean()) / self._usual + _UNAVOIDABLE)


def _features(image: NDArray[np.float32], step: int = 1) -> NDArray[np.float32]:
    """Return the lowest cosine coefficients of every window of a small picture.

    Parameters
    ----------
    image : ndarray of shape (H, W, C), float32, 0..1
        C is 1 or 3.
    step : int
        Every how many pixels, down and across, a window begins.

    Returns
    -------
    ndarray of shape (R, S, F), float32
        Differences of features are root mean square differences of windows, summed over the channels; a grey picture
        counts as three equal channels. The first feature is the mean lightness.
    """
    if image.shape[2] == _COLOURS:
        red, green, blue = np.moveaxis(image, 2, 0)
        # Orthonormal, so that distances stay what they were.
        channels = [
            (red + green + blue) / np.float32(3**0.5),
            (red - blue) / np.float32(2**0.5),
            (red - 2 * green + blue) / np.float32(6**0.5),
        ]
    else:
        channels = [image[..., 0] * np.float32(3**0.5)]
    parts = []
    for number, channel in enumerate(channels):
        count = _FREQUENCIES[min(number, 1)]
        down, across = (_cosines(size, count, step) for size in channel.shape)
        both = (down.T @ channel @ across).reshape(-1, count, across.shape[1] // count, count)
        lowest = np.add.outer(np.arange(count), np.arange(count)) < count
        parts.append(both.transpose(0, 2, 1, 3)[..., lowest])
    return np.concatenate(parts, axis=2)


@lru_cache(maxsize=_REMEMBERED)
def _cosines(size: int, count: int, step: int) -> NDArray[np.float32]:
    """Return the matrix that turns a line of pixels into the cosine coefficients of its windows.

    Scaled so that differences of coefficients are root mean squares.

    Returns
    -------
    ndarray of shape (size, N * count), float32
        For N windows, `step` pixels apart.
    """
    phase = (np.arange(_WINDOW)[:, None] + 0.5) * np.arange(count) * (np.pi / _WINDOW)
    cosines = np.cos(phase)
    cosines /= np.linalg.norm(cosines, axis=0) * _WINDOW**0.5
    starts = range(0, size - _WINDOW + 1, step)
    matrix = np.zeros((size, len(starts), count), np.float32)
    for number, start in enumerate(starts):
        matrix[start : start + _WINDOW, number] = cosines
    return matrix.reshape(size, -1)


def _nearest(
    queries: NDArray[np.float32], keys: NDArray[np.float32], barred: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Return the distance to, and the index of, the nearest key of each query that isn't barred to it."""
    squared = queries @ (-2 * keys.T)
    squared += np.einsum("kf,kf->k", keys, keys)
    if barred is not None:
        squared[barred] = _FAR
    index = squared.argmin(axis=1)
    nearest = squared[np.arange(len(queries)), index] + np.einsum("qf,qf->q", queries, queries)
    return np.sqrt(np.maximum(nearest, 0)), index


def _distances_elsewhere(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how far every second window, down and across, is from the nearest that doesn't overlap it."""
    rows, cols, size = features.shape
    row_near, col_near = (
        np.abs(np.arange(0, count, _STEP)[:, None] - np.arange(count)) < _WINDOW for count in (rows, cols)
    )
    sampled = features[::_STEP, ::_STEP]
    barred = row_near[:, None, :, None] & col_near[None, :, None, :]
    flat = sampled.reshape(-1, size)
    distance, _ = _nearest(flat, features.reshape(-1, size), barred.reshape(len(flat), -1))
    return distance.reshape(sampled.shape[:2])


def _grey(image: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(image.mean(axis=2))


def _alignment(grey: NDArray[np.float32], radius: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return how strong the gradients about each pixel are along one direction, and in all.

    Parameters
    ----------
    grey : ndarray of shape (H, W), float32, 0..1
    radius : int
        Of the squares they are averaged over, in pixels.

    Returns
    -------
    tuple of ndarray of shape (H - 2, W - 2), float32
        The difference of the structure tensor's eigenvalues, and their sum.
    """
    down = grey[2:, 1:-1] - grey[:-2, 1:-1]
    across = grey[1:-1, 2:] - grey[1:-1, :-2]
    xx, yy, xy = (
        uniform_filter(product, radius) for product in (across * across, down * down, across * down)
    )
    return np.sqrt((xx - yy) ** 2 + 4 * xy * xy), xx + yy


def _focus_variation(image: NDArray[np.float32]) -> float:
    """Return the standard deviation, over its mean, of a picture's sharpness, each place weighted by its contrast."""
    grey = resize(image, reduced_shape(image, _FOCUS_PX)).mean(axis=2)
    fine, coarse = (uniform_filter(grey, radius) for radius in _FOCUS_RADII)
    cells = (min(_FOCUS_CELLS, grey.shape[0]), min(_FOCUS_CELLS, grey.shape[1]))
    detail, contrast = (
        resize(np.abs(difference)[..., None], cells)[..., 0] for difference in (grey - fine, fine - coarse)
    )
    sharpness = detail / (contrast + _FOCUS_NOISE)
    weight = contrast / (contrast.sum() + _TINY)
    mean = float((weight * sharpness).sum())
    return float(np.sqrt((weight * (sharpness - mean) ** 2).sum())) / (mean + _TINY)


def _logistic(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))
