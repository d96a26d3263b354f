import base64
import errno
import io
import os
import pickle
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ipy_imgvar.errors import ImageVariationError, InvalidRequestError
from ipy_imgvar.images import codec
from ipy_imgvar.images.source import Source
from ipy_imgvar.request import RESPONSE_FORMATS
from ipy_imgvar.results.forms import converted, form_of
from ipy_imgvar.results.variations import Variation, Variations

CAT, DOG = Source("cat.png"), Source("dog.jpg")


@pytest.fixture
def four(make_picture):
    """Return two pictures of each of two sources."""
    return Variations(
        [
            make_picture(colour, source=source, index=index, seed=7)
            for (source, index), colour in zip(
                [(CAT, 1), (CAT, 2), (DOG, 1), (DOG, 2)], ["red", "lime", "blue", "white"], strict=True
            )
        ],
        engine="fake",
        model="fake-1",
        elapsed=1.5,
        usage={"total_tokens": 3},
        warnings=["careful"],
        status="failed",
    )


def in_format(kind, mode="RGB"):
    """Return a `Variation` as a server would send it."""
    buffer = io.BytesIO()
    Image.new(mode, (8, 6)).save(buffer, kind)
    return Variation(buffer.getvalue(), source=CAT, mime_type=f"image/{kind.lower()}", size=(8, 6))


class TestSequence:
    """A result is a sequence."""

    def test_is_one(self, four):
        """A result is a sequence: length, order, membership, counting from the end, and iteration."""
        assert isinstance(four, Sequence)
        assert len(four) == 4
        assert list(four) == [four[0], four[1], four[2], four[3]]
        assert four[-1] is four[3]
        assert four[1] in four
        assert four.index(four[2]) == 2
        assert next(reversed(four)) is four[3]
        assert bool(four)
        assert not Variations()
        with pytest.raises(IndexError):
            _ = four[4]

    @given(st.slices(4))
    def test_slices(self, part):
        """A slice is a result with the facts of its run."""
        whole = Variations(
            [in_format("PNG") for _ in range(4)], engine="fake", elapsed=1.5, warnings=["careful"]
        )
        sliced = whole[part]
        assert type(sliced) is Variations
        assert list(sliced) == list(whole)[part]
        assert (sliced.engine, sliced.elapsed, sliced.warnings) == ("fake", 1.5, ["careful"])

    def test_facts_are_copies(self, four):
        """What was passed as warnings or usage can change afterwards without changing the result."""
        warnings, usage = ["a"], {"b": 1}
        made = Variations(warnings=warnings, usage=usage)
        warnings.append("c")
        usage.clear()
        assert (made.warnings, made.usage) == (["a"], {"b": 1})
        assert four.usage == {"total_tokens": 3}
        assert Variations().usage is None

    def test_repr(self, four):
        """The repr is one line: how many, by what, and how it ended."""
        assert repr(four) == "<Variations: 4 pictures by fake, failed>"
        assert repr(Variations(four[:1], engine="patch")) == "<Variations: 1 picture by patch>"
        assert repr(Variations()) == "<Variations: 0 pictures>"
        assert repr(four[0]) == "<Variation cat-1: 64x64 image/png, seed 7>"

    def test_repr_in_a_sweep(self, four):
        """A picture of a sweep says which values made it, and a long one is cut."""
        four[0].combination = {"strength": 0.2, "seed": 7, "prompt": "x" * 500}
        assert repr(four[0]).startswith("<Variation cat-1: 64x64 image/png, strength 0.2, seed 7, prompt xxx")
        assert len(repr(four[0])) < 150


class TestForms:
    """What a picture becomes when asked."""

    def test_all_forms_are_of_one_picture(self, four):
        """bytes, base64, data: URL, image and array are the same picture."""
        for number, each in enumerate(four):
            assert base64.b64decode(each.base64, validate=True) == each.bytes == four.bytes[number]
            assert each.url == f"data:image/png;base64,{each.base64}" == four.urls[number]
            assert each.image.size == each.size == four.images[number].size == (64, 64)
            np.testing.assert_array_equal(np.asarray(each.image), each.to_numpy())
            assert four.base64[number] == each.base64

    def test_a_server_s_address(self, make_picture):
        """The URL is the server's where it has one."""
        assert make_picture("red", source=CAT, remote_url="https://host/x.png").url == "https://host/x.png"

    def test_array_protocol(self, four):
        """Numpy takes a picture as an array, of any dtype; a view is impossible and says so."""
        assert np.asarray(four[0]).shape == (64, 64, 3)
        assert np.asarray(four[0], dtype=float).dtype == float
        assert np.array(four[0], copy=True)[0, 0].tolist() == [255, 0, 0]
        if np.lib.NumpyVersion(np.__version__) >= "2.0.0":  # before, copy=False is a wish
            with pytest.raises(ValueError, match="copy=False"):
                np.array(four[0], copy=False)

    def test_each_image_is_new(self, four):
        """Drawing on an image or array changes no other."""
        four[0].image.paste("black", (0, 0, 64, 64))
        four[0].to_numpy()[:] = 0
        assert four[0].image.getpixel((0, 0)) == (255, 0, 0)

    def test_one_array(self, four):
        """Pictures of one size become one array."""
        array = four.to_numpy()
        assert array.shape == (4, 64, 64, 3)
        assert array.dtype == np.uint8
        assert array[:, 0, 0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]

    def test_transparency_in_one_array(self, make_picture):
        """Where one picture has transparency, the others get an opaque fourth channel; grey gets three."""
        clear = Variation(
            codec.encode_png(Image.new("RGBA", (64, 64), (1, 2, 3, 4))),
            source=CAT,
            mime_type="image/png",
            size=(64, 64),
        )
        grey = Variation(
            codec.encode_png(Image.new("L", (64, 64), 9)), source=CAT, mime_type="image/png", size=(64, 64)
        )
        array = Variations([clear, make_picture("red", source=CAT), grey]).to_numpy()
        assert array[:, 0, 0].tolist() == [[1, 2, 3, 4], [255, 0, 0, 255], [9, 9, 9, 255]]
        assert Variations([grey]).to_numpy().shape == (1, 64, 64, 3)

    def test_mixed_sizes(self, make_picture):
        """Pictures of several sizes are no array: the error names the sizes and the way out."""
        mixed = Variations([make_picture("red", source=CAT, size=size) for size in ((8, 6), (6, 8), (8, 6))])
        with pytest.raises(ImageVariationError, match=r"one size, these are 6x8, 8x6; use \[v\.to_numpy\(\)"):
            mixed.to_numpy()
        with pytest.raises(ImageVariationError, match="these are no pictures"):
            Variations().to_numpy()

    def test_form_of(self):
        """Each spelling of a form has one normal form; any other is refused with all of them."""
        for spelling, form in {
            **RESPONSE_FORMATS,
            "image": "image",
            "array": "array",
            " Bytes ": "byte",
        }.items():
            assert form_of(spelling) == form
        for wrong in ("png", "", None, 3, ["byte"]):
            with pytest.raises(
                InvalidRequestError, match="allowed: url, base64, b64_json, byte, bytes, image, array"
            ):
                form_of(wrong)

    def test_converted(self, four):
        """One picture asked for is its value; more are a list, also where only one was finished."""
        kinds = {"url": str, "base64": str, "byte": bytes, "image": Image.Image, "array": np.ndarray}
        for form, kind in kinds.items():
            assert isinstance(converted(four[:1], form, single=True), kind)
            several = converted(four, form, single=False)
            assert [isinstance(each, kind) for each in several] == [True] * 4
            assert len(converted(four[:1], form, single=False)) == 1
        assert converted(four, "byte", single=True) == four.bytes
        assert converted(Variations(), "byte", single=True) == []

    def test_pickle(self, four):
        """A result goes to another process and back, with its facts."""
        back = pickle.loads(pickle.dumps(four))  # noqa: S301
        assert back.bytes == four.bytes
        assert [each.name for each in back] == [each.name for each in four]
        assert (back.engine, back.status, back.usage) == (four.engine, four.status, four.usage)

    def test_neither_bytes_nor_file(self):
        """A picture without bytes or file says so in one line."""
        with pytest.raises(ImageVariationError, match="make it again"):
            _ = Variation(None, source=CAT, mime_type="image/png", size=(1, 1)).bytes

    def test_parameters_are_a_copy(self):
        """What was passed as parameters can change afterwards without changing the picture's."""
        given_ones = {"seed": 1}
        made = Variation(b"x", source=CAT, mime_type="image/png", size=(1, 1), parameters=given_ones)
        given_ones["seed"] = 2
        assert made.parameters == {"seed": 1}


class TestSaving:
    """Files of one's own."""

    def test_into_a_folder(self, four, tmp_path):
        """A folder, existing or new, gets one file for each picture, named after its source and number."""
        for folder in (tmp_path, tmp_path / "new" / "deep"):
            paths = four.save(folder)
            assert [path.name for path in paths] == ["cat-1.png", "cat-2.png", "dog-1.png", "dog-2.png"]
            assert {path.parent for path in paths} == {folder}
            assert [path.read_bytes() for path in paths] == four.bytes

    def test_sources_of_one_name(self, make_picture, tmp_path):
        """Sources of one name do not replace one another."""
        pair = Variations([make_picture(colour, source=Source("cat.png")) for colour in ("red", "blue")])
        assert [path.read_bytes() for path in pair.save(tmp_path)] == pair.bytes

    @pytest.mark.parametrize("has_links", [True, False])
    def test_into_a_folder_nothing_is_replaced(self, four, tmp_path, monkeypatch, has_links):
        """A file that has a picture's name in a folder stays, with or without hard links; the next number is taken."""
        if not has_links:

            def link(*_):
                raise PermissionError(errno.EPERM, "Operation not permitted")

            monkeypatch.setattr(os, "link", link)
        (tmp_path / "cat-2.png").write_text("precious")
        (tmp_path / "dog-1.png").symlink_to(tmp_path / "nowhere.png")
        paths = four.save(tmp_path)
        assert [path.name for path in paths] == ["cat-1.png", "cat-3.png", "dog-2.png", "dog-3.png"]
        assert [path.read_bytes() for path in paths] == four.bytes
        assert (tmp_path / "cat-2.png").read_text() == "precious"
        assert len(list(tmp_path.iterdir())) == 6

    def test_a_part_of_a_run(self, four, tmp_path):
        """A slice numbers its own pictures from 1."""
        assert [path.name for path in four[1:3].save(tmp_path)] == ["cat-1.png", "dog-1.png"]

    def test_pattern(self, four, tmp_path):
        """A pattern names the files and its extension decides the format."""
        paths = four.save(str(tmp_path / "{stem}" / "{i:02}-of-{n}.webp"))
        assert [str(path.relative_to(tmp_path)) for path in paths] == [
            "cat/01-of-2.webp", "cat/02-of-2.webp", "dog/01-of-2.webp", "dog/02-of-2.webp",
        ]  # fmt: skip
        assert {Image.open(io.BytesIO(path.read_bytes())).format for path in paths} == {"WEBP"}

    @pytest.mark.parametrize(
        ("name", "kind"), [("x.png", "PNG"), ("x.jpg", "JPEG"), ("x.JPEG", "JPEG"), ("x.webp", "WEBP")]
    )
    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
    def test_formats(self, tmp_path, name, kind, mode):
        """Every picture can be saved in every format."""
        path = in_format("PNG", mode).save(tmp_path / name)
        assert path == tmp_path / name
        with Image.open(path) as saved:
            assert (saved.format, saved.size) == (kind, (8, 6))

    @pytest.mark.parametrize(("kind", "extension"), [("PNG", ".png"), ("JPEG", ".jpg"), ("WEBP", ".webp")])
    def test_bytes_are_kept_in_a_folder(self, tmp_path, kind, extension):
        """Into a folder a picture is saved as it was received, under its own extension."""
        made = in_format(kind)
        (path,) = Variations([made]).save(tmp_path)
        assert path.suffix == extension
        assert path.read_bytes() == made.bytes

    def test_mixed_formats_in_a_folder(self, tmp_path):
        """Pictures of several formats are saved as PNG, each a real one."""
        paths = Variations([in_format("JPEG"), in_format("WEBP"), in_format("PNG")]).save(tmp_path)
        assert [Image.open(io.BytesIO(path.read_bytes())).format for path in paths] == ["PNG"] * 3
        assert {path.suffix for path in paths} == {".png"}

    def test_home(self, four, tmp_path, monkeypatch):
        """A path may begin with the home folder."""
        monkeypatch.setenv("HOME", str(tmp_path))
        assert four[0].save("~/x.png") == tmp_path / "x.png"
        assert four[:1].save("~/out") == [tmp_path / "out" / "cat-1.png"]

    def test_replaces(self, four, tmp_path):
        """An existing file is replaced."""
        for each in four:
            assert each.save(tmp_path / "x.png").read_bytes() == each.bytes
        assert [each.name for each in tmp_path.iterdir()] == ["x.png"]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("x.gif", r"ends in '\.gif'; allowed: \.png"),
            ("x.png", r"x.png is the name of 4 pictures; add \{i\}"),
            ("{stem}.png", "cat.png is the name of 2 pictures; add"),
            ("{i:x y}.png", "allowed: {i} or {i:03}"),
            ("a\0b.png", "null"),
        ],
    )
    def test_wrong_names(self, four, tmp_path, name, message):
        """A pattern that can't work is refused before any file is written."""
        with pytest.raises(InvalidRequestError, match=message) as caught:
            four.save(f"{tmp_path}/{name}")
        assert caught.value.field == "out_file"
        assert [each.name for each in tmp_path.iterdir()] == []

    def test_unknown_home(self, four):
        """The home of a user that does not exist is one line."""
        with pytest.raises(InvalidRequestError, match="no-such-user"):
            four.save("~no-such-user/{i}.png")

    def test_one_picture_into_a_folder_s_place(self, four, tmp_path):
        """A file in the folder's place is one line, with the pictures still in hand."""
        (tmp_path / "file").touch()
        with pytest.raises(ImageVariationError, match=r"cat-1\.png can't be written") as caught:
            four.save(tmp_path / "file" / "out")
        assert caught.value.partial is four

    def test_nothing_to_save(self, tmp_path):
        """A result without pictures saves nothing."""
        assert Variations().save(tmp_path) == []

    def test_one_variation(self, four, tmp_path):
        """One picture is saved to a path, or under its name into a folder."""
        assert four[2].save(tmp_path) == tmp_path / "dog-1.png"
        assert four[2].save(str(tmp_path / "x.jpg")).stat().st_size > 0
