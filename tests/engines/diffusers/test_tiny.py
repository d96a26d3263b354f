"""The tiny pipelines themselves, called without our engine: what they can and can't show."""

import numpy as np
import pytest

_SIZE = {"width": 96, "height": 64}
#: By pipeline: the class derived from it (None: itself), the size if it takes one, its settings, and another one.
_CALLS = {
    "stable": ("StableDiffusionImg2ImgPipeline", {}, {"prompt": "", "strength": 0.5}, ("strength", 0.85)),
    "stable-xl": (
        "StableDiffusionXLImg2ImgPipeline",
        {},
        {"prompt": "", "strength": 0.5},
        ("strength", 0.85),
    ),
    "consistency": (
        "LatentConsistencyModelImg2ImgPipeline",
        {},
        {"prompt": "", "strength": 0.5},
        ("strength", 0.85),
    ),
    "image-variation": (None, _SIZE, {"guidance_scale": 3.0}, ("guidance_scale", 7.0)),
    "stable-unclip": (None, _SIZE, {"prompt": "", "noise_level": 63}, ("noise_level", 549)),
    "klein": (None, _SIZE, {"prompt": "a cat"}, ("prompt", "another")),
    "z-image": (
        "ZImageImg2ImgPipeline",
        _SIZE,
        {"prompt": "", "strength": 0.5, "guidance_scale": 0.0},
        ("strength", 0.85),
    ),
    "future": (None, {}, {"prompt": "", "strength": 0.5}, ("strength", 0.85)),
}


@pytest.mark.parametrize("name", _CALLS)
def test_a_tiny_pipeline_loads_as_a_real_one_does_and_its_picture_depends_on_seed_and_settings(
    name, tiny_pipeline, torch, photo
):
    """A tiny pipeline read from disk repeats a seed's picture, and another seed, prompt or strength changes it."""
    import diffusers

    derived, size, settings, (key, other) = _CALLS[name]
    pipeline = diffusers.DiffusionPipeline.from_pretrained(tiny_pipeline(name), use_safetensors=True)
    if derived:
        pipeline = getattr(diffusers, derived).from_pipe(pipeline)
    pipeline.set_progress_bar_config(disable=True)
    source = photo.resize((96, 64))

    def made(seed, **changed):
        generator = torch.Generator("cpu").manual_seed(seed)
        call = {
            "image": source,
            "num_inference_steps": 4,
            "generator": generator,
            **size,
            **settings,
            **changed,
        }
        return np.asarray(pipeline(**call).images[0], np.int16)

    first = made(1)
    assert first.shape == (64, 96, 3)
    assert np.array_equal(first, made(1))
    assert np.abs(first - made(2)).mean() > 10
    assert np.abs(first - made(1, **{key: other})).max() > 1
