"""Draw framings: windows onto a source, somewhat turned and tilted, that cut nothing the source shows whole.

A window lies inside the source, so nothing has to be invented. The pictures of a call take their numbers from a
quasi-random sequence, which spreads any number of them evenly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["FRAMING_DIMENSIONS", "WHOLE", "Framing", "draw_framing", "quasirandom"]

#: Numbers that `draw_framing` turns into a framing.
FRAMING_DIMENSIONS: Final = 6
#: Steps of the sequence: primes whose roots' fractional parts lie in 0.2..0.8, so that already four points are spread.
_STEPS: Final = np.sqrt((2, 3, 5, 7, 11, 13, 19, 29, 31, 43, 59, 71)) % 1
#: Windows that are tried for each picture at ever more random points.
_TRIES: Final = 36
#: Windows that are tried between the drawn one and the whole source, for things that fill it.
_WIDENINGS: Final = 8
#: The window's side is 1 / (1 + u (a + b s)) of the source's, with u drawn between these, s the strength and a, b the
#: next two. Chosen by eye, as are all that follow.
_ZOOM_RANGE: Final = (0.15, 1.0)
_ZOOM_BASE: Final = 0.08
_ZOOM_PER_STRENGTH: Final = 0.32
#: Largest rotation, in degrees, at strength 0 and how much more at 1. A horizon that leans further looks like a fault.
_DEGREES: Final = (0.6, 1.4)
#: Largest keystone, as a share of the window's side, at strength 0 and how much more at 1.
_KEYSTONE: Final = (0.015, 0.06)
#: Mean distance of corners, in sides, below which two framings look like one.
_APART: Final = 0.045
#: What it costs to be equal to a sibling.
_EQUAL_COST: Final = 0.06
#: What it costs to be as far from the drawn numbers as can be.
_STRAY_COST: Final = 0.01


@dataclass(frozen=True, slots=True)
class Framing:
    """A window onto a source.

    Attributes
    ----------
    corners : ndarray of shape (4, 2), float64
        Rows and columns, in heights and widths of the source, of what the picture's corners show: top left, top
        right, bottom right, bottom left. Of a mirrored picture, left and right are exchanged.
    mirrored : bool
    """

    corners: NDArray[np.float64]
    mirrored: bool = False

    def distance(self, other: Framing) -> float:
        """Return how far two framings are apart, in sides; 1 where one is mirrored and the other is not."""
        if self.mirrored != other.mirrored:
            return 1.0
        return float(np.linalg.norm(self.corners - other.corners, axis=1).mean())


#: The whole source.
WHOLE: Final = Framing(np.array([(0, 0), (0, 1), (1, 1), (1, 0)], np.float64))


def quasirandom(number: int, offset: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return point `number` of a sequence that fills the unit cube evenly, shifted by `offset` modulo 1.

    Parameters
    ----------
    number : int
        From 0.
    offset : ndarray of shape (D,), float64, 0..1
        D is at most 12. It makes the sequence another one for each seed (Cranley & Patterson, "Randomization of Number
        Theoretic Methods for Multiple Integration", 1976).

    References
    ----------
    Richtmyer, "The Evaluation of Definite Integrals, and a Quasi-Monte-Carlo Method", 1951: steps are the fractional
    parts of square roots of primes.
    """
    return np.asarray((offset + number * _STEPS[: len(offset)]) % 1)


def draw_framing(
    rng: np.random.Generator,
    point: NDArray[np.float64],
    *,
    strength: float,
    aspect: float,
    mirrored: bool,
    cost: Callable[[NDArray[np.float64]], float],
    siblings: Sequence[Framing],
) -> Framing:
    """Return the best of several windows about a point: one that cuts little, and is not a sibling's.

    Parameters
    ----------
    rng : numpy.random.Generator
    point : ndarray of shape (6,), float64, 0..1
        Place down and across, scale, rotation, keystone down and across.
    strength : float
        0..1.
    aspect : float
        The source's width over its height.
    mirrored : bool
    cost : callable
        Returns what a window's corners cut, see `cuts.Cuts.cost`.
    siblings : sequence of Framing
        Those of the pictures before.
    """
    points = [
        (stray, point + stray * (rng.random(len(point)) - point)) for stray in np.linspace(0, 1, _TRIES)
    ]
    windows = [(stray, _window(one, strength, aspect)) for stray, one in points]
    windows += [
        (1.0, _window(point, strength, aspect, wide)) for wide in np.linspace(0, 1, _WIDENINGS + 1)[1:]
    ]
    best, least = None, np.inf
    for stray, corners in windows:
        framing = Framing(corners[[1, 0, 3, 2]] if mirrored else corners, mirrored)
        nearest = min(framing.distance(one) for one in (WHOLE, *siblings))
        total = cost(corners) + _STRAY_COST * stray + _EQUAL_COST * max(0.0, 1 - nearest / _APART)
        if total < least:
            best, least = framing, total
    assert best is not None  # noqa: S101 - a cost is finite
    return best


def _window(
    point: NDArray[np.float64], strength: float, aspect: float, wide: float = 0.0
) -> NDArray[np.float64]:
    """Return the corners of a window, shape (4, 2), in heights and widths, inside the source.

    `wide` is how far it is widened to the whole source and straightened, 0..1.
    """
    scale, turn, tilt_down, tilt_across = point[2:] * (1 - wide) + np.array((0, 0.5, 0.5, 0.5)) * wide
    down, across = point[:2]
    least, most = _ZOOM_RANGE
    zoom = (least * (1 - wide) + (most - least) * scale) * (_ZOOM_BASE + _ZOOM_PER_STRENGTH * strength)
    half = 0.5 / (1 + zoom)
    corners = half * np.array([(-1, -1), (-1, 1), (1, 1), (1, -1)], np.float64)
    keystone = _KEYSTONE[0] + _KEYSTONE[1] * strength
    corners[:, 1] *= 1 - keystone * np.maximum(0, (2 * tilt_down - 1) * np.sign(corners[:, 0]))
    corners[:, 0] *= 1 - keystone * np.maximum(0, (2 * tilt_across - 1) * np.sign(corners[:, 1]))
    angle = np.radians((2 * turn - 1) * (_DEGREES[0] + _DEGREES[1] * strength))
    rows, cols = corners[:, 0].copy(), corners[:, 1] * aspect
    corners[:, 0] = rows * np.cos(angle) - cols * np.sin(angle)
    corners[:, 1] = (rows * np.sin(angle) + cols * np.cos(angle)) / aspect
    # A window turned at a small strength can be larger than the source.
    corners /= max(1.0, float(np.ptp(corners, axis=0).max()))
    low, high = -corners.min(axis=0), 1 - corners.max(axis=0)
    return np.asarray(corners + low + (high - low) * (down, across))
