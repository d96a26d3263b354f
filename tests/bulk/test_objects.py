"""Images in an object store: listed as the run goes, known by address, size and version, read only where needed."""

import secrets
import subprocess
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.bulk.counts import count_images
from ipy_imgvar.bulk.items import Items
from ipy_imgvar.bulk.known import Sizes
from ipy_imgvar.bulk.total import Total
from ipy_imgvar.errors import InvalidImageError

fsspec = pytest.importorskip("fsspec")
from objects import Slow, agenda_of, done, install  # noqa: E402 - it needs fsspec

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40)


@pytest.fixture
def bucket():
    """Return the address of an empty bucket in memory, and a function that puts an object into it."""
    address = f"memory://b{secrets.token_hex(6)}"
    fs = fsspec.filesystem("memory")

    def put(name, data=b"picture"):
        fs.pipe_file(f"{address}/{name}", data)

    yield address, put
    if fs.exists(address):
        fs.rm(address, recursive=True)


@pytest.fixture
def slow(monkeypatch):
    """Return the class of the slow file system; what a test sets on it is undone."""
    for name in ("images", "pause_s", "gate"):
        monkeypatch.setattr(Slow, name, getattr(Slow, name))
    monkeypatch.setattr(Slow, "listed", [])
    install()
    return Slow


def test_a_folder_or_pattern_of_a_bucket_gives_its_images(bucket):
    """A folder gives the images right in it, a pattern what it matches; an item has address, size and version."""
    address, put = bucket
    for name in ("b.png", "a.jpg", "notes.txt", ".hidden.png", "deep/c.png"):
        put(name, name.encode())
    items = list(Items(address, "out"))
    assert [item.image.rpartition("/")[2] for item in items] == ["a.jpg", "b.png"]
    assert [item.size for item in items] == [5, 5]
    assert all(item.version for item in items)
    assert [item.ready().item for item in items] == [f"{address}/a.jpg", f"{address}/b.png"]
    assert [item.ready().stem for item in items] == ["a", "b"]
    assert not any(item.is_file or item.ready().is_file for item in items)
    assert len(list(Items(f"{address}/**/*.png", "out"))) == 2
    assert [item.image for item in Items([f"{address}/b.png"], "out")] == [f"{address}/b.png"]


def test_the_pictures_of_the_run_are_no_images_of_it(bucket):
    """What lies in out_dir is left out, however its address is spelled; a folder whose name only begins so is not."""
    address, put = bucket
    for name in ("a.png", "out/a-1.png", "outer/b.png"):
        put(name)
    plain = address.replace("memory://", "memory:///")
    for out in (f"{address}/out", f"{address}/out/", f"{plain}/out"):
        found = [item.image.rpartition("/")[2] for item in Items(f"{address}/**/*.png", out)]
        assert found == ["a.png", "b.png"]
    assert len(list(Items(f"{address}/**/*.png", "out"))) == 3


@pytest.mark.parametrize("what", ["", "/empty", "/*.png"])
def test_an_address_without_an_image_is_said_at_once(bucket, what):
    """A bucket, folder or pattern that leads to no image is a mistake of the call, in one line."""
    address, put = bucket
    put("notes.txt")
    with pytest.raises(InvalidImageError, match="no image was found at memory://") as caught:
        Items(f"{address}{what}", "out")
    assert "\n" not in str(caught.value)


def test_an_address_of_a_list_that_leads_nowhere_is_an_item(bucket):
    """A pattern of a list without a match is an item, which fails in its turn."""
    address, put = bucket
    put("a.png")
    assert [item.image for item in Items([f"{address}/*.jpg", address], "out")] == [
        f"{address}/*.jpg",
        f"{address}/a.png",
    ]


@given(user=NAMES, password=NAMES, name=st.from_regex(r"[^/?*\[\]\0]+", fullmatch=True))
def test_no_id_has_a_password(user, password, name):
    """Whatever an address holds of user and password, the id, the source and the repr of an item hold none of it."""
    user, password = (each.replace("@", "").replace(":", "") + "-5ecret" for each in (user, password))
    (item,) = Items([f"sftp://{user}:{password}@host/{name}.png"], "out")
    ready = item.ready()
    assert ready.item == ready.source
    assert "5ecret" not in ready.item + ready.stem + repr(ready) + repr(item)
    assert "5ecret" in ready.image


@pytest.mark.parametrize(
    ("address", "is_searched"),
    [
        ("https://host/photos/", True),
        ("https://host/photos/*.png", True),
        ("https://host/cat.png", False),
        ("https://host/cat?size=*/", False),
        ("https://host/image", False),
    ],
)
def test_an_address_of_the_web_is_searched_only_if_it_says_so(address, is_searched, monkeypatch):
    """A page whose address ends with a slash, or one with a star, is listed; any other is an image, as before."""
    from ipy_imgvar.bulk import items

    monkeypatch.setattr(
        items, "listing", lambda address, **_: iter([items.Object(f"{address}x.png", 3, None)])
    )
    (item,) = Items([address], "out")
    assert item.is_object == is_searched
    assert item.ready().item.startswith("https://" if is_searched else "0-")


def test_the_first_task_comes_before_the_listing_ends(slow, fake_engine, tmp_path):
    """A run takes what it needs of a listing: after its first image only the first of a hundred folders was listed."""
    agenda, ledger = agenda_of(fake_engine(), tmp_path / "out")
    tasks = agenda.tasks(Items("slowlist://bucket/**/*.png", "out"))
    slow.listed.clear()
    first = next(tasks)
    assert first.ready.item == "slowlist://bucket/d000/p0000.png"
    assert slow.listed == ["bucket", "bucket/d000"]
    ledger.close()


def test_counting_holds_nothing_up(slow):
    """The number of images is counted beside the run: it comes later, and a stop gives it up."""
    items, goes_on = Items("slowlist://bucket/**/*.png", "out"), threading.Event()
    slow.gate = goes_on
    total = Total(items)
    assert total.value is None
    goes_on.set()
    end = time.monotonic() + 100
    while total.value is None and time.monotonic() < end:
        time.sleep(0.01)
    assert total.value == 1000
    slow.pause_s = 0.05
    slow.listed.clear()
    given_up = Total(items)
    given_up.close()
    for thread in threading.enumerate():
        if thread.name == "imgvar-count":
            thread.join(100)
    assert given_up.value is None
    assert len(slow.listed) < 60


def test_an_object_that_is_as_recorded_is_not_read(slow, fake_engine, tmp_path):
    """An item whose size and version are those of its record is skipped without a task; another version is a task."""
    agenda, ledger = agenda_of(fake_engine(), tmp_path / "out")
    for task in agenda.tasks(Items("slowlist://bucket/**/*.png", "out")):
        outcome = done(task)
        (tmp_path / "out" / outcome.record["paths"][0]).write_bytes(b"x")
        agenda.end(task, outcome)
    ledger.close()
    again, ledger = agenda_of(fake_engine(), tmp_path / "out")
    assert list(again.tasks(Items("slowlist://bucket/**/*.png", "out"))) == []
    assert again.tally.count("skipped") == again.tally.found == 1000
    ledger.close()
    lines = len((tmp_path / "out" / "ledger.jsonl").read_text().splitlines())
    assert lines == 1000
    slow.images = 11
    third, ledger = agenda_of(fake_engine(), tmp_path / "out")
    assert len(list(third.tasks(Items("slowlist://bucket/**/*.png", "out")))) == 100
    ledger.close()


def test_a_dry_run_lists_and_asks_for_no_object(slow, tmp_path):
    """Counting takes one listing, and the sizes from it."""
    slow.listed.clear()
    counts = count_images(["slowlist://bucket/**/*.png"], tmp_path / "out")
    assert (counts.found, counts.done) == (1000, 0)
    assert counts.bytes_to_do == sum(10 * (1000 + number) for number in range(100))
    assert len(slow.listed) == 101


@given(sizes=st.dictionaries(NAMES, st.integers(0, 2**40), max_size=20), other=NAMES)
def test_one_listing_has_all_sizes(sizes, other):
    """The sizes of a folder's files are told by name; a file that is not there has none."""

    class Folder:
        def names(self):
            return (
                type("Object", (), {"address": f"s3://b/out/{name}", "size": size})
                for name, size in sizes.items()
            )

    known = Sizes(Folder())
    assert {name: known.of(name) for name in sizes} == sizes
    assert known.of(other) == sizes.get(other)


BOUNDED = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
import peak
from objects import Slow, agenda_of, done, install

install()
from ipy_imgvar.bulk.counts import count_images
from ipy_imgvar.bulk.items import Items
from ipy_imgvar.bulk.work import Outcome
from conftest import FakeEngine

Slow.images = 1000
images, out = "slowlist://bucket/**/*.png", Path(sys.argv[1])
next(iter(Items(images, out)))
start = peak.peak_bytes()
counts = count_images([images], out)
for run in range(2):
    agenda, ledger = agenda_of(FakeEngine(features=()), out)
    for task in agenda.tasks(Items(images, out)):
        agenda.end(task, done(task) if not run else Outcome(dict(task.known) | {"status": "skipped"}))
    ledger.close()
    print(counts.found, agenda.tally.found, agenda.tally.count("skipped" if run else "done"), end=" ")
    del agenda, ledger
print(peak.peak_bytes() - start)
"""


@pytest.mark.slow
def test_a_hundred_thousand_objects_are_planned_in_bounded_memory(start_python, tmp_path):
    """100,000 objects are listed, planned, recorded, and skipped by a second run, in at most 60 MB over the start."""
    tests = Path(__file__).parent.parent
    run = start_python(BOUNDED, tmp_path / "out", tests, stdout=subprocess.PIPE)
    *counts, most = map(int, run.communicate(timeout=300)[0].split())
    assert counts == [100_000] * 6
    assert most < 60_000_000
