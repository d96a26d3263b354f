import numpy as np
import pytest

from ipy_imgvar.engines.patch.arrays.workers import Workers
from ipy_imgvar.engines.patch.camera.framing import WHOLE, Framing
from ipy_imgvar.engines.patch.camera.lens import shoot

ONE_THREAD = Workers(1, None)


def window(top, left, bottom, right):
    return np.array([(top, left), (top, right), (bottom, right), (bottom, left)], np.float64)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_whole_source_is_the_source(channels):
    """A window of the whole source, at its size, is the source to the byte."""
    source = np.random.default_rng(0).integers(0, 256, (24, 31, channels), np.uint8)
    source[..., :-1] = np.minimum(source[..., :-1], source[..., -1:])  # premultiplied
    np.testing.assert_array_equal(shoot(source, WHOLE, (24, 31), ONE_THREAD), source)


def test_a_mirrored_window_is_mirrored():
    """Exchanged corners show the source as a mirror does."""
    source = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)
    mirrored = shoot(source, Framing(WHOLE.corners[[1, 0, 3, 2]], mirrored=True), (16, 20), ONE_THREAD)
    np.testing.assert_array_equal(mirrored, source[:, ::-1])


def test_a_window_shows_its_part():
    """The upper left quarter of a source, at its own size, is its pixels."""
    source = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    np.testing.assert_array_equal(
        shoot(source, Framing(window(0, 0, 0.5, 0.5)), (20, 30), ONE_THREAD)[2:-2, 2:-2], source[2:18, 2:28]
    )


def test_a_transparent_surrounding_leaves_no_rim():
    """Premultiplied pixels mix no colour of what is transparent into an edge."""
    source = np.zeros((40, 40, 4), np.uint8)
    source[:, 20:] = (200, 100, 50, 255)
    shown = shoot(source, Framing(window(0.03, 0.1, 0.9, 0.97)), (64, 64), ONE_THREAD).astype(float)
    rim = (shown[..., 3] > 60) & (shown[..., 3] < 250)
    assert rim.any()
    np.testing.assert_allclose(shown[rim][:, 0], shown[rim][:, 3] * 200 / 255, atol=3)
