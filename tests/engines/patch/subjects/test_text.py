import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from ipy_imgvar.engines.patch.subjects.text import has_text


def _write(image, words, share, colour, top=0.4):
    """Return a photograph with words on it, letters of a share of its height."""
    picture = Image.fromarray(np.uint8(image * 255))
    font = ImageFont.load_default(round(share * picture.height))
    draw = ImageDraw.Draw(picture)
    draw.text((0.06 * picture.width, top * picture.height), words, font=font, fill=colour)
    return np.asarray(picture, np.float32) / 255


@pytest.mark.parametrize("share", [0.05, 0.08, 0.12])
@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("camera", "white"),
        ("rocket", "yellow"),
        ("chelsea", "black"),
        ("gravel", "white"),
        ("retina", "black"),
    ],
)
def test_words_on_a_photograph_are_found(photograph, name, colour, share):
    """Words of 5 % of the height and more are text on plain and on busy grounds, light and dark."""
    top = 0.6 if name == "camera" else 0.4
    assert has_text(_write(photograph(name, 512), "Hello World", share, colour, top))


def test_a_printed_page_has_text():
    """A scan of a page is text."""
    assert has_text(data.page()[..., None].astype(np.float32) / 255)


@pytest.mark.parametrize(
    "name", ["brick", "gravel", "grass", "camera", "coffee", "chelsea", "moon", "retina", "rocket"]
)
def test_photographs_without_text_may_be_mirrored(photograph, name):
    """Bricks, stones, faces and things aren't taken for text."""
    assert not has_text(photograph(name, 512))


def test_the_channels_and_the_size_do_not_matter(photograph):
    """Grey, transparent and larger pictures are searched alike."""
    page = _write(photograph("moon", 512), "Nine words", 0.08, "black")
    clear = np.dstack([page, np.ones((512, 512), np.float32)])
    large = np.asarray(Image.fromarray(np.uint8(page * 255)).resize((1500, 1500)), np.float32) / 255
    assert has_text(page[..., :1])
    assert has_text(clear)
    assert has_text(large)


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 7, 1), (5, 900, 4), (64, 64, 3)])
def test_small_and_flat_pictures_have_none(shape):
    """A picture of one colour, of any shape, shows no text."""
    assert not has_text(np.full(shape, 0.5, np.float32))
