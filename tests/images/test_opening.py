"""What files note beside their pixels, such as orientation and profile, is heeded where it is sound, else ignored."""

import io
import random
import struct
import warnings
import zlib

import numpy as np
import pytest
from cases import slow
from PIL import Image, ImageCms

from ipy_imgvar import Client
from ipy_imgvar.errors import InvalidImageError
from ipy_imgvar.images import codec
from ipy_imgvar.images.source import load_sources

pytestmark = pytest.mark.usefixtures("quick_patch")

ORIENTATION = 0x0112
NOISE = np.random.default_rng(0).integers(0, 256, (12, 20, 4), np.uint8)


def encoded(image, kind="PNG", **options):
    """Return an image as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(size, depth, colour_type, row, *chunks):
    """Return a PNG, written by hand, all of whose rows are alike."""

    def chunk(name, body):
        return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")

    head = chunk(b"IHDR", struct.pack(">LLBBBBB", *size, depth, colour_type, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress((b"\0" + row) * size[1]))
    middle = b"".join(chunk(name, body) for name, body in chunks)
    return b"\x89PNG\r\n\x1a\n" + head + middle + pixels + chunk(b"IEND", b"")


def damaged(data, number):
    """Return bytes with one to eight faults."""
    chosen, changed = random.Random(number), bytearray(data)  # noqa: S311 - no secret depends on it
    for _ in range(chosen.randint(1, 8)):
        at = chosen.randrange(len(changed))
        if chosen.random() < 0.5:
            changed[at] = chosen.randrange(256)
        else:
            changed[at : at + 4] = chosen.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"])
    return bytes(changed)


def pixels(image):
    """Return an image's pixels as RGBA, one to a row."""
    return np.asarray(image.convert("RGBA")).reshape(-1, 4).tolist()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("turn", range(10))
def test_orientations(kind, turn):
    """Every orientation of every format gives the pixels that numpy gives; 0 and 9, which are none, change nothing."""
    whole = np.kron(
        np.array([[[250, 0, 0], [0, 250, 0]], [[0, 0, 250], [250] * 3]], np.uint8), np.ones((16, 24, 1))
    )
    whole = whole.astype(np.uint8)
    expected = {
        2: whole[:, ::-1],
        3: whole[::-1, ::-1],
        4: whole[::-1],
        5: whole.transpose(1, 0, 2),
        6: np.rot90(whole, -1),
        7: whole[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(whole),
    }.get(turn, whole)
    exif = Image.Exif()
    exif[ORIENTATION] = turn
    data = encoded(Image.fromarray(whole), kind, exif=exif)
    for image in (codec.open_image(data, "x"), load_sources(Image.open(io.BytesIO(data)))[0].open()):
        got = np.asarray(image.convert("RGB")).astype(int)
        assert got.shape == expected.shape
        assert np.abs(got - expected).mean() < 12  # JPEG and AVIF are lossy.
        again = codec.open_image(codec.encode_png(image), "x")
        np.testing.assert_array_equal(np.asarray(again.convert("RGB")), got)
    assert codec.probe(data, "x")[1] == image.size


@pytest.mark.parametrize("kind", ["PNG", slow("JPEG"), slow("WEBP"), slow("TIFF")])
def test_broken_profiles_and_exif(kind):
    """A sound picture with a broken profile or broken EXIF is read, and no warning of it is shown."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x010F] = "maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = Image.fromarray(NOISE).convert("RGB")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(300):
            data = encoded(image, kind, icc_profile=damaged(profile, number))
            assert codec.open_image(data, "x").size == (20, 12)
            if kind == "TIFF":
                continue  # Whose EXIF is the file's own directory.
            data = encoded(image, kind, exif=b"Exif\0\0" + damaged(exif.tobytes()[6:], number))
            assert sorted(codec.open_image(data, "x").size) == [12, 20]
            assert sorted(codec.probe(data, "x")[1]) == [12, 20]


def test_profiles_that_are_not_ascii():
    """A profile whose description can't be decoded is ignored."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = b"\xffGB "
    data = encoded(Image.new("RGB", (8, 8), (1, 200, 3)), icc_profile=bytes(profile))
    assert codec.open_image(data, "x").getpixel((0, 0)) == (1, 200, 3)


def test_large_profiles():
    """A PNG with a colour profile of two megabytes is read, and the profile is applied."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ"), profile.index(b"gXYZ")
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    image = Image.new("RGB", (8, 8), (60, 200, 40))
    expected = codec.open_image(encoded(image, icc_profile=bytes(profile)), "x").getpixel((0, 0))
    large = bytes(profile) + bytes(2 << 20)
    large = len(large).to_bytes(4, "big") + large[4:]
    assert (
        codec.open_image(encoded(image, icc_profile=large), "x").getpixel((0, 0)) == expected != (60, 200, 40)
    )


def test_profiles_and_texts():
    """A PNG whose profile and whose text behind the pixels are both too large for Pillow is read with its colours."""
    body = b"zTXtnote\0\0" + zlib.compress(bytes(2 << 20))
    text = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encoded(Image.new("RGB", (8, 8), "red"), icc_profile=profile + bytes(2 << 20))
    data = data[:-12] + text + data[-12:]
    assert codec.open_image(data, "x").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("space", ["LAB", "XYZ", "broken"])
def test_what_was_carried_out_is_not_written_again(space):
    """The PNG that is made of a picture, and sent, has no profile or transparency that would count a second time."""
    profile = (
        b"broken" if space == "broken" else ImageCms.ImageCmsProfile(ImageCms.createProfile(space)).tobytes()
    )
    image = Image.fromarray(NOISE).convert("RGB")
    image.info["icc_profile"] = profile
    for source in (load_sources(image)[0], load_sources(encoded(image, icc_profile=profile))[0]):
        made = Image.open(io.BytesIO(codec.encode_png(source.open())))
        assert "icc_profile" not in made.info
        np.testing.assert_array_equal(np.asarray(made), NOISE[:, :, :3])


@pytest.mark.parametrize(
    ("depth", "row", "key", "greys", "clear"),
    [
        (1, b"\x40", 1, [0, 255], 1),
        (2, b"\x1b", 2, [0, 85, 170, 255], 2),
        (4, b"\x3f", 3, [51, 255], 0),
        (8, b"\x03\xff", 3, [3, 255], 0),
        (16, b"\x03\x01\xff\x00", 0x0301, [3, 255], 0),
    ],
)
def test_grey_that_is_transparent(depth, row, key, greys, clear):
    """The grey that a PNG notes as transparent is, at every depth, and no other."""
    data = png((len(greys), 1), depth, 0, row, (b"tRNS", struct.pack(">H", key)))
    expected = [[grey, grey, grey, 0 if at == clear else 255] for at, grey in enumerate(greys)]
    assert pixels(codec.open_image(data, "x")) == expected


def test_colour_that_is_transparent():
    """The colour that a PNG notes as transparent is, in 8 and in 16 bits."""
    eight = png((2, 1), 8, 2, b"\1\2\3\4\5\6", (b"tRNS", b"\0\1\0\2\0\3"))
    sixteen = png((2, 1), 16, 2, b"\1\x70\2\x80\3\x90\4\4\5\5\6\6", (b"tRNS", b"\1\x70\2\x80\3\x90"))
    for data in (eight, sixteen):
        assert pixels(codec.open_image(data, "x")) == [[1, 2, 3, 0], [4, 5, 6, 255]]


def test_palettes_that_are_transparent():
    """A PNG's palette has the transparency that it notes, at every depth."""
    colours = bytes(range(12))
    one = png((2, 1), 1, 3, b"\x40", (b"PLTE", colours[:6]), (b"tRNS", b"\x80"))
    two = png((4, 1), 2, 3, b"\x1b", (b"PLTE", colours), (b"tRNS", b"\xff\x00\x10"))
    assert pixels(codec.open_image(one, "x")) == [[0, 1, 2, 128], [3, 4, 5, 255]]
    assert [alpha for *_, alpha in pixels(codec.open_image(two, "x"))] == [255, 0, 16, 255]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
@pytest.mark.parametrize("note", [b"\x05\x09", (5, 6, 7), (5, 6), "x"])
def test_notes_of_another_mode(mode, note):
    """A note of transparency that is left over from another mode leaves a PIL image as it is, or makes it RGBA."""
    image = Image.fromarray(NOISE).convert("RGB").convert(mode)
    expected = np.asarray(image.convert("RGB"))
    image.info["transparency"] = note
    got = load_sources(image)[0].open()
    np.testing.assert_array_equal(np.asarray(got.convert("RGB")), expected)


def test_sixteen_bits_of_grey_and_of_colour():
    """The same 16-bit levels give the same greys in a grey picture as in one of three equal channels."""
    levels = np.linspace(0, 65535, 997).astype(">u2")
    grey = codec.open_image(png((997, 1), 16, 0, levels.tobytes()), "x")
    colour = codec.open_image(png((997, 1), 16, 2, np.repeat(levels, 3).tobytes()), "x")
    np.testing.assert_array_equal(np.asarray(grey.convert("RGB")), np.asarray(colour))


@pytest.mark.parametrize("brightest", [1, 255])
def test_sixteen_bits_that_are_black(brightest):
    """A 16-bit picture or mask of so low levels that it would be black is refused with them; one of zeros is black."""
    image = Image.fromarray(np.eye(8, dtype=np.uint16) * brightest)
    photo = Image.fromarray(NOISE)
    for call in (
        lambda: load_sources(image),
        lambda: codec.open_image(encoded(image), "x"),
        lambda: Client("patch").variations(photo, mask=encoded(image), size=64),
    ):
        with pytest.raises(
            InvalidImageError, match=rf"levels of 0 to {brightest} of 65535, which is black; convert"
        ):
            call()
    assert codec.open_image(encoded(Image.fromarray(np.zeros((8, 8), np.uint16))), "x").getextrema() == (0, 0)


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
def test_images_without_pixels(size):
    """A PIL image without pixels is refused."""
    with pytest.raises(InvalidImageError, match=r"it is .x., so it has no pixels"):
        load_sources(Image.new("RGB", size))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr", "HSV"]
)
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (20, 12)])
def test_pixels_of_every_mode(mode, size):
    """A PIL image of any mode has the pixels that Pillow converts it to."""
    rgba = Image.fromarray(NOISE).resize(size)
    image = rgba.convert("RGB").quantize(16).convert("PA") if mode == "PA" else rgba
    image = image if image.mode == mode or mode in ("LA", "RGBa") else image.convert("RGB")
    image = image if image.mode == mode else image.convert("P" if mode == "PA" else mode).convert(mode)
    got = load_sources(image)[0].open()
    expected = image.convert("RGBA" if mode[-1] in "Aa" else "RGB")
    np.testing.assert_array_equal(np.asarray(got.convert(expected.mode)), np.asarray(expected))


@pytest.mark.parametrize("order", ["I;16", "I;16L", "I;16B"])
def test_byte_orders(order):
    """16-bit greys of either byte order have the same pixels."""
    levels = np.arange(240).reshape(12, 20) * 257
    raw = levels.astype(">u2" if order.endswith("B") else "<u2").tobytes()
    got = load_sources(Image.frombytes(order, (20, 12), raw))[0].open()
    np.testing.assert_array_equal(np.asarray(got), levels // 257)


@pytest.mark.parametrize("note", ["exif", "raw profile", "xmp"])
@pytest.mark.parametrize("is_last", [False, True])
def test_the_size_of_a_turned_png(note, is_last):
    """The upright size of a PNG is read without decoding it, wherever it notes that it is turned."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    raw = exif.tobytes().removeprefix(b"Exif\0\0")
    name, body = {
        "exif": (b"eXIf", raw),
        "raw profile": (
            b"zTXt",
            b"Raw profile type exif\0\0" + zlib.compress(f"\nexif\n{len(raw):8}\n{raw.hex()}\n".encode()),
        ),
        "xmp": (b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<x tiff:Orientation="6"/>'),
    }[note]
    sound = png((20, 12), 8, 0, bytes(range(20)), *([] if is_last else [(name, body)]))
    if is_last:
        chunk = len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")
        sound = sound[:-12] + chunk + sound[-12:]
    assert codec.open_image(sound, "x").size == (12, 20)
    # Were the pixels decoded, these would be found to be damaged.
    broken = sound.replace(zlib.compress((b"\0" + bytes(range(20))) * 12)[4:12], b"damaged!")
    assert broken != sound
    with pytest.raises(InvalidImageError):
        codec.open_image(broken, "x")
    assert codec.probe(sound, "x") == codec.probe(broken, "x") == ("image/png", (12, 20))


@pytest.mark.parametrize("kind", ["AVIF", "WEBP"])
def test_formats_that_pillow_was_built_without(kind, monkeypatch):
    """A sound file of a format that this Pillow has no decoder for is not called damaged."""
    data = encoded(Image.new("RGB", (8, 8)), kind)
    assert codec.open_image(data, "x").size == (8, 8)
    monkeypatch.delitem(Image.OPEN, kind)
    with pytest.raises(
        InvalidImageError, match=f"x is a {kind} image, which this Pillow can't read; install a newer"
    ):
        codec.open_image(data, "x")


def test_kinds_of_a_format_that_are_not_read():
    """A TIFF of pixels that Pillow doesn't know, which may be sound, is said to be damaged or of a rare kind."""
    tags = [(256, 4, 1, 2), (257, 4, 1, 1), (258, 3, 1, 64), (262, 3, 1, 1), (273, 4, 1, 200), (339, 3, 1, 3)]
    entries = b"".join(struct.pack("<HHLL", *tag) for tag in tags)
    data = (b"II*\0" + struct.pack("<LH", 8, len(tags)) + entries).ljust(200, b"\0") + bytes(16)
    with pytest.raises(InvalidImageError, match="a damaged TIFF image, or of a rare kind; export it as PNG"):
        codec.open_image(data, "x")
