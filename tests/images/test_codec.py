import io
import json

import numpy as np
import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from ipy_imgvar.errors import InvalidImageError, InvalidRequestError
from ipy_imgvar.images import codec
from ipy_imgvar.images.formats import WRITTEN

SIDES = st.integers(1, 60)
KINDS = [(extension, each.name) for extension, each in WRITTEN.items()]


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(data):
    return Image.open(io.BytesIO(data))


def gradient(width, height, mode="RGB"):
    """Return a picture whose red tells the column and whose green tells the row."""
    rows, cols = np.mgrid[0:height, 0:width]
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = cols * 255 // max(1, width - 1)
    pixels[..., 1] = rows * 255 // max(1, height - 1)
    return Image.fromarray(pixels).convert(mode)


class TestFit:
    """How a picture is brought to another shape."""

    @given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["crop", "pad", "stretch"]))
    @cases(150, 37)
    def test_never_enlarged(self, width, height, to_width, to_height, fit):
        """No fit makes a picture larger than was asked for, nor than it was; stretch may, in one direction."""
        got = codec.fit_image(gradient(width, height), (to_width, to_height), fit)
        assert 1 <= got.width <= to_width
        assert 1 <= got.height <= to_height
        enlarged = [got.width > width, got.height > height]
        assert not all(enlarged) if fit == "stretch" else not any(enlarged)

    @given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["crop", "stretch"]))
    @cases(150, 37)
    def test_the_ratio_asked_for(self, width, height, to_width, to_height, fit):
        """Crop and stretch give the asked ratio, to the nearest pixel."""
        got = codec.fit_image(gradient(width, height), (to_width, to_height), fit)
        scale = min(1.0, got.width / to_width, got.height / to_height)
        assert abs(got.width - to_width * scale) <= max(1, to_width / to_height)
        assert abs(got.height - to_height * scale) <= max(1, to_height / to_width)

    @given(SIDES, SIDES, SIDES, SIDES)
    @cases(100, 25)
    def test_pad_keeps_the_ratio_of_the_picture(self, width, height, to_width, to_height):
        """Pad reduces evenly: both sides by one factor, to the nearest pixel."""
        got = codec.fit_image(gradient(width, height), (to_width, to_height), "pad")
        scale = min(1.0, to_width / width, to_height / height)
        assert abs(got.width - max(1, width * scale)) <= 1
        assert abs(got.height - max(1, height * scale)) <= 1

    def test_crop_is_even(self):
        """Crop cuts both sides alike, and only the longer direction."""
        wide = np.asarray(codec.fit_image(gradient(120, 60), (60, 60), "crop"))
        assert wide.shape == (60, 60, 3)
        assert abs(int(wide[0, 0, 0]) - (255 - int(wide[0, -1, 0]))) <= 2
        assert (wide[0, 0, 1], wide[-1, 0, 1]) == (0, 255)
        np.testing.assert_array_equal(wide, np.asarray(gradient(120, 60).crop((30, 0, 90, 60))))

    def test_stretch_keeps_all(self):
        """Stretch keeps all four edges."""
        got = np.asarray(codec.fit_image(gradient(120, 60), (30, 30), "stretch")).astype(int)
        assert got[0, 0, 0] < 10
        assert got[0, -1, 0] > 245
        assert got[-1, 0, 1] > 245

    @pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
    def test_nothing_to_do(self, fit):
        """A picture of the asked size is itself."""
        image = gradient(32, 20)
        assert codec.fit_image(image, (32, 20), fit) is image

    @given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(["crop", "pad", "stretch"]))
    @cases(60, 15)
    def test_exact_colours(self, width, height, to_width, to_height, fit):
        """A mask gets no colour that it did not have."""
        pixels = np.random.default_rng(0).integers(0, 2, (height, width), np.uint8) * 255
        got = codec.fit_image(Image.fromarray(pixels), (to_width, to_height), fit, exact_colours=True)
        assert set(np.unique(np.asarray(got))) <= set(np.unique(pixels))

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
    @given(SIDES, SIDES, SIDES, SIDES)
    @cases(40, 10)
    def test_padding(self, mode, width, height, to_width, to_height):
        """Padding gives exactly the asked size, in the picture's mode."""
        got = codec.pad_image(gradient(width, height, mode), (to_width, to_height))
        assert (got.size, got.mode) == ((to_width, to_height), mode)

    def test_padding_is_even_and_of_the_border_colour(self):
        """The picture is in the middle, on the mean colour of its border, or on nothing where it has transparency."""
        red = Image.new("RGB", (20, 10), (200, 0, 0))
        red.paste((0, 0, 255), (5, 3, 15, 7))
        assert codec.pad_image(red, (20, 20)).getpixel((10, 0)) == (200, 0, 0)
        clear = codec.pad_image(Image.new("RGBA", (20, 10), "red"), (20, 20))
        alpha = np.asarray(clear)[..., 3]
        assert (alpha[5:15] == 255).all()
        assert (alpha[:5] == 0).all()
        assert (alpha[15:] == 0).all()
        assert codec.pad_image(Image.new("L", (20, 10), 77), (20, 20)).getpixel((0, 0)) == 77

    def test_resize(self):
        """Resizing gives the exact size, or the picture itself where it has it."""
        image = gradient(20, 10)
        assert codec.resize(image, (20, 10)) is image
        assert codec.resize(image, (7, 9)).size == (7, 9)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


class TestParameters:
    """What a PNG of ours carries."""

    @given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON, max_size=4))
    @cases(60, 15)
    def test_round_trip(self, parameters):
        """What repeats a picture is read back from its PNG, whatever characters it has."""
        data = codec.encode_png(gradient(4, 4), parameters)
        assert codec.parameters_of(data) == parameters

    def test_chunk(self):
        """The parameters are JSON in an iTXt chunk named ipy_imgvar, for other programs to read."""
        data = codec.encode_png(gradient(4, 4), {"seed": 7, "name": "é"})
        assert b"iTXtipy_imgvar\0" in data
        assert json.loads(opened(data).text["ipy_imgvar"]) == {"seed": 7, "name": "é"}

    def test_same_bytes(self):
        """The order of the parameters makes no difference to the file."""
        image = gradient(4, 4)
        assert codec.encode_png(image, {"a": 1, "b": 2}) == codec.encode_png(image, {"b": 2, "a": 1})

    def test_none(self):
        """A picture that is not ours has no parameters, nor has one with something else in their place."""
        assert codec.parameters_of(codec.encode_png(gradient(4, 4))) is None
        assert codec.parameters_of(encoded(gradient(4, 4), "JPEG")) is None
        for text in ("no json", "[1]", "3", ""):
            info = codec.PngImagePlugin.PngInfo()
            info.add_itxt("ipy_imgvar", text)
            assert codec.parameters_of(encoded(gradient(4, 4), "PNG", pnginfo=info)) is None

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
    @pytest.mark.parametrize("level", [0, 1, 6, 9])
    def test_pixels_are_kept(self, mode, level):
        """PNG keeps every pixel in every mode and at every level."""
        image = gradient(31, 17, mode)
        back = codec.open_image(codec.encode_png(image, level=level), "x")
        assert back.mode == mode
        np.testing.assert_array_equal(np.asarray(back), np.asarray(image))


class TestDecoding:
    """What becomes of each kind of file."""

    def test_sixteen_bit_grey(self):
        """16-bit grey keeps its upper eight bits, in PNG and TIFF, and does not turn white."""
        levels = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
        for kind in ("PNG", "TIFF"):
            got = codec.open_image(encoded(Image.fromarray(levels), kind), "x")
            assert got.mode == "L"
            np.testing.assert_array_equal(np.asarray(got).ravel(), np.arange(256))

    def test_palette_transparency(self):
        """A transparent palette entry stays transparent; a palette without one is opaque."""
        image = Image.new("P", (2, 1))
        image.putpalette([255, 0, 0, 0, 0, 255])
        image.putpixel((1, 0), 1)
        got = codec.open_image(encoded(image, "PNG", transparency=1), "x")
        assert got.mode == "RGBA"
        assert got.getpixel((0, 0)) == (255, 0, 0, 255)
        assert got.getpixel((1, 0))[3] == 0
        assert codec.open_image(encoded(image), "x").mode == "RGB"

    def test_colour_key(self):
        """A colour declared transparent in an RGB or grey PNG is transparent."""
        rgb = codec.open_image(encoded(Image.new("RGB", (2, 2), "red"), "PNG", transparency=(255, 0, 0)), "x")
        grey = codec.open_image(encoded(Image.new("L", (2, 2), 9), "PNG", transparency=9), "x")
        assert rgb.mode == grey.mode == "RGBA"
        assert rgb.getpixel((0, 0))[3] == grey.getpixel((0, 0))[3] == 0

    def test_cmyk(self):
        """A CMYK JPEG has its colours in RGB."""
        got = codec.open_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"), "x")
        assert got.mode == "RGB"
        red, green, blue = got.getpixel((4, 4))
        assert (red > 230, green < 30, blue < 30) == (True, True, True)

    def test_colour_profile(self):
        """An embedded profile is applied, since what we write has none; sRGB's own changes nothing."""
        image = gradient(16, 16)
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        same = np.asarray(codec.open_image(encoded(image, icc_profile=srgb), "x")).astype(int)
        assert np.abs(same - np.asarray(image)).max() <= 1
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
        assert codec.open_image(encoded(image, icc_profile=lab), "x").mode == "RGB"

    def test_swapped_profile_changes_colours(self):
        """A profile that says something else than sRGB is heeded."""
        profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        # Swap the names of the red and blue primaries in the profile's table of tags.
        red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
        profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
        image = Image.new("RGB", (4, 4), (255, 0, 0))
        assert codec.open_image(encoded(image, icc_profile=bytes(profile)), "x").getpixel((0, 0)) != (
            255,
            0,
            0,
        )

    def test_transparency_survives_a_profile(self):
        """A picture with a profile keeps its alpha."""
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        image = Image.new("RGBA", (4, 4), (10, 20, 30, 40))
        assert codec.open_image(encoded(image, icc_profile=srgb), "x").getpixel((0, 0))[3] == 40

    def test_reduced_decoding(self, photo):
        """A JPEG decoded at a reduced scale keeps the pixels asked for on both sides."""
        data = encoded(photo.resize((800, 600)), "JPEG")
        assert min(codec.open_image(data, "x", at_least_px=100).size) >= 100
        assert codec.open_image(data, "x").size == (800, 600)

    def test_probe(self):
        """Type and size are told by the content, without decoding."""
        for kind, mime in (("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")):
            assert codec.probe(encoded(gradient(20, 10), kind), "x") == (mime, (20, 10))
        with pytest.raises(InvalidImageError, match="x is not an image"):
            codec.probe(b"no", "x")

    def test_threads(self):
        """Decoding from several threads at once leaves the process's warning filters as they were."""
        import warnings
        from concurrent.futures import ThreadPoolExecutor

        before = list(warnings.filters)
        data = encoded(gradient(20, 10))
        with ThreadPoolExecutor(8) as pool:
            sizes = list(pool.map(lambda _: codec.open_image(data, "x").size, range(200)))
        assert set(sizes) == {(20, 10)}
        assert warnings.filters == before


class TestConvert:
    """Writing in another format."""

    @pytest.mark.parametrize(("extension", "kind"), KINDS)
    def test_the_extension_decides(self, extension, kind):
        """A picture is written in its extension's format, in any case."""
        data = encoded(gradient(20, 10))
        for spelling in (extension, extension.upper()):
            got = opened(codec.convert(data, spelling))
            assert (got.format, got.size) == (kind, (20, 10))

    @pytest.mark.parametrize(("extension", "kind"), KINDS)
    def test_the_same_format_is_the_same_bytes(self, extension, kind):
        """A picture that has the format already is not touched."""
        data = encoded(gradient(20, 10), kind)
        assert codec.convert(data, extension) is data

    def test_transparency_on_white_for_jpeg(self):
        """JPEG has no transparency, so what is transparent becomes white; WebP keeps it."""
        data = encoded(Image.new("RGBA", (16, 16), (0, 0, 0, 0)))
        assert min(opened(codec.convert(data, ".jpg")).getpixel((8, 8))) > 250
        assert opened(codec.convert(data, ".webp")).convert("RGBA").getpixel((8, 8))[3] == 0

    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
    @pytest.mark.parametrize("extension", WRITTEN)
    def test_every_mode(self, mode, extension):
        """Each mode can be written in each format."""
        assert opened(codec.convert(encoded(gradient(20, 10, mode)), extension)).size == (20, 10)

    @pytest.mark.parametrize("extension", ["", ".gif", "png", ".png "])
    def test_other_extensions(self, extension):
        """Any other extension is refused with those that can be written."""
        with pytest.raises(InvalidRequestError, match=r"allowed: \.png, \.jpg, \.jpeg, \.webp"):
            codec.convert(encoded(gradient(4, 4)), extension)


class TestThumbnails:
    """Reduced pictures and sheets of them."""

    def test_grid(self):
        """Pictures of a grid are in rows, in cells of the largest size, on white, or transparent ground if one is."""
        red, blue, small = (
            Image.new("RGB", size, colour)
            for size, colour in (((8, 8), "red"), ((8, 8), "blue"), ((4, 4), "lime"))
        )
        sheet = codec.grid([red, blue, small], 2, 2)
        assert (sheet.mode, sheet.size) == ("RGB", (18, 18))
        assert sheet.getpixel((0, 0)) == (255, 0, 0)
        assert sheet.getpixel((10, 0)) == (0, 0, 255)
        assert sheet.getpixel((0, 10)) == (0, 255, 0)
        assert sheet.getpixel((17, 17)) == (255, 255, 255)
        sheet = codec.grid([red, blue, Image.new("RGBA", (4, 4), (0, 255, 0, 99))], 2, 2)
        assert sheet.getpixel((0, 0)) == (255, 0, 0, 255)
        assert sheet.getpixel((0, 10)) == (0, 255, 0, 99)
        assert sheet.getpixel((17, 17))[3] == 0


class TestMasks:
    """What a mask keeps."""

    @given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
    @cases(30, 8)
    def test_every_spelling_of_keep(self, width, height, seed):
        """True, 255 and opaque mean keep, as array, grey, RGB or alpha."""
        keep = np.random.default_rng(seed).random((height, width)) < 0.5
        grey = keep * np.uint8(255)
        rgba = np.zeros((height, width, 4), np.uint8)
        rgba[..., 3] = grey
        for form in (keep, grey, keep.astype(float), np.dstack([grey] * 3), rgba):
            got = codec.kept_pixels(codec.from_array(form, "mask"), (width, height))
            assert got.dtype == bool
            np.testing.assert_array_equal(got, keep)

    def test_other_shape(self):
        """A mask of another shape than its image's is refused with both, as an error about the mask."""
        with pytest.raises(InvalidImageError, match="the mask is 4x6, its image 6x4; allowed: ") as caught:
            codec.kept_pixels(Image.new("L", (4, 6)), (6, 4))
        assert caught.value.field == "mask"

    def test_zeros_and_ones(self):
        """A mask of 0 and 1 is refused, since it would keep nothing where 1 was meant to; all 0 keeps nothing."""
        with pytest.raises(InvalidImageError, match=r"pass mask\.astype\(bool\)") as caught:
            codec.kept_pixels(codec.from_array(np.eye(4, dtype=np.uint8), "mask"), (4, 4))
        assert caught.value.field == "mask"
        assert not codec.kept_pixels(Image.new("L", (4, 4)), (4, 4)).any()

    def test_the_mask_for_a_server_reads_the_same_by_alpha_and_by_colour(self):
        """What is kept is opaque and black, the rest transparent and white, and it reads back as it was."""
        keep = np.random.default_rng(0).random((5, 7)) < 0.5
        mask = codec.opaque_where(keep)
        assert np.array_equal(np.asarray(mask.getchannel("A")), keep * 255)
        assert np.array_equal(np.asarray(mask.convert("L")), ~keep * 255)
        assert np.array_equal(codec.kept_pixels(mask, (7, 5)), keep)


class TestPlain:
    """Pictures that each decoder reads alike."""

    @pytest.mark.parametrize(("mode", "kind"), [("RGB", "PNG"), ("RGBA", "PNG"), ("RGB", "JPEG")])
    @pytest.mark.parametrize(("orientation", "expected"), [(None, True), (1, True), (6, False), (3, False)])
    def test_colour_and_upright(self, mode, kind, orientation, expected):
        """A PNG or JPEG in colour is plain as long as it asks for no rotation; a PNG with Exif data may ask."""
        exif = Image.Exif()
        if orientation is not None:
            exif[0x0112] = orientation
        data = encoded(gradient(8, 6, mode), kind, **({"exif": exif} if orientation is not None else {}))
        assert codec.is_plain(data, "x") is (expected and (kind == "JPEG" or orientation is None))

    @pytest.mark.parametrize(
        ("mode", "kind"),
        [
            ("L", "PNG"),
            ("LA", "PNG"),
            ("P", "PNG"),
            ("1", "PNG"),
            ("I;16", "PNG"),
            ("L", "JPEG"),
            ("CMYK", "JPEG"),
        ],
    )
    def test_other_modes(self, mode, kind):
        """Grey, palettes, 16-bit grey and CMYK are not."""
        assert not codec.is_plain(encoded(Image.new(mode, (8, 6)), kind), "x")

    @pytest.mark.parametrize("kind", ["WEBP", "GIF", "TIFF", "BMP"])
    def test_other_formats(self, kind):
        """Nor is any other format."""
        assert not codec.is_plain(encoded(gradient(8, 6), kind), "x")


def test_to_array():
    """Pixels come as (H, W, 3), or (H, W, 4) where there is transparency, and can be written to."""
    for mode, channels in (("L", 3), ("RGB", 3), ("RGBA", 4)):
        array = codec.to_array(gradient(6, 4, mode))
        assert array.shape == (4, 6, channels)
        assert array.dtype == np.uint8
        array[0, 0] = 0


def test_of_pixels():
    """An engine's pixels are a picture, grey where there is one channel."""
    assert codec.of_pixels(np.zeros((4, 6, 1), np.uint8)).mode == "L"
    assert codec.of_pixels(np.zeros((4, 6, 3), np.uint8)).size == (6, 4)
    assert codec.of_pixels(np.zeros((4, 6, 4), np.uint8)).mode == "RGBA"
