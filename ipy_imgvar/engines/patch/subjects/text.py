"""Tell whether a picture shows text, which must not be mirrored.

Letters are connected regions that stand out from their surroundings, are made of thin strokes, and follow one another
in a line with one height, one lightness and one stroke width (Epshtein et al., "Detecting Text in Natural Scenes with
Stroke Width Transform", CVPR 2010, sections 4 and 5). Departures, for speed: regions come from a threshold on the local
mean and deviation (Sauvola & Pietikainen, "Adaptive document image binarization", Pattern Recognition 2000, section
3.2, with a sum of the two instead of a product), a stroke's width is twice a region's area over its outline, and lines
are looked for in twelve directions. Logistic weights, fitted to rendered words, judge each line.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ipy_imgvar.engines.patch.arrays.regions import uniform_filter
from ipy_imgvar.engines.patch.arrays.resize import reduced_shape, resize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["has_text"]

#: Channels of colour; alpha comes after them.
_COLOURS: Final = 3
#: Short side, in pixels, at which text is looked for: text of 3 % of the height then has letters of 8 px and more.
_SEARCHED_PX: Final = 512
#: Short side, in pixels, and radius of the squares, at which the local mean is taken: 28 px at the full size. Larger
#: squares lose letters on a narrow thing, such as a frame's tube, that itself differs from what is behind it.
_MEAN_PX: Final = 128
_MEAN_RADIUS: Final = 3
#: Least difference from the local mean: lightness, 0..1, and local standard deviations; their sum is the threshold.
_LEAST_CONTRAST: Final = 0.04
_LEAST_DEVIATIONS: Final = 0.45
#: Angles of the lines, in radians from level: a letter then leans by 7.5 degrees at most.
_ANGLES: Final = tuple(np.pi * step / 12 for step in range(-6, 6))
#: Range of heights of letters, in pixels at the searched size, and their least area.
_HEIGHTS: Final = (5, 90)
_LEAST_AREA: Final = 10
#: Largest width of a letter, in heights: two or three that touch count as one.
_WIDEST: Final = 3.0
#: Range of a letter's area, in areas of the rectangle about it; below the next width, in heights, it may fill it (l).
_FILLED: Final = (0.12, 0.85)
_NARROW: Final = 0.4
#: Largest width of a stroke, in heights of the letter: bricks and stones are thicker.
_THICKEST: Final = 0.3
#: Largest standard deviation of a letter's lightness, 0..1; soft edges alone make 0.15.
_UNEVEN: Final = 0.22
#: How far neighbours in a line may differ: ratio of heights and of strokes, lightness 0..1.
_HEIGHT_RATIO: Final = 1.8
_STROKE_RATIO: Final = 1.7
_LIGHTNESS_STEP: Final = 0.1
#: The same for their lower ends in heights, but always this many pixels; and range of the gap between them in heights.
_BOTTOM_STEP: Final = 0.2
_BOTTOM_STEP_PX: Final = 1.5
_GAPS: Final = (-0.25, 0.6)
#: Letters that make a line, its least length in pixels (a smaller one can't be read), and the number of letters above
#: which more are no better sign of text: reeds and posts make long rows.
_LEAST_LETTERS: Final = 3
_LEAST_LENGTH: Final = 16
_ENOUGH_LETTERS: Final = 5
#: Number of things like letters above which more of them make a line less certain: among blades of grass and stones
#: some lie in a line by chance.
_CROWD: Final = 90
#: Most letters that are looked at, the leftmost first: a bound on the time, far above any photograph's number.
_MOST_LETTERS: Final = 4_000
#: How far beside a run, in pixels, the ground is sampled: the pixel next to it belongs to the soft edge.
_BESIDE: Final = 2
#: Weights of what `_describe` says of a line, in its order, and the sum above which it is text: logistic regression on
#: words rendered on photographs against the lines found in photographs without text.
_WEIGHTS: Final = (3.4, -1.45, -4.16, -2.42, -22.51, -23.01, 4.07, -0.57, 0.61, -1.0)
_LEAST_SCORE: Final = -7.12
#: Differences of lightness, 0..1, below which contrast and deviation make no difference: keeps the logarithms finite.
_LEAST_STEP: Final = 0.02
_LEAST_SPREAD: Final = 0.01


class _Regions(NamedTuple):
    """What stands out and could be a letter in some direction: N regions, and the R runs that make them.

    Attributes
    ----------
    row, left, right : ndarray of shape (R,), float64
        The runs, region after region.
    start : ndarray of shape (N,), int64
        Each region's first run.
    area, stroke : ndarray of shape (N,), float64
        Pixels; twice the area over the length of the outline, in pixels: the width of a long stroke.
    light, uneven : ndarray of shape (N,), float64
        Mean and standard deviation of its lightness, 0..1.
    ground : ndarray of shape (3, N), float64
        Number of pixels of the ground sampled beside it, and sums of their lightness and of its square.
    """

    row: NDArray[np.float64]
    left: NDArray[np.float64]
    right: NDArray[np.float64]
    start: NDArray[np.int64]
    area: NDArray[np.float64]
    stroke: NDArray[np.float64]
    light: NDArray[np.float64]
    uneven: NDArray[np.float64]
    ground: NDArray[np.float64]


class _Letters(NamedTuple):
    """Regions that could be letters of lines in one direction, from its left to its right, each of shape (M,).

    Attributes
    ----------
    region : ndarray of int64
    left, right, bottom, height : ndarray of float64
        Pixels along the direction and across it.
    """

    region: NDArray[np.int64]
    left: NDArray[np.float64]
    right: NDArray[np.float64]
    bottom: NDArray[np.float64]
    height: NDArray[np.float64]


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
    """Return whether a picture seems to show a straight line of text, in any direction.

    Measured at up to 512 px: of 300 words of 4 to 10 letters, 3 to 12 % of the height and 0.2 to 0.7 in lightness from
    the ground, level or turned by up to 45 degrees, rendered on 30 photographs without a false alarm, 79 % were found
    (65 % below 5 % of the height, 62 % on textures), and 10 of 72 photographs without text were said to have some (12
    with weights that were fitted to other photographs). The weights had seen other words on these photographs. Of 9
    photographs with real writing on things 5 were said to have text, 3 of them for lines that don't follow the writing:
    curved, embroidered, joined and blurred writing and lines of two letters are often missed, and rows of alike things
    are often taken for text.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
        C is 1, 3 or 4 (alpha does not count). It is reduced to about 512 px.
    """
    colours = np.moveaxis(source[..., :_COLOURS], 2, 0)
    # A mean over the last, short axis would take four times as long.
    mean = functools.reduce(np.add, colours) / np.float32(len(colours))
    grey = resize(mean[..., None], reduced_shape(source, _SEARCHED_PX))[..., 0]
    return any(bool((_scores(regions) > _LEAST_SCORE).any()) for regions in _find_regions(grey))


def _find_regions(grey: NDArray[np.float32]) -> Iterator[_Regions]:
    """Yield what is lighter, then what is darker than its surroundings, shape (H, W), 0..1."""
    coarse = resize(grey[..., None], reduced_shape(grey[..., None], _MEAN_PX))[..., 0]
    mean = uniform_filter(coarse, _MEAN_RADIUS)
    variance = uniform_filter(coarse * coarse, _MEAN_RADIUS) - mean * mean
    least = _LEAST_CONTRAST + _LEAST_DEVIATIONS * np.sqrt(np.maximum(variance, 0))
    # In 32 bits: the mean and the threshold are enlarged together.
    around = resize(np.dstack([mean, least]).astype(np.float32), grey.shape)
    above = grey - around[..., 0]
    for mask in (above > around[..., 1], above < -around[..., 1]):
        yield _measure(mask, grey)


def _measure(mask: NDArray[np.bool_], grey: NDArray[np.float32]) -> _Regions:
    """Return the regions that touching runs make, without those too small, large or uneven for letters."""
    runs = _find_runs(mask)
    names, label = np.unique(_connect(len(runs.row), runs.above, runs.below), return_inverse=True)
    total = functools.partial(np.bincount, label, minlength=len(names))
    area = total(runs.length).astype(np.float64)
    # Each run has two ends; of its two long sides, what it shares with the next row is inside.
    inside = np.bincount(label[runs.below], runs.shared, len(names))
    stroke = area / (total() + area - inside)
    start = runs.row * mask.shape[1] + runs.left
    light, square = (total(sums) / area for sums in _sum_runs(grey, start, runs.length))
    uneven = np.sqrt(np.maximum(square - light * light, 0))
    kept = (area >= _LEAST_AREA) & (area <= _HEIGHTS[1] ** 2) & (uneven <= _UNEVEN)
    order = np.flatnonzero(kept[label])
    order = order[np.argsort(label[order], kind="stable")]
    first = np.flatnonzero(np.diff(label[order], prepend=-1))
    sides = _sample_sides(mask, grey, runs)
    return _Regions(
        row=runs.row[order].astype(np.float64),
        left=runs.left[order].astype(np.float64),
        right=(runs.left + runs.length - 1)[order].astype(np.float64),
        start=first,
        area=area[kept],
        stroke=stroke[kept],
        light=light[kept],
        uneven=uneven[kept],
        ground=np.stack([total(each)[kept] for each in sides]),
    )


def _sum_runs(
    grey: NDArray[np.float32], start: NDArray[np.int64], length: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the sums of the lightness and of its square over runs, which begin at `start` in reading order."""
    # The last run may end with the picture: one more number lets its end be an index too.
    flat = np.append(grey, np.float32(0))
    ends = np.stack([start, start + length], axis=1).reshape(-1)
    if not len(ends):
        return flat[:0], flat[:0]
    return np.add.reduceat(flat, ends)[::2], np.add.reduceat(flat * flat, ends)[::2]


def _sample_sides(mask: NDArray[np.bool_], grey: NDArray[np.float32], runs: _Runs) -> NDArray[np.float64]:
    """Return number, sum and sum of squares of the ground's lightness just beside each run, shape (3, R)."""
    sides = np.zeros((3, len(runs.row)))
    for col in (runs.left - _BESIDE, runs.left + runs.length - 1 + _BESIDE):
        inside = np.clip(col, 0, mask.shape[1] - 1)
        ground = (inside == col) & ~mask[runs.row, inside]
        light = np.where(ground, grey[runs.row, inside], 0)
        sides += np.stack([ground, light, light * light])
    return sides


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


def _scores(regions: _Regions) -> NDArray[np.float64]:
    """Return how much each line of letters, in any direction, looks like text."""
    found = [np.zeros(0)]
    for angle in _ANGLES if len(regions.start) else ():
        letters = _letters(regions, angle)
        line = _join(regions, letters)
        found.append(np.asarray(_WEIGHTS) @ _describe(regions, letters, line))
    return np.concatenate(found)


def _letters(regions: _Regions, angle: float) -> _Letters:
    """Return the regions that could be letters of lines at an angle, in radians."""
    along, across = np.cos(angle), np.sin(angle)
    begin, end, depth = regions.left * across, regions.right * across, regions.row * along
    # The cosine is never negative: a run's left end is the first along the line, whatever the angle.
    left = np.minimum.reduceat(regions.left * along + regions.row * across, regions.start)
    right = np.maximum.reduceat(regions.right * along + regions.row * across, regions.start)
    top = np.minimum.reduceat(depth - (end if across > 0 else begin), regions.start)
    bottom = np.maximum.reduceat(depth - (begin if across > 0 else end), regions.start)
    height, width = bottom - top + 1, right - left + 1
    filled = regions.area / (height * width)
    like = (height >= _HEIGHTS[0]) & (height <= _HEIGHTS[1]) & (width <= _WIDEST * height)
    like &= (filled >= _FILLED[0]) & ((filled <= _FILLED[1]) | (width < _NARROW * height))
    like &= regions.stroke <= _THICKEST * height
    region = np.flatnonzero(like)
    region = region[np.argsort(left[region], kind="stable")][:_MOST_LETTERS]
    return _Letters(region, left[region], right[region], bottom[region], height[region])


def _join(regions: _Regions, letters: _Letters) -> NDArray[np.int64]:
    """Return each letter's line, 0 and up, or -1: neighbours in it are alike and level with each other."""
    left, right, bottom, height = letters.left, letters.right, letters.bottom, letters.height
    light, stroke = regions.light[letters.region], regions.stroke[letters.region]
    # No letter of the line begins further right; the exact gap follows.
    reach = np.searchsorted(left, right + _GAPS[1] * _HEIGHT_RATIO * height, side="right")
    first = np.arange(len(left)) + 1
    one, other = _expand(first, reach - first)
    # Most pairs fail here; the costlier comparisons are for the others.
    level = np.abs(bottom[one] - bottom[other]) <= np.maximum(
        _BOTTOM_STEP * _HEIGHT_RATIO * height[one], _BOTTOM_STEP_PX
    )
    one, other = one[level], other[level]
    low, tall = np.minimum(height[one], height[other]), np.maximum(height[one], height[other])
    gap = left[other] - right[one]
    near = (gap >= _GAPS[0] * tall) & (gap <= _GAPS[1] * tall) & (tall <= _HEIGHT_RATIO * low)
    near &= np.abs(bottom[one] - bottom[other]) <= np.maximum(_BOTTOM_STEP * tall, _BOTTOM_STEP_PX)
    near &= np.abs(light[one] - light[other]) <= _LIGHTNESS_STEP
    near &= np.maximum(stroke[one], stroke[other]) <= _STROKE_RATIO * np.minimum(stroke[one], stroke[other])
    name = _connect(len(left), one[near], other[near])
    enough = np.bincount(name, minlength=len(name)) >= _LEAST_LETTERS
    begin, end = left.copy(), right.copy()
    np.minimum.at(begin, name, left)
    np.maximum.at(end, name, right)
    enough &= end - begin >= _LEAST_LENGTH
    return np.where(enough, np.cumsum(enough) - 1, -1)[name]


def _describe(regions: _Regions, letters: _Letters, line: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return what tells text from chance of each of L lines, shape (10, L); `line` is as `_join` returns it."""
    # From the left to the right of each line, by the middle of the letters.
    order = np.lexsort((letters.left + letters.right, line))
    order = order[line[order] >= 0]
    line, region = line[order], letters.region[order]
    left, right, height = letters.left[order], letters.right[order], letters.height[order]
    count = np.bincount(line)
    tall = np.bincount(line, height) / count
    follows = line[1:] == line[:-1]
    gaps = (left[1:] - right[:-1])[follows]
    number, total, square = (np.bincount(line, each) for each in regions.ground[:, region])
    ground = total / np.maximum(number, 1)
    contrast = np.abs(np.bincount(line, regions.light[region]) / count - ground)
    spread = np.sqrt(np.maximum(square / np.maximum(number, 1) - ground * ground, 0))
    return np.stack(
        [
            np.log(np.minimum(count, _ENOUGH_LETTERS)),
            _deviation(line, height) / tall,
            _deviation(line, regions.stroke[region]) / (np.bincount(line, regions.stroke[region]) / count),
            _deviation(line[1:][follows], gaps) / tall,
            _deviation(line, regions.light[region]),
            np.bincount(line, regions.uneven[region]) / count,
            np.log(np.maximum(contrast, _LEAST_STEP)),
            np.log(spread + _LEAST_SPREAD),
            np.bincount(line, (right - left + 1) / height) / count,
            np.full(len(count), np.log(max(_CROWD, len(letters.left)))),
        ]
    )


def _deviation(line: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation of the values of each line."""
    count = np.bincount(line)
    mean = np.bincount(line, values) / count
    return np.sqrt(np.bincount(line, (values - mean[line]) ** 2) / count)
