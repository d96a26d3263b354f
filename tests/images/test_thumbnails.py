"""Pictures as they are shown, and saved with a notebook."""

import io

import numpy as np
import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from ipy_imgvar.images import codec
from ipy_imgvar.images.thumbnails import encoded, thumbnail


def opened(content):
    return Image.open(io.BytesIO(content))


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 300))
@cases(30, 8)
def test_bounds(width, height, side_px):
    """No side of a thumbnail is longer than asked, none is enlarged, and its size is told truly."""
    content, mime, size = thumbnail(codec.encode_png(Image.new("RGB", (width, height))), side_px)
    assert opened(content).size == size
    assert max(size) <= max(side_px, 1)
    assert size[0] <= width
    assert size[1] <= height
    assert mime == "image/jpeg"
    if max(width, height) <= side_px:
        assert size == (width, height)


def test_transparency():
    """A thumbnail is a PNG where something is transparent."""
    content, mime, _ = thumbnail(codec.encode_png(Image.new("RGBA", (40, 40), (1, 2, 3, 4))), 20)
    assert mime == "image/png"
    assert opened(content).getpixel((0, 0))[3] == 4


def textures():
    """Return four pictures of 1024 px of which a JPEG takes much: stones, grass, skin under a microscope, noise."""
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8)
    pictures = [data.gravel(), data.grass(), data.immunohistochemistry(), noise]
    return [Image.fromarray(each).convert("RGB").resize((1024, 1024)) for each in pictures]


@pytest.mark.parametrize("image", textures(), ids=["gravel", "grass", "tissue", "noise"])
@pytest.mark.parametrize("side_px", [64, 256, 512])
def test_grain_does_not_make_it_heavy(image, side_px):
    """A JPEG for display has at most 0.3 bytes a pixel, and its headers, however grainy the picture is."""
    image.thumbnail((side_px, side_px))
    content, mime = encoded(image)
    assert mime == "image/jpeg"
    assert len(content) <= 1024 + 0.3 * side_px**2


def test_smooth_pictures_keep_their_quality():
    """A photograph that is small anyway is encoded at quality 88."""
    image = Image.fromarray(data.chelsea()).resize((256, 170))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    assert encoded(image)[0] == buffer.getvalue()
