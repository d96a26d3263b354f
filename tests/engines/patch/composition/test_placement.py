import numpy as np
from cases import cases
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.patch.composition.placement import (
    _CUT,
    Placement,
    _output_height,
    can_shrink,
    place_subjects,
    source_height,
)
from ipy_imgvar.engines.patch.matching.pyramid import Level
from ipy_imgvar.engines.patch.strength import tune


def level(masks, size=40, output=40):
    """Return a level of a plain picture with some subjects."""
    return Level(np.zeros((size, size, 3), np.float32), (output, output), tuple(masks))


def box(top, bottom, left, right, size=40):
    """Return a mask with one box."""
    mask = np.zeros((size, size), np.float32)
    mask[top:bottom, left:right] = 1
    return mask


def shown(move, edges, ratio=1.0):
    """Return where an extent of the source (top, bottom) lies in the output, as shares of it."""
    return [(edge + move + (ratio - 1) / 2) / ratio for edge in edges]


wholes = st.builds(Placement, st.floats(-0.2, 0.2), st.floats(-0.5, 0.5), st.just(0))


@given(wholes, st.integers(0, 999), st.floats(0.3, 1), st.sampled_from([40, 50]))
@cases(60, 15)
def test_a_subject_inside_stays_inside(whole, seed, strength, output):
    """What no border cuts off does not leave the picture."""
    mask = box(10, 25, 12, 20)
    (placement,) = place_subjects(
        np.random.default_rng(seed), tune(strength), level([mask], output=output), whole
    )
    for move, edges in ((placement.rows, (10 / 40, 25 / 40)), (placement.cols, (12 / 40, 20 / 40))):
        low, high = shown(move, edges, output / 40)
        assert low >= -1e-6
        assert high <= 1 + 1e-6


@given(wholes, st.integers(0, 999), st.floats(0.3, 1), st.sampled_from([40, 50]))
@cases(60, 15)
def test_what_the_border_cuts_off_stays_at_it(whole, seed, strength, output):
    """The lower edge of a person cut off at the waist never comes up into the picture by more than a little."""
    mask = box(15, 40, 12, 20)
    (placement,) = place_subjects(
        np.random.default_rng(seed), tune(strength), level([mask], output=output), whole
    )
    assert shown(placement.rows, (1.0,), output / 40)[0] >= 1 - _CUT - 1e-6


@given(st.integers(0, 999))
@cases(20, 8)
def test_few_subjects_do_not_cover_each_other(seed):
    """Where there is room, no subject lies on another."""
    masks = [box(5, 11, 5, 11), box(20, 26, 25, 31), box(30, 35, 8, 13)]
    here = level(masks)
    placements = place_subjects(np.random.default_rng(seed), tune(0.85), here, Placement(0.05, 0.1))
    covered = np.zeros((40, 40), int)
    for mask, placement in zip(masks, placements, strict=True):
        row, col = np.nonzero(mask)
        np.add.at(covered, (row + round(placement.rows * 40), col + round(placement.cols * 40)), 1)
    assert covered.max() == 1


@given(st.floats(-0.2, 0.2))
def test_sinking_keeps_top_bottom_and_order(amount):
    """The ground is stretched and pressed, never folded, and its borders stay."""
    heights = source_height(np.linspace(0, 1, 50, dtype=np.float32), amount)
    assert abs(heights[0]) < 1e-6
    assert abs(heights[-1] - 1) < 1e-6
    assert (np.diff(heights) > 0).all()
    for height in (0.0, 0.3, 0.8, 1.0):
        back = source_height(np.array([_output_height(height, amount)], np.float32), amount)
        np.testing.assert_allclose(back, height, atol=1e-5)


def test_only_what_no_two_opposite_borders_cut_can_be_shown_smaller():
    """A subject from side to side would end in the middle of the picture."""
    assert can_shrink((box(15, 40, 12, 20),))
    assert not can_shrink((box(15, 25, 0, 40),))
    assert not can_shrink(())
