"""What is sent of a source, and how far a picture went from it."""

import numpy as np
import pytest
from skimage import data
from skimage.metrics import structural_similarity

from ipy_imgvar.images import codec, similarity
from ipy_imgvar.images.source import load_sources


@pytest.mark.parametrize("noise", [0, 5, 40])
def test_the_similarity_is_that_of_the_paper(noise):
    """The mean SSIM is scikit-image's with the paper's Gaussian window."""
    first = data.camera()[:200, :160].astype(float)
    second = (first + np.random.default_rng(0).normal(0, noise, first.shape)).clip(0, 255)
    expected = structural_similarity(
        first, second, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
    )
    assert similarity.structural_similarity(first, second) == pytest.approx(expected, abs=1e-9)


def small(image):
    """Return a picture as a run's is compared: encoded and reduced."""
    return codec.reduced(codec.encode_png(image), "the picture", similarity.THUMBNAIL_PX)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_what_was_sent_is_similar_to_itself(fit):
    """The similarity of the fitted source to itself is about one, for every fit."""
    (source,) = load_sources(data.coffee())
    taken = similarity.sample(source)
    image = codec.fit_image(source.open(), (300, 200), fit)
    image = codec.pad_image(image, (300, 200)) if fit == "pad" else image
    assert similarity.to_source(taken, small(image), fit) > 0.95


def test_another_picture_is_far():
    """A picture with nothing in common is far from the source."""
    (source,) = load_sources(data.coffee())
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3)).astype(np.uint8)
    assert similarity.to_source(similarity.sample(source), small(codec.of_pixels(noise)), "crop") < 0.2


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (7, 7)])
def test_a_tiny_picture_is_compared_too(shape):
    """A picture smaller than the window is compared all the same."""
    first = np.arange(shape[0] * shape[1], dtype=float).reshape(shape) % 256
    assert similarity.structural_similarity(first, first) == pytest.approx(1)


def test_a_preview_is_a_thumbnail_with_the_asked_shape():
    """What will be sent is shown with no side above 256 px, in the shape of the size."""
    taken = similarity.sample(load_sources(data.coffee())[0])
    assert taken.size == (600, 400)
    assert taken.fitted((1024, 512), "crop").size == (256, 128)
    assert taken.fitted((512, 1024), "pad").size == (128, 256)


def test_a_picture_without_structure_has_nothing_new_against_itself():
    """Nothing is new in the same picture, also where only its edge differs from the rest."""
    levels = np.zeros((64, 64))
    levels[:32, :5] = 0.6
    assert similarity.new_share(levels, levels.copy()) == 0
