"""The method's numbers at a strength of 0 to 1: one table, piecewise linear.

All were chosen by eye, and by the figures of `benchmarks/engine.py`, on scikit-image's photographs. Three strengths
have names for users: subtle is 0.2, medium 0.5, strong 0.85.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

__all__ = ["Tuning", "rearranges", "tune"]

#: Strength from which new arrangements are tried; below, each picture is a second shot of the scene. Chosen by eye.
_REARRANGED_FROM: Final = 0.3

#: Points (strength, value) of each number of `Tuning`, whose docstring says what they mean and their units. Below 0.3
#: they count only where pixels stay in place, or the shape is another one.
_TABLE: Final[dict[str, tuple[tuple[float, float], ...]]] = {
    # Below two fifths of the picture a head is cut.
    "cover": ((0, 0.55), (0.3, 0.5), (0.5, 0.4), (0.85, 0.39), (1, 0.38)),
    "fade": ((0, 0.1), (0.25, 0.2), (0.5, 0.25), (1, 0.6)),
    "noise_std": ((0, 0.05), (0.5, 0.06), (1, 0.15)),
    "prior_rows": ((0, 0.4), (0.5, 0.2), (0.8, 0.12), (1, 0.08)),
    "prior_cols": ((0, 0.2), (0.5, 0.03), (0.8, 0.01), (1, 0.005)),
    "bend_std": ((0, 0.02), (0.5, 0.03), (1, 0.05)),
    # Below 0.25, where the ground would fold (`placement.source_height`).
    "shift_rows": ((0, 0.01), (0.3, 0.03), (0.5, 0.05), (0.85, 0.16), (1, 0.2)),
    "shift_cols": ((0, 0.02), (0.3, 0.07), (0.5, 0.25), (0.85, 0.32), (1, 0.4)),
    "overhang": ((0, 0.04), (0.5, 0.065), (0.85, 0.2), (1, 0.3)),
    # Up to 0.3 subjects stay on their ground.
    "separation": ((0, 0.0), (0.3, 0.0), (0.5, 1.0)),
    "separation_without_ground": ((0, 0.0), (0.3, 0.0), (0.5, 0.6), (0.85, 0.9), (1, 1.0)),
    "new_share": ((0, 0.0), (0.3, 0.0), (0.5, 0.2), (0.85, 0.3), (1, 0.4)),
    "novelty_weight": ((0, 4.0), (0.3, 4.0), (0.5, 1.5), (0.85, 4.0), (1, 4.0)),
    "zoom": ((0.6, 0.85), (0.85, 0.75), (1, 0.7)),
    # At 18 px a patch sees nearly half of the picture and puts everything back in its old position; at 28 not.
    "coarsest_px": ((0, 18), (0.3, 18), (0.5, 28), (1, 30)),
    "least_bearing": ((0.3, 0.5), (0.5, 0.5), (0.85, 0.3), (1, 0.2)),
    "most_artefacts": ((0.3, 0.4), (0.5, 0.5), (0.85, 0.62), (1, 0.7)),
    "candidates": ((0, 4), (0.3, 4), (0.4, 14), (1, 14)),
}


@dataclass(frozen=True, slots=True)
class Tuning:
    """The method's numbers at one strength.

    Attributes
    ----------
    cover : float
        The largest share of the picture, 0..1, that salient parts may take and stay whole.
    fade : float
        How far the start is mixed towards the mean colour, 0..1.
    noise_std : float
        Standard deviation of the noise added to the start, whose values are 0..1.
    prior_rows, prior_cols : float
        Weight of a patch's position (in heights and widths) beside its values (0..1); keeps sky up and ground down.
    bend_std : float
        Standard deviation of the start's smooth bending, as a share of the side.
    shift_rows, shift_cols : float
        Largest displacement of the whole, as a share of the side.
    overhang : float
        How far a subject that the source cuts off may move out of the picture there, as a share of the side.
    separation : float
        How far subjects and ground move apart, 0 (as one) to 1.
    separation_without_ground : float
        The same where the subjects are not objects on a ground: they and what is around them belong together.
    new_share : float
        The new share of the arrangement (see `composition.novelty`), 0..1, to aim at.
    novelty_weight : float
        The penalty of missing that aim altogether, in usual costs of a candidate.
    zoom : float
        The smaller scale at which the source may be shown, from strength 0.6.
    coarsest_px : int
        The short side, in pixels, at which the search begins.
    candidates : int
        Arrangements tried per picture.
    least_bearing : float
        How well a source must bear a new arrangement for one to be tried, see `composition.artefacts`.
    most_artefacts : float
        The artefact score, 0..1, above which another means makes the picture.
    """

    cover: float
    fade: float
    noise_std: float
    prior_rows: float
    prior_cols: float
    bend_std: float
    shift_rows: float
    shift_cols: float
    overhang: float
    separation: float
    separation_without_ground: float
    new_share: float
    novelty_weight: float
    zoom: float
    least_bearing: float
    most_artefacts: float
    candidates: int
    coarsest_px: int


def rearranges(strength: float) -> bool:
    """Return whether a strength of 0..1 asks for a new arrangement where the source bears one."""
    return strength >= _REARRANGED_FROM


def tune(strength: float) -> Tuning:
    """Return the numbers for a strength of 0..1."""
    values = {
        name: float(np.interp(strength, [point for point, _ in points], [value for _, value in points]))
        for name, points in _TABLE.items()
    }
    candidates = round(values.pop("candidates"))
    coarsest_px = round(values.pop("coarsest_px"))
    return Tuning(**values, candidates=candidates, coarsest_px=coarsest_px)
