"""Every mode becomes upright sRGB of mode L, RGB or RGBA, and what can't is refused."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from ipy_imgvar.errors import InvalidImageError, InvalidRequestError
from ipy_imgvar.images import codec
from ipy_imgvar.images.pixels import as_pixels
from ipy_imgvar.images.source import load_sources

pytestmark = pytest.mark.usefixtures("quick_patch")

TESTS = Path(__file__).parents[1]
ORIENTATION = 0x0112


def encoded(image, kind="PNG", **options):
    """Return an image as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def profile_of_swapped_channels():
    """Return an RGB profile in which red and green have changed places, so that its effect can be seen."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = data.index(b"rXYZ"), data.index(b"gXYZ")
    data[red : red + 4], data[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(data)


@pytest.mark.parametrize("mode", ["P", "PA", "RGB", "RGBA", "L", "LA"])
def test_profiles_of_every_mode(mode):
    """A colour profile counts in every mode, and transparency outlives it."""
    colour = (120, 120, 120) if mode in ("L", "LA") else (60, 200, 40)
    image = Image.new("RGBA", (8, 8), (*colour, 255)).convert("RGB")
    as_rgb = codec.open_image(encoded(image, icc_profile=profile_of_swapped_channels()), "x")
    if mode == "PA":
        image = image.quantize(4)
        data = encoded(image, icc_profile=profile_of_swapped_channels(), transparency=bytes([128] * 4))
    else:
        image = image.quantize(4) if mode == "P" else image.convert(mode)
        data = encoded(image, icc_profile=profile_of_swapped_channels())
    opened = codec.open_image(data, "x")
    assert (
        np.abs(np.asarray(opened.convert("RGB")).astype(int) - np.asarray(as_rgb.convert("RGB"))).max() <= 2
    )
    assert (opened.mode == "RGBA") == (mode in ("PA", "RGBA", "LA"))
    if mode == "PA":
        assert opened.getchannel("A").getextrema() == (128, 128)


def test_colour_key_and_profile():
    """Transparency by colour key becomes an alpha channel also where a profile changes the colours."""
    image = Image.new("RGB", (4, 1), (10, 20, 30))
    image.putpixel((0, 0), (255, 0, 255))
    opened = codec.open_image(
        encoded(image, transparency=(255, 0, 255), icc_profile=profile_of_swapped_channels()), "x"
    )
    assert opened.mode == "RGBA"
    assert np.asarray(opened.getchannel("A")).ravel().tolist() == [0, 255, 255, 255]


def test_colour_key_of_sixteen_bits():
    """A 16-bit grey level that is noted as transparent is transparent, and its neighbour is not."""
    levels = np.array([[4000, 4001, 65535, 0]], np.uint16)
    opened = codec.open_image(encoded(Image.fromarray(levels), transparency=4000), "x")
    assert np.asarray(opened.getchannel("A")).ravel().tolist() == [0, 255, 255, 255]
    assert np.asarray(opened.getchannel("R")).ravel().tolist() == [15, 15, 255, 0]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_modes_without_a_range(dtype):
    """A PIL image of 32-bit numbers, whose range is unknown, is refused and never made black."""
    image = Image.fromarray(np.arange(256, dtype=dtype).reshape(16, 16))
    with pytest.raises(InvalidImageError, match=r"mode [IF] .* has no defined range; convert"):
        load_sources(image)


@pytest.mark.parametrize("chunk", ["tEXt", "zTXt", "iTXt"])
def test_large_texts(chunk):
    """A sound PNG with two megabytes of text is read, whatever chunk they are in."""
    text = PngImagePlugin.PngInfo()
    words = "x" * (2 << 20)
    if chunk == "iTXt":
        text.add_itxt("note", words, zip=True)
    else:
        text.add_text("note", words, zip=chunk == "zTXt")
    data = encoded(Image.new("RGB", (8, 8), "red"), pnginfo=text)
    assert codec.open_image(data, "x").getpixel((0, 0)) == (255, 0, 0)
    assert codec.probe(data, "x") == ("image/png", (8, 8))
    assert codec.parameters_of(data) is None


def test_masked_arrays():
    """A masked array is refused by the name of what fills it, unless nothing in it is masked."""
    array = np.full((8, 8), 100, np.uint8)
    with pytest.raises(InvalidImageError, match=r"masked array.*\.filled\(0\)"):
        load_sources(np.ma.masked_array(array, mask=array > 50))
    assert load_sources(np.ma.masked_array(array, mask=array > 200))[0].open().size == (8, 8)


@pytest.mark.parametrize("level", [1, 2, 127])
def test_masks_that_keep_nothing(level):
    """A mask with levels, none of which keeps, is refused with its levels and the least that keeps."""
    mask = Image.fromarray(np.full((96, 96), level, np.uint8))
    with pytest.raises(
        InvalidImageError, match=rf"{level} to {level} of 255, so it keeps nothing.*from 128 on"
    ):
        codec.kept_pixels(mask, (96, 96))


def test_floats_a_hair_above_one():
    """A float array's largest value is shown as it is, not rounded into the range."""
    with pytest.raises(InvalidImageError, match=r"to 1\.0000001\d*; allowed: 0 to 1"):
        as_pixels(np.full((4, 4), 1 + 1.2e-7), "the array")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_sizes_are_upright(kind, orientation):
    """The size that is read without decoding is that of the upright picture, and so is a reduced one's."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(Image.new("RGB", (96, 64), "red"), kind, exif=exif)
    size = codec.open_image(data, "x").size
    assert codec.probe(data, "x")[1] == size == ((64, 96) if orientation >= 5 else (96, 64))


def test_a_turned_picture_of_a_server(api, photo):
    """A server's JPEG that notes an orientation is reduced upright, and not squeezed."""
    from loopback import answer_of, response

    from ipy_imgvar import Client

    exif = Image.Exif()
    exif[ORIENTATION] = 6
    picture = encoded(Image.new("RGB", (1536, 1024), "red"), "JPEG", exif=exif)
    api.script([response(200, answer_of(picture))])
    with Client("openai", api_base=api.base, api_key="none") as client:
        made = client.variations(photo, prompt="x", size=512)[0]
    assert made.size == (341, 512)
    assert made.image.size == (341, 512)


def test_a_turned_square_png_goes_upright(api):
    """The classic route gets a square PNG upright, also where the file only notes that it is turned."""
    from ipy_imgvar import Client

    image = Image.new("RGB", (64, 64), "red")
    image.paste("blue", (0, 0, 64, 32))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    with Client("openai", api_base=api.base, api_key="none") as client:
        client.variations(encoded(image, exif=exif), size=256)
    sent = Image.open(io.BytesIO(api.posts[0].files["image"][2]))
    assert sent.getpixel((60, 32)) == (0, 0, 255)
    assert sent.getpixel((4, 32)) == (255, 0, 0)


def test_sides_that_a_format_has_no_room_for():
    """A picture with a side that WebP or JPEG can't hold is refused with the limit."""
    long = codec.encode_png(Image.new("L", (16_384, 1)))
    with pytest.raises(InvalidRequestError, match=r"WEBP has at most 16383 pixels a side; save it as \.png"):
        codec.convert(long, ".webp")
    longer = codec.encode_png(Image.new("L", (65_501, 1)))
    with pytest.raises(InvalidRequestError, match="JPEG has at most 65500 pixels"):
        codec.convert(longer, ".jpg")


def profiled(mode, kind, turn=1):
    """Return a file of 20 million pixels with a colour profile and an orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    image = Image.new(mode, (5000, 4000))
    return encoded(image, kind, icc_profile=profile_of_swapped_channels(), exif=exif)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("most", "make"),
    [
        (4, lambda: encoded(Image.fromarray(np.full((4000, 5000), 999, np.uint16)))),
        (4, lambda: profiled("RGB", "PNG")),
        (4, lambda: profiled("RGBA", "PNG")),
        (5, lambda: profiled("L", "PNG")),
        (8, lambda: profiled("LA", "PNG")),
        (8, lambda: profiled("RGB", "JPEG", turn=6)),
    ],
    ids=["16 bits", "RGB", "RGBA", "L", "LA", "turned"],
)
def test_memory(most, make):
    """Decoding takes four bytes a pixel, and as many again only where the pixels are converted or turned."""
    code = (
        "import sys; from peak import peak_bytes; from ipy_imgvar.images import codec; data = sys.stdin.buffer.read()\n"
        "codec.open_image(codec.encode_png(codec.Image.new('I;16', (8, 8))), 'x')\n"
        "before = peak_bytes()\n"
        "codec.open_image(data, 'x')\n"
        "print(peak_bytes() - before)\n"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    done = subprocess.run(
        [sys.executable, "-c", code], input=make(), capture_output=True, check=True, env=env
    )
    # One byte a pixel more: what else a process takes varies, most of all under coverage.
    assert int(done.stdout) <= (most + 1) * 5000 * 4000
