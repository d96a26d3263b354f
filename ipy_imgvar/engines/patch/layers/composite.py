"""Cut the subject out, grow it about its base, and put it before its ground.

The grown subject covers the hole that it left, so that the ground under it needs no more than a smooth filling; only in
a hollow of its outline does a little of that show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from ipy_imgvar.engines.patch.arrays.eightbit import RGBA
from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.layers.ground import Ground, ground_of
from ipy_imgvar.engines.patch.layers.push_pull import push_pull

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Layers", "draw_layers", "prepare"]

#: The least and the most that a subject grows, as shares of its size. Chosen by eye.
_LEAST_GROWTH: Final = 0.04
_MOST_GROWTH: Final = 0.18
#: The least room for growth, as a share of the subject's size, with which layers are worth it.
_LEAST_ROOM: Final = 0.03
#: The grown subject keeps away from the borders that did not cut it, as a share of that side.
_MARGIN: Final = 0.015
#: So much more of a side may go out of the picture where the border cuts the subject already. Chosen by eye.
_LOSS: Final = 0.1
#: Above this a matte shows something of the subject.
_VISIBLE: Final = 0.03
#: A border cuts the subject where it marks at least this share of that side.
_CUT: Final = 0.02
#: Mattes between these values show the subject's colour less and less; at the upper they show nothing else.
_SOFT: Final = (0.6, 0.95)
#: How much of the growth and of the blur is drawn from: at strength 0, and how much more at strength 1.
_REACH: Final = (0.3, 0.7)
#: The share of the picture from which on a subject is near enough for the strongest blur. Chosen by eye.
_NEAR: Final = 0.2
#: The share of pictures whose ground stays sharp.
_SHARP: Final = 0.4
#: The value at the outline.
_HALF: Final = 0.5
#: Channels of a picture with transparency.


class _Box(NamedTuple):
    """Rows top to bottom and columns left to right, ends exclusive."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Layers:
    """A picture's subject and ground, apart from each other.

    Attributes
    ----------
    subject : ndarray of shape (h, w, C + 1), float32
        The subject's colours times its matte, and the matte, within `box`.
    ground : Ground
        The picture without its subject.
    box : tuple of int
        Where the subject is: top, bottom, left, right; ends exclusive.
    anchor : tuple of float
        The row and column that stay in place while the subject grows.
    most : float
        The largest scale, above 1, at which the subject stays within the picture.
    shallow : float
        The largest defocus, 0..1: a small subject is far away, and no lens shows it apart from its ground.
    """

    subject: NDArray[np.float32]
    ground: Ground
    box: _Box
    anchor: tuple[float, float]
    most: float
    shallow: float

    def compose(self, scale: float, defocus: float) -> NDArray[np.float32]:
        """Return a new picture: the subject larger, the ground as it was or out of focus.

        Parameters
        ----------
        scale : float
            The subject's size, 1 for the source's; above `most` it is `most`.
        defocus : float
            How far the ground is out of focus, 0 (not) to 1; above `shallow` it is `shallow`.

        Returns
        -------
        ndarray of shape (H, W, C), float32, 0..1
            The source's shape; premultiplied where C is 4.
        """
        image = self.ground.at(min(defocus, self.shallow))
        rows, cols, part = self._placed(scale, (image.shape[0], image.shape[1]))
        image[rows, cols] = part[..., :-1] + (1 - part[..., -1:]) * image[rows, cols]
        if image.shape[2] == RGBA:
            image[..., :3] = np.minimum(image[..., :3], image[..., 3:])
        return np.clip(image, 0, 1, out=image)

    def reach(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return where the subject can be in a picture of the source's shape, (H, W), 0..1: at its least and most."""
        covered = np.zeros(shape, np.float32)
        for scale in (1.0, self.most):
            rows, cols, part = self._placed(scale, shape)
            covered[rows, cols] = np.maximum(covered[rows, cols], part[..., -1])
        return covered

    def _placed(self, scale: float, shape: tuple[int, int]) -> tuple[slice, slice, NDArray[np.float32]]:
        """Return the rows and columns of a picture that the subject takes at a scale, and what is seen of it there."""
        scale = min(scale, self.most)
        row, col = self.anchor
        top, bottom = (round(row + scale * (end - row)) for end in self.box[:2])
        left, right = (round(col + scale * (end - col)) for end in self.box[2:])
        subject = np.clip(resize(self.subject, (bottom - top, right - left)), 0, 1)
        # What the border cut in the source reaches beyond it.
        rows = slice(max(0, top), min(shape[0], bottom))
        cols = slice(max(0, left), min(shape[1], right))
        return rows, cols, subject[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left]


def draw_layers(rng: np.random.Generator, strength: float) -> tuple[float, float]:
    """Draw what `Layers.compose` takes: the subject's scale, and how far its ground is out of focus.

    Parameters
    ----------
    rng : numpy.random.Generator
    strength : float
        0..1; more of it lets the subject grow more, and the ground blur more.
    """
    reach = _REACH[0] + _REACH[1] * strength
    growth, sharp, defocus = rng.random(3)
    scale = 1 + _LEAST_GROWTH + growth * reach * (_MOST_GROWTH - _LEAST_GROWTH)
    return float(scale), float(defocus * reach) if sharp >= _SHARP else 0.0


def prepare(source: NDArray[np.float32], matte: NDArray[np.float32]) -> Layers | None:
    """Take a picture apart; the pictures made of it share the result.

    Parameters
    ----------
    source : ndarray of shape (H, W, C), float32, 0..1
        C is 1, 3 or 4 (premultiplied).
    matte : ndarray of shape (H, W), float32, 0..1
        What `subjects.matte.matte` returns, where it is certain.

    Returns
    -------
    Layers or None
        None where the subject has no room to grow.
    """
    box = _box_of(matte)
    if box is None:
        return None
    anchor, most = _room(matte, box)
    if most < 1 + _LEAST_ROOM:
        return None
    part = slice(box.top, box.bottom), slice(box.left, box.right)
    alpha = matte[part][..., None]
    sure = np.clip((alpha - _SOFT[0]) / (_SOFT[1] - _SOFT[0]), 0, 1)
    colour = push_pull(source[part], sure[..., 0])
    subject = np.concatenate([colour * alpha, alpha], axis=2)
    shallow = min(1.0, float(matte.mean()) / _NEAR)
    return Layers(subject, ground_of(source, matte), box, anchor, most, shallow)


def _box_of(matte: NDArray[np.float32]) -> _Box | None:
    """Return the box of what is visible of the subject, with a pixel of margin where there is one."""
    visible = matte > _VISIBLE
    rows, cols = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    if not rows.size:
        return None
    height, width = matte.shape
    return _Box(
        max(0, int(rows[0]) - 1),
        min(height, int(rows[-1]) + 2),
        max(0, int(cols[0]) - 1),
        min(width, int(cols[-1]) + 2),
    )


def _room(matte: NDArray[np.float32], box: _Box) -> tuple[tuple[float, float], float]:
    """Return the row and column to grow about, and the largest scale."""
    height, width = matte.shape
    rooms, cuts = [], []
    for edge, room, side in (
        (matte[0], box.top, height),
        (matte[-1], height - box.bottom, height),
        (matte[:, 0], box.left, width),
        (matte[:, -1], width - box.right, width),
    ):
        cuts.append(float((edge > _HALF).mean()) >= _CUT)
        rooms.append(_LOSS * side if cuts[-1] else max(0.0, room - _MARGIN * side))
    # A base that stands in the picture stays where it is; one that the border cuts may sink below it.
    if cuts[1] and not cuts[0]:
        row, rise = _anchor(box.top, box.bottom, rooms[0], rooms[1], prefer=1.0)
    elif cuts[0]:
        # It sinks away from what it may hang over: a balloon's basket, a chin's hand.
        row, rise = float(box.top), min(_LOSS, rooms[1] / (box.bottom - box.top))
    else:
        row, rise = float(box.bottom), rooms[0] / (box.bottom - box.top)
    col, spread = _anchor(box.left, box.right, rooms[2], rooms[3], prefer=0.5)
    return (row, col), 1 + min(rise, spread, _MOST_GROWTH)


def _anchor(low: int, high: int, room_low: float, room_high: float, *, prefer: float) -> tuple[float, float]:
    """Return the place between two ends to grow about, and the largest growth with which both stay in their room.

    It is the one at the share `prefer` of the way, moved as far as the most growth needs.
    """
    least, most = high - room_high / _MOST_GROWTH, low + room_low / _MOST_GROWTH
    if least > most:
        # Not enough for both: each end gets its share.
        room = room_low + room_high
        return (low + (high - low) * room_low / room if room else low), room / (high - low)
    return float(min(max(low + prefer * (high - low), least, low), most, high)), _MOST_GROWTH
