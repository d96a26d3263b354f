"""The engine diffusers through the client, on tiny pipelines that the real code loads from disk."""

import json

import numpy as np
import pytest

from ipy_imgvar.errors import EngineError, InvalidRequestError

#: Pipelines that repaint beside a mask.
MASKED = ["stable", "adapter", "stable-xl", "klein", "z-image"]
#: Pipelines that take no mask.
UNMASKED = ["consistency", "image-variation", "stable-unclip", "future"]
ALL = [*MASKED, *UNMASKED]


def pixels(variation):
    """Return the pixels of a picture, shape (H, W, 3)."""
    return np.asarray(variation.image.convert("RGB"), np.int16)


@pytest.mark.parametrize("name", ALL)
def test_each_picture_of_a_run_has_a_seed_of_its_own_which_makes_it_again(name, client, source, request_for):
    """Three pictures differ, the same seed repeats them byte for byte, and picture 2 alone is picture 2 of 3."""
    three = client.variations(source, n=3, **request_for(name))
    again = client.variations(source, n=3, **request_for(name))
    second = client.variations(source, index=2, n=3, **request_for(name))
    assert len({each.bytes for each in three}) == 3
    assert [each.bytes for each in again] == [each.bytes for each in three]
    assert second[0].bytes == three[1].bytes
    assert [each.seed for each in three] == [7, 7, 7]
    assert [each.parameters["picture_seed"] for each in three] == [7, 8, 9]


@pytest.mark.parametrize("name", ALL)
def test_a_picture_has_the_size_that_was_asked_for(name, client, source, request_for):
    """A size that no grid of a model divides is made by a picture at the model's own size, brought to it."""
    (made,) = client.variations(source, **request_for(name, size="90x70"))
    assert made.size == made.image.size == (90, 70)


@pytest.mark.parametrize("name", ALL)
def test_a_strength_changes_the_picture(name, client, source, request_for):
    """The same seed at another strength makes another picture, by every pipeline's own means."""
    (subtle,) = client.variations(source, strength="subtle", **request_for(name))
    (strong,) = client.variations(source, strength="strong", **request_for(name))
    assert np.abs(pixels(subtle) - pixels(strong)).max() > 1


@pytest.mark.parametrize("name", MASKED)
def test_kept_pixels_are_those_of_the_source(name, client, source, request_for):
    """A picture has the kept pixels exactly, and other pixels where the mask lets it."""
    keep = np.zeros((64, 96), bool)
    keep[:, :40] = keep[:13] = True
    made = client.variations(source, mask=keep, n=2, **request_for(name))
    for each in made:
        assert np.array_equal(pixels(each)[keep], np.asarray(source)[keep])
    assert np.abs(pixels(made[0]) - np.asarray(source))[~keep].mean() > 5
    assert made[0].bytes != made[1].bytes


@pytest.mark.parametrize("name", UNMASKED)
def test_a_mask_is_refused_where_the_model_takes_none(name, client, source, request_for):
    """A model without a sister for masks refuses one by its own name, before it loads."""
    keep = np.ones((64, 96), bool)
    with pytest.raises(InvalidRequestError, match="mask") as caught:
        client.variations(source, mask=keep, **request_for(name))
    assert caught.value.field == "mask"
    assert "\n" not in str(caught.value)


def test_a_prompt_is_refused_where_the_model_takes_none(client, source, request_for):
    """An image variation takes no prompt, and says so."""
    with pytest.raises(InvalidRequestError, match="prompt") as caught:
        client.variations(source, prompt="a cat", **request_for("image-variation"))
    assert caught.value.field == "prompt"


@pytest.mark.parametrize("name", [each for each in ALL if each != "image-variation"])
def test_a_prompt_changes_the_picture(name, client, source, request_for):
    """The same seed with another prompt makes another picture."""
    (cat,) = client.variations(source, prompt="a cat", **request_for(name))
    (dog,) = client.variations(source, prompt="seven dogs in the rain", **request_for(name))
    assert np.abs(pixels(cat) - pixels(dog)).max() > 0


def test_an_image_adapter_changes_the_picture_as_far_as_its_weight(client, source, request_for):
    """With an adapter the same seed makes another picture, and its weight counts."""
    (plain,) = client.variations(source, **request_for("stable"))
    (light,) = client.variations(source, **request_for("adapter", options={"adapter_scale": 0.1}))
    (heavy,) = client.variations(source, **request_for("adapter", options={"adapter_scale": 1.0}))
    assert len({plain.bytes, light.bytes, heavy.bytes}) == 3


def test_a_network_made_for_inpainting_needs_a_mask(client, source, request_for):
    """A UNet of nine channels refuses a run without a mask, and keeps pixels with one."""
    with pytest.raises(InvalidRequestError, match="mask"):
        client.variations(source, **request_for("stable-inpainting"))
    keep = np.zeros((64, 96), bool)
    keep[:32] = True
    (made,) = client.variations(source, mask=keep, **request_for("stable-inpainting"))
    assert np.array_equal(pixels(made)[keep], np.asarray(source)[keep])


def test_a_pipeline_without_a_generator_repeats_its_picture_too(client, source, request_for):
    """A class that takes nothing but image, prompt and strength is seeded from outside, and torch's state stays."""
    import torch

    before = torch.random.get_rng_state()
    three = client.variations(source, n=3, **request_for("future-bare"))
    (second,) = client.variations(source, n=3, index=2, **request_for("future-bare"))
    assert len({each.bytes for each in three}) == 3
    assert second.bytes == three[1].bytes
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_pipeline_that_takes_no_image_is_refused(client, source, request_for):
    """A text-only pipeline is refused in one line with a next step, before it loads."""
    with pytest.raises(InvalidRequestError, match="takes no image") as caught:
        client.variations(source, **request_for("text-only"))
    assert caught.value.field == "model"
    assert "\n" not in str(caught.value)


def test_pictures_that_the_safety_checker_blackened_are_not_handed_over(client, source, request_for):
    """Where the model's own checker flags every picture, the run fails in one line, and no black picture is kept."""
    with pytest.raises(EngineError, match="safety checker") as caught:
        client.variations(source, n=2, **request_for("flagged"))
    assert "\n" not in str(caught.value)
    assert not getattr(caught.value, "partial", None)


@pytest.mark.parametrize("name", ["adapter", "klein"])
def test_a_record_names_all_that_makes_a_picture_again_and_no_path(name, client, source, request_for):
    """A picture's record has class, versions, device, number format and steps, and no folder of this machine."""
    (made,) = client.variations(source, **request_for(name))
    record = json.dumps(made.parameters)
    assert made.parameters["call"]["pipeline"].endswith("Pipeline")
    assert made.parameters["call"]["num_inference_steps"] >= 4
    assert {"torch", "diffusers", "transformers"} <= made.parameters["versions"].keys()
    assert made.parameters["dtype"] == "float32"
    assert made.parameters["device"].startswith("cpu")
    assert request_for(name)["model"] not in record
    assert "/" not in record.replace("image/png", "")
    assert made.parameters["seed"] == 7


@pytest.mark.slow
def test_redux_makes_pictures_by_the_embedding_of_the_source(client, source, tiny_pipeline):
    """Redux and a FLUX.1 pipeline make pictures together: seeds repeat, a strength counts, a mask is refused."""
    folder = tiny_pipeline("redux")
    settings = {
        "model": str(folder / "prior"),
        "size": "96x64",
        "seed": 7,
        "options": {"steps": 4, "side": 96, "base": str(folder / "base")},
    }
    two = client.variations(source, n=2, **settings)
    again = client.variations(source, n=2, **settings)
    (strong,) = client.variations(source, strength="strong", **settings)
    assert [each.bytes for each in again] == [each.bytes for each in two]
    assert len({*(each.bytes for each in two), strong.bytes}) == 3
    with pytest.raises(InvalidRequestError, match="mask"):
        client.variations(source, mask=np.ones((64, 96), bool), **settings)
