import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.patch.camera.framing import (
    FRAMING_DIMENSIONS,
    WHOLE,
    draw_framing,
    quasirandom,
)


def draw(number=0, *, seed=0, strength=0.5, cost=lambda _: 0.0, aspect=1.0, siblings=(), mirrored=False):
    rng = np.random.default_rng(seed)
    point = quasirandom(number, rng.random(FRAMING_DIMENSIONS))
    return draw_framing(
        rng, point, strength=strength, aspect=aspect, mirrored=mirrored, cost=cost, siblings=siblings
    )


@given(st.integers(0, 9), st.integers(0, 999), st.floats(0, 1), st.floats(0.2, 5), st.booleans())
def test_a_window_lies_inside_the_source(number, seed, strength, aspect, mirrored):
    """At any strength and shape nothing outside the source is ever shown."""
    corners = draw(number, seed=seed, strength=strength, aspect=aspect, mirrored=mirrored).corners
    assert corners.min() >= -1e-9
    assert corners.max() <= 1 + 1e-9


def test_a_stronger_shot_shows_less():
    """The window's mean side falls with the strength."""
    sides = [
        np.mean([np.ptp(draw(k, strength=strength).corners, axis=0).mean() for k in range(20)])
        for strength in (0.1, 0.5, 1.0)
    ]
    assert sides == sorted(sides, reverse=True)
    assert 0.65 < sides[-1] < sides[0] < 0.98


def test_what_fills_the_source_is_shown_whole():
    """Where every window but the whole source cuts, the whole source is shown."""
    framing = draw(cost=lambda corners: 10 * float(np.abs(corners - WHOLE.corners).max()))
    np.testing.assert_allclose(framing.corners, WHOLE.corners, atol=0.02)


def test_siblings_have_their_own_framings():
    """No two windows of a call are equal, nor is one the whole source."""
    siblings = []
    for number in range(6):
        siblings.append(draw(number, siblings=siblings))
    everything = [WHOLE, *siblings]
    distances = [one.distance(two) for k, one in enumerate(everything) for two in everything[:k]]
    assert min(distances) > 0.03


def test_a_mirrored_framing_is_far_from_the_same_one():
    """Mirroring alone makes two framings different."""
    assert draw(mirrored=True).distance(draw()) == 1


@pytest.mark.parametrize("dimensions", [1, 2, 12])
def test_quasirandom_points_are_spread_evenly(dimensions):
    """Four points leave no gap of two thirds in any coordinate, sixteen none of a quarter."""
    points = np.array([quasirandom(k, np.full(dimensions, 0.3)) for k in range(16)])
    assert ((points >= 0) & (points < 1)).all()
    for count, gap in ((4, 2 / 3), (16, 0.25)):
        ordered = np.sort(points[:count], axis=0)
        assert np.diff(ordered, axis=0, append=ordered[:1] + 1).max() < gap
