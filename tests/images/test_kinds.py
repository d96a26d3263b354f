"""Images of derived classes, and what means several images."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from IPython.display import Image as IPythonImage
from PIL import Image

from ipy_imgvar.bulk.items import Items
from ipy_imgvar.errors import InvalidImageError
from ipy_imgvar.images.kinds import inherits, looks_like_image, members
from ipy_imgvar.images.source import Source, load_sources
from ipy_imgvar.results.variations import Variation, Variations

pd = pytest.importorskip("pandas")


class FastImage(Image.Image):
    """As fastai has: it gives Pillow's images this class."""


class MyImage(IPythonImage):
    """An image of a notebook's own."""


class Pixels(np.ndarray):
    """As napari, pydicom and others have."""


class MyVariation(Variation):
    """A variation of a program's own."""


class MySeries(pd.Series):
    """As geopandas has."""


def figure(_):
    from matplotlib.figure import Figure

    class MyFigure(Figure):
        """A figure of a plotting library."""

    return MyFigure()


def fast(photo):
    photo.__class__ = FastImage
    return photo


DERIVED = {
    "PIL": fast,
    "figure": figure,
    "IPython": lambda photo: MyImage(data=png(photo)),
    "array": lambda photo: np.asarray(photo).view(Pixels),
    "variation": lambda photo: MyVariation(
        png(photo), source=Source("cat.png"), mime_type="image/png", size=photo.size
    ),
}


def png(photo):
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", DERIVED)
def test_derived_classes_are_taken(photo, kind):
    """An object of a class that is derived from an image's class is an image, and is offered as one."""
    expected = np.asarray(photo)
    value = DERIVED[kind](photo)
    (source,) = load_sources(value)
    if kind != "figure":
        assert np.array_equal(np.asarray(source.open()), expected)
    assert source.open().size[0] > 1
    assert looks_like_image(value)
    assert [item.index for item in Items(value, Path("out"))] == [0]


def test_classes_that_share_a_name_are_no_images():
    """What has a library's class name alone, or is an array of one dimension, is no image."""
    others = [
        type("Image", (), {})(),
        type("Series", (), {"__module__": None})(),
        np.zeros(3).view(Pixels),
        MySeries(["cat.png"]),
        pd.DataFrame({"path": ["cat.png"]}),
    ]
    assert [looks_like_image(each) for each in others] == [False] * len(others)
    assert not inherits(others[0], "PIL.Image", "IPython.Image")


@pytest.mark.parametrize(
    "several",
    [
        list,
        tuple,
        pd.Series,
        MySeries,
        pd.Index,
        lambda paths: pd.Series(paths, index=list("ba")),
        lambda paths: pd.Series(paths, dtype="category"),
        lambda paths: pd.Series(paths).array,
        np.array,
        lambda paths: np.array(paths, dtype=object),
        lambda paths: np.array([Path(each) for each in paths], dtype=object),
    ],
)
def test_several_paths_are_each_an_image(photo, tmp_path, several):
    """A list, a tuple, a pandas series or an array of paths means each of them, in a run and in a bulk run."""
    paths = [str(tmp_path / name) for name in ("b.png", "a.png")]
    for path in paths:
        photo.save(path)
    value = several(paths)
    assert [str(source.path) for source in load_sources(value)] == paths
    assert [str(item.image) for item in Items(value, tmp_path / "out")] == paths
    assert [str(item.image) for item in Items([value], tmp_path / "out")] == paths


def test_an_array_of_images_is_each_of_them(photo):
    """An array of objects may hold images of any kind."""
    array = np.empty(2, dtype=object)
    array[:] = [photo, png(photo)]
    assert len(load_sources(array, name="pair")) == 2
    assert [source.name for source in load_sources(array, name="pair")] == ["pair[0]", "pair[1]"]
    assert len(list(Items(array, Path("out")))) == 2


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (pd.Series([], dtype=str), "image is an empty Series; pass at least one image"),
        (np.array([], dtype=object), "image is an empty ndarray"),
        (pd.Series(["no.png", None]), "there is no file no.png"),
        (pd.Series([0.5, 0.7]), r"the image is 0.5 \(float\); allowed"),
        (np.array([["a.png"]]), "array"),
    ],
)
def test_several_that_are_no_images_are_refused(tmp_path, monkeypatch, value, message):
    """A series or array that is empty, or holds what is no image, is refused in one line."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidImageError, match=message):
        load_sources(value)


def test_a_picture_is_not_several(make_picture):
    """A picture, an array of numbers and a text are one image each; a result is several."""
    made = make_picture("red", source=Source("cat.png"))
    for single in (made, np.zeros((2, 2)), np.zeros(3), "cat.png", b"x", {"a": 1}):
        assert members(single) is None
    assert members(Variations([made])) is not None


def test_a_file_at_its_end_says_seek(photo):
    """A buffer that was just written to is at its end, and the message names what goes back."""
    buffer = io.BytesIO()
    photo.save(buffer, "PNG")
    with pytest.raises(InvalidImageError, match=r"is at its end \(byte [\d,]+\).*seek\(0\)"):
        load_sources(buffer)
    buffer.seek(0)
    assert load_sources(buffer)[0].open().size == photo.size
    with pytest.raises(InvalidImageError) as caught:
        _ = load_sources(io.BytesIO())[0].open()
    assert "seek" not in str(caught.value)


def test_no_library_is_imported_to_tell():
    """Telling the kind of an object loads none of the libraries whose objects it could be."""
    code = (
        "import sys; from ipy_imgvar.images.kinds import looks_like_image, members\n"
        "class Proxy: __array__ = 1\n"
        "print([members(x) for x in ('a', b'x', 3, Proxy())], looks_like_image(Proxy()))\n"
        "print(sorted({'numpy', 'pandas', 'PIL', 'matplotlib', 'IPython'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[None, None, None, None] True", "[]"]
