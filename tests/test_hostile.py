"""Files that would run or open something, if they were decoded, are refused at every door."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cases import slow
from hostile import DOORS, FILES, HEADS, POSTSCRIPT
from PIL import Image

from ipy_imgvar.errors import InvalidImageError
from ipy_imgvar.images import codec
from ipy_imgvar.images.formats import READ, format_of
from ipy_imgvar.images.source import load_sources

HERE = Path(__file__).parent


# Each door is a process of its own; what a server refuses, tests/server/test_refusals.py says each day.
@pytest.mark.parametrize("door", [door if door in ("python", "answer") else slow(door) for door in DOORS])
def test_no_door_decodes_what_is_not_read(door, tmp_path):
    """200 files of other formats, under any name and type, start no process, touch no file and get one clear line."""
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)]),
        "IPY_IMGVAR_STORE": "off",
    }
    for name in ("OPENAI_API_KEY", "OPENAI_API_BASE", "OPENAI_BASE_URL"):
        env.pop(name, None)
    process = subprocess.run(
        [sys.executable, "-B", str(HERE / "hostile.py"), door],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert process.returncode == 0, process.stderr[-2000:]
    seen = json.loads(process.stdout)
    assert seen["events"] == []
    assert len(seen["said"]) >= len(FILES) == 200
    wrong = [
        each for each in seen["said"] if "NOT REFUSED" in each or "Traceback" in each or "allowed" not in each
    ]
    assert not [each for each in wrong if "is no PNG, JPEG, WebP or GIF file" not in each]


@pytest.mark.parametrize("kind", ["eps", "eps-binary", "pdf", "psd", "xbm"])
def test_what_it_looks_like_is_named(kind):
    """A file of a format that is known but not read is refused by the format's name."""
    with pytest.raises(
        InvalidImageError, match=r"looks like (EPS|PostScript|PDF|PSD|XBM).*allowed: PNG, JPEG"
    ):
        codec.open_image(HEADS[kind], "a.png")


def test_a_lazily_opened_image_of_another_format(tmp_path):
    """A PIL image that is opened but not decoded is not decoded by us where its format is none we read."""
    path = tmp_path / "a.eps"
    path.write_bytes(POSTSCRIPT)
    with Image.open(path) as opened, pytest.raises(InvalidImageError, match="EPS file that is not decoded"):
        load_sources(opened)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "MPO"])
def test_formats_that_are_read(kind, tmp_path):
    """Each format of the list is told by its content and read, whatever its name."""
    path = tmp_path / "picture.eps"
    more = {"save_all": True, "append_images": [Image.new("RGB", (16, 8))]} if kind == "MPO" else {}
    Image.new("RGB", (16, 8), (200, 30, 30)).save(path, kind, **more)
    data = path.read_bytes()
    assert format_of(data) in READ
    assert codec.open_image(data, "x").size == (16, 8)
    assert codec.probe(data, "x") == ({"MPO": "image/jpeg"}.get(kind, f"image/{kind.lower()}"), (16, 8))


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"heix"])
def test_heic_without_its_plug_in(brand):
    """A HEIC file names the package that reads it."""
    data = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1heic" + bytes(64)
    with pytest.raises(InvalidImageError, match="HEIC image; install pillow-heif"):
        codec.open_image(data, "a.heic")
