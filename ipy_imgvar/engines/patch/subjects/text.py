"""Tell whether a picture shows text, which must not be mirrored.

Letters are connected regions that stand out from their surroundings, are made of thin strokes, and follow one another
in a line with one height, one lightness and one stroke width (Epshtein et al., "Detecting Text in Natural Scenes with
Stroke Width Transform", CVPR 2010, sections 4 and 5). Departures, for speed: regions come from a threshold on the local
mean, a stroke's width is twice a region's area over its outline, and only lines that are level are found.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from ipy_imgvar.engines.patch.arrays.regions import uniform_filter
from ipy_imgvar.engines.patch.arrays.resize import reduced_shape, resize

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["has_text"]

#: Channels of colour; alpha comes after them.
_COLOURS: Final = 3
#: Short side, in pixels, at which text is looked for: text of 3 % of the height then has letters of 8 px and more.
_SEARCHED_PX: Final = 512
#: Short side, in pixels, and radius of the squares, at which the local mean is taken: 41 px at the full size.
_MEAN_PX: Final = 128
_MEAN_RADIUS: Final = 5
#: Least difference of lightness, 0..1, from the local mean. This and the next were chosen by measuring.
_LEAST_CONTRAST: Final = 0.17
#: Range of heights of letters, in pixels at the searched size.
_HEIGHTS: Final = (6, 70)
#: Largest width of a letter, in heights: two or three that touch count as one.
_WIDEST: Final = 3.0
#: Range of a letter's area, in areas of the rectangle about it; below the next width, in heights, it may fill it (l).
_FILLED: Final = (0.15, 0.85)
_NARROW: Final = 0.4
#: Largest width of a stroke, in heights of the letter: bricks and stones are thicker.
_THICKEST: Final = 0.27
#: Largest standard deviation of a letter's lightness, 0..1; soft edges alone make 0.15.
_UNEVEN: Final = 0.22
#: How far neighbours in a line may differ: ratio of heights and of strokes, lightness 0..1.
_HEIGHT_RATIO: Final = 1.7
_STROKE_RATIO: Final = 1.5
_LIGHTNESS_STEP: Final = 0.08
#: The same for their lower ends in heights, but always this many pixels; and range of the gap between them in heights.
_BOTTOM_STEP: Final = 0.12
_BOTTOM_STEP_PX: Final = 1.5
_GAPS: Final = (-0.2, 0.45)
#: Letters that make a line, and where so many things look like letters that three lie in a line by chance (grass).
_LEAST_LETTERS: Final = 3
_CROWD: Final = 200
_LEAST_IN_CROWD: Final = 4
#: Least share of the pixels that stand out in the rectangle about a line that belongs to its letters: stones and blades
#: of grass that happen to lie in a line have others between them.
_PURE: Final = 0.9
#: Most letters that are looked at, those highest up first: a bound on the time, far above any photograph's number.
_MOST_LETTERS: Final = 4_000


class _Regions(NamedTuple):
    """What stands out: arrays with one entry for each connected region.

    Attributes
    ----------
    top, bottom, left, right : ndarray of shape (N,), int64
        The outermost rows and columns that belong to it.
    area : ndarray of shape (N,), float64
        In pixels.
    stroke : ndarray of shape (N,), float64
        Twice the area over the length of the outline, in pixels: the width of a long stroke.
    light, uneven : ndarray of shape (N,), float64
        Mean and standard deviation of its lightness, 0..1.
    """

    top: NDArray[np.int64]
    bottom: NDArray[np.int64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    area: NDArray[np.float64]
    stroke: NDArray[np.float64]
    light: NDArray[np.float64]
    uneven: NDArray[np.float64]


class _Runs(NamedTuple):
    """The horizontal runs of a mask, in reading order, and which of them touch.

    Attributes
    ----------
    row, left, length : ndarray of shape (R,), int64
    above, below : ndarray of shape (E,), int64
        Indices of runs that touch, also by a corner.
    shared : ndarray of shape (E,), int64
        How many columns those two have in common.
    """

    row: NDArray[np.int64]
    left: NDArray[np.int64]
    length: NDArray[np.int64]
    above: NDArray[np.int64]
    below: NDArray[np.int64]
    shared: NDArray[np.int64]


def has_text(source: NDArray[np.float32]) -> bool:
    """Return whether a picture seems to show a level line of text.

    Measured on 40 photographs, 37 of them without text: 3 of these 37, and 5 of their 148 quarters, were said to have
    some. Of words on the 40, at 5 to 12 % of the picture's height and 0.3 in lightness from what is under them, 90 %
    were found. Slanted, vertical and joined writing, fainter text, and words of two letters are not found.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
        C is 1, 3 or 4 (alpha does not count). It is reduced to about 512 px.
    """
    small = resize(source[..., :_COLOURS], reduced_shape(source, _SEARCHED_PX))
    # A mean over the last, short axis would take four times as long.
    grey = functools.reduce(np.add, np.moveaxis(small, 2, 0)) / np.float32(small.shape[2])
    coarse = resize(grey[..., None], reduced_shape(grey[..., None], _MEAN_PX))[..., 0]
    mean = resize(uniform_filter(coarse, _MEAN_RADIUS)[..., None], grey.shape)[..., 0]
    above = grey - mean
    flat = grey.reshape(-1).astype(np.float64)
    # Sums up to each pixel, so that a run's are a difference of two.
    upto = np.zeros((2, flat.size + 1))
    np.cumsum([flat, flat * flat], axis=1, out=upto[:, 1:])
    return _has_line(above > _LEAST_CONTRAST, upto) or _has_line(above < -_LEAST_CONTRAST, upto)


def _has_line(mask: NDArray[np.bool_], upto: NDArray[np.float64]) -> bool:
    """Return whether some regions of a mask are letters in a line with nothing else between them.

    Parameters
    ----------
    mask : ndarray of shape (H, W), bool
    upto : ndarray of shape (2, H * W + 1), float64
        Sums of the lightness, 0..1, and of its square over the pixels before each.
    """
    regions = _measure(_find_runs(mask), upto, mask.shape)
    for line in _lines(regions, _letters(regions)):
        rows = slice(regions.top[line].min(), regions.bottom[line].max() + 1)
        cols = slice(regions.left[line].min(), regions.right[line].max() + 1)
        if regions.area[line].sum() >= _PURE * np.count_nonzero(mask[rows, cols]):
            return True
    return False


def _find_runs(mask: NDArray[np.bool_]) -> _Runs:
    """Return the runs of a mask, shape (H, W)."""
    # A free column on both sides keeps runs of two rows apart where the rows are one line of numbers.
    stride = mask.shape[1] + 2
    framed = np.zeros((mask.shape[0], stride), np.int8)
    framed[:, 1:-1] = mask
    steps = np.diff(framed.reshape(-1))
    start, end = np.flatnonzero(steps == 1) + 1, np.flatnonzero(steps == -1) + 1
    # Above a run lie those from the first that ends after it begins to the last that begins before it ends.
    first = np.searchsorted(end, start - stride, side="left")
    count = np.searchsorted(start, end - stride, side="right") - first
    below, above = _expand(first, count)
    shared = np.minimum(end[below] - stride, end[above]) - np.maximum(start[below] - stride, start[above])
    return _Runs(start // stride, start % stride - 1, end - start, above, below, shared)


def _expand(
    first: NDArray[np.int64], count: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each index as often as its `count` says, and the `count` numbers from its `first` on."""
    count = np.maximum(count, 0)
    index = np.repeat(np.arange(len(count)), count)
    return index, np.arange(len(index)) + np.repeat(first - np.cumsum(count) + count, count)


def _measure(runs: _Runs, upto: NDArray[np.float64], shape: tuple[int, ...]) -> _Regions:
    """Return the regions that touching runs make, measured; `upto` is as in `_has_line`, and `shape` the mask's."""
    names, label = np.unique(_connect(len(runs.row), runs.above, runs.below), return_inverse=True)
    count = len(names)

    def total(values: NDArray[Any], of: NDArray[np.intp] = label) -> NDArray[np.float64]:
        return np.bincount(of, values, count).astype(np.float64)

    def outermost(values: NDArray[np.int64], pick: np.ufunc, start: int) -> NDArray[np.int64]:
        found = np.full(count, start)
        pick.at(found, label, values)
        return found

    area = total(runs.length)
    # Each run has two ends; of its two long sides, what it shares with the next row is inside.
    outline = 2 * (np.bincount(label, minlength=count) + area - total(runs.shared, label[runs.below]))
    start = runs.row * shape[1] + runs.left
    light, square = (total(each[start + runs.length] - each[start]) / area for each in upto)
    most = max(shape)
    return _Regions(
        top=outermost(runs.row, np.minimum, most),
        bottom=outermost(runs.row, np.maximum, -1),
        left=outermost(runs.left, np.minimum, most),
        right=outermost(runs.left + runs.length - 1, np.maximum, -1),
        area=area,
        stroke=2 * area / outline,
        light=light,
        uneven=np.sqrt(np.maximum(square - light * light, 0)),
    )


def _connect(size: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the least member of each number's group, where the pairs (`one`, `other`) of 0 .. size - 1 are joined."""
    least = np.arange(size)
    while True:
        before = least.copy()
        both = np.minimum(least[one], least[other])
        # The groups' names too, so that whole groups join at once.
        for member in (least[one], least[other], one, other):
            np.minimum.at(least, member, both)
        least = least[least]
        if np.array_equal(least, before):
            return least


def _letters(regions: _Regions) -> NDArray[np.intp]:
    """Return the indices of the regions that could be letters."""
    height, width = regions.bottom - regions.top + 1, regions.right - regions.left + 1
    filled = regions.area / (height * width)
    like = (height >= _HEIGHTS[0]) & (height <= _HEIGHTS[1]) & (width <= _WIDEST * height)
    like &= (filled >= _FILLED[0]) & ((filled <= _FILLED[1]) | (width < _NARROW * height))
    like &= (regions.stroke <= _THICKEST * height) & (regions.uneven <= _UNEVEN)
    return np.flatnonzero(like)[:_MOST_LETTERS]


def _lines(regions: _Regions, letters: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return the indices of the letters of each line: letters whose neighbours are alike and level with them."""
    letters = letters[np.argsort(regions.left[letters], kind="stable")]
    left, right, bottom = regions.left[letters], regions.right[letters], regions.bottom[letters]
    height = bottom - regions.top[letters] + 1
    light, stroke = regions.light[letters], regions.stroke[letters]
    # No letter of the line begins further right; the exact gap follows.
    reach = np.searchsorted(left, right + _GAPS[1] * _HEIGHT_RATIO * height, side="right")
    first = np.arange(len(letters)) + 1
    one, other = _expand(first, reach - first)
    tall = np.maximum(height[one], height[other])
    gap = left[other] - right[one]
    near = (gap >= _GAPS[0] * tall) & (gap <= _GAPS[1] * tall)
    near &= tall <= _HEIGHT_RATIO * np.minimum(height[one], height[other])
    near &= np.abs(bottom[one] - bottom[other]) <= np.maximum(_BOTTOM_STEP * tall, _BOTTOM_STEP_PX)
    near &= np.abs(light[one] - light[other]) <= _LIGHTNESS_STEP
    near &= np.maximum(stroke[one], stroke[other]) <= _STROKE_RATIO * np.minimum(stroke[one], stroke[other])
    line = _connect(len(letters), one[near], other[near])
    counts = np.bincount(line, minlength=len(letters))
    least = _LEAST_LETTERS if len(letters) <= _CROWD else _LEAST_IN_CROWD
    return [letters[line == name] for name in np.flatnonzero(counts >= least)]
