import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.patch.arrays.workers import Workers
from ipy_imgvar.engines.patch.camera.light import LIGHT_DIMENSIONS, Light, colourfulness, draw_light

ONE_THREAD = Workers(1, None)

POINTS = st.lists(st.floats(0, 1), min_size=LIGHT_DIMENSIONS, max_size=LIGHT_DIMENSIONS)


@given(POINTS, st.floats(0, 1), st.floats(0, 1))
def test_black_and_white_stay(point, strength, colour):
    """No light tints or greys a white ground, or lifts a black one."""
    extremes = np.array([[[0, 0, 0], [255, 255, 255]]] * 3, np.uint8)
    np.testing.assert_array_equal(draw_light(point, strength, colour).apply(extremes, ONE_THREAD), extremes)


@given(POINTS, st.floats(0, 1))
def test_a_grey_photograph_stays_grey(point, strength):
    """Where a photograph has no colour, red, green and blue stay equal in every light."""
    grey = np.random.default_rng(0).integers(0, 256, (9, 11, 1), np.uint8).repeat(3, axis=2)
    assert colourfulness(grey) == 0
    lit = draw_light(point, strength, colourfulness(grey)).apply(grey, ONE_THREAD)
    np.testing.assert_array_equal(np.ptp(lit.astype(int), axis=2), 0)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_shape_type_and_alpha_stay(channels):
    """Only colours change, and alpha is left alone."""
    image = np.random.default_rng(0).integers(0, 256, (150, 20, channels), np.uint8)
    lit = Light(0.2, 0.1, 1.2, 0.1, 0.1, 1.0, 0.1).apply(image, ONE_THREAD)
    assert lit.shape == image.shape
    assert lit.dtype == np.uint8
    assert (lit != image).any()
    if channels == 4:
        np.testing.assert_array_equal(lit[..., 3], image[..., 3])


def test_no_light_changes_nothing():
    """The light that a photograph was taken in is a light like any other."""
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    np.testing.assert_array_equal(Light().apply(image, ONE_THREAD), image)


@given(POINTS)
def test_no_cast_is_green(point):
    """A mid grey of a photograph in colour never turns green or magenta by more than it turns warm or cold."""
    red, green, blue = (
        draw_light(point, 1.0, 1.0).apply(np.full((1, 1, 3), 128, np.uint8), ONE_THREAD)[0, 0].astype(int)
    )
    assert min(red, blue) - 1 <= green <= max(red, blue) + 1


def test_saturated_red_keeps_its_texture():
    """More saturation does not push the shades of a red cup into one."""
    shades = np.zeros((1, 40, 3), np.uint8)
    shades[0, :, 0] = np.arange(180, 220)
    shades[0, :, 1:] = 25
    lit = Light(saturation=1.4).apply(shades, ONE_THREAD)[0, :, 0].astype(int)
    assert np.unique(lit).size > 30


def test_a_small_thing_in_colour_makes_a_photograph_in_colour():
    """A red kite in a grey sky counts; the noise of a grey photograph's JPEG does not."""
    sky = np.full((128, 128, 3), 150, np.uint8)
    noise = np.random.default_rng(0).integers(-3, 4, sky.shape)
    assert colourfulness((sky + noise).astype(np.uint8)) == 0
    sky[40:64, 40:64] = (220, 30, 30)
    assert colourfulness(sky) == 1
