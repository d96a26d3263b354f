"""A bulk run: every item once, whatever fails, whoever works, and however often it is started."""

import base64
import io
import json
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from PIL import Image

from ipy_imgvar import Client, Variation
from ipy_imgvar.bulk import BulkResult
from ipy_imgvar.errors import CancelledError, ConfigurationError, EngineError, InvalidRequestError

SMALL = {"size": 64}


@pytest.fixture
def fake(fake_engine):
    """Return a client of an engine that makes a red picture of each image, and the engine."""
    engine = fake_engine(*[["red"]] * 200)
    return Client(engine), engine


def test_pictures_are_on_disk_and_the_ledger_says_what_they_are(
    patch, make_folder, tmp_path, look, monkeypatch
):
    """Each item has a line with all that repeats it, paths relative to the folder, and whole pictures."""
    make_folder(3)
    monkeypatch.chdir(tmp_path)
    result = patch.map("photos", out_dir="out", n=2, seed=5, **SMALL)
    records = look.records("out")
    assert [len(result), len(result.done), len(result.failed), len(result.skipped)] == [3, 3, 0, 0]
    assert {
        "item",
        "status",
        "source",
        "sha256",
        "request",
        "paths",
        "seed",
        "usage",
        "error",
        "elapsed",
    } <= set(records[0])
    assert sorted(path for record in records for path in record["paths"]) == list(look.pictures("out"))
    assert [each.source for each in result] == [f"photos/p00{index}.png" for index in range(3)]
    assert records[0]["request"]["n"] == 2
    assert str(tmp_path) not in (tmp_path / "out" / "ledger.jsonl").read_text()


@pytest.mark.slow
def test_workers_change_no_byte(patch, make_folder, tmp_path, look, photo):
    """One process, two, threads and the caller's executor make the same files of the same bytes."""
    folder = make_folder(3)
    photo.save(folder / "photo.png")
    made = []
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(2, get_context("spawn")) as processes:
        for number, how in enumerate(
            [{"max_workers": 1}, {"max_workers": 2}, {"executor": threads}, {"executor": processes}]
        ):
            result = patch.map(str(folder), out_dir=tmp_path / f"out{number}", **how, **SMALL)
            assert len(result.done) == 4
            made.append(look.pictures(tmp_path / f"out{number}"))
    assert made[0] == made[1] == made[2] == made[3]


def test_again_skips_what_is_done(fake, make_folder, tmp_path):
    """A second run of the same makes nothing, and its result has the same paths."""
    client, engine = fake
    folder = make_folder(5)
    first = client.map(str(folder), out_dir=tmp_path / "out", **SMALL)
    ended = engine.ended
    second = client.map(str(folder), out_dir=tmp_path / "out", **SMALL)
    assert engine.ended == ended == 5
    assert len(second.skipped) == 5
    assert [each.paths for each in second] == [each.paths for each in first]
    assert len(client.map(str(folder), out_dir=tmp_path / "out", resume=False, **SMALL).done) == 5


@pytest.mark.parametrize("change", ["request", "source", "file", "empty", "cut", "ledger"])
def test_again_makes_what_does_not_agree(fake, make_folder, tmp_path, change):
    """Another request or source, or a file that is gone, empty or cut short, is made again; the others are not."""
    client, engine = fake
    folder, out = make_folder(3), tmp_path / "out"
    first = client.map(str(folder), out_dir=out, **SMALL)
    strength, expected = "medium", 1
    if change == "request":
        strength, expected = "strong", 3
    elif change == "source":
        (folder / "p001.png").write_bytes((folder / "p002.png").read_bytes())
    elif change == "file":
        first[1].paths[0].unlink()
    elif change in ("empty", "cut"):
        whole = first[1].paths[0].read_bytes()
        first[1].paths[0].write_bytes(whole[: 0 if change == "empty" else -5])
    else:
        lines = (out / "ledger.jsonl").read_text().splitlines(keepends=True)
        (out / "ledger.jsonl").write_text("".join(lines[:2]) + lines[2][:30])
    second = client.map(str(folder), out_dir=out, strength=strength, **SMALL)
    assert [len(second.done), len(second.skipped)] == [expected, 3 - expected]
    assert engine.ended == 3 + expected


@pytest.mark.parametrize(
    "change",
    [
        {"sizes": []},
        {"sizes": 5},
        {"sizes": ["a"]},
        {"paths": "p.png"},
        {"paths": [7]},
        {"paths": []},
        {"paths": ["../photos/p001.png"], "sizes": None},
        {"paths": ["..\\photos\\p001.png"], "sizes": None},
        {"request": ["n"]},
        {"request": None},
    ],
)
def test_again_makes_what_a_record_does_not_prove(fake, make_folder, tmp_path, look, change):
    """A record that is odd, or whose paths lead out of the folder, does not count: its item is made again."""
    client, _ = fake
    folder, out = make_folder(3), tmp_path / "out"
    client.map(str(folder), out_dir=out, **SMALL)
    lines = sorted(look.records(out), key=lambda record: record["item"])
    lines[1] |= change
    (out / "ledger.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    second = client.map(str(folder), out_dir=out, **SMALL)
    assert [each.status for each in second] == ["skipped", "done", "skipped"]


def test_what_is_not_of_a_run_is_left_alone(fake, make_folder, tmp_path):
    """Temporary files and a page of others stay as they are; what a killed run was writing is removed."""
    client, _ = fake
    out = tmp_path / "out"
    (out / "sources").mkdir(parents=True)
    others = [out / ".backup-20240101.tmp", out / ".notes-abcdef01.tmp", out / "index.html"]
    for path in others:
        path.write_text("mine")
    halves = [out / ".p-1.png-0123abcd.imgvar.tmp", out / "sources" / ".p-1.png-0123abcd.imgvar.tmp"]
    for path in halves:
        path.write_text("half")
    notices = []
    made = client.map(str(make_folder(1)), out_dir=out, on_notice=notices.append, **SMALL)
    assert len(made.done) == 1
    assert [path.read_text() for path in others] == ["mine"] * 3
    assert not any(path.exists() for path in halves)
    assert len(notices) == 1
    assert "no bulk run has written" in notices[0]


def test_a_failed_item_is_recorded_and_tried_again_next_time(fake_engine, make_folder, tmp_path, look):
    """An item that fails, in whatever way, costs the others nothing; the same run again tries it again."""
    engine = fake_engine(
        ["red"], [EngineError("no luck")], [ZeroDivisionError("a bug")], ["red"], ["red"], ["red"]
    )
    client, folder = Client(engine), make_folder(4)
    first = client.map(str(folder), out_dir=tmp_path / "out", max_workers=1, **SMALL)
    assert [each.error for each in first.failed] == ["no luck", "ZeroDivisionError: a bug"]
    assert len(first.done) == 2
    assert [record["status"] for record in look.records(tmp_path / "out")].count("failed") == 2
    second = client.map(str(folder), out_dir=tmp_path / "out", **SMALL)
    assert [len(second.done), len(second.skipped)] == [2, 2]


def test_odd_sources_are_one_clear_line_each(patch, make_folder, tmp_path, look):
    """A vanished, damaged or impossible source fails alone; odd names are no hindrance, equal files share a picture."""
    folder, other = make_folder(2), make_folder(2, name="more")
    names = ["line\nbreak.png", "😀.png", os.fsdecode(b"\xff.png")]
    for name in names:
        (folder / "p000.png").rename(folder / name)
        (folder / "p000.png").write_bytes((folder / name).read_bytes())
    (folder / "broken.png").write_bytes(b"\x89PNG nothing")
    files = [*(str(folder / name) for name in names), str(folder / "p001.png"), str(other / "p001.png")]
    result = patch.map(
        [*files, str(folder / "broken.png"), str(folder / "gone.png"), 5, np.zeros(3)],
        out_dir=tmp_path / "out",
        **SMALL,
    )
    assert [each.status for each in result] == ["done"] * 5 + ["failed"] * 4
    assert all(each.error and len(each.error.splitlines()) == 1 for each in result.failed)
    assert len(look.pictures(tmp_path / "out")) == 4
    page = (tmp_path / "out" / "index.html").read_text()
    assert "😀" in page
    assert "line\\nbreak.png" in page


def test_a_source_that_vanishes_on_the_way_fails_alone(fake_engine, make_folder, tmp_path):
    """A file that was found and is gone when its turn comes is one line."""
    folder = make_folder(8)
    engine = fake_engine(*[[lambda _: (folder / "p007.png").unlink(missing_ok=True), "red"]] * 8)
    result = Client(engine).map(str(folder), out_dir=tmp_path / "out", max_workers=1, **SMALL)
    assert [each.source.rpartition("/")[2] for each in result.failed] == ["p007.png"]
    assert "no file" in result.failed[0].error


def test_an_image_that_comes_twice_is_made_once(fake, make_folder, tmp_path):
    """The same path twice costs one run of the engine, and both items have the picture."""
    client, engine = fake
    path = str(make_folder(1) / "p000.png")
    result = client.map([path, path, path], out_dir=tmp_path / "out", **SMALL)
    assert engine.ended == 1
    assert {each.paths for each in result} == {result[0].paths}
    assert [each.status for each in result] == ["done", "skipped", "skipped"]


@pytest.mark.slow
def test_images_of_memory_have_a_thumbnail_and_survive_a_resume(patch, tmp_path, photo):
    """Arrays, bytes and PIL images are known by place and content, and the page shows a thumbnail of them."""
    photo = photo.resize((1, 1)).resize((64, 64))
    pixels = np.asarray(photo)
    buffer = tmp_path / "x.png"
    photo.save(buffer)
    address = "data:image/png;base64," + base64.b64encode(buffer.read_bytes()).decode()
    images = [pixels, buffer.read_bytes(), photo, address]
    first = patch.map(images, out_dir=tmp_path / "out", **SMALL)
    assert [each.status for each in first] == ["done"] * 4
    assert [Image.open(io.BytesIO(each.thumbnail.read_bytes())).size for each in first] == [(64, 64)] * 4
    again = patch.map(images[::-1][::-1], out_dir=tmp_path / "out", **SMALL)
    assert len(again.skipped) == 4


def test_a_generator_is_never_far_ahead(fake_engine, tmp_path):
    """At most about twice as many images as workers are taken from a generator at once."""
    made, ahead = [], []
    engine = fake_engine(*[[lambda _: ahead.append(len(taken) - len(made)), "red"]] * 40)

    taken = []

    def images():
        for number in range(40):
            taken.append(number)
            yield Image.new("RGB", (8, 8), (number, 0, 0))

    done = Client(engine).map(
        images(), out_dir=tmp_path / "out", max_workers=2, on_progress=lambda *_: made.append(1), **SMALL
    )
    assert len(done.done) == 40
    assert max(ahead[:6]) <= 6


def test_a_generator_that_breaks_keeps_what_was_made(fake, tmp_path, look):
    """An exception of the caller's own generator is raised when what was under way is recorded."""

    def images():
        yield from (Image.new("RGB", (8, 8), (number, 0, 0)) for number in range(3))
        raise LookupError("no more rows")

    with pytest.raises(LookupError):
        fake[0].map(images(), out_dir=tmp_path / "out", **SMALL)
    assert [each["status"] for each in look.records(tmp_path / "out")] == ["done"] * 3


def test_a_listener_that_breaks_keeps_what_was_made(fake, make_folder, tmp_path, look):
    """An exception of the caller's own listener is raised when what was under way is recorded."""

    def listen(*_):
        raise LookupError("no such widget")

    with pytest.raises(LookupError):
        fake[0].map(
            str(make_folder(30)), out_dir=tmp_path / "out", on_progress=listen, max_workers=2, **SMALL
        )
    records = look.records(tmp_path / "out")
    assert {each["status"] for each in records} == {"done"}
    assert len(records) == len(look.pictures(tmp_path / "out")) < 30


def test_a_wrong_request_is_refused_before_anything_is_made(patch, fake_engine, make_folder, tmp_path):
    """A mistake in the request reads as it does for one image, and makes no folder."""
    folder = str(make_folder(1))
    for wrong in (
        {"n": 11},
        {"size": 8},
        {"colour": 1},
        {"prompt": "x"},
        {"options": {"x": 1}},
        {"max_workers": 0},
    ):
        with pytest.raises(InvalidRequestError):
            patch.map(folder, out_dir=tmp_path / "out", **wrong)
    with pytest.raises(InvalidRequestError, match="mask"):
        Client(fake_engine(features=())).map(folder, out_dir=tmp_path / "out", mask=folder)
    assert not (tmp_path / "out").exists()


def test_cancel_finishes_what_is_under_way(fake_engine, make_folder, tmp_path, look):
    """Once `cancel` is set no further item is begun, and what is finished is on record."""
    cancel = threading.Event()
    engine = fake_engine(*[[0.05, "red"]] * 4, *[[lambda _: cancel.set(), 0.05, "red"]] * 30)
    with pytest.raises(CancelledError, match="goes on"):
        Client(engine).map(
            str(make_folder(30)), out_dir=tmp_path / "out", max_workers=2, cancel=cancel, **SMALL
        )
    ended = look.records(tmp_path / "out")
    assert 4 < len(ended) < 20
    assert {each["status"] for each in ended} == {"done"}


def test_progress_is_told(fake, make_folder, tmp_path, capsys):
    """`on_progress` hears a share that rises to 1 and the counts; a bar has rate and time left."""
    heard = []
    fake[0].map(
        str(make_folder(5)),
        out_dir=tmp_path / "out",
        on_progress=lambda *each: heard.append(each),
        progress=True,
        **SMALL,
    )
    shares = [share for share, _ in heard]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert "5 done" in heard[-1][1]
    assert "5/5" in capsys.readouterr().err


@pytest.mark.slow
def test_an_executor_that_breaks_is_said_and_goes_on_later(patch, make_folder, tmp_path):
    """An executor that takes no more work ends the run with a clear line; another one goes on from there."""

    class Broken(Executor):
        def submit(self, fn, /, *args, **kwargs):
            if fn is None or kwargs:
                raise AssertionError
            if self.left:
                self.left -= 1
                future = Future()
                future.set_result(fn(*args))
                return future
            raise RuntimeError("closed")

        left = 2

    folder = str(make_folder(4))
    with pytest.raises(EngineError, match="takes no more work"):
        patch.map(folder, out_dir=tmp_path / "out", executor=Broken(), **SMALL)
    result = patch.map(folder, out_dir=tmp_path / "out", **SMALL)
    assert [len(result.done), len(result.skipped)] == [2, 2]


def test_a_key_does_not_travel(make_folder, tmp_path):
    """A key that was given as an argument, or a password, is not sent to other processes; the message says so."""
    client = Client("openai", api_key="sk-secret", api_base="http://localhost:1/v1")
    with (
        ProcessPoolExecutor(1) as executor,
        pytest.raises(ConfigurationError, match="OPENAI_API_KEY") as caught,
    ):
        client.map(str(make_folder(1)), out_dir=tmp_path / "out", executor=executor)
    assert "secret" not in str(caught.value)
    client = Client("openai", api_base="http://me:secret@localhost:1/v1")
    with ProcessPoolExecutor(1) as executor, pytest.raises(ConfigurationError, match="password") as caught:
        client.map(str(make_folder(1, "more")), out_dir=tmp_path / "out", executor=executor)
    assert "secret" not in str(caught.value)


KILLED_WORKER = """
import os, signal, sys, threading, time
from ipy_imgvar import Client, Variation
from ipy_imgvar.bulk import workers
made = []
class Watched(workers.WorkerProcesses):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        made.append(self)
workers.WorkerProcesses = Watched
def kill():
    for _ in range(2):
        time.sleep(0.4)
        while not made or not made[0].pids:
            time.sleep(0.01)
        os.kill(made[0].pids[0], signal.SIGKILL)
threading.Thread(target=kill, daemon=True).start()
result = Client("patch").map(sys.argv[1], out_dir=sys.argv[2], size=64, max_workers=2)
print(len(result.done), len(result.failed))
"""


@pytest.mark.slow
def test_a_killed_worker_costs_nothing(patch, make_photos, tmp_path, look, start_python):
    """Items whose worker was killed with -9 are done by another one, with the same bytes."""
    folder = make_photos(7)
    patch.map(str(folder), out_dir=tmp_path / "single", max_workers=1, **SMALL)
    done = start_python(KILLED_WORKER, folder, tmp_path / "out", stdout=subprocess.PIPE)
    assert done.communicate(timeout=300)[0].split() == [b"7", b"0"]
    assert look.pictures(tmp_path / "out") == look.pictures(tmp_path / "single")
    items = [each["item"] for each in look.records(tmp_path / "out")]
    assert len(items) == len(set(items)) == 7


INTERRUPTED = """
import sys
from ipy_imgvar import Client, Variation
Client("patch").map(sys.argv[1], out_dir=sys.argv[2], size=64, on_progress=lambda *_: print(".", flush=True))
"""


def test_an_interrupt_finishes_what_is_under_way(make_folder, tmp_path, look, start_python):
    """Ctrl-C ends a run with what was under way finished and recorded, and says how to go on."""
    folder = make_folder(300)
    process = start_python(
        INTERRUPTED,
        folder,
        tmp_path / "out",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert b"goes on from there" in said
    ended = look.records(tmp_path / "out")
    assert 0 < len(ended) < 300
    assert {each["status"] for each in ended} == {"done"}
    assert len(look.pictures(tmp_path / "out")) == len(ended)
    assert (tmp_path / "out" / "index.html").exists()
    assert len(BulkResult.read(tmp_path / "out").done) == len(ended)


KILLED = """
import sys
from ipy_imgvar import Client, Variation
Client("patch").map(sys.argv[1], out_dir=sys.argv[2], size=64, max_workers=2)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kills", [1, 4])
def test_a_killed_run_goes_on(make_folder, tmp_path, look, patch, start_python, *, kills):
    """Killed with -9 at any instants, a run ends with the full set, every item recorded once, nothing by halves."""
    folder, out = make_folder(60), tmp_path / "out"
    patch.map(str(folder), out_dir=tmp_path / "single", max_workers=1, **SMALL)
    rng = np.random.default_rng(0)
    for _ in range(kills):
        process = start_python(KILLED, folder, out)
        before = len(look.records(out)) if out.exists() else 0
        while process.poll() is None and (
            not (out / "ledger.jsonl").exists()
            or len((out / "ledger.jsonl").read_bytes().splitlines()) == before
        ):
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.15))
        process.kill()
        process.wait()
    process = start_python(KILLED, folder, out)
    assert process.wait(200) == 0
    assert look.pictures(out) == look.pictures(tmp_path / "single")
    assert not look.half_files(out)
    items = [each["item"] for each in look.records(out)]
    assert len(items) == len(set(items)) == 60


FULL = """
import resource, signal, sys
from ipy_imgvar import Client, Variation
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
result = Client("patch").map(sys.argv[1], out_dir=sys.argv[2], size=int(sys.argv[3]), max_workers=1)
print(len(result.done), len(result.failed))
for each in result.failed:
    print(each.error)
"""


@pytest.mark.slow
def test_a_picture_that_does_not_fit_is_one_line(make_folder, tmp_path, look, photo, start_python):
    """Where a picture can't be written for want of room, its item says so, no half file stays, and the rest goes on."""
    folder = make_folder(2)
    photo.resize((200, 200)).save(folder / "photo.png")
    process = start_python(FULL, folder, tmp_path / "out", 192, stdout=subprocess.PIPE)
    counts, *errors = process.communicate(timeout=300)[0].decode().splitlines()
    assert counts == "2 1"
    assert len(errors) == 1
    assert "can't be written" in errors[0]
    assert len(look.pictures(tmp_path / "out")) == 2
    assert not look.half_files(tmp_path / "out")


def test_a_picture_is_named_by_its_format(fake_engine, photo_path, tmp_path):
    """A picture that a server made in a format of its own keeps its bytes, under that format's extension."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "GIF")

    class Server(fake_engine):
        def generate(self, request, job):  # noqa: ARG002
            yield Variation(
                file.getvalue(), source=request.image, mime_type="image/gif", size=(64, 64), index=1, seed=1
            )

    (item,) = Client(Server()).map([photo_path], out_dir=tmp_path / "out", size=64)
    assert item.paths[0].suffix == ".gif"
    assert item.paths[0].read_bytes() == file.getvalue()
