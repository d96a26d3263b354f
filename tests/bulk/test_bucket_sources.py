"""Whole runs whose images lie in a bucket: the same pictures as from disk, and nothing read or made twice."""

import hashlib
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from ipy_imgvar import Client
from ipy_imgvar.bulk import BulkResult
from ipy_imgvar.bulk.counts import count_images

fsspec = pytest.importorskip("fsspec")
SMALL = {"size": 64}


class Watched(fsspec.get_filesystem_class("memory")):
    """The file system in memory, with a note of what was read and listed."""

    protocol = "watched"
    # All instances share these, as fsspec's own do.
    store: ClassVar = {}
    pseudo_dirs: ClassVar = [""]
    calls: ClassVar = []
    pause_s = 0.0

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("watched://", "memory://"))

    def cat_file(self, path, **options):
        self.calls.append(("read", path))
        return super().cat_file(path, **options)

    def info(self, path, **options):
        self.calls.append(("look", path))
        return super().info(path, **options)

    def ls(self, path, **options):
        self.calls.append(("list", path))
        time.sleep(self.pause_s)
        return super().ls(path, **options)


fsspec.register_implementation("watched", Watched, clobber=True)


@pytest.fixture
def bucket(monkeypatch):
    """Return the address of a bucket, its file system, and its class, which has the calls."""
    monkeypatch.setattr(Watched, "calls", [])
    monkeypatch.setattr(Watched, "pause_s", 0.0)
    address = f"watched://b{secrets.token_hex(6)}"
    fs = fsspec.filesystem("watched")
    fs.mkdir(address)
    yield address, fs
    fs.rm(address, recursive=True)


@pytest.fixture
def filled(bucket, make_folder):
    """Return the address of a bucket with four pictures below `photos`, its file system, and a folder with the same."""
    address, fs = bucket
    folder = make_folder(4)
    for path in sorted(folder.iterdir()):
        fs.pipe_file(f"{address}/photos/{path.name}", path.read_bytes())
    return address, fs, folder


def reads():
    return sum(kind == "read" for kind, _ in Watched.calls)


@pytest.mark.slow
def test_a_bucket_gives_the_same_files_as_a_folder(filled, tmp_path, look):
    """From a bucket, by folder or pattern, a run makes the files of the local one, and thumbnails for the page."""
    address, _, folder = filled
    with Client("patch") as patch, ThreadPoolExecutor(1) as executor:
        patch.map(str(folder), out_dir=tmp_path / "disk", seed=7, **SMALL)
        for number, images in enumerate([f"{address}/photos", f"{address}/**/*.png"]):
            out = tmp_path / f"bucket{number}"
            result = patch.map(images, out_dir=out, seed=7, executor=executor, **SMALL)
            assert [each.source for each in result] == [
                f"{address}/photos/p00{index}.png" for index in range(4)
            ]
            assert look.pictures(out) == look.pictures(tmp_path / "disk")
            assert all(each.thumbnail.read_bytes() for each in result)
            page = (out / "index.html").read_text()
            assert page.count('src="sources/') == 4
            assert 'href="watched' not in page


def test_a_resumed_run_reads_no_object_that_is_as_it_was(filled, fake_engine, tmp_path, look):
    """What the listing shows unchanged is skipped unread; a changed object is made; a touched one is read once."""
    address, fs, folder = filled
    client = Client(engine := fake_engine(*[["red"]] * 9))
    images, out = f"{address}/photos", tmp_path / "out"
    first = client.map(images, out_dir=out, **SMALL)
    assert reads() == 4
    records = look.records(out)
    assert all(record["bytes"] and record["version"] for record in records)
    assert {record["sha256"] for record in records} == {
        hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()
    }
    Watched.calls.clear()
    assert str(count_images(images, out)) == "4 images, 4 done, 0 to do"
    second = client.map(images, out_dir=out, **SMALL)
    assert [each.paths for each in second.skipped] == [each.paths for each in first]
    assert reads() == 0
    name = f"{address}/photos/p000.png"
    fs.pipe_file(name, fs.store[fs._strip_protocol(name)].getvalue())  # the same bytes, written anew
    assert len(client.map(images, out_dir=out, **SMALL).skipped) == 4
    assert reads() == 1
    assert len(client.map(images, out_dir=out, **SMALL).skipped) == 4
    assert reads() == 1
    fs.pipe_file(name, (folder / "p001.png").read_bytes())
    assert [each.status for each in client.map(images, out_dir=out, **SMALL)] == ["done", *["skipped"] * 3]
    assert engine.ended == 5
    first[1].paths[0].unlink()
    assert count_images(images, out).done == 3
    assert len(client.map(images, out_dir=out, **SMALL).done) == 1


@pytest.mark.parametrize("way", ["to bucket", "to disk", "within", "one by one"])
def test_images_that_moved_into_or_out_of_a_bucket_are_not_made_again(filled, fake_engine, tmp_path, *, way):
    """A run on a folder goes on with the same images in a bucket, and the other way round, and in another bucket."""
    address, fs, folder = filled
    client = Client(engine := fake_engine(*[["red"]] * 9))
    places = {
        "to bucket": (str(folder), f"{address}/photos"),
        "to disk": (f"{address}/photos", str(folder)),
        "within": (f"{address}/photos", f"{address}/elsewhere"),
        "one by one": (str(folder), [f"{address}/photos/{path.name}" for path in sorted(folder.iterdir())]),
    }
    before, after = places[way]
    first = client.map(before, out_dir=tmp_path / "out", **SMALL)
    if way == "within":
        fs.mv(f"{address}/photos", f"{address}/elsewhere", recursive=True)
    second = client.map(after, out_dir=tmp_path / "out", **SMALL)
    assert len(second.skipped) == 4
    assert engine.ended == 4
    assert {each.paths for each in second} == {each.paths for each in first}
    assert {each.item for each in BulkResult.read(tmp_path / "out")} == {each.item for each in second}
    Watched.calls.clear()
    assert len(client.map(after, out_dir=tmp_path / "out", **SMALL).skipped) == 4
    # Where no listing tells the version, each object is read and compared.
    assert reads() == (4 if way == "one by one" else 0)


def test_a_run_in_one_bucket_looks_at_its_pictures_once(filled, fake_engine):
    """With out_dir below the images, a resumed run lists it once; a picture that is gone or cut short is made again."""
    address, fs, _ = filled
    client = Client(engine := fake_engine(*[["red"]] * 9))
    images, out = f"{address}/**/*.png", f"{address}/out"
    first = client.map(images, out_dir=out, **SMALL)
    assert len(first.done) == 4
    Watched.calls.clear()
    assert count_images(images, out).done == 4
    # The search of `**` comes there, too, once for its first image and once for all.
    assert sum(call == ("list", fs._strip_protocol(out)) for call in Watched.calls) <= 3
    assert not any(kind == "look" and path.endswith("-1.png") for kind, path in Watched.calls)
    assert len(client.map(images, out_dir=out, **SMALL).skipped) == 4
    assert not any(kind == "read" and "/photos/" in path for kind, path in Watched.calls)
    fs.rm(first[0].paths[0])
    fs.pipe_file(first[1].paths[0], b"half")
    assert count_images(images, out).to_do == 2
    assert [each.status for each in client.map(images, out_dir=out, **SMALL)] == [
        "done",
        "done",
        "skipped",
        "skipped",
    ]
    assert engine.ended == 6


@pytest.mark.slow
def test_the_first_picture_is_made_before_the_listing_ends(bucket, fake_engine, tmp_path, make_folder):
    """With forty folders of one image each, listed slowly, the first picture is there while most are yet unlisted."""
    address, fs = bucket
    data = next(make_folder(1).iterdir()).read_bytes()
    for number in range(40):
        fs.pipe_file(f"{address}/d{number:02}/p.png", data)
    Watched.pause_s = 0.05
    Watched.calls.clear()
    listed = []
    engine = fake_engine(
        [lambda _: listed.append(sum(kind == "list" for kind, _ in Watched.calls)), "red"], *[["red"]] * 39
    )
    shares = []
    result = Client(engine).map(
        f"{address}/**/*.png",
        out_dir=tmp_path / "out",
        max_workers=1,
        on_progress=lambda share, _: shares.append(share),
        **SMALL,
    )
    assert listed[0] < 20
    assert len(result.done) == 40
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_an_object_that_is_gone_or_no_image_fails_alone(filled, tmp_path):
    """A missing address and a damaged object are one line each, with the address and no credentials."""
    address, fs, _ = filled
    fs.pipe_file(f"{address}/photos/p999.png", b"nothing")
    images = [f"{address}/photos", f"{address}/gone.png"]
    with Client("patch") as patch, ThreadPoolExecutor(1) as executor:
        result = patch.map(images, out_dir=tmp_path / "out", executor=executor, **SMALL)
    assert [each.status for each in result] == ["done"] * 4 + ["failed"] * 2
    assert all(len(each.error.splitlines()) == 1 for each in result.failed)
    assert f"{address}/gone.png" in result.failed[1].error
