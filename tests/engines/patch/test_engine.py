"""What the engine says of a source that it can do little with."""

import numpy as np
import pytest
from PIL import Image

from ipy_imgvar import Client


def run(pixels, **arguments):
    """Return what is made of an array, and what is said of it."""
    with Client(engine="patch") as client:
        made = client.variations(Image.fromarray(pixels), **{"size": 64, "n": 2, "seed": 7} | arguments)
    return made, made.warnings


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(("tone", "words"), [(True, "only its tone changes"), (False, "nothing changes")])
def test_one_colour_is_said_to_be_one(tone, words):
    """A flat source's line says what changes, which is nothing where tone is off."""
    _, warnings = run(np.full((64, 64, 3), 90, np.uint8), options={"tone": tone})
    assert "one flat colour" in warnings[0]
    assert words in warnings[0]


def test_nothing_visible_is_said_to_be_transparent():
    """A picture of hidden colours alone has no tone to change."""
    hidden = noise(64, 64, 4)
    hidden[..., 3] = 0
    made, warnings = run(hidden)
    assert warnings == ["PIL image 64x64 is wholly transparent: so are its pictures"]
    assert not np.asarray(made[0].image)[..., 3].any()


def test_a_strip_too_thin_to_rearrange_is_not_said_to_have_been_tried():
    """No line speaks of arrangements where there was none to try."""
    _, warnings = run(noise(6, 200, 3), fit="pad")
    assert not any("visible breaks" in each for each in warnings)


def test_a_mask_of_everything_leaves_the_source():
    """Where every pixel is kept nothing is arranged, and the pictures are the source's."""
    source = noise(64, 64, 3)
    made, warnings = run(source, mask=Image.new("L", (64, 64), 255))
    assert {each.parameters["means"] for each in made} == {"camera"}
    np.testing.assert_array_equal(np.asarray(made[0].image), source)
    assert warnings == ["the mask keeps every pixel: the pictures are the source"]


def test_pictures_that_are_no_arrangement_are_said_once():
    """One line says how many pictures are second shots; subtle ones are meant to be."""
    source = np.zeros((96, 96, 3), np.uint8)
    source[20:80, 30:60] = (200, 40, 30)
    made, warnings = run(source, size=96)
    assert {each.parameters["means"] for each in made} == {"camera"}
    (warning,) = warnings
    assert "could be moved without visible breaks, so 2 of 2 are another framing and light" in warning
    assert not run(source, size=96, strength="subtle")[1]
