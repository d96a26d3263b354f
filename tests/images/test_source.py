import base64
import contextlib
import io
import os
import pickle
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote_from_bytes

import numpy as np
import pytest
from cases import cases
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from IPython.display import Image as IPythonImage
from PIL import Image

from ipy_imgvar.errors import ConnectionFailedError, InvalidImageError, RequestTimeoutError
from ipy_imgvar.images import fetch
from ipy_imgvar.images.kinds import looks_like_image
from ipy_imgvar.images.source import Source, load_sources, missing_file
from ipy_imgvar.plain import plain
from ipy_imgvar.results.variations import Variations


def only(value, **options):
    """Return the one source that `value` gives."""
    (source,) = load_sources(value, **options)
    return source


def pixels(value):
    return np.asarray(only(value).open())


def refusal(value, **options):
    """Return the one line that refuses `value`, whether at once or when it is decoded."""
    with pytest.raises(InvalidImageError) as caught:
        _ = [source.open() for source in load_sources(value, **options)]
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert len(message) < 400
    return message


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


class Tensor:
    """What torch and jax offer: an array on demand."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array if dtype is None else self.array.astype(dtype)


class Tensor2D(Tensor):
    """A tensor that tells its number of dimensions."""

    ndim = 2


class TestFiles:
    """Images by path."""

    def test_every_spelling_of_a_path(self, photo_path, photo, monkeypatch):
        """A path is taken as text, `Path`, bytes-like path, relative, or from the home folder."""
        monkeypatch.setenv("HOME", str(photo_path.parent))
        monkeypatch.chdir(photo_path.parent)
        fs_path = type("FsPath", (), {"__fspath__": lambda _: os.fsencode(photo_path)})()
        for spelling in (
            str(photo_path),
            photo_path,
            "photo.png",
            "~/photo.png",
            Path("~/photo.png"),
            fs_path,
        ):
            source = only(spelling)
            assert (source.name, source.stem) == ("photo.png", "photo")
            np.testing.assert_array_equal(np.asarray(source.open()), np.asarray(photo))

    def test_a_file_is_read_when_needed(self, photo_path):
        """A file that vanishes after it was named is missed only when its image is asked for."""
        source = only(photo_path)
        photo_path.unlink()
        with pytest.raises(InvalidImageError, match=r"there is no file .*photo.png"):
            source.open()

    def test_a_file_that_can_not_be_read(self, photo_path):
        """A file in whose place there is something else by then is one line."""
        source = only(photo_path)
        photo_path.unlink()
        photo_path.mkdir()
        with pytest.raises(InvalidImageError, match=r"photo\.png can't be read \(Is a directory\)"):
            source.open()

    def test_content_decides_not_the_extension(self, photo, tmp_path):
        """A JPEG named .png, or without an extension, is read as what it is."""
        for name in ("photo.png", "photo", "photo.txt"):
            (tmp_path / name).write_bytes(encoded(photo, "JPEG"))
            assert only(tmp_path / name).open().size == photo.size

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
    def test_common_formats(self, photo, kind):
        """The formats that people have are read."""
        assert only(encoded(photo, kind)).open().mode in ("RGB", "RGBA")

    def test_the_first_frame_of_an_animation(self, photo):
        """An animation stands for its first frame."""
        frames = [Image.new("RGB", photo.size, colour) for colour in ("red", "blue")]
        data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
        assert pixels(data)[0, 0].tolist() == [255, 0, 0]

    def test_spaces_and_unicode_in_names(self, photo, tmp_path):
        """A file's name may hold spaces, accents, quotes and what is not UTF-8."""
        for name in (b"my photo.png", "日本 é'\".png".encode(), b"caf\xe9.png"):
            path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
            photo.save(path, "PNG")
            assert only(path).open().size == photo.size

    def test_missing_file_names_the_near_ones(self, photo_path):
        """A name that is not there is answered with what is: also where only the case differs."""
        for wrong in ("phto.png", "PHOTO.PNG", "photo.jpg"):
            assert "near names there: photo.png" in refusal(photo_path.with_name(wrong))

    def test_missing_file_without_near_ones(self, tmp_path):
        """Where nothing is near, the message says where it looked."""
        assert str(tmp_path) in refusal(tmp_path / "x.png")
        assert "looked in" in str(missing_file(tmp_path / "x.png"))

    def test_missing_folder(self, tmp_path):
        """A folder that is not there is named."""
        assert f"its folder {tmp_path / 'no'} does not exist" in refusal(tmp_path / "no" / "x.png")

    def test_a_file_is_no_folder(self, photo_path):
        """A path that goes through a file is a missing file."""
        assert "there is no file" in refusal(photo_path / "x.png")

    def test_folder(self, photo_path):
        """A folder is refused with an image in it as an example, not with just any file."""
        (photo_path.parent / "a.py").touch()
        assert f"name an image in it, such as {photo_path}" in refusal(photo_path.parent)

    def test_empty_folder(self, tmp_path):
        """A folder without images is refused all the same."""
        assert "is a folder" in refusal(tmp_path)

    def test_name_that_no_file_system_takes(self):
        """A name that is too long is cut in the message."""
        assert "File name too long" in refusal("x" * 5000)

    def test_devices(self):
        """A device is refused, since reading one may never end."""
        assert refusal("/dev/zero") == "/dev/zero is a device or pipe; allowed: a file, or open(path, 'rb')"

    def test_unknown_home(self):
        """The home of a user that does not exist is one line."""
        assert "no-such-user" in refusal("~no-such-user/x.png")

    @pytest.mark.parametrize("text", ["", "\0", "a\0b.png"])
    def test_no_path_at_all(self, text):
        """Text that can't be a path is refused with all that is allowed."""
        assert "allowed: a path, an http(s)" in refusal(text)


class TestDamage:
    """What is no whole image."""

    def test_text_named_png(self, tmp_path):
        """A text file named .png is refused by its content."""
        path = tmp_path / "note.png"
        path.write_text("hello, world")
        assert refusal(path).startswith("note.png is not an image (its content begins with b'hello, w')")

    def test_empty_file(self, tmp_path):
        """A file of 0 bytes is refused as such."""
        (tmp_path / "empty.png").touch()
        assert refusal(tmp_path / "empty.png") == "empty.png is empty (0 bytes); pass an image file"

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
    def test_truncated(self, photo, kind, share):
        """A file that breaks off is refused, never shown half grey."""
        data = encoded(photo, kind)
        assert "again" in refusal(data[: int(len(data) * share)])

    @given(st.integers(0, 5000), st.binary(min_size=1, max_size=8))
    @cases(60, 15)
    def test_any_damage_is_a_picture_or_one_line(self, place, noise):
        """Whatever bytes of a file are overwritten, the result is a picture or our own error."""
        rng = np.random.default_rng(0)
        data = bytearray(encoded(Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8))))
        place %= len(data)
        data[place : place + len(noise)] = noise
        try:
            only(bytes(data)).open()
        except InvalidImageError as exc:
            assert len(str(exc).splitlines()) == 1  # noqa: PT017

    @given(st.binary(max_size=200))
    @cases(100, 25)
    def test_any_bytes_are_a_picture_or_one_line(self, data):
        """Any bytes at all are a picture or our own error."""
        try:
            only(data).open()
        except InvalidImageError as exc:
            assert len(str(exc).splitlines()) == 1  # noqa: PT017

    @pytest.mark.parametrize("factor", [0.7, 0.3])
    def test_bomb(self, photo, monkeypatch, factor):
        """An image over Pillow's limit, where Pillow itself only warns too, is refused before it is decoded."""
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(photo.width * photo.height * factor))
        message = refusal(encoded(photo))
        assert "has more pixels than is safe to open" in message
        assert "MAX_IMAGE_PIXELS" in message

    def test_damaged_profile_and_exif(self, photo):
        """A broken colour profile is no reason to refuse a picture."""
        assert only(encoded(photo, "PNG", icc_profile=b"no profile")).open().mode == "RGB"

    def test_floating_point_file(self):
        """A whole file with float pixels is refused for that, not as damaged."""
        message = refusal(encoded(Image.new("F", (8, 8), 0.5), "TIFF"))
        assert "float pixels" in message
        assert "damaged" not in message


class TestOrientation:
    """Photographs that were taken sideways."""

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation_is_applied(self, orientation):
        """All eight EXIF orientations come out upright, in files and in PIL images."""
        upright = np.zeros((16, 24, 3), np.uint8)
        upright[:8, :8] = 255
        undo = {
            1: lambda a: a,
            2: lambda a: a[:, ::-1],
            3: lambda a: a[::-1, ::-1],
            4: lambda a: a[::-1],
            5: lambda a: a.swapaxes(0, 1),
            6: lambda a: np.rot90(a, 1),
            7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
            8: lambda a: np.rot90(a, -1),
        }[orientation]
        stored = Image.fromarray(np.ascontiguousarray(undo(upright)))
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(stored, "PNG", exif=exif)
        np.testing.assert_array_equal(pixels(data), upright)
        np.testing.assert_array_equal(pixels(Image.open(io.BytesIO(data))), upright)


class TestData:
    """Images in memory, in files that are open, and in other libraries' objects."""

    def test_bytes_and_the_like(self, photo):
        """bytes, bytearray and memoryview are encoded images."""
        data = encoded(photo)
        for value in (data, bytearray(data), memoryview(data)):
            np.testing.assert_array_equal(pixels(value), np.asarray(photo))

    def test_data_urls(self, photo):
        """A data: URL is taken in base64 or percent-encoded, in any case, with line breaks and padding quoted."""
        data = encoded(photo)
        text = base64.b64encode(data).decode()
        for url in (
            f"data:image/png;base64,{text}",
            f"DATA:;BASE64,{text}",
            f"data:image/png;charset=utf-8;base64,{text[:40]}\n{text[40:]}",
            f"data:image/png;base64,{text.replace('=', '%3D').replace('+', '%2B')}",
            f"data:image/png,{quote_from_bytes(data)}",
        ):
            np.testing.assert_array_equal(pixels(url), np.asarray(photo))

    @pytest.mark.parametrize(
        "url", ["data:", "data:image/png;base64", "data:;base64,###", "data:;base64,é", "data:;base64,a"]
    )
    def test_bad_data_urls(self, url):
        """A data: URL that can't be decoded shows how one looks."""
        assert "allowed: data:image/png;base64,..." in refusal(url)

    def test_a_long_data_url_is_not_repeated(self):
        """The message about a data: URL does not hold its megabytes."""
        assert len(refusal("data:;base64," + "#" * 100_000)) < 200

    def test_files(self, photo, photo_path):
        """A binary file is read from where it stands, once, and named after its path."""
        with photo_path.open("rb") as file:
            source = only(file)
        assert (source.name, source.stem) == ("photo.png", "photo")
        np.testing.assert_array_equal(np.asarray(source.open()), np.asarray(photo))
        assert only(io.BytesIO(encoded(photo))).name == "file object"

    def test_wrong_files(self, photo_path, tmp_path):
        """A text-mode, closed or write-only file is refused with the way to open it."""
        closed = photo_path.open("rb")
        closed.close()
        with photo_path.open(encoding="utf-8") as text, (tmp_path / "new").open("wb") as written:
            for file in (text, io.StringIO("hello"), closed, written):
                assert "open(path, 'rb')" in refusal(file)

    def test_ipython_images(self, photo, photo_path):
        """An IPython Image is taken embedded, by file name, or by its address; an empty one is refused."""
        for value in (IPythonImage(encoded(photo)), IPythonImage(filename=str(photo_path))):
            np.testing.assert_array_equal(pixels(value), np.asarray(photo))
        unread = IPythonImage(url="data:image/png;base64," + base64.b64encode(encoded(photo)).decode())
        np.testing.assert_array_equal(pixels(unread), np.asarray(photo))
        unread.url = None
        assert "the IPython Image is empty" in refusal(unread)

    def test_figure(self):
        """A matplotlib figure is what it would save."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(2, 1), dpi=50)
        figure.subplots().plot([1, 2])
        assert only(figure).open().size == (100, 50)
        assert only(figure).stem == "figure"

    def test_source_is_passed_through(self, photo_path):
        """A `Source` is itself."""
        source = Source("photo.png", path=photo_path)
        assert only(source) is source

    @pytest.mark.parametrize("value", [None, 3, 2.5, {"a": 1}, object(), len, iter("a"), {1, 2}, Image])
    def test_no_image(self, value):
        """What is no kind of image is refused with what was received, its type and all that is allowed."""
        message = refusal(value)
        assert (
            f"({type(value).__name__}); allowed: a path, an http(s) or data: URL, an address such" in message
        )


class TestPillow:
    """PIL images."""

    MODES = (
        "1",
        "L",
        "P",
        "RGB",
        "RGBA",
        "CMYK",
        "YCbCr",
        "LAB",
        "HSV",
        "LA",
        "PA",
        "La",
        "RGBa",
        "RGBX",
        "I;16",
        "I;16B",
    )

    @pytest.mark.parametrize("mode", MODES)
    def test_every_mode(self, mode):
        """Every mode of Pillow with a defined range comes out as L, RGB or RGBA."""
        image = Image.new(mode, (5, 4))
        opened = only(image).open()
        assert opened.mode == {
            "1": "L",
            "L": "L",
            "LA": "RGBA",
            "PA": "RGBA",
            "La": "RGBA",
            "RGBA": "RGBA",
            "RGBa": "RGBA",
        }.get(mode, "L" if mode.startswith("I") else "RGB")
        assert opened.size == (5, 4)

    @pytest.mark.parametrize(("mode", "pixels"), [("F", "float pixels"), ("I", "32-bit whole numbers")])
    def test_modes_without_a_range(self, mode, pixels):
        """A mode whose values have no range is refused, by name."""
        assert refusal(Image.new(mode, (5, 4))).startswith(f"the PIL image 5x4: mode {mode} ({pixels})")

    def test_later_changes_are_not_seen(self, photo):
        """What is done to an image after it was passed does not change the source."""
        source = only(photo)
        before = np.asarray(photo).copy()
        photo.paste("red", (0, 0, 96, 72))
        np.testing.assert_array_equal(np.asarray(source.open()), before)

    def test_broken_ones(self, photo, photo_path):
        """A closed image, or a lazily opened one whose file is truncated, is refused in one line."""
        closed = Image.open(photo_path)
        closed.close()
        assert "closed image" in refusal(closed)
        broken = Image.open(io.BytesIO(encoded(photo)[:400]))
        assert "truncated" in refusal(broken)

    def test_one_bit_and_sixteen_bits(self):
        """Black and white keep their values from 1 bit and from 16."""
        assert pixels(Image.new("1", (2, 2), 1)).tolist() == [[255, 255], [255, 255]]
        levels = np.array([[0, 257], [32_896, 65_535]], np.uint16)
        assert pixels(Image.fromarray(levels)).tolist() == [[0, 1], [128, 255]]


ANY_SHAPE = st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0, 1, 3, 4])).map(
    lambda shape: shape if shape[2] else shape[:2]
)


class TestArrays:
    """Arrays and what becomes one."""

    @given(arrays_of.arrays(np.uint8, ANY_SHAPE))
    @cases(60, 15)
    def test_bytes_are_kept(self, array):
        """A uint8 array keeps every value, through the encoded form as well."""
        source = only(array)
        expected = array[:, :, 0] if array.ndim == 3 and array.shape[2] == 1 else array
        np.testing.assert_array_equal(np.asarray(source.open()), expected)
        np.testing.assert_array_equal(pixels(source.read()), expected)

    @given(
        arrays_of.arrays(np.float64, ANY_SHAPE, elements=st.floats(0, 1)),
        st.sampled_from(["f2", "f4", "f8", ">f4"]),
    )
    @cases(60, 15)
    def test_floats_become_the_nearest_byte(self, array, dtype):
        """A float array in 0..1 of any precision becomes the nearest of 256 values."""
        array = array.astype(dtype)
        got = pixels(array).reshape(array.shape).astype(float)
        assert np.abs(got / 255 - array.astype(float)).max() <= 0.5 / 255 + 1e-6

    @given(arrays_of.arrays(np.bool_, ANY_SHAPE.filter(lambda shape: len(shape) == 2)))
    @cases(20, 8)
    def test_booleans_are_black_and_white(self, array):
        """False is black and True is white."""
        np.testing.assert_array_equal(pixels(array), array * np.uint8(255))

    @given(st.integers(5, 20), st.integers(5, 20), st.sampled_from([1, 3, 4]), st.integers(0, 99))
    @cases(30, 8)
    def test_channels_first(self, height, width, channels, seed):
        """Channels may come first where the last axis can't be channels."""
        array = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
        np.testing.assert_array_equal(pixels(array.transpose(2, 0, 1)), pixels(array))

    def test_ambiguous_channels_are_last(self):
        """Where both ends could be channels, they are last."""
        assert only(np.zeros((3, 7, 4), np.uint8)).open().size == (7, 3)
        assert only(np.zeros((4, 4, 4), np.uint8)).open().mode == "RGBA"

    def test_any_memory_layout(self):
        """Reversed, strided, transposed, Fortran-ordered and read-only arrays are read alike."""
        array = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
        frozen = array.copy()
        frozen.flags.writeable = False
        for view in (
            array[::-1],
            array[:, ::2],
            array.swapaxes(0, 1),
            np.asfortranarray(array),
            array[..., ::-1],
            frozen,
        ):
            np.testing.assert_array_equal(pixels(view), view)

    def test_later_changes_are_not_seen(self):
        """What is done to an array after it was passed does not change the source."""
        for array in (np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4), bool)):
            source = only(array)
            array[:] = 1
            assert np.asarray(source.open()).max() == 0

    def test_the_array_is_not_changed(self):
        """An array that was passed is as it was."""
        array = np.linspace(0, 1, 12).reshape(3, 4)
        before = array.copy()
        only(array).open()
        np.testing.assert_array_equal(array, before)

    def test_anything_with_array(self):
        """A tensor or data frame is taken by its `__array__`, and named by its type."""
        array = np.random.default_rng(0).random((5, 6))
        source = only(Tensor(array))
        np.testing.assert_array_equal(np.asarray(source.open()), pixels(array))
        assert (source.name, only(array).name) == ("Tensor", "array")

    def test_array_that_can_not_be_had(self):
        """What a foreign `__array__` raises, such as for a tensor on a GPU, is one line."""

        class OnGpu:
            def __array__(self, dtype=None, copy=None):
                raise TypeError("can't convert cuda:0 device type tensor to numpy;\nuse Tensor.cpu()")

        assert "the OnGpu can't become an array (can't convert cuda:0" in refusal(OnGpu())

    @pytest.mark.parametrize(
        "shape", [(), (3,), (2, 3, 4, 5), (5, 5, 2), (5, 5, 5), (2, 5, 5), (1, 3, 5, 5)], ids=str
    )
    def test_unclear_shapes(self, shape):
        """Any other shape is refused with the shape received and those allowed."""
        message = refusal(np.zeros(shape, np.uint8))
        assert f"of shape {shape}; allowed: (H, W), (H, W, 3), (H, W, 4)" in message
        assert ("list(array)" in message) == (len(shape) > 3)

    @pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0, 3), (0, 5, 3), (3, 0, 5)], ids=str)
    def test_no_pixels(self, shape):
        """An array without pixels is refused."""
        assert "shape" in refusal(np.zeros(shape, np.uint8))

    @pytest.mark.parametrize(
        "dtype", ["i1", "i2", "i4", "i8", "u2", "u4", "u8", "c8", "O", "U1", "M8[s]", "V4"]
    )
    def test_other_types(self, dtype):
        """A type without a known range is refused with the allowed ones."""
        assert "allowed: uint8 in 0..255, bool, or float in 0..1" in refusal(np.zeros((4, 4), dtype))

    @pytest.mark.parametrize("value", [255.0, 1.001, -0.01, np.inf, -np.inf])
    def test_floats_out_of_range(self, value):
        """A float outside 0..1 is refused with the range received: it is never clipped or rescaled."""
        array = np.full((4, 4), 0.5)
        array[2, 2] = value
        message = refusal(array)
        assert "allowed: 0 to 1" in message
        assert f"{value:g}" in message

    def test_nan(self):
        """NaN is refused as such, since no division would help."""
        array = np.full((4, 4), 0.5)
        array[2, 2] = np.nan
        assert "with NaN in it" in refusal(array)

    @given(
        arrays_of.arrays(
            st.sampled_from(["f2", "f4", "f8", "u1", "i4", "?"]),
            arrays_of.array_shapes(min_dims=0, max_side=6),
        )
    )
    @cases(80, 20)
    def test_any_array_is_a_picture_or_one_line(self, array):
        """Any array at all is a picture or our own error, without a warning."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                opened = only(array).open()
            except InvalidImageError as exc:
                assert len(str(exc).splitlines()) == 1  # noqa: PT017
            else:
                assert opened.mode in ("L", "RGB", "RGBA")


class TestSeveral:
    """More than one image."""

    def test_lists(self, photo, photo_path):
        """A list or tuple means each of its images, nested ones too, of mixed kinds, in order."""
        names = [each.name for each in load_sources([photo, (photo_path, [b"x"])])]
        assert names == ["PIL image 96x72", "photo.png", "image of 1 bytes"]

    @pytest.mark.parametrize("empty", [[], (), [[]], Variations()])
    def test_nothing(self, empty):
        """An empty list is refused."""
        assert "pass at least one image" in refusal(empty)

    def test_one_bad_image_spoils_the_list(self, photo, tmp_path):
        """A missing file among others is refused before anything is made."""
        assert "there is no file" in refusal([photo, tmp_path / "no.png"])

    def test_variations(self, make_picture, photo_path):
        """A `Variation`, or the `Variations` of a run, can be the source of the next."""
        made = Variations(
            [
                make_picture(colour, source=Source("my.cat.png"), index=i)
                for i, colour in enumerate(("red", "blue"), 1)
            ]
        )
        first, second = load_sources(made)
        assert first.open().getpixel((0, 0)) == (255, 0, 0)
        assert (first.stem, second.stem) == ("my-cat-1", "my-cat-2")
        assert only(made[1]).sha256 == second.sha256
        stored = made[0].kept_at(photo_path, None)
        assert only(stored).stem == "my-cat-1"

    def test_given_names(self, photo, photo_path):
        """An image without a file name is called what the caller says, items of a list with their number."""
        from matplotlib.figure import Figure

        array = np.zeros((4, 4))
        for value in (
            photo,
            array,
            Tensor(array),
            b"x",
            io.BytesIO(b"x"),
            Figure(),
            IPythonImage(encoded(photo)),
        ):
            assert [each.name for each in load_sources(value, name="cat")] == ["cat"]
        assert [each.name for each in load_sources([photo, [array]], name="cat")] == ["cat[0]", "cat[1][0]"]
        assert [each.name for each in load_sources(photo_path, name="cat")] == ["photo.png"]
        assert only(array, name="cat").stem == "cat"
        assert refusal(np.full((4, 4), 255.0), name="cat").startswith("cat is a float array")
        assert refusal(3, name="cat").startswith("cat is 3 (int)")

    def test_what_looks_like_an_image(self, photo, photo_path, make_picture):
        """Completion offers what is an image by its type; texts and numbers are not, and nothing is evaluated."""
        from matplotlib.figure import Figure

        made = make_picture("red", source=Source("cat.png"))
        array = np.zeros((4, 4))
        images = [
            photo,
            array,
            Tensor2D(array),
            b"x",
            photo_path,
            Figure(),
            IPythonImage(b"x"),
            made,
            Variations([made]),
            [photo],
        ]
        assert [looks_like_image(each) for each in images] == [True] * len(images)
        others = ["cat.png", 3, None, [], {}, np.zeros(3), np.float64(3), ["cat.png"], Image, np]
        assert [looks_like_image(each) for each in others] == [False] * len(others)

    def test_field_is_named(self, tmp_path):
        """An error about a mask says that it is one."""
        for value in (None, np.zeros(3), tmp_path / "no.png", []):
            with pytest.raises(InvalidImageError) as caught:
                load_sources(value, field="mask")
            assert caught.value.field == "mask"


class TestSource:
    """The source itself."""

    def test_sha256_is_of_the_encoded_bytes(self, photo_path):
        """The digest is that of the file, and of equal arrays the same."""
        import hashlib

        assert only(photo_path).sha256 == hashlib.sha256(photo_path.read_bytes()).hexdigest()
        array = np.zeros((4, 4), np.uint8)
        assert only(array).sha256 == only(array.copy()).sha256
        assert only(array).sha256 != only(array + 1).sha256

    def test_gone(self):
        """A source that was in memory of another process says so."""
        with pytest.raises(
            InvalidImageError, match=r"array: the source was in memory and is gone; pass it again"
        ):
            Source("array").open()

    @given(st.text(max_size=80))
    def test_stem_is_fit_for_a_file_name(self, name):
        """The stem of any description can be a file's name."""
        stem = Source(name).stem
        assert stem
        assert len(os.fsencode(stem)) <= 120
        assert not set(stem) & set('/\\\0:*?"<>|. ')

    @pytest.mark.parametrize("has_path", [True, False])
    @pytest.mark.parametrize(
        ("name", "stem"),
        [
            ("हिन्दी.png", "हिन्दी"),  # vowel signs and a virama, of the categories Mc and Mn
            ("ภาษาไทย.png", "ภาษาไทย"),
            ("عَرَبِيّ.png", "عَرَبِيّ"),
            (
                "\u0645\u06cc\u200c\u062e.png",
                "\u0645\u06cc\u200c\u062e",
            ),  # a joiner that Persian writes words with
            ("cafe\u0301.png", "cafe\u0301"),
            ("日本語.png", "日本語"),
            ("👨\u200d👩\u200d👧.png", "👨\u200d👩\u200d👧"),
            ("cat\u202egnp\u2066.exe\u2069.png", None),
            ("\x1b]0;title\x07cat\n.png", None),
            ("a" * 250 + ".png", "a" * 120),
            ("न" * 80 + ".png", "न" * 40),
            ("\x1b\n.png", "image"),
        ],
    )
    def test_stem_keeps_scripts_and_drops_controls(self, name, stem, has_path):
        """Letters, marks and joiners of all scripts stay; what a terminal would obey, and what is too long, goes."""
        found = Source(name, path=Path("folder") / name if has_path else None, data=b"x").stem
        assert plain(found) == found
        assert len(os.fsencode(found)) <= 120
        if stem is not None:
            assert found == stem

    def test_repr_shows_the_name_only(self):
        """The repr of a source is short, whatever it holds."""
        assert repr(Source("cat.png", data=b"x" * 10_000)) == "Source('cat.png')"
        assert str(Source("cat.png")) == "cat.png"


class Handler(BaseHTTPRequestHandler):
    """A web server for pictures, with the faults that they have."""

    ANSWERS: ClassVar = {
        "/moved.png": (302, b"", {"Location": "/photo.png"}),
        "/loop.png": (302, b"", {"Location": "/loop.png"}),
        "/away.png": (302, b"", {"Location": "file:///etc/passwd"}),
        "/page.png": (200, b"<html>please log in</html>", {}),
        "/empty.png": (200, b"", {}),
        "/short.png": (200, b"short", {"Content-Length": "5000"}),
    }

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        path = self.path.partition("?")[0]
        if path == "/silent.png":
            self.server.wake.wait(5)
        elif path == "/huge.png":
            # Without a length: the bound has to be kept while reading.
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                for _ in range(64):
                    self.wfile.write(b"\0" * 4096)
        elif path in ("/photo.png", "/a%20b.png", "/"):
            self.answer(200, self.server.photo, {})
        else:
            self.answer(*self.ANSWERS.get(path, (404, b"no", {})))

    def answer(self, status, body, headers):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def _running():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.wake = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.wake.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def web(_running, photo):
    """Return a web server on the loopback interface; `seen` has what it was asked."""
    _running.photo = encoded(photo)
    _running.seen = []
    _running.base = f"http://127.0.0.1:{_running.server_port}"
    return _running


class TestAddresses:
    """Images from the web, here a loopback server."""

    def test_picture(self, web, photo):
        """A picture is fetched from its address and named after its path."""
        source = only(f"{web.base}/photo.png")
        assert (source.name, source.stem) == ("photo.png", "photo")
        np.testing.assert_array_equal(np.asarray(source.open()), np.asarray(photo))

    def test_names(self, web):
        """A name is decoded, and the host's where the path has none."""
        assert only(f"{web.base}/a%20b.png").name == "a b.png"
        assert only(f"{web.base}/").name == "127.0.0.1"

    def test_redirect(self, web, photo):
        """A redirect is followed."""
        assert only(f"{web.base}/moved.png").open().size == photo.size

    @pytest.mark.parametrize("path", ["loop.png", "away.png", "short.png"])
    def test_connection_faults(self, web, path):
        """An endless redirect, one to a file, and an answer that breaks off are errors of the connection."""
        with pytest.raises(ConnectionFailedError, match=path) as caught:
            only(f"{web.base}/{path}").read()
        assert len(str(caught.value).splitlines()) == 1

    def test_not_found(self, web):
        """A 404 is told with what to do."""
        message = refusal(f"{web.base}/nope.png")
        assert message.startswith("nope.png: the server answered 404 Not Found; ")
        assert "pass its path" in message

    def test_no_picture(self, web):
        """A page or nothing in place of a picture is refused by its content."""
        assert "looks like HTML, which is not an image we read" in refusal(f"{web.base}/page.png")
        assert "empty (0 bytes)" in refusal(f"{web.base}/empty.png")

    def test_too_large(self, web, monkeypatch):
        """No more than the bound is read, also where no length was announced."""
        monkeypatch.setattr(fetch, "MAX_BYTES", 1 << 16)
        assert "larger than" in refusal(f"{web.base}/huge.png")

    def test_silence(self, web):
        """A server that says nothing is a timeout."""
        with pytest.raises(RequestTimeoutError, match=r"no answer within 0\.1 s"):
            fetch.get(f"{web.base}/silent.png", name="silent.png", timeout_s=0.1)

    def test_no_server(self):
        """An address where nobody answers is an error of the connection."""
        with pytest.raises(ConnectionFailedError, match=r"x\.png: can't be fetched"):
            only("http://127.0.0.1:9/x.png").read()

    @pytest.mark.parametrize("address", ["http://[bad/x.png", "http://", "https:///x.png", "http://a b/\n"])
    def test_no_address(self, address):
        """An address that is none, or names no host, is one line of ours."""
        with pytest.raises((InvalidImageError, ConnectionFailedError)) as caught:
            only(address).read()
        assert len(str(caught.value).splitlines()) == 1

    def test_fetched_when_needed(self, web):
        """An address is asked when its picture is needed, once, and is forgotten then."""
        source = only(f"{web.base}/photo.png?signature=abc-1")
        assert web.seen == []
        assert source.read() == source.read() == web.photo
        assert len(web.seen) == 1
        assert b"abc-1" not in pickle.dumps(source)

    def test_no_key_is_sent(self, web, monkeypatch):
        """A picture's server gets no key, whatever the environment has."""
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test-123")
        only(f"{web.base}/photo.png").read()
        ((_, headers),) = web.seen
        assert "sk-test-123" not in str(headers)
        assert not {name.lower() for name in headers} & {"authorization", "cookie", "api-key"}

    def test_signatures_are_not_shown(self, web):
        """The query and the password of an address are in no name and no message."""
        url = f"http://user:pass-1@127.0.0.1:{web.server_port}/photo.png?signature=abc-1"
        assert "abc-1" not in repr(only(url)) + only(url).name
        message = refusal(url.replace("photo", "nope"))
        assert "abc-1" not in message
        assert "pass-1" not in message
