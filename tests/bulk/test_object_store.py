"""A bulk run into an object store, by fsspec's own in memory: the same pictures and promises as in a folder."""

import json
import re
import secrets
from concurrent.futures import ProcessPoolExecutor
from urllib.parse import unquote

import pytest
from objects import take_lock
from painter import Painter

from ipy_imgvar import Client
from ipy_imgvar.bulk import BulkResult, lock, page, parts
from ipy_imgvar.bulk.ledger import NAME
from ipy_imgvar.cli import main
from ipy_imgvar.errors import EngineError, ImageVariationError, InvalidRequestError

fsspec = pytest.importorskip("fsspec")


@pytest.fixture
def store():
    """Return the file system in memory, emptied after the test."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


@pytest.fixture
def out():
    return f"memory://out-{secrets.token_hex(4)}/run"


def names_in(store, out):
    return sorted(name.removeprefix(out.removeprefix("memory:/") + "/") for name in store.find(out))


def test_the_bytes_are_those_of_a_folder(make_folder, store, out, tmp_path):
    """Pictures, ledger and statuses are as on disk; the page and the thumbnails are there, and nothing else."""
    folder, disk = make_folder(5), tmp_path / "out"
    client = Client(Painter())
    here = client.map(str(folder), out_dir=disk, size=64, n=2)
    there = client.map(str(folder), out_dir=out, size=64, n=2)
    pictures = {path.name: path.read_bytes() for path in disk.glob("*.png")}
    assert {name: store.cat(f"{out}/{name}") for name in pictures} == pictures
    assert names_in(store, out) == sorted(
        [*pictures, "index.html", NAME, *(each.thumbnail.removeprefix(f"{out}/") for each in there)]
    )
    ours, theirs = (
        [json.loads(line) for line in text.splitlines()]
        for text in ((disk / NAME).read_text(), store.cat(f"{out}/{NAME}").decode())
    )
    for record in (*ours, *theirs):
        record.pop("elapsed")
        record.pop("thumbnail", None)
    assert sorted(ours, key=str) == sorted(theirs, key=str)
    assert [each.status for each in there] == [each.status for each in here] == ["done"] * 5


def test_the_result_has_addresses(make_folder, store, out):
    """`out_dir`, `paths` and `page` are addresses, `read` gives the same items, and a frame can measure them."""
    pytest.importorskip("pandas")
    made = Client(Painter()).map(str(make_folder(3)), out_dir=out, size=64)
    assert made.out_dir == out
    assert made.page == f"{out}/index.html"
    assert all(store.exists(path) for each in made for path in each.paths)
    assert repr(made).endswith(f"; {out}>")
    again = BulkResult.read(out)
    assert sorted(each.paths for each in again) == sorted(each.paths for each in made)
    frame = again.to_frame(similarity=True)
    assert frame["path"].str.startswith(f"{out}/").all()
    assert frame["similarity"].notna().all()
    store.rm(f"{out}/{NAME}")
    assert len(list(made.done)) == 3  # It has the ledger in a local file.
    with pytest.raises(InvalidRequestError, match=f"{out} has no ledger.jsonl") as caught:
        BulkResult.read(out)
    assert caught.value.field == "out_dir"


def test_another_run_skips_what_is_done(make_folder, store, out):
    """What is finished is not made again, a plan counts it, and a picture that is gone is made again."""
    folder, engine = make_folder(4), Painter()
    client = Client(engine)
    made = client.map(str(folder), out_dir=out, size=64)
    before = store.cat(f"{out}/{NAME}")
    assert client.plan(str(folder), out_dir=out, size=64).out_dir.counts.done == 4
    store.rm(made[1].paths[0])
    again = client.map(str(folder), out_dir=out, size=64)
    assert [each.status for each in again] == ["skipped", "done", "skipped", "skipped"]
    assert len(engine.requests) == 5
    assert store.cat(f"{out}/{NAME}").startswith(before)


def test_the_page_shows_all_by_relative_links(make_folder, store, out):
    """Sources are shown by thumbnails in `sources/`, so the page needs no file of this disk."""
    made = Client(Painter()).map(str(make_folder(3)), out_dir=out, size=64, n=2)
    html = store.cat(made.page).decode()
    links = re.findall(r'<img loading="lazy" src="([^"]+)"', html)
    assert len(links) == 3 * 3
    assert sum(link.startswith("sources/") for link in links) == 3
    assert all(store.exists(f"{out}/{unquote(link)}") for link in links)
    assert made._repr_html_().count("<img") == 9
    assert f"<code>{out}/index.html</code>" in made._repr_html_()


def test_a_foreign_page_stays(make_folder, store, out):
    """A page that no run wrote is left as it is, and the run says so."""
    store.pipe(f"{out}/index.html", b"<html>mine</html>")
    notices = []
    made = Client(Painter()).map(str(make_folder(1)), out_dir=out, size=64, on_notice=notices.append)
    assert notices == [
        f"{out}/index.html can't be written (a page that no bulk run has written is there, and is left as it is)"
    ]
    assert store.cat(f"{out}/index.html") == b"<html>mine</html>"
    with pytest.raises(ImageVariationError, match="left as it is"):
        page.write_pages(made)


def test_a_run_that_breaks_is_merged(make_folder, store, out):
    """Where the images' own iterator fails, what was finished is in `ledger.jsonl`, and no part or lock stays."""
    folder = make_folder(3)

    def images():
        yield from sorted(map(str, folder.iterdir()))
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        Client(Painter()).map(images(), out_dir=out, size=64)
    assert len(store.cat(f"{out}/{NAME}").splitlines()) == 3
    assert [name for name in names_in(store, out) if name.startswith("ledger-parts")] == []


def test_a_run_that_is_killed_goes_on(make_folder, store, out, monkeypatch):
    """What a run left in parts counts as done, though it never ended."""
    folder, engine = make_folder(4), Painter()
    monkeypatch.setattr(parts.ObjectLedger, "finish", lambda _: [])
    Client(engine).map(str(folder), out_dir=out, size=64)
    monkeypatch.undo()
    assert [name for name in names_in(store, out) if name.startswith("ledger-parts/000001-")]
    assert not store.exists(f"{out}/{NAME}")
    assert len(BulkResult.read(out).done) == 4
    again = Client(engine).map(str(folder), out_dir=out, size=64)
    assert len(again.skipped) == 4
    assert len(engine.requests) == 4


def test_a_run_that_lost_its_lock_begins_no_further_item(make_folder, fake_engine, store, out, monkeypatch):
    """It finishes and records what is under way, leaves ledger and page to the other run, and says so in one line."""
    monkeypatch.setattr(lock, "_BEAT_S", 0.02)

    folder = make_folder(20)
    engine = fake_engine(["red"], [lambda _: take_lock(store, out), "red"], *[["red"]] * 18)
    with pytest.raises(
        EngineError, match=f"^another run took over {out} after this one was silent for 0 s; "
    ) as caught:
        Client(engine).map(str(folder), out_dir=out, size=64, max_workers=1)
    assert "\n" not in str(caught.value)
    assert len(BulkResult.read(out).done) == engine.ended == 2
    assert not store.exists(f"{out}/{NAME}")
    assert not store.exists(f"{out}/index.html")
    store.rm(f"{out}/{lock.LOCK}")
    assert len(Client(engine).map(str(folder), out_dir=out, size=64).skipped) == 2


def test_a_bucket_that_removes_nothing_is_written(make_folder, store, out, monkeypatch):
    """Who may put and read but not remove makes runs there, goes on with them, and leaves one probe at most."""

    def deny(*_, **__):
        raise PermissionError("access denied")

    monkeypatch.setattr(type(store), "rm_file", deny)
    monkeypatch.setattr(type(store), "rm", deny)
    folder, engine = make_folder(3), Painter()
    assert len(Client(engine).map(str(folder), out_dir=out, size=64).done) == 3
    assert len(Client(engine).map(str(folder), out_dir=out, size=64).skipped) == 3
    assert len(engine.requests) == 3
    assert len(BulkResult.read(out)) == 3
    assert [name for name in names_in(store, out) if name.startswith(".")] == [".probe-imgvar"]


def test_what_a_killed_run_left_of_its_check_goes(make_folder, store, out):
    """The next run removes it, and no object that it did not make."""
    for name in (".probe-00", ".mine", "sources/.p.png-00.imgvar.tmp"):
        store.pipe(f"{out}/{name}", b"x")
    Client(Painter()).map(str(make_folder(1)), out_dir=out, size=64)
    assert [name for name in names_in(store, out) if "/." in f"/{name}"] == [".mine"]


def test_a_failed_item_is_on_record(fake_engine, make_folder, store, out):
    """An item that fails has its line and its error, and the page tells it."""
    engine = fake_engine(["red"], [EngineError("no luck")])
    made = Client(engine).map(str(make_folder(2)), out_dir=out, size=64, max_workers=1)
    assert (
        [each.status for each in BulkResult.read(out)] == [each.status for each in made] == ["done", "failed"]
    )
    assert "no luck" in store.cat(made.page).decode()


def test_an_address_with_a_password_is_refused(make_folder):
    """The address is recorded and shown, so it has no credentials, and the message repeats none."""
    with pytest.raises(InvalidRequestError) as caught:
        Client(Painter()).map(str(make_folder(1)), out_dir="memory://me:secret@host/out", size=64)
    assert "secret" not in str(caught.value)


def test_the_command_line_takes_an_address(make_folder, store, out, capsys):
    """`imgvar bulk --out-dir` writes there, and its last line and its dry run name the address."""
    folder = make_folder(2)
    words = ["bulk", str(folder), "--out-dir", out, "--engine", "patch", "-s", "256", "--workers", "1"]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"; {out}/index.html")
    assert all(store.exists(path) for each in BulkResult.read(out) for path in each.paths)
    assert len(BulkResult.read(out).done) == 2
    assert main([*words, "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("2 images, 2 done, 0 to do")


def test_another_process_can_not_write_into_this_memory(make_folder, out):
    """An executor of processes is refused for an address in memory, before anything is made."""
    with (
        ProcessPoolExecutor(1) as executor,
        pytest.raises(InvalidRequestError, match="memory of this process") as caught,
    ):
        Client("patch").map(str(make_folder(1)), out_dir=out, size=256, executor=executor)
    assert caught.value.field == "executor"
