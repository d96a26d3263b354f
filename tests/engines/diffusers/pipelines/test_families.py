"""The table of families against the classes of diffusers."""

import inspect

import pytest

from ipy_imgvar.engines.diffusers.pipelines.families import FAMILIES, family_of
from ipy_imgvar.engines.diffusers.weights.presets import PRESETS


def test_a_class_belongs_to_one_family():
    """No class name stands in two rows."""
    names = [name for family in FAMILIES for name in family.classes]
    assert len(names) == len(set(names))


def test_a_preset_names_a_class_of_the_table():
    """Steps, side and control of each preset's pipeline are known before anything is fetched."""
    assert all(family_of(preset.pipeline) is not None for preset in PRESETS.values())


def test_an_unknown_class_has_no_family():
    """The table guesses nothing from a name; the signature tells."""
    assert family_of("FuturePipeline") is None


@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_table_agrees_with_the_signatures(family):
    """Each class exists in the installed diffusers, and takes the image, the mask and the argument of its control."""
    import diffusers

    if lacks := getattr(getattr(diffusers, family.image), "_backends", None):
        pytest.skip(f"diffusers loads {family.image} only with {lacks}")
    image = inspect.signature(getattr(diffusers, family.image).__call__).parameters
    assert family.control == "scale" or "image" in image
    assert ("prompt" in image) or not family.prompt
    names = {"strength": "strength", "noise_level": "noise_level", "guidance": "guidance_scale"}
    assert names.get(family.control, "num_inference_steps") in image
    assert "generator" in image
    assert family.negative == ("negative_prompt" in image) or family.control == "scale"
    if family.inpaint is not None:
        masked = inspect.signature(getattr(diffusers, family.inpaint).__call__).parameters
        assert {"image", "mask_image", "strength", "width", "height"} <= set(masked)
