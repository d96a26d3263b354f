import numpy as np
import pytest

from ipy_imgvar.engines.patch.tone import Tone, draw_tone


def test_black_white_and_grey_are_not_tinted():
    """Black and white stay; white grounds get no cast from any light."""
    extremes = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    for seed in range(20):
        light = draw_tone(np.random.default_rng(seed), 1.0)
        np.testing.assert_array_equal(light.apply(extremes), extremes)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_shape_type_and_alpha_stay(channels):
    """Only colours change, and alpha is left alone."""
    image = np.random.default_rng(0).integers(0, 256, (150, 20, channels), np.uint8)
    lit = Tone(gamma=0.8, warmth=0.1, saturation=1.2).apply(image)
    assert lit.shape == image.shape
    assert lit.dtype == np.uint8
    assert (lit != image).any()
    if channels == 4:
        np.testing.assert_array_equal(lit[..., 3], image[..., 3])


def test_no_cast_is_green():
    """A mid grey never turns green or magenta by more than it turns warm or cold."""
    grey = np.full((1, 1, 3), 128, np.uint8)
    for seed in range(40):
        red, green, blue = (
            int(value) for value in draw_tone(np.random.default_rng(seed), 1.0).apply(grey)[0, 0]
        )
        assert min(red, blue) - 1 <= green <= max(red, blue) + 1
