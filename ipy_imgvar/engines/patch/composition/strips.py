"""Arrange upright strips of the source side by side, joined along seams that don't show.

Rows keep their heights, so a horizon stays where it is, nothing folds, and what stands on the ground stands on it.
Everything but a few seams is a copy, as in Pritch et al., "Shift-Map Image Editing" (ICCV 2009).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.composition.membrane import membrane

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ipy_imgvar.engines.patch.composition.seams import Seams

__all__ = ["Strips", "draw_strips", "picture", "refined", "scaled", "tones"]

#: Least width of a strip that is drawn, in widths of the picture. This and all that follow were chosen by eye.
_LEAST_WIDTH: Final = 0.15
#: Least width of a strip in any row, in widths of the picture: narrower, it has no tone of its own.
_LEAST_GAP: Final = 0.06
#: Range of the columns, in widths, at which the first strip may begin.
_FIRST: Final = 0.6
#: Seams that are considered for a strip: the cheapest that lie in it.
_OFFERED: Final = 200
#: Exponent that favours the cheaper of them; 1 would draw evenly.
_FAVOUR: Final = 2.0
#: What it costs to show everything twice, in variances of the source.
_TWICE: Final = 0.8
#: Weight of a difference of colours along a seam, as in `seams`.
_COLOUR: Final = np.float32(0.5)
#: By how many columns to either side the step of a seam is tried at each larger size.
_TRIES: Final = 1
#: How far the seam itself may move there, in columns.
_BAND: Final = 3
#: Columns to either side of a seam in which the two tones are compared, at the small size.
_COMPARED: Final = 2
#: Difference of tone, in values of 0..1, that is half believed: more is an edge, not a light.
_EDGE: Final = 0.5
#: Short side, in pixels, for which a seam is feathered by one more pixel to either side.
_FEATHER_EVERY_PX: Final = 400


@dataclass(frozen=True, slots=True)
class Strips:
    """Strips of the atlas (`seams`), from left to right.

    Attributes
    ----------
    shape : tuple of int
        Rows and columns of the picture.
    view_width : int
        Columns of one view of the atlas: the source's.
    offsets : tuple of int
        For each strip, the atlas's column minus the picture's.
    views : tuple of int
        For each strip, the view of the atlas that it lies in: 0 as the source is, 1 mirrored.
    edges : tuple of ndarray of shape (rows,), intp
        For each strip but the first, the column of the picture where it begins, in each row.
    mirrored : bool
        Whether the finished picture is mirrored.
    cost : float
        Of its seams and of what it shows twice; comparable between strips of one source.
    """

    shape: tuple[int, int]
    view_width: int
    offsets: tuple[int, ...]
    views: tuple[int, ...]
    edges: tuple[NDArray[np.intp], ...]
    mirrored: bool
    cost: float

    def labels(self) -> NDArray[np.intp]:
        """Return the number of the strip that each pixel belongs to, shape `shape`."""
        labels = np.zeros(self.shape, np.intp)
        for number, edge in enumerate(self.edges, start=1):
            labels[np.arange(self.shape[1]) >= edge[:, None]] = number
        return labels

    def columns(self) -> NDArray[np.intp]:
        """Return the column of the atlas that each pixel shows, shape `shape`."""
        return np.asarray(np.arange(self.shape[1]) + np.array(self.offsets)[self.labels()], np.intp)


#: Share of a thing's mask that counts as none of it: masks have a margin.
_A_LITTLE: Final = 0.06
#: Up to how many things must all be shown.
_FEW: Final = 2


def draw_strips(
    rng: np.random.Generator,
    seams: Seams,
    shape: tuple[int, int],
    weight: NDArray[np.float32],
    *,
    joins: int,
    views: int,
) -> Strips | None:
    """Draw strips at random, those with cheap seams more often.

    Parameters
    ----------
    rng : numpy.random.Generator
    seams : Seams
        Of the source.
    shape : tuple of int
        Rows and columns of the picture; the source has as many rows, and at least as many columns.
    weight : ndarray of shape (H, W), float32
        What it costs to show each pixel once more than the source does.
    joins : int
        Most seams.
    views : int
        1, or 2 where strips may be mirrored.

    Returns
    -------
    Strips or None
        None where the draw does not fill the picture.
    """
    width, view = shape[1], weight.shape[1]
    mirrored = bool(rng.integers(0, 2)) and views > 1
    offsets, places, edges = [int(rng.integers(0, max(1, round(_FIRST * view))))], [0], []
    cost, at = 0.0, 0
    for _ in range(joins):
        offset = offsets[-1]
        least = offset + at + _LEAST_WIDTH * width
        most = min((places[-1] + 1) * view, offset + (1 - _LEAST_WIDTH) * width)
        offered = np.flatnonzero((seams.means >= least) & (seams.means <= most))[:_OFFERED]
        picked = rng.random() ** _FAVOUR
        if not len(offered):
            break
        seam = seams.all[offered[int(picked * len(offered))]]
        edges.append(seam.columns - offset)
        offsets.append(offset + seam.step)
        places.append(int(seam.columns[0] + seam.step) // view)
        at = int(edges[-1].mean())
        cost += seam.cost
    strips = Strips(shape, view, tuple(offsets), tuple(places), tuple(edges), mirrored, cost)
    if not edges or not _fits(strips):
        return None
    return replace(strips, cost=cost / len(edges) + _twice(strips, weight))


def _fits(strips: Strips) -> bool:
    """Return whether every strip lies within its view of the atlas, and none is hidden in any row."""
    columns, labels, width = strips.columns(), strips.labels(), strips.view_width
    # Where a strip is hidden, those beside it meet along no seam that was weighed, and their tones are not matched.
    if any((right - left < _LEAST_GAP * strips.shape[1]).any() for left, right in pairwise(strips.edges)):
        return False
    for number, view in enumerate(strips.views):
        part = columns[labels == number]
        if not part.size or part.min() < view * width or part.max() >= (view + 1) * width:
            return False
    return True


def leaves_whole(strips: Strips, things: list[NDArray[np.bool_]]) -> bool:
    """Return whether each thing that is shown is shown whole, and half of them are; all, where there are one or two.

    Parameters
    ----------
    strips : Strips
    things : list of ndarray of shape (H, W), bool
        Masks of the source, each of a thing that the source shows whole.
    """
    columns, labels = _in_source(strips.columns(), things[0].shape[1] if things else 1), strips.labels()
    rows = np.broadcast_to(np.arange(strips.shape[0])[:, None], columns.shape)
    shown = 0
    for thing in things:
        size = np.count_nonzero(thing)
        seen = np.bincount(labels[thing[rows, columns]], minlength=len(strips.offsets)) / size
        if ((seen > _A_LITTLE) & (seen < 1 - _A_LITTLE)).any():
            return False
        shown += int((seen > _A_LITTLE).any())
    return shown >= min(len(things), max(_FEW, len(things) / 2))


def _twice(strips: Strips, weight: NDArray[np.float32]) -> float:
    """Return what it costs that some of the source is shown more than once."""
    height, width = weight.shape
    shown = _in_source(strips.columns(), width)
    counts = np.bincount((shown + width * np.arange(height)[:, None]).reshape(-1), minlength=height * width)
    # A third copy is far more conspicuous than a second.
    more = np.maximum(counts - 1, 0).reshape(height, width) ** 2
    return float(_TWICE * (more * weight).sum() / weight.size)


def _in_source(columns: NDArray[np.intp], width: int) -> NDArray[np.intp]:
    """Return the source's columns for those of the atlas."""
    return np.where(columns < width, columns, 2 * width - 1 - columns)


def _shown(
    image: NDArray[np.float32], strips: Strips, number: int, columns: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return what a strip shows at columns of the picture, shape (H, ...), continued where its view ends.

    The offset may be of a smaller size than the image: it is that of `strips`.
    """
    width = image.shape[1]
    first = strips.views[number] * width
    inside = _in_source(np.clip(columns + strips.offsets[number], first, first + width - 1), width)
    rows = np.arange(len(image)).reshape(-1, *[1] * (columns.ndim - 1))
    return image[rows, inside]


def refined(strips: Strips, image: NDArray[np.float32], shape: tuple[int, int]) -> Strips:
    """Return strips at a larger size, their steps and seams adjusted to what that size shows.

    Parameters
    ----------
    strips : Strips
    image : ndarray of shape (H, W, C), float32, 0..1
        The source at the larger size.
    shape : tuple of int
        Rows and columns of the picture there.
    """
    result = scaled(strips, shape, image.shape[1])
    for number, start in enumerate(result.edges):
        move, best = _best_seam(image, result, number, start)
        if number:
            # Over smooth ground seams drift, and must not drift across one another.
            best = np.maximum(best, result.edges[number - 1] + round(_LEAST_GAP * shape[1]))
        # What lies further right moves with its neighbour.
        offsets = tuple(
            offset + (move if later > number else 0) for later, offset in enumerate(result.offsets)
        )
        edges = (*result.edges[:number], best, *result.edges[number + 1 :])
        result = replace(result, offsets=offsets, edges=edges)
    return result


def scaled(strips: Strips, shape: tuple[int, int], view_width: int) -> Strips:
    """Return strips at another size of the picture, and columns of the source there."""
    scale = shape[1] / strips.shape[1]
    rows = (np.arange(shape[0]) + 0.5) * strips.shape[0] / shape[0] - 0.5
    edges = tuple(
        np.rint(np.interp(rows, np.arange(len(edge)), edge) * scale).astype(np.intp) for edge in strips.edges
    )
    offsets = tuple(round(offset * scale) for offset in strips.offsets)
    return replace(strips, shape=shape, view_width=view_width, offsets=offsets, edges=edges)


def _best_seam(
    image: NDArray[np.float32], strips: Strips, number: int, start: NDArray[np.intp]
) -> tuple[int, NDArray[np.intp]]:
    """Return by how much to move what is right of a seam, and the best seam near `start`, shape (H,)."""
    band = np.arange(-_BAND - 1, _BAND + 1)
    columns = start[:, None] + band
    moves = np.arange(-_TRIES, _TRIES + 1)
    costs = []
    for move in moves:
        right = replace(strips, offsets=tuple(offset + int(move) for offset in strips.offsets))
        apart = _shown(image, strips, number, columns) - _shown(image, right, number + 1, columns)
        squares = np.einsum("rcv,rcv->rc", apart, apart)
        across, down = np.diff(apart, axis=1), np.zeros_like(apart)
        # In the row above, the band may begin a column further left or right.
        shift = np.diff(start, prepend=start[:1])[:, None]
        above = np.clip(np.arange(len(band)) + shift, 0, len(band) - 1)
        down[1:] = apart[1:] - np.take_along_axis(apart[:-1], above[1:, :, None], axis=1)
        steps = np.einsum("rcv,rcv->rc", across, across) + np.einsum("rcv,rcv->rc", down, down)[:, 1:]
        costs.append(_COLOUR * (squares[:, 1:] + squares[:, :-1]) + steps)
    paths, totals = _band_paths(np.stack(costs, axis=1), start)
    best = int(totals.argmin())
    return int(moves[best]), start + paths[best] - _BAND


def _band_paths(
    costs: NDArray[np.float32], start: NDArray[np.intp]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Return the cheapest path down each of some bands, and what it costs.

    Parameters
    ----------
    costs : ndarray of shape (H, tries, B), float32
    start : ndarray of shape (H,), intp
        The column of the middle of the band in each row; neighbours differ by 1 at most where moves shall fit.

    Returns
    -------
    ndarray of shape (tries, H), intp
        Places in the band.
    ndarray of shape (tries,), float32
    """
    height, tries, size = costs.shape
    back = np.zeros((height, tries, size), np.int8)
    moves = np.array([0, -1, 1], np.int8)
    shifts = np.diff(start, prepend=start[:1]).tolist()
    most = max(map(abs, shifts)) + 1
    total = np.full((tries, size + 2 * most), np.inf, np.float32)
    inner = total[:, most : most + size]
    inner[:] = costs[0]
    options = np.empty((3, tries, size), np.float32)
    for row in range(1, height):
        for option, move in zip(options, (0, -1, 1), strict=True):
            first = most + shifts[row] + move
            option[:] = total[:, first : first + size]
        back[row] = moves[options.argmin(axis=0)] + shifts[row]
        np.add(options.min(axis=0), costs[row], out=inner)
    paths = np.empty((tries, height), np.intp)
    paths[:, -1] = inner.argmin(axis=1)
    for row in range(height - 1, 0, -1):
        paths[:, row - 1] = paths[:, row] + back[row, np.arange(tries), paths[:, row]]
    return paths, inner.min(axis=1) / height


def tones(strips: Strips, image: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return how each strip's tone is to change so that no seam shows a step, each of shape (H, W, C).

    Parameters
    ----------
    strips : Strips
    image : ndarray of shape (H, W, C), float32, 0..1
        The source at the strips' size, about 54 px.
    """
    height, width = strips.shape
    values = [np.zeros((height, width, image.shape[2]), np.float32) for _ in strips.offsets]
    held = [np.zeros(strips.shape, bool) for _ in strips.offsets]
    rows = np.arange(height)
    for number, edge in enumerate(strips.edges):
        columns = edge[:, None] + np.arange(-_COMPARED, _COMPARED)
        apart = _shown(image, strips, number + 1, columns) - _shown(image, strips, number, columns)
        step = apart.mean(axis=1)
        size = np.sqrt(np.square(step).mean(axis=1, keepdims=True))
        step = step / 2 / (1 + (size / _EDGE) ** 2)
        for side, sign in ((number, 1), (number + 1, -1)):
            for column in (edge - 1, edge):
                inside = (column >= 0) & (column < width)
                values[side][rows[inside], column[inside]] = sign * step[inside]
                held[side][rows[inside], column[inside]] = True
    return [membrane(one, where) for one, where in zip(values, held, strict=True)]


def picture(
    strips: Strips, image: NDArray[np.float32], changes: list[NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Return the picture that strips make, shape (H, W, C), float32, about 0..1.

    Parameters
    ----------
    strips : Strips
    image : ndarray of shape (H, W, C), float32, 0..1
        The source at the strips' size.
    changes : list of ndarray of shape (h, w, C), float32
        What `tones` returns, at any size; none for no change.
    """
    height, width = strips.shape
    # At least the two pixels beside a seam are mixed.
    feather = max(1, min(height, width) // _FEATHER_EVERY_PX + 1)
    result = np.empty((height, width, image.shape[2]), np.float32)
    for number in range(len(strips.offsets)):
        low = 0 if not number else max(0, int(strips.edges[number - 1].min()) - feather)
        last = number == len(strips.edges)
        high = width if last else min(width, int(strips.edges[number].max()) + feather)
        high = max(low, high)
        columns = np.arange(low, high)
        part = _shown(image, strips, number, np.broadcast_to(columns, (height, len(columns))))
        if changes:
            part += resize(changes[number], (height, width))[:, low:high]
        if number:
            ramp = (columns - strips.edges[number - 1][:, None]) / (2 * feather) + 0.5
            share = np.clip(ramp, 0, 1).astype(np.float32)[..., None]
            before = result[:, low:high]
            part = np.where(share > 0, share * part + (1 - share) * np.where(share < 1, before, part), before)
        result[:, low:high] = part
    return result[:, ::-1] if strips.mirrored else result
