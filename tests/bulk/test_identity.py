"""Which image an item is: the same bytes give the same pictures wherever they lie, and nothing is made twice."""

import hashlib
import json
import os
import secrets
import shutil
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar import Client
from ipy_imgvar.bulk import BulkResult
from ipy_imgvar.bulk.counts import count_images
from ipy_imgvar.bulk.work import item_seed

SMALL = {"size": 64}
HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)


@pytest.fixture
def fake(fake_engine):
    """Return a function that makes a client of an engine, and the engine: a red picture of each image."""

    def make(*features):
        engine = fake_engine(*[["red"]] * 400, features=features)
        return Client(engine), engine

    return make


@given(seed=st.none() | st.integers(0, 2**64), sha256=HASHES)
def test_a_seed_comes_from_the_bytes_and_the_seed_of_the_run(seed, sha256):
    """A seed is below 2**48; no seed counts as 0, another one or another image gives another seed."""
    made = item_seed(seed, sha256)
    assert 0 <= made < 2**48
    assert made == item_seed(seed or 0, sha256.upper())
    assert made != item_seed((seed or 0) + 1, sha256)
    assert made != item_seed(seed, hashlib.sha256(sha256.encode()).hexdigest())


@pytest.mark.slow
def test_an_image_has_the_same_pictures_wherever_it_lies(patch, make_folder, tmp_path, look, monkeypatch):
    """By relative or absolute path, from another folder, moved, or from memory: the same seeds, bytes and hashes."""
    folder = make_folder(2)
    moved = tmp_path / "elsewhere" / "deep"
    shutil.copytree(folder, moved)
    monkeypatch.chdir(tmp_path)
    ways = {
        "relative": "photos",
        "absolute": str(folder),
        "dotted": "./elsewhere/../photos",
        "moved": "elsewhere/deep",
    }
    made = {}
    for way, images in ways.items():
        result = patch.map(images, out_dir=way, n=2, seed=3, **SMALL)
        made[way] = ([each.seed for each in result], look.pictures(way))
    assert len(made["relative"][1]) == 4
    assert all(each == made["relative"] for each in made.values())
    data = (folder / "p000.png").read_bytes()
    (item,) = patch.map([data], out_dir="memory", n=2, seed=3, **SMALL)
    assert item.seed == made["relative"][0][0]
    (name, *_) = look.pictures("memory")
    assert name == f"0-{hashlib.sha256(data).hexdigest()[:12]}-1.png"
    assert set(look.pictures("memory").values()) < set(made["relative"][1].values())
    alone = patch.variations(data, seed=item.seed, index=2, n=2, **SMALL)[0]
    assert alone.bytes == item.paths[1].read_bytes()


@pytest.mark.parametrize("way", ["absolute", "other folder", "moved", "memory", "reordered"])
def test_a_run_goes_on_from_anywhere(fake, make_folder, tmp_path, monkeypatch, *, look, way):
    """Resumed by other paths, a run makes nothing, its records replace the old ones, and a third run agrees."""
    client, engine = fake("seed")
    folder, out = make_folder(40), tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    data = [path.read_bytes() for path in sorted(folder.iterdir())]
    first = client.map(data if way == "reordered" else "photos", out_dir=out, **SMALL)
    images = {"absolute": str(folder), "memory": data, "reordered": data[::-1]}.get(way, "p*.png")
    if way == "other folder":
        monkeypatch.chdir(folder)
    elif way == "moved":
        folder.rename(tmp_path / "moved")
        images = "moved"
    assert count_images(images, out).done == 40
    second = client.map(images, out_dir=out, **SMALL)
    assert engine.ended == 40
    assert len(second.skipped) == 40
    assert {each.paths for each in second} == {each.paths for each in first}
    assert all(each.seed is not None for each in second)
    assert {each.item for each in BulkResult.read(out)} == {each.item for each in second}
    assert len(BulkResult.read(out)) == 40
    assert len(look.pictures(out)) == 40
    assert all(each.thumbnail and each.thumbnail.exists() for each in second) == (
        way in ("memory", "reordered")
    )
    lines = len(look.records(out))
    assert len(client.map(images, out_dir=out, **SMALL).skipped) == 40
    assert len(look.records(out)) == lines
    assert engine.ended == 40


def test_two_paths_of_one_content_have_a_record_each(fake, make_folder, tmp_path, look):
    """Equal files of one name have the same picture and their own records, also when resumed in another order."""
    client, engine = fake("seed")
    folder, out = make_folder(3), tmp_path / "out"
    twin = tmp_path / "twin"
    shutil.copytree(folder, twin)
    first = client.map([str(folder), str(twin)], out_dir=out, **SMALL)
    assert engine.ended == len(look.records(out)) == 6
    assert len(look.pictures(out)) == 3
    assert [each.paths for each in first[:3]] == [each.paths for each in first[3:]]
    again = client.map([str(twin), str(folder)], out_dir=out, **SMALL)
    assert len(again.skipped) == 6
    assert len(BulkResult.read(out)) == 6


def test_a_copy_that_comes_before_its_original_takes_no_record_away(fake, make_folder, tmp_path):
    """An image with a copy keeps its record, though the copy came first and was told by it; nothing is made."""
    client, engine = fake("seed")
    folder, out = make_folder(5), tmp_path / "out"
    client.map(str(folder), out_dir=out, **SMALL)
    twin = tmp_path / "twin"
    shutil.copytree(folder, twin)
    for images in ([twin, folder], [folder, twin]):
        result = client.map(images, out_dir=out, max_workers=1, **SMALL)
        assert len(result.skipped) == 10
        assert len({each.item for each in result}) == len(BulkResult.read(out)) == 10
    assert engine.ended == 5


def test_equal_images_that_a_server_answers_twice_lose_no_picture(fake_engine, make_folder, tmp_path):
    """Where an engine gives other pictures each time, equal files of one name have pictures of their own, all kept."""
    engine = fake_engine(["red"], ["blue"], features=())
    client = Client(engine)
    folder, out = make_folder(1), tmp_path / "out"
    twin = tmp_path / "twin"
    shutil.copytree(folder, twin)
    first = client.map([folder, twin], out_dir=out, max_workers=1, **SMALL)
    assert len({each.paths for each in first}) == 2
    assert len({each.paths[0].read_bytes() for each in first}) == 2
    (tmp_path / "moved").mkdir()
    folder.rename(tmp_path / "moved" / "a")
    twin.rename(tmp_path / "moved" / "b")
    second = client.map([tmp_path / "moved" / "a", tmp_path / "moved" / "b"], out_dir=out, **SMALL)
    assert len(second.skipped) == 2
    assert {each.paths for each in second} == {each.paths for each in first}
    assert len(BulkResult.read(out)) == 2
    assert engine.ended == 2


def test_another_content_at_the_same_path_has_another_name(fake, make_folder, tmp_path):
    """A file that was changed gets new pictures, and those of its old content stay."""
    client, engine = fake("seed")
    folder, out = make_folder(2), tmp_path / "out"
    first = client.map(str(folder), out_dir=out, **SMALL)
    (folder / "p000.png").write_bytes((folder / "p001.png").read_bytes())
    second = client.map(str(folder), out_dir=out, **SMALL)
    assert [each.status for each in second] == ["done", "skipped"]
    assert second[0].paths != first[0].paths
    assert second[0].seed == second[1].seed == first[1].seed
    assert first[0].paths[0].exists()
    assert engine.ended == 3


def test_a_moved_image_whose_picture_is_gone_is_made_again(fake, make_folder, tmp_path):
    """A record proves nothing without its files, nor if its settings are others."""
    client, engine = fake("seed")
    folder, out = make_folder(4), tmp_path / "out"
    first = client.map(str(folder), out_dir=out, **SMALL)
    first[0].paths[0].unlink()
    first[1].paths[0].write_bytes(b"")
    folder.rename(tmp_path / "moved")
    assert count_images(str(tmp_path / "moved"), out).done == 2
    second = client.map(str(tmp_path / "moved"), out_dir=out, **SMALL)
    assert [each.status for each in second] == ["done", "done", "skipped", "skipped"]
    (tmp_path / "moved").rename(tmp_path / "again")
    assert len(client.map(str(tmp_path / "again"), out_dir=out, strength="strong", **SMALL).done) == 4
    assert engine.ended == 10


def test_a_ledger_of_an_older_version_is_taken_up(fake, make_folder, tmp_path, look):
    """Records without a size, with seeds and names by the path, hold: the old files and seeds stay."""
    client, engine = fake("seed")
    folder, out = make_folder(3), tmp_path / "out"
    client.map(str(folder), out_dir=out, **SMALL)
    lines = []
    for number, record in enumerate(look.records(out)):
        (path,) = record["paths"]
        os.rename(out / path, out / f"old-{number}-1.png")  # noqa: PTH104
        del record["bytes"]
        lines.append(json.dumps({**record, "paths": [f"old-{number}-1.png"], "seed": 1000 + number}) + "\n")
    (out / "ledger.jsonl").write_text("".join(lines))
    again = client.map(str(folder), out_dir=out, **SMALL)
    assert len(again.skipped) == 3
    assert {each.seed for each in again} == {1000, 1001, 1002}
    assert {each.paths[0].name for each in again} == {f"old-{number}-1.png" for number in range(3)}
    assert engine.ended == 3


@pytest.mark.parametrize(
    "change",
    [
        {"bytes": "many"},
        {"bytes": -1},
        {"bytes": 2**70},
        {"sha256": "zz"},
        {"sha256": 5},
        {"replaces": 5},
        {"paths": ["../x.png"]},
    ],
)
def test_an_odd_record_tells_nothing_of_a_moved_image(fake, make_folder, tmp_path, look, change):
    """A record with odd fields ends no run; its moved image is made again where it proves nothing."""
    client, _ = fake("seed")
    folder, out = make_folder(2), tmp_path / "out"
    client.map(str(folder), out_dir=out, **SMALL)
    lines = sorted(look.records(out), key=lambda record: record["item"])
    lines[0] |= change
    (out / "ledger.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    folder.rename(tmp_path / "moved")
    result = client.map(str(tmp_path / "moved"), out_dir=out, **SMALL)
    assert [each.status for each in result] == ["skipped" if "replaces" in change else "done", "skipped"]


@pytest.mark.parametrize(
    ("is_local", "system", "count"), [(True, "darwin", 2), (True, "linux", 1), (False, "darwin", 1)]
)
def test_names_that_differ_in_case_are_one_on_macos(  # noqa: PLR0917 - fixtures
    fake_engine, photo, tmp_path, monkeypatch, is_local, system, count
):
    """Equal Cat.png and cat.png get names with hashes of their own in a folder of macOS, not in an object store."""
    pytest.importorskip("fsspec")
    for number, name in enumerate(("Cat.png", "cat.png")):
        (tmp_path / str(number)).mkdir()
        photo.save(tmp_path / str(number) / name)
    monkeypatch.setattr(sys, "platform", system)
    out = tmp_path / "out" if is_local else f"memory://case-{secrets.token_hex(4)}/out"
    images = [tmp_path / "0/Cat.png", tmp_path / "1/cat.png"]
    done = Client(fake_engine(["red"], ["lime"], features=())).map(
        images, out_dir=out, max_workers=1, **SMALL
    )
    names = [str(path).rpartition("/")[2] for each in done for path in each.paths]
    assert len(names) == 2
    assert len({name.split("-")[1] for name in names}) == count


def test_many_workers_may_write_the_picture_of_equal_images_at_once(fake, make_folder, tmp_path, look):
    """Thirty equal files of one name, made by eight threads, leave one whole picture and thirty records."""
    client, engine = fake("seed")
    folder, out = make_folder(1), tmp_path / "out"
    twins = [shutil.copytree(folder, tmp_path / f"twin{number}") for number in range(30)]
    first = client.map(twins, out_dir=out, max_workers=8, **SMALL)
    assert len(first.done) == engine.ended == len(look.records(out)) == 30
    assert len(look.pictures(out)) == 1
    assert not look.half_files(out)
    assert len(client.map(twins, out_dir=out, max_workers=8, **SMALL).skipped) == 30
    for twin in twins:
        twin.rename(twin.with_name(f"moved-{twin.name}"))
    moved = [twin.with_name(f"moved-{twin.name}") for twin in twins]
    assert count_images(moved, out).done == 30
    assert len(client.map(moved, out_dir=out, max_workers=8, **SMALL).skipped) == 30
    assert len(BulkResult.read(out)) == 30
    assert engine.ended == 30
