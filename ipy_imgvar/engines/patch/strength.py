"""What strength means, in numbers: one table, piecewise linear."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Knobs", "knobs"]

_TABLE: dict[str, tuple[tuple[float, float], ...]] = {
    "cover": ((0, 0.55), (0.3, 0.5), (0.5, 0.4), (0.85, 0.39), (1, 0.38)),
    "fade": ((0, 0.1), (0.25, 0.2), (0.5, 0.25), (1, 0.6)),
    "noise": ((0, 0.1), (0.5, 0.12), (1, 0.3)),
    "prior_rows": ((0, 0.4), (0.5, 0.2), (0.8, 0.12), (1, 0.08)),
    "prior_cols": ((0, 0.2), (0.5, 0.03), (0.8, 0.01), (1, 0.005)),
    "warp": ((0, 0.02), (0.5, 0.03), (1, 0.05)),
    # Below 0.25, where the ground would fold (`placing.sunk`).
    "shift_rows": ((0, 0.01), (0.3, 0.03), (0.5, 0.05), (0.85, 0.16), (1, 0.2)),
    "shift_cols": ((0, 0.02), (0.3, 0.07), (0.5, 0.25), (0.85, 0.32), (1, 0.4)),
    "out": ((0, 0.04), (0.5, 0.065), (0.85, 0.2), (1, 0.3)),
    "part": ((0, 0.0), (0.3, 0.0), (0.5, 1.0)),
    "part_filling": ((0, 0.0), (0.3, 0.0), (0.5, 0.6), (0.85, 0.9), (1, 1.0)),
    "share": ((0, 0.0), (0.3, 0.0), (0.5, 0.2), (0.85, 0.3), (1, 0.4)),
    "novelty": ((0, 4.0), (0.3, 4.0), (0.5, 1.5), (0.85, 4.0), (1, 4.0)),
    "zoom": ((0, 0.9), (0.6, 0.85), (0.85, 0.75), (1, 0.7)),
    "coarsest": ((0, 18), (0.3, 18), (0.5, 28), (1, 30)),
    "candidates": ((0, 4), (0.3, 4), (0.4, 14), (1, 14)),
}


@dataclass(frozen=True, slots=True)
class Knobs:
    """The recipe's numbers at one strength.

    Attributes
    ----------
    cover : float
        The largest share of the picture that is kept whole.
    fade : float
        How far the start is mixed towards the mean colour, 0..1.
    noise : float
        Standard deviation of the start's noise, twice.
    prior_rows, prior_cols : float
        Weight of a patch's place against its looks; keeps sky up and ground down.
    warp : float
        Standard deviation of the start's smooth bending, as a share of the side.
    shift_rows, shift_cols : float
        Largest displacement of the whole, as a share of the side.
    out : float
        How far a subject that the source cuts off may move out of the picture there, as a share of the side.
    part : float
        How far subjects and ground move apart, 0 (as one) to 1.
    part_filling : float
        The same where the subject fills the picture: it and what is around it belong together.
    share : float
        The new share of the arrangement (see `ipy_imgvar.engines.patch.composition.novelty`) to aim at.
    novelty : float
        What missing that aim altogether counts, in usual costs of a candidate.
    zoom : float
        The smaller scale at which the source may be shown, from strength 0.6.
    coarsest : int
        The short side, in pixels, at which the search begins.
    candidates : int
        Arrangements tried per picture.
    """

    cover: float
    fade: float
    noise: float
    prior_rows: float
    prior_cols: float
    warp: float
    shift_rows: float
    shift_cols: float
    out: float
    part: float
    part_filling: float
    share: float
    novelty: float
    zoom: float
    candidates: int
    coarsest: int


def knobs(strength: float) -> Knobs:
    """Return the numbers for a strength of 0..1."""
    values = {
        name: float(np.interp(strength, [place for place, _ in points], [value for _, value in points]))
        for name, points in _TABLE.items()
    }
    candidates = round(values.pop("candidates"))
    coarsest = round(values.pop("coarsest"))
    return Knobs(**values, candidates=candidates, coarsest=coarsest)
