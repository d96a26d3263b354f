"""A folder to write into, on disk and in fsspec's memory, keeps the same promises."""

import io
import pickle
import secrets

import pytest

from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.storage import objects
from ipy_imgvar.storage.folder import open_folder

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(params=["disk", "memory"])
def folder(request, tmp_path):
    if request.param == "disk":
        return open_folder(tmp_path / "out")
    return open_folder(f"memory://{secrets.token_hex(4)}/out")


def names(folder, prefix=""):
    return [each.address.removeprefix(folder.address).strip("/\\") for each in folder.names(prefix)]


def test_what_is_written_is_read(folder):
    """A folder gives back what was written, its size, and its name."""
    folder.check()
    assert names(folder) == []
    folder.write("cat-1.png", b"cat")
    folder.write("sources/dog.jpg", b"dogs")
    assert folder.read("cat-1.png") == b"cat"
    assert folder.size("sources/dog.jpg") == 4
    assert names(folder) == ["cat-1.png"]
    assert names(folder, "sources/") == ["sources/dog.jpg"]
    assert names(folder, "sources/c") == []
    assert str(folder.where("cat-1.png")).startswith(folder.address)


def test_a_file_is_replaced(folder):
    """Writing a name again replaces the file."""
    folder.write("a.txt", b"first")
    folder.write("a.txt", b"second")
    assert folder.read("a.txt") == b"second"
    assert names(folder) == ["a.txt"]


def test_what_is_missing(folder):
    """A missing file has no size, can't be read, and is removed without an error."""
    assert folder.size("no.png") is None
    with pytest.raises(FileNotFoundError):
        folder.read("no.png")
    assert not folder.download("no.png", io.BytesIO())
    folder.write("yes.png", b"1")
    folder.write("too.png", b"1")
    folder.remove(["no.png", "yes.png"])
    assert names(folder) == ["too.png"]


def test_large_files(folder):
    """A file larger than a piece is written and downloaded whole."""
    data = secrets.token_bytes(1 << 20) * 17
    folder.write_file("big.bin", io.BytesIO(data))
    assert folder.size("big.bin") == len(data)
    out = io.BytesIO(b"before")
    out.seek(0, io.SEEK_END)
    assert folder.download("big.bin", out)
    assert out.getvalue() == b"before" + data


def test_a_folder_goes_to_another_process(folder):
    """A pickled folder writes to the same place."""
    pickle.loads(pickle.dumps(folder)).write("a.png", b"1")  # noqa: S301
    assert open_folder(folder.address).read("a.png") == b"1"


@pytest.mark.parametrize(
    "address", ["sftp://me:secret@host/out", "memory://out?token=secret", "s3://key:secret@b/out"]
)
def test_credentials_are_refused(address):
    """An address that is recorded has no credentials, and the error shows none."""
    with pytest.raises(InvalidRequestError, match="configuration") as caught:
        open_folder(address)
    assert "secret" not in str(caught.value)
    assert caught.value.field == "out_dir"


def test_objects_in_memory():
    """An object is read, looked at and listed by its address."""
    root = f"memory://{secrets.token_hex(4)}"
    folder = open_folder(root)
    for name in (
        "b.png",
        "a.png",
        "deep/c.png",
        "deep/er/d.png",
        ".hidden.png",
        "note.txt",
        "deep/.no/e.png",
    ):
        folder.write(name, name.encode())
    assert objects.read(f"{root}/a.png", most_bytes=5) == b"a.png"
    first = objects.stat(f"{root}/a.png")
    assert (first.size, first.address) == (5, f"{root}/a.png")
    folder.write("a.png", b"other")
    assert objects.stat(f"{root}/a.png").version != first.version

    def listed(end):
        return [each.address.removeprefix(root + "/") for each in objects.listing(root + end)]

    assert listed("") == ["a.png", "b.png", "note.txt"]
    assert listed("/*.png") == ["a.png", "b.png"]
    assert listed("/**/*.png") == ["a.png", "b.png", "deep/c.png", "deep/er/d.png"]
    assert listed("/*/*.png") == ["deep/c.png"]
    assert listed("/a.png") == ["a.png"]
    assert listed("/none") == []
