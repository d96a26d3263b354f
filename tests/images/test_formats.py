"""The table of formats agrees with Pillow, and what is looked up in it is found."""

import pytest
from PIL import Image

from ipy_imgvar.images.formats import FORMATS, READ, extension_of, mime_type_of, written_extension_of


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.name)
def test_mime_types(each):
    """A format that this Pillow knows has Pillow's MIME type, and Pillow's name of each of its extensions."""
    Image.init()
    assert Image.MIME.get(each.name, each.mime_type) == each.mime_type
    known = Image.registered_extensions()
    assert {known.get(extension, each.name) for extension in each.extensions} == {each.name}


def test_jpegs_of_several_pictures():
    """An MPO is read, and counts as the JPEG that it is to other programs."""
    assert "MPO" in READ
    assert mime_type_of("MPO") == "image/jpeg"


@pytest.mark.parametrize(
    ("mime_type", "extension", "written"),
    [
        ("image/png", ".png", ".png"),
        ("image/jpeg", ".jpg", ".jpg"),
        ("image/webp", ".webp", ".webp"),
        ("image/gif", ".gif", ".png"),
        ("image/jxl", ".jxl", ".png"),
    ],
)
def test_extensions(mime_type, extension, written):
    """A stored file has its format's extension, also of a format unknown; one that is written, if it can be, too."""
    assert extension_of(mime_type) == extension
    assert written_extension_of(mime_type) == written
