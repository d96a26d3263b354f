import numpy as np
from cases import cases
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.patch.arrays.resize import resize

sides = st.integers(1, 40)


@given(sides, sides, sides, sides, st.floats(0, 1, width=32))
@cases(50, 12)
def test_a_flat_picture_stays_flat(height, width, rows, cols, value):
    """Any change of size keeps one colour."""
    flat = np.full((height, width, 2), value, np.float32)
    resized = resize(flat, (rows, cols))
    assert resized.shape == (rows, cols, 2)
    assert resized.dtype == np.float32
    np.testing.assert_allclose(resized, value, atol=1e-5)


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.integers(2, 40), st.floats(0.1, 1))
@cases(30, 8)
def test_reducing_keeps_the_mean(seed, height, width, factor):
    """An area mean neither loses nor adds light."""
    image = np.random.default_rng(seed).random((height, width, 1), np.float32)
    small = resize(image, (max(1, int(height * factor)), max(1, int(width * factor))))
    np.testing.assert_allclose(small.mean(), image.mean(), atol=1e-5)


def test_enlarging_keeps_a_ramp_straight():
    """Cubics reproduce a straight ramp away from the borders."""
    ramp = np.arange(20, dtype=np.float32)[None, :, None].repeat(20, axis=0)
    large = resize(ramp, (40, 40))
    np.testing.assert_allclose(large[20, 6:34, 0], (np.arange(6, 34) + 0.5) / 2 - 0.5, atol=1e-4)


def test_the_same_size_is_the_same_picture():
    """Asking for the size a picture has returns its values."""
    image = np.random.default_rng(0).random((9, 13, 3), np.float32)
    np.testing.assert_array_equal(resize(image, (9, 13)), image)
