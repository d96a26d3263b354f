"""What a bulk run finds: lazily, from anything, with ids that name the item and nothing else."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ipy_imgvar.bulk.counts import count_images
from ipy_imgvar.bulk.items import Items
from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.images.source import load_sources

PIXELS = np.zeros((8, 8, 3), np.uint8)


def sources(images, out="out"):
    return [item.ready().source for item in Items(images, Path(out))]


def test_a_folder_gives_the_images_in_it_in_order(make_folder, monkeypatch):
    """A folder stands for the images right in it, sorted; hidden files and other files are no images."""
    folder = make_folder(3)
    (folder / "notes.txt").touch()
    (folder / ".hidden.png").touch()
    (folder / "deeper").mkdir()
    (folder / "deeper" / "x.png").touch()
    monkeypatch.chdir(folder.parent)
    assert sources("photos") == sources(Path("./photos/")) == [f"photos/p00{index}.png" for index in range(3)]


def test_patterns_are_expanded_and_two_stars_go_deeper(make_folder, monkeypatch):
    """A pattern names files, `**` those of subfolders too."""
    folder = make_folder(2)
    (folder / "deeper").mkdir()
    (folder / "deeper" / "x.png").touch()
    monkeypatch.chdir(folder.parent)
    assert sources("photos/p*1.png") == ["photos/p001.png"]
    assert len(sources("photos/**/*.png")) == 3
    assert sources(["photos/p000.png", "photos/*1.png"]) == ["photos/p000.png", "photos/p001.png"]


def test_what_an_earlier_run_made_is_no_source(make_folder):
    """Pictures in out_dir are left out where out_dir lies in the folder that is searched."""
    folder = make_folder(2)
    (folder / "out").mkdir()
    (folder / "out" / "p000-1.png").touch()
    assert len(sources(f"{folder}/**/*.png", out=folder / "out")) == 2


@pytest.mark.parametrize("images", ["nowhere.png", "nowhere/*.png", "empty", Path("nowhere")])
def test_nothing_found_is_said_at_once(images, tmp_path, monkeypatch):
    """A single path, pattern or folder that leads to no image is a mistake of the call."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidRequestError):
        Items(images, tmp_path / "out")


def test_nothing_found_among_others_is_not_passed_over(make_folder):
    """A pattern or path of a list that leads nowhere is an item, which then fails."""
    folder = make_folder(1)
    assert sources([str(folder), "nowhere/*.png", "gone.png"])[1:] == ["nowhere/*.png", "gone.png"]


def test_an_id_is_the_path_or_place_and_content():
    """A file is known by its path, an array by its place and content, an address by its hash alone."""
    path, array, address = (
        item.ready() for item in Items(["./a/b.png", PIXELS, "https://h.example/x?sig=secret"], Path("out"))
    )
    assert path.item == "a/b.png"
    assert array.item.startswith("1-")
    assert array.stem == "1"
    assert "secret" not in address.item + address.source


def test_pandas_labels_are_kept(make_folder):
    """A Series, or a frame of one column, keeps the label of each row; another frame names its columns."""
    pd = pytest.importorskip("pandas")
    paths = sorted(map(str, make_folder(2).iterdir()))
    series = pd.Series(paths, index=["a", "b"])
    assert [item.label for item in Items(series, Path("out"))] == ["a", "b"]
    assert [item.label for item in Items(series.to_frame("path"), Path("out"))] == ["a", "b"]
    with pytest.raises(InvalidRequestError, match="path, class"):
        Items(pd.DataFrame({"path": paths, "class": [1, 2]}), Path("out"))
    (item,) = Items(pd.Series([PIXELS], index=["row"]), Path("out"))
    assert item.ready().item.startswith("row-")


def test_a_generator_is_taken_one_by_one():
    """Of a generator no more is taken than was asked for, and it is not counted."""
    taken = []
    items = Items((taken.append(number) or Image.new("RGB", (8, 8)) for number in range(9)), Path("out"))
    assert items.count() is None
    next(iter(items))
    assert taken == [0]


def test_sources_of_the_magic_are_files_again(make_folder):
    """A source that was made of a path counts as that path."""
    paths = sorted(map(str, make_folder(2).iterdir()))
    assert sources(load_sources(paths)) == paths


@pytest.mark.parametrize(
    "name", ["new\nline.png", "😀 emoji.png", "con:<a>?.png", "x" * 240 + ".png", "%s.png"]
)
def test_file_names_are_clean(name):
    """A picture's name has no line break, control character or what a file system refuses; emoji stay."""
    (item,) = Items([name], Path("out"))
    stem = item.ready().stem
    assert stem.isprintable()
    assert len(os.fsencode(stem)) <= 120
    assert not set('<>:"/\\|?*%') & set(stem)
    assert ("😀" in stem) == ("😀" in name)


@pytest.mark.slow
def test_planning_is_lazy(tmp_path):
    """Twenty thousand files are counted without reading one, in a memory that does not grow with their number."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(20_000):
        os.close(os.open(folder / f"{number}.png", os.O_CREAT))
    tracemalloc.start()
    try:
        assert count_images(str(folder), tmp_path / "out").found == 20_000
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()
    assert not (tmp_path / "out").exists()
