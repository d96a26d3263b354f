import numpy as np
import pytest
from cases import slow

from ipy_imgvar.engines.patch.arrays.eightbit import straight
from ipy_imgvar.engines.patch.arrays.workers import Workers
from ipy_imgvar.engines.patch.camera.cuts import Cuts
from ipy_imgvar.engines.patch.camera.framing import WHOLE
from ipy_imgvar.engines.patch.camera.shots import Shots
from ipy_imgvar.engines.patch.scene import Settings

ONE_THREAD = Workers(1, None)


def shots(source, *, strength=0.5, seed=7, flip=True, tone=True, subject=None):
    return Shots(source, Settings(strength=strength, seed=seed, flip=flip, tone=tone), subject)


def window(top, left, bottom, right):
    return np.array([(top, left), (top, right), (bottom, right), (bottom, left)], np.float64)


def person():
    """Return a figure on a plain ground: its head near the top, its coat cut off below."""
    source = np.full((128, 128, 3), (0.5, 0.6, 0.7), np.float32)
    source[8:40, 50:78] = (0.8, 0.6, 0.5)
    source[40:, 36:92] = (0.2, 0.2, 0.25)
    return source


def test_a_cut_head_costs_more_than_a_cut_coat():
    """The source shows the head whole and the coat not, so the coat may be cut further."""
    cuts = Cuts(person())
    assert cuts.cost(WHOLE.corners) == 0
    assert cuts.cost(window(0.01, 0.1, 0.8, 0.9)) < 0.02
    assert cuts.cost(window(0.2, 0.1, 1, 0.9)) > 0.1


def test_a_known_subject_is_not_cut():
    """Where a mask is known, a cut through it costs, though the colours alone would not show it."""
    source = np.full((128, 128, 3), 0.5, np.float32)
    mask = np.zeros((64, 64), np.float32)
    mask[8:40, 20:44] = 1
    assert Cuts(source).cost(window(0.3, 0.1, 1, 0.9)) == 0
    assert Cuts(source, mask).cost(window(0.3, 0.1, 1, 0.9)) > 0.1


@pytest.mark.parametrize(
    ("strength", "seed"),
    [(0.85, 0), *(slow(strength, seed) for strength in (0.2, 0.5, 0.85) for seed in (1, 2))],
)
def test_no_shot_cuts_the_head(strength, seed):
    """The head stays whole in each of four pictures."""
    planned = shots(person(), strength=strength, seed=seed)
    for number in range(4):
        assert planned.plan(number, ONE_THREAD).framing.corners[:, 0].min() < 8 / 128 + 0.005


def test_a_shot_does_not_depend_on_the_order_of_asking(small):
    """Shot 3 asked for alone is shot 3 of a series."""
    alone = shots(small).plan(3, ONE_THREAD)
    series = shots(small)
    for number in range(3):
        series.plan(number, ONE_THREAD)
    assert alone.light == series.plan(3, ONE_THREAD).light
    np.testing.assert_array_equal(alone.framing.corners, series.plan(3, ONE_THREAD).framing.corners)


@pytest.mark.parametrize(("flip", "mirrored"), [(False, 0), (True, 2)])
def test_half_of_the_shots_are_mirrored(small, flip, mirrored):
    """Every second shot is, unless mirroring is off."""
    planned = shots(small, flip=flip)
    assert sum(planned.plan(number, ONE_THREAD).framing.mirrored for number in range(4)) == mirrored


@pytest.mark.parametrize(
    "name",
    ["rocket", slow("astronaut"), slow("coffee"), slow("camera"), slow("hubble_deep_field"), slow("moon")],
)
@pytest.mark.parametrize("strength", [0.2, slow(0.5), slow(0.85)])
def test_shots_differ_from_the_source_and_from_each_other(photograph, name, strength):
    """No two of four, and none and the source, are nearer than 6 levels."""
    source = photograph(name, 128)
    pixels = np.rint(source * 255).astype(np.uint8)
    planned = shots(source, strength=strength)
    taken = [
        pixels,
        *(planned.plan(number, ONE_THREAD).take(pixels, (128, 128), ONE_THREAD) for number in range(4)),
    ]
    for k, one in enumerate(taken):
        for two in taken[:k]:
            assert np.abs(one.astype(float) - two).mean() > 6


def test_without_tone_only_the_framing_changes(small):
    """A shot without tone has no light of its own."""
    assert shots(small, tone=False).plan(0, ONE_THREAD).light is None


def test_one_colour_stays_one_colour():
    """A flat source has no gradient of light either."""
    flat = np.full((40, 40, 3), (0.2, 0.5, 0.7), np.float32)
    taken = shots(flat).plan(0, ONE_THREAD).take(np.rint(flat * 255).astype(np.uint8), (40, 40), ONE_THREAD)
    assert len(np.unique(taken.reshape(-1, 3), axis=0)) == 1


def test_straight_divides_by_alpha():
    """Premultiplied colours come back, and what is transparent is black."""
    image = np.array([[[100, 50, 25, 128], [0, 0, 0, 0], [10, 20, 30, 255]]], np.uint8)
    np.testing.assert_array_equal(straight(image), [[[199, 100, 50, 128], [0, 0, 0, 0], [10, 20, 30, 255]]])
