import numpy as np
import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.patch.layers.push_pull import doubled, halved, push_pull

sides = st.integers(1, 40)


@given(st.integers(0, 2**32 - 1), sides, sides, st.sampled_from([1, 3, 4]))
@cases(40, 10)
def test_known_pixels_stay_and_others_lie_between_them(seed, height, width, channels):
    """What is known is returned as it is, and nothing is filled with more or less than what is known."""
    rng = np.random.default_rng(seed)
    image = rng.random((height, width, channels), np.float32)
    known = rng.random((height, width)) < 0.3
    known[rng.integers(height), rng.integers(width)] = True
    filled = push_pull(image, known.astype(np.float32))
    assert filled.shape == image.shape
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(filled[known], image[known])
    assert (filled >= image[known].min(axis=0) - 1e-4).all()
    assert (filled <= image[known].max(axis=0) + 1e-4).all()


def test_nothing_of_the_unknown_shows():
    """A hole is filled with the colour around it, whatever was in it."""
    image = np.full((50, 70, 3), 0.25, np.float32)
    image[20:40, 30:50] = 1
    weight = np.ones((50, 70), np.float32)
    weight[20:40, 30:50] = 0
    np.testing.assert_allclose(push_pull(image, weight), 0.25, atol=1e-5)


def test_a_ramp_goes_on_under_the_hole():
    """Across a hole the filling goes from one side's colour to the other's, without a step."""
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], (48, 1, 1))
    weight = np.ones((48, 64), np.float32)
    weight[16:32, 24:40] = 0
    filled = push_pull(ramp, weight)
    assert np.abs(filled - ramp).max() < 0.1
    assert np.abs(np.diff(filled[..., 0], axis=1)).max() < 0.1


def test_without_anything_known_it_is_black():
    """No weight at all gives zeros, not NaN."""
    assert not push_pull(np.ones((9, 7, 3), np.float32), np.zeros((9, 7), np.float32)).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (7, 2), (8, 8), (31, 18)])
def test_halving_and_doubling_keep_size_and_level(shape):
    """One colour survives both, at every size, odd ones too."""
    image = np.full((*shape, 2), 0.375, np.float32)
    small = halved(image)
    assert small.shape == (-(-shape[0] // 2), -(-shape[1] // 2), 2)
    large = doubled(small, shape)
    assert large.shape == image.shape
    np.testing.assert_allclose(large, image)
