"""The page of a run in a bucket links to its own folder alone, wherever the sources lie, and can be moved with it."""

import io
import re
from urllib.parse import unquote

import pytest
from painter import Painter
from PIL import Image

from ipy_imgvar import Client


@pytest.fixture
def store():
    """Return fsspec's object store in memory, empty."""
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    yield memory
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]


def picture(colour, side_px=64, **how):
    """Return an encoded picture."""
    buffer = io.BytesIO()
    Image.new("RGB", (side_px, side_px), colour).save(buffer, **{"format": "png", **how})
    return buffer.getvalue()


@pytest.mark.parametrize("folder", ["shop/in", "shop/out/in", "other"])
def test_a_page_shows_its_sources_after_a_download(store, tmp_path, folder):
    """Each link of a downloaded page leads to a file of the folder, also where the sources are in its bucket."""
    store.pipe({f"/{folder}/a b.png": picture("red"), f"/{folder}/c.png": picture("lime", 700)})
    made = Client(Painter()).map(f"memory://{folder}", out_dir="memory://shop/out/x", size=64)
    store.get("/shop/out/x", str(tmp_path / "moved"), recursive=True)
    html = (tmp_path / "moved" / "index.html").read_text()
    links = [unquote(link) for link in re.findall(r'(?:src|href)="([^"]+)"', html)]
    assert len(links) == 8
    assert sum(link.startswith("sources/") for link in links) == 4
    assert not any(".." in link or ":" in link for link in links)
    for link in links:
        Image.open(tmp_path / "moved" / link).load()
    assert made._repr_html_().count("<img") == 4


@pytest.mark.parametrize(
    ("data", "is_kept"),
    [
        (picture("red"), True),
        (picture("red", format="tiff"), False),
        (picture("red", 700), False),
        (picture("red", 200, compress_level=0), False),
    ],
    ids=["tiny", "of a format that browsers lack", "long", "heavy"],
)
def test_a_source_of_few_bytes_is_its_own_thumbnail(store, data, is_kept):
    """A small PNG is copied as it is; others become a JPEG of 256 px at most."""
    store.pipe("/shop/in/a.png", data)
    made = Client(Painter()).map("memory://shop/in", out_dir="memory://shop/out", size=64)
    small = store.cat(made[0].thumbnail)
    assert (small == data) is is_kept
    with Image.open(io.BytesIO(small)) as image:
        assert image.format == ("PNG" if is_kept else "JPEG")
        assert max(image.size) <= 256
