"""The source at a model's size, and the picture at the request's."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.diffusers.pipelines.frame import frame_of, working_size
from ipy_imgvar.images import codec
from ipy_imgvar.images.source import Source
from ipy_imgvar.request import VariationRequest

SIDES = st.integers(32, 4096)


@given(width=SIDES, height=SIDES, grid=st.sampled_from([8, 16, 32]))
def test_a_working_size_is_on_the_grid_and_of_the_trained_area(width, height, grid):
    """Both sides are multiples of the grid, and the area is between the least and the trained one, but for rounding."""
    made = working_size((width, height), 1024, 512, grid)
    assert made[0] % grid == made[1] % grid == 0
    thin = max(width / height, height / width)
    if thin < 4:
        assert 512**2 * 0.85 <= made[0] * made[1] <= 1024**2 * 1.15


@pytest.mark.parametrize(
    ("size", "made"),
    [
        ((1024, 1024), (512, 512)),
        ((256, 256), (512, 512)),
        ((1024, 512), (728, 360)),
        ((4096, 64), (4096, 64)),
    ],
)
def test_a_model_of_512_px_makes_512_px(size, made):
    """A picture is made at the area that the model was trained on, in its own shape, then brought to the size."""
    assert working_size(size, 512, 512, 8) == made


def request_of(array, **arguments):
    mask = arguments.pop("mask", None)
    request = VariationRequest.from_arguments(seed=1, **arguments)

    def source(pixels, name):
        return Source(name, data=codec.encode_png(codec.from_array(pixels, name)))

    return replace(request, image=source(array, "image"), mask=None if mask is None else source(mask, "mask"))


@pytest.fixture
def noise():
    """Return random pixels, 60x90 RGB."""
    return np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_a_finished_picture_has_the_size_and_the_kept_pixels_of_the_source(noise, fit):
    """Whatever the pipeline paints, pixels under the mask are the fitted source's, exactly, after the last resize."""
    keep = np.zeros((60, 90), bool)
    keep[:, :45] = True
    frame = frame_of(request_of(noise, size="96x64", fit=fit, mask=keep), 64, 64, 8)
    painted = codec.from_array(np.zeros((frame.made[1], frame.made[0], 3), np.uint8), "painted")
    finished = frame.finished(painted)
    assert finished.size == (96, 64)
    kept = np.array(codec.to_array(finished))
    expected = codec.to_array(frame.source)
    if fit != "pad":
        assert np.array_equal(kept[frame.keep], expected[frame.keep])
        assert not kept[~frame.keep].any()
    assert 0.4 < frame.keep.mean() < 0.6


def test_a_mask_asks_a_pipeline_to_paint_what_is_not_kept(noise):
    """Ours is white where pixels stay, a pipeline's white where it paints."""
    keep = np.ones((60, 90), bool)
    keep[:, 45:] = False
    frame = frame_of(request_of(noise, size="90x60", mask=keep), 64, 64, 8)
    repaint = np.asarray(frame.repaint)
    assert not repaint[:, : repaint.shape[1] // 2 - 1].any()
    assert (repaint[:, repaint.shape[1] // 2 + 1 :] == 255).all()


def test_a_small_picture_is_made_from_the_whole_detail_of_the_source():
    """A picture of 64 px that a model makes at 256 gets a source of 256 px, not the blur of an enlarged 64."""
    rng = np.random.default_rng(0)
    fine = rng.integers(0, 2, (256, 256, 1), np.uint8).repeat(3, 2) * 255
    frame = frame_of(request_of(fine, size="64x64"), 256, 256, 8)
    assert frame.made == (256, 256)
    assert np.asarray(frame.image).std() > 100
    assert frame.source.size == (64, 64)


def test_an_alpha_that_hides_nothing_is_no_transparency(noise):
    """A screenshot is often RGBA and wholly opaque."""
    pixels = np.dstack([noise, np.full((60, 90), 255, np.uint8)])
    assert not frame_of(request_of(pixels, size="96x64"), 64, 64, 8).transparent


def test_a_transparent_source_is_laid_on_white(noise):
    """No model makes transparency, so the frame says that there was some."""
    pixels = np.dstack([noise, np.zeros((60, 90), np.uint8)])
    frame = frame_of(request_of(pixels, size="96x64"), 64, 64, 8)
    assert frame.transparent
    assert (np.asarray(frame.image) == 255).all()
