"""An address of an object store is an image."""

import io
import secrets

import pytest
from PIL import Image

from ipy_imgvar import Client
from ipy_imgvar.errors import InvalidImageError, InvalidRequestError
from ipy_imgvar.images import fetch
from ipy_imgvar.images.source import load_sources
from ipy_imgvar.storage.folder import open_folder

pytest.importorskip("fsspec")


@pytest.fixture
def painted():
    buffer = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").resize((64, 64)).save(buffer, "png")
    return buffer.getvalue()


@pytest.fixture
def root(painted):
    """Return the address of a folder in memory with one picture."""
    address = f"memory://{secrets.token_hex(4)}"
    open_folder(address).write("my cat.png", painted)
    return address


def test_it_is_read_when_it_is_needed(root, painted):
    """An address is no more than a name until its image is read, and then it is read once."""
    (source,) = load_sources(f"{root}/my cat.png")
    assert (source.name, source.stem, source.host) == ("my cat.png", "my-cat", root)
    assert source.read() == painted
    open_folder(root).remove(["my cat.png"])
    assert source.read() == painted
    assert source.host is None


def test_the_same_pictures(root, painted):
    """An object gives the same pictures as its bytes, and a mask may be one, too."""
    client, given = Client("patch"), {"size": "64x64", "seed": 3}
    mask = io.BytesIO()
    Image.new("L", (64, 64), 255).save(mask, "png")
    open_folder(root).write("mask.png", mask.getvalue())
    for more, same in (({}, {}), ({"mask": f"{root}/mask.png"}, {"mask": mask.getvalue()})):
        first = client.variations(f"{root}/my cat.png", **given, **more)
        assert first[0].bytes == client.variations(painted, **given, **same)[0].bytes
    assert f"my cat.png is fetched from {root} first" in str(client.plan(f"{root}/my cat.png", **given))


def test_what_is_no_image(root, monkeypatch):
    """A missing object, a folder and an object above the bound are each one line that names the address."""
    client = Client("patch")
    with pytest.raises(InvalidImageError, match=rf"there is no object {root}/no\.png: check the address"):
        client.variations(f"{root}/no.png")
    with pytest.raises(InvalidImageError, match=rf"{root} is a folder; name an object in it"):
        client.variations(root)
    with pytest.raises(InvalidImageError, match="there is no object") as caught:
        client.variations(f"{root}/my cat.png", mask=f"{root}/no.png")
    assert caught.value.field == "mask"
    monkeypatch.setattr(fetch, "MAX_BYTES", 100)
    with pytest.raises(InvalidImageError, match="allowed: "):
        client.variations(f"{root}/my cat.png")


def test_credentials_are_not_shown():
    """A user, a password and a query are in no name, host or message."""
    (source,) = load_sources("memory://me:secret@host/cat.png?token=secret")
    assert (source.name, source.host) == ("cat.png", "memory://host")
    with pytest.raises(InvalidImageError) as caught:
        source.read()
    assert "secret" not in str(caught.value) + repr(source) + str(source)


def test_file_urls(tmp_path, painted):
    """A file: URL is its path."""
    (tmp_path / "my cat.png").write_bytes(painted)
    (source,) = load_sources((tmp_path / "my cat.png").as_uri())
    assert source.path == tmp_path / "my cat.png"


def test_pictures_are_saved_to_paths(root, painted, tmp_path, monkeypatch):
    """Saving to an address is refused: a path of that name would become a folder called "memory:"."""
    monkeypatch.chdir(tmp_path)
    result = Client("patch").variations(painted, size="64x64")
    for where in (f"{root}/out.png", f"{root}/out"):
        with pytest.raises(InvalidRequestError, match=f"{where} is no path"):
            result.save(where)
    assert list(tmp_path.iterdir()) == []
