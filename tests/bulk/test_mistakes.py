"""Mistakes in what a bulk run is asked for are told at once, in one line, and nothing is written."""

import secrets

import pytest
from painter import Painter

from ipy_imgvar import Client
from ipy_imgvar.bulk.counts import count_images
from ipy_imgvar.bulk.items import Items
from ipy_imgvar.cli import main
from ipy_imgvar.errors import ImageVariationError, InvalidImageError, InvalidRequestError

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def bucket():
    """Return the address of a bucket in memory with two images, and the file system."""
    system = fsspec.filesystem("memory")
    address = f"memory://b{secrets.token_hex(6)}"
    for name in ("a.png", "b.png"):
        system.pipe_file(f"{address}/src/{name}", b"picture")
    yield address, system
    system.store.clear()


@pytest.mark.parametrize("pattern", ["", "/", "/*.png", "/**/*.png"])
@pytest.mark.parametrize("end", ["", "/"])
@pytest.mark.parametrize("where", ["memory", "disk"])
def test_the_folder_of_the_images_is_no_output_folder(bucket, make_folder, where, pattern, end):
    """A run into the folder of its images is refused with another folder to choose; that one is taken."""
    source = str(make_folder(2)) if where == "disk" else f"{bucket[0]}/src"
    client = Client(Painter())
    for call in (client.map, client.plan):
        with pytest.raises(InvalidRequestError, match="out_dir is the folder of the images") as caught:
            call(source + pattern, out_dir=source + end)
        assert caught.value.field == "out_dir"
        assert f"choose another, such as {source}/variations" in str(caught.value)
        assert "\n" not in str(caught.value)
    assert count_images(source + pattern, f"{source}/variations").found == 2


def test_a_folder_without_images_is_still_said_to_have_none(bucket, tmp_path):
    """A folder that is empty is not mistaken for one that was left out."""
    with pytest.raises(InvalidImageError, match="holds no image right in it"):
        Items(str(tmp_path), str(tmp_path))
    with pytest.raises(InvalidImageError, match="no image was found"):
        Items(f"{bucket[0]}/none", f"{bucket[0]}/none")


def test_a_missing_object_is_told_at_once(bucket):
    """A run's only image is looked for before anything is written, as a file on disk is."""
    address, system = bucket
    client = Client(Painter())
    for call in (client.plan, client.map):
        with pytest.raises(InvalidImageError, match=rf"there is no object {address}/none\.png"):
            call(f"{address}/none.png", out_dir=f"{address}/out")
    assert not system.exists(f"{address}/out")
    assert count_images(f"{address}/src/a.png", f"{address}/out").to_do == 1
    assert client.map([f"{address}/none.png"], out_dir=f"{address}/out")[0].status == "failed"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("s3:/x/a.png", "s3:/x/a.png is no address; did you mean s3://x/a.png"),
        ("GS:/x", "did you mean GS://x"),
        ("s3://", "names no bucket"),
        ("s3:///", "names no bucket"),
        ("az://", "names no bucket"),
        ("s3://user:pw5ecret@bucket/a.png", "user or password"),
        ("s3:/user:pw5ecret@bucket/a.png", "is no address"),
        ("gs://user:pw5ecret@bucket/a.png", "user or password"),
        ("az://user:pw5ecret@bucket/a.png", "user or password"),
    ],
)
def test_an_address_that_can_be_none_is_refused(text, words, tmp_path, monkeypatch):
    """A mistyped address is no folder of the disk, and one of a bucket has no user; the line shows no password."""
    monkeypatch.chdir(tmp_path)
    for images, out in ((text, "out"), ("photos", text)):
        with pytest.raises(ImageVariationError) as caught:
            Client(Painter()).map(images, out_dir=out)
        assert words in str(caught.value)
        assert "pw5ecret" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_query_is_not_a_folder(bucket):
    """An object with a query that the server refuses is not called a folder without images."""
    with pytest.raises(
        InvalidImageError, match=r"was given with a query \(versionId\) that the server refused"
    ):
        Items(f"{bucket[0]}/src/a.png?versionId=n0ne", "out")


@pytest.mark.parametrize("end", ["/*.png", "/what?", "/../out", "/.."])
def test_an_output_folder_has_no_pattern(bucket, end):
    """A pattern or a way up is no folder of a bucket."""
    with pytest.raises(InvalidRequestError, match="no folder's address") as caught:
        Client(Painter()).plan(f"{bucket[0]}/src", out_dir=f"{bucket[0]}/out{end}")
    assert caught.value.field == "out_dir"


def test_an_object_is_no_output_folder(bucket):
    """An object can't be the output folder, in a dry run too."""
    address, system = bucket
    client = Client(Painter())
    for call in (client.plan, client.map):
        with pytest.raises(InvalidRequestError, match="is an object, not a folder") as caught:
            call(f"{address}/src", out_dir=f"{address}/src/a.png")
        assert caught.value.field == "out_dir"
    assert len(system.find(address)) == 2


def test_the_line_of_a_failed_object_names_it_once(bucket, capsys):
    """What the command says of an image that failed has its address once, and an error without one gets it."""
    address, system = bucket
    system.pipe_file(f"{address}/src/bad.png", b"no picture")
    missing, bad = f"{address}/none.png", f"{address}/src/bad.png"
    assert main(["bulk", missing, bad, "--out-dir", f"{address}/out", "--size", "64"]) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if missing in line or bad in line]
    assert len(lines) == 2
    assert [line.count(address) for line in lines] == [1, 1]
