from itertools import pairwise

import numpy as np
import pytest

from ipy_imgvar.engines.patch.arrays.resize import resize
from ipy_imgvar.engines.patch.composition.seams import find_seams
from ipy_imgvar.engines.patch.composition.strips import (
    Strips,
    draw_strips,
    picture,
    refined,
    scaled,
    tones,
)


def drawn(image, count=20, joins=2, views=2):
    """Return arrangements of an image, drawn at random."""
    toll = np.zeros(image.shape[:2], np.float32)
    seams = find_seams(image, toll, mirrored=views > 1, check=lambda: None)
    rng = np.random.default_rng(2)
    weight = np.ones(image.shape[:2], np.float32)
    some = [draw_strips(rng, seams, image.shape[:2], weight, joins=joins, views=views) for _ in range(count)]
    return [strips for strips in some if strips is not None]


def joined(shape, step, edge, views=(0, 0)):
    """Return two strips with a straight seam."""
    return Strips(shape, shape[1], (0, step), views, (np.full(shape[0], edge),), mirrored=False, cost=0.0)


def test_every_pixel_is_the_sources_at_its_height(photograph):
    """Away from the seams, a picture shows pixels of the source's own row, so nothing sinks or folds."""
    image = photograph("grass", 40)
    arrangements = drawn(image)
    assert len(arrangements) > 3
    for strips in arrangements:
        columns = strips.columns()
        source = np.where(columns < 40, columns, 79 - columns)
        assert source.min() >= 0
        assert source.max() < 40
        expected = image[np.arange(40)[:, None], source]
        expected = expected[:, ::-1] if strips.mirrored else expected
        away = np.ones((40, 40), bool)
        for edge in strips.edges:
            away &= np.abs(np.arange(40) - edge[:, None]) > 2
        away = away[:, ::-1] if strips.mirrored else away
        np.testing.assert_array_equal(picture(strips, image, [])[away], expected[away])


def test_without_a_mirrored_view_nothing_is_mirrored(photograph):
    """Text stays readable where mirroring is not allowed."""
    for strips in drawn(photograph("grass", 40), views=1):
        assert set(strips.views) == {0}
        assert not strips.mirrored


def test_seams_do_not_cross(photograph):
    """In every row each strip shows some columns, so that it meets its neighbours along their seams."""
    arrangements = drawn(photograph("grass", 54), count=300, joins=3)
    pairs = [pair for strips in arrangements for pair in pairwise(strips.edges)]
    assert len(pairs) > 20
    assert min(int((right - left).min()) for left, right in pairs) >= 3


def test_seams_do_not_drift_across_one_another():
    """Where each of two seams would be better on the other side of the other, the strips keep their order."""
    edges = (np.full(54, 20), np.full(54, 24))
    strips = Strips((54, 54), 54, (0, -12, 5), (0, 0, 0), edges, mirrored=False, cost=0.0)
    for size in (72, 84, 96, 108):
        bowl = np.linspace(-1, 1.5, size, dtype=np.float32) ** 2
        image = np.broadcast_to(bowl[None, :, None], (size, size, 1))
        strips = refined(strips, image, (size, size))
        assert (strips.edges[1] - strips.edges[0] >= 0.05 * size).all()


def test_what_is_shown_twice_costs():
    """Of two arrangements whose seams cost the same, the one that repeats less is the cheaper one."""
    flat = np.full((40, 40, 3), 0.5, np.float32)
    flat[:, ::7] = 0.5001
    costs = {}
    for strips in drawn(flat, count=60, joins=1, views=1):
        columns = strips.columns()[0]
        repeated = len(columns) - len(np.unique(columns))
        costs.setdefault(repeated, []).append(strips.cost)
    repeats = sorted(costs)
    assert len(repeats) > 3
    assert max(costs[repeats[0]]) < min(costs[repeats[-1]])


@pytest.mark.parametrize("miss", [-1, 1])
def test_a_step_that_is_a_pixel_off_is_mended(miss):
    """At the larger size the strips meet where the picture recurs, although the small size could not say so."""
    part = np.random.default_rng(0).random((48, 16, 3), np.float32)
    image = np.tile(part, (1, 3, 1))
    strips = refined(joined((48, 48), -16 + miss, 24), image, (48, 48))
    assert strips.offsets[1] - strips.offsets[0] == -16
    np.testing.assert_allclose(picture(strips, image, [])[:, :40], image[:, :40], atol=1e-6)


def test_scaling_there_and_back_changes_nothing():
    """Offsets and edges follow the size."""
    small = joined((20, 30), -12, 15)
    back = scaled(scaled(small, (40, 60), 60), (20, 30), 30)
    assert back.offsets == small.offsets
    np.testing.assert_array_equal(back.edges[0], small.edges[0])


def test_no_step_of_tone_is_left_at_a_seam():
    """Where the light differs from side to side, the strips meet in the middle."""
    light = np.linspace(0.2, 0.8, 60, dtype=np.float32)
    image = np.broadcast_to(light[None, :, None], (60, 60, 3)).copy()
    strips = joined((60, 60), -18, 30)
    before = picture(strips, image, [])
    after = picture(strips, image, tones(strips, image))
    step_before = np.abs(before[:, 32] - before[:, 27]).mean()
    step_after = np.abs(after[:, 32] - after[:, 27]).mean()
    assert step_before > 0.1
    assert step_after < 0.4 * step_before


def test_tones_of_another_size_fit(photograph):
    """Changes found on a small copy are spread over a large picture."""
    image = photograph("coffee", 96)
    small = resize(image, (48, 48))
    strips = joined((96, 96), -30, 50)
    result = picture(strips, image, tones(scaled(strips, (48, 48), 48), small))
    assert result.shape == image.shape
    assert np.isfinite(result).all()
