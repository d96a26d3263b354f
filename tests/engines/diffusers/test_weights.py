"""Real weights on a GPU: what tiny random pipelines can't show. Skipped without a GPU or without the weights.

    pytest -m weights tests/engines/diffusers/test_weights.py

downloads nothing: it takes those of the presets that the hub's cache has (`hf download`, or one run with the preset).
"""

import itertools

import numpy as np
import pytest
from PIL import Image

from ipy_imgvar.engines.diffusers.weights.cache import index_of
from ipy_imgvar.engines.diffusers.weights.reference import reference
from ipy_imgvar.request import STRENGTHS

#: The presets that a GPU of 24 GB runs; an edit model has words in place of a number for a strength.
_PRESETS = ["klein", "z-image", "sdxl", "sd15", "lcm"]


@pytest.fixture(params=_PRESETS)
def weights(request, torch):
    """Return the name of a preset whose weights are on this disk, or skip."""
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU that torch can use")
    if index_of(reference(request.param)) is None:
        pytest.skip(f"needs the weights of {request.param} in the hub's cache")
    return request.param


@pytest.fixture
def cat():
    """Return a photograph of a cat, 512x512."""
    from skimage import data

    return Image.fromarray(data.chelsea()[:, 75:375]).resize((512, 512))


@pytest.mark.weights
def test_pictures_of_real_weights_keep_what_the_engine_promises(weights, client, cat):
    """Similarity falls as the strength rises, four pictures differ, and a mask's kept pixels are the source's."""
    settings = {"model": weights, "size": "512x512", "seed": 1, "options": {"local_files_only": True}}
    nearness = []
    for strength in STRENGTHS:
        four = client.variations(cat, n=4, strength=strength, **settings)
        assert len({each.bytes for each in four}) == 4
        distances = [
            np.abs(np.subtract(one.image, other.image, dtype=np.int16)).mean()
            for one, other in itertools.pairwise(four)
        ]
        assert min(distances) > 1
        nearness.append(np.mean([each.similarity for each in four]))
    assert nearness == sorted(nearness, reverse=True)

    if "mask" not in client.engine.capabilities(weights).features:
        return
    keep = np.zeros((512, 512), bool)
    keep[:, :256] = True
    (made,) = client.variations(cat, mask=keep, **settings)
    pixels = np.asarray(made.image.convert("RGB"))
    assert np.array_equal(pixels[keep], np.asarray(cat)[keep])
    assert not np.array_equal(pixels[~keep], np.asarray(cat)[~keep])
