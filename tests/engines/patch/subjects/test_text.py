import numpy as np
import pytest
from cases import slow
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
        ("retina", "black"),
    ],
)
def test_words_on_a_photograph_are_found(photograph, name, colour, share):
    """Words of 5 % of the height and more are text on plain and on busy grounds, light and dark."""
    top = 0.6 if name == "camera" else 0.4
    assert has_text(_write(photograph(name, 512), "Hello World", share, colour, top))


@pytest.mark.parametrize("share", [0.08, 0.12])
def test_words_on_gravel_are_found(photograph, share):
    """Words of 8 % of the height and more are text also where stones look like letters."""
    assert has_text(_write(photograph("gravel", 512), "Hello World", share, "white"))


@pytest.mark.parametrize("angle", [-45, slow(-30), slow(-15), slow(15), 30, slow(45), slow(80)])
@pytest.mark.parametrize(
    ("name", "grey"),
    [("moon", 0.2), ("chelsea", 0.05), ("retina", 1.0), ("gravel", 1.0)],
)
def test_slanted_words_are_found(photograph, name, grey, angle):
    """Words of 6 % of the height are text at any angle."""
    image = photograph(name, 512)
    size = image.shape[1], image.shape[0]
    stencil = Image.new("L", size)
    font = ImageFont.load_default(round(0.06 * size[1]))
    ImageDraw.Draw(stencil).text((size[0] / 2, size[1] / 2), "Museum", font=font, fill=255, anchor="mm")
    share = np.asarray(stencil.rotate(angle, Image.Resampling.BICUBIC), np.float32)[..., None] / 255
    assert has_text(np.float32(image * (1 - share) + grey * share))


def test_writing_on_things_is_found(photograph):
    """A suit with embroidered badges is text, though the line that is found crosses a badge and its writing."""
    assert has_text(photograph("astronaut", 512))


def test_a_faint_word_is_found(photograph):
    """A word that is 0.2 darker than a plain ground is text."""
    image = photograph("moon", 512)
    shade = int(255 * (image[200:260].mean() - 0.2))
    assert has_text(_write(image, "Museum", 0.08, (shade, shade, shade)))


def test_a_printed_page_has_text():
    """A scan of a page is text."""
    assert has_text(data.page()[..., None].astype(np.float32) / 255)


@pytest.mark.parametrize(
    "name", ["brick", "gravel", "grass", "camera", "coffee", "chelsea", "moon", "retina", "rocket"]
)
def test_photographs_without_text_may_be_mirrored(photograph, name):
    """Bricks, stones, faces and things aren't taken for text."""
    assert not has_text(photograph(name, 512))


@pytest.mark.parametrize("name", ["brick", "gravel", "grass", "moon", "retina"])
@pytest.mark.parametrize("turns", [1, slow(2), slow(3)])
def test_turned_textures_may_be_mirrored(photograph, name, turns):
    """Rows of bricks, stones and blades that are upright aren't taken for text either."""
    assert not has_text(np.rot90(photograph(name, 512), turns))


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
