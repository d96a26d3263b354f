import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ipy_imgvar
from ipy_imgvar import history, last
from ipy_imgvar.client import Client
from ipy_imgvar.errors import CancelledError, ConfigurationError, EngineError, ImageVariationError
from ipy_imgvar.results import store as records_of
from ipy_imgvar.results.history import forget, move_store, newest_runs, store

pytestmark = pytest.mark.usefixtures("quick_patch")


def run(engine, photo, **arguments):
    return Client(engine).variations(photo, size="64x64", **arguments)


def in_new_process(code, *arguments):
    """Run code in a process that shares the store, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(Path(ipy_imgvar.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nothing_yet():
    """Before the first run there is no last one and no history, and looking makes no folder."""
    assert last() is None
    assert history() == []
    assert not Path(os.environ["IPY_IMGVAR_STORE"]).exists()


def test_last_is_the_result(fake_engine, photo):
    """`last()` is what the run returned."""
    made = run(fake_engine(["red"]), photo)
    assert last() is made


def test_history_is_oldest_first(fake_engine, photo):
    """History has every run, oldest first, with the facts of each."""
    engine = fake_engine(["red"], ["lime", "blue"])
    first, second = run(engine, photo, seed=1), run(engine, photo, seed=2, strength="strong", n=2)
    restored = history()
    assert [each.bytes for each in restored] == [first.bytes, second.bytes]
    again = restored[1]
    assert (again.engine, again.model, again.status) == ("fake", "fake-1", "done")
    assert again.elapsed == pytest.approx(second.elapsed, abs=1e-3)
    assert again.request == second.request
    assert [each.seed for each in again] == [2, 2]
    assert [each.index for each in again] == [1, 2]
    assert [each.name for each in again] == [each.name for each in second]
    assert again[0].path == second[0].path
    assert again.started == second.started.replace(microsecond=0)
    assert again.started.tzinfo is not None
    assert again[0].size == (64, 64)


def test_originals_are_in_the_store(fake_engine, photo, store_root):
    """Each picture's `path` is its original in the store, byte for byte."""
    made = run(fake_engine(["red", "blue"]), photo)
    assert [each.path.read_bytes() for each in made] == made.bytes
    assert all(store_root in each.path.parents for each in made)


def test_second_process(photo_path):
    """A new process has the runs of the one before, byte for byte, as after a kernel's restart."""
    code = (
        "import hashlib, sys; from ipy_imgvar import variations\n"
        "made = variations(sys.argv[1], engine='patch', size='64x64', n=2, seed=5)\n"
        "print(*[hashlib.sha256(data).hexdigest() for data in made.bytes])"
    )
    import hashlib

    digests = in_new_process(code, photo_path).split()
    made = last()
    assert [hashlib.sha256(data).hexdigest() for data in made.bytes] == digests
    assert (made.engine, made.request.seed, made.status) == ("patch", 5, "done")
    assert made[0].source.path == photo_path
    assert made[0].parameters["seed"] == 5
    assert len(history()) == 1


def test_killed_process(photo_path):
    """A process that dies in the middle of a run leaves what was finished, as a run that was interrupted."""
    code = (
        "import os, signal, sys; from ipy_imgvar import Client\n"
        "Client('patch').variations(sys.argv[1], size='64x64', n=3, seed=5,\n"
        "    on_picture=lambda picture: os.kill(os.getpid(), signal.SIGKILL) if picture.index == 2 else None)"
    )
    with pytest.raises(AssertionError):
        in_new_process(code, photo_path)
    made = last()
    assert (len(made), made.status) == (2, "interrupted")
    assert [each.size for each in made] == [(64, 64)] * 2
    assert made.images[1].size == (64, 64)


def test_own_run_before_others(fake_engine, photo, photo_path):
    """`last()` is this process's newest run, also when another notebook made one since; history has both."""
    made = run(fake_engine(["red"]), photo)
    code = (
        "import sys; from ipy_imgvar import variations; variations(sys.argv[1], engine='patch', size=64, n=1)"
    )
    in_new_process(code, photo_path)
    assert last() is made
    assert [each.engine for each in history()] == ["fake", "patch"]


def test_failed_run(fake_engine, photo):
    """A failed run is the last one, with what was finished."""
    with pytest.raises(EngineError) as caught:
        run(fake_engine(["red", EngineError("broken")]), photo, n=2)
    assert last().bytes == caught.value.partial.bytes
    assert (len(last()), last().status) == (1, "failed")
    assert [each.status for each in history()] == ["failed"]


@pytest.mark.parametrize("stop", [EngineError("broken"), KeyboardInterrupt(), CancelledError("stop")])
def test_a_run_without_pictures_leaves_no_trace(fake_engine, photo, stop):
    """A run that ended before its first picture is no row of the history, and the run before is still the last."""
    with pytest.raises(type(stop)):
        run(fake_engine([stop]), photo)
    assert last() is None
    made = run(fake_engine(["red"]), photo)
    with pytest.raises(type(stop)):
        run(fake_engine([stop]), photo)
    assert last() is made
    assert len(history()) == 1


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), CancelledError("stop")])
def test_interrupted_run(fake_engine, photo, stop):
    """An interrupted or cancelled run is the last one, with what was finished."""
    with pytest.raises(type(stop)):
        run(fake_engine(["red", stop]), photo, n=2)
    assert (len(last()), last().status) == (1, "interrupted")
    assert last().images[0].getpixel((0, 0)) == (255, 0, 0)


def test_store_off(fake_engine, photo, monkeypatch, tmp_path):
    """With the store off nothing is written, and results and history are of this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPY_IMGVAR_STORE", "off")
    forget()
    made = run(fake_engine(["red"], ["blue"]), photo)
    assert store() is None
    assert made[0].path is None
    assert made.warnings == []
    assert made.images[0].getpixel((0, 0)) == (255, 0, 0)
    assert [each is made for each in history()] == [True]
    assert list(tmp_path.iterdir()) == []


def test_unwritable_store(fake_engine, photo, tmp_path):
    """A store that can't be written loses nothing: the pictures are in memory, and a warning says so."""
    (tmp_path / "file").touch()
    move_store(tmp_path / "file" / "store", 10**9)
    made = run(fake_engine(["red", "blue"]), photo, n=2)
    assert [image.getpixel((0, 0)) for image in made.images] == [(255, 0, 0), (0, 0, 255)]
    assert [each.path for each in made] == [None, None]
    (warning,) = made.warnings
    assert "the store can't be written (Not a directory)" in warning
    assert last() is made
    assert history() == [made]


def test_store_that_breaks_during_a_run(fake_engine, photo, store_root):
    """When the store breaks in the middle of a run, the later pictures stay in memory and none is lost."""

    def break_it(_job):
        (folder,) = (store_root / "runs").iterdir()
        folder.rename(store_root / "away")
        folder.touch()

    made = run(fake_engine(["red", break_it, "blue"]), photo, n=2)
    assert (made.status, len(made)) == ("done", 2)
    assert made[1].image.getpixel((0, 0)) == (0, 0, 255)
    (warning,) = made.warnings
    assert "can't be written" in warning
    assert history()[-1] is made


def test_store_that_breaks_at_the_end(fake_engine, photo, store_root):
    """When only the end of a run can't be written, the run is whole all the same, with a warning."""

    def break_it(_job):
        (folder,) = (store_root / "runs").iterdir()
        (folder / "run.jsonl").unlink()
        (folder / "run.jsonl").mkdir()

    made = run(fake_engine(["red", break_it]), photo)
    assert made.images[0].getpixel((0, 0)) == (255, 0, 0)
    assert made.status == "done"
    assert "can't be written" in made.warnings[0]


def test_moved_store(fake_engine, photo, tmp_path):
    """After the store has moved, new runs go there, and older results still read from where they are."""
    engine = fake_engine(["red"], ["blue"])
    before = run(engine, photo)
    move_store(tmp_path / "new", 10**9)
    after = run(engine, photo)
    assert tmp_path / "new" in after[0].path.parents
    assert before.images[0].getpixel((0, 0)) == (255, 0, 0)
    assert [each.bytes for each in history()] == [after.bytes]


def test_bound(fake_engine, photo, tmp_path):
    """Older runs make room; those that are still held, and what `last()` had, keep their pictures."""
    move_store(tmp_path / "s", 1)
    engine = fake_engine(["red"], ["lime"], ["blue"], ["white"])
    held = run(engine, photo)
    for _ in range(3):
        run(engine, photo)
    colours = [each.images[0].getpixel((0, 0)) for each in history()]
    assert colours == [(255, 0, 0), (0, 0, 255), (255, 255, 255)]
    assert held.bytes


def test_removed_original(fake_engine, photo):
    """A picture whose original was removed by hand says so in one line."""
    made = run(fake_engine(["red"]), photo)
    made[0].path.unlink()
    with pytest.raises(ImageVariationError, match=r"is no longer in the store .*; make it again"):
        _ = made[0].bytes
    assert len(history()[0]) == 1


def test_bad_bound(fake_engine, photo, monkeypatch):
    """A bound that is no number is one line when the store is first needed, before anything is made."""
    monkeypatch.setenv("IPY_IMGVAR_STORE_BYTES", "1 GB")
    engine = fake_engine(["red"])
    with pytest.raises(ConfigurationError, match="IPY_IMGVAR_STORE_BYTES is '1 GB'"):
        run(engine, photo)
    assert engine.ended == 0


def test_private_things_are_not_written(fake_engine, photo, store_root):
    """The store holds no user, headers, query or body of a request."""
    run(
        fake_engine(["red"]),
        photo,
        user="user-private",
        extra_headers={"Authorization": "sk-private"},
        extra_query={"sig": "sk-private"},
        extra_body={"key": "sk-private"},
    )
    for path in store_root.rglob("*"):
        if path.is_file():
            assert b"-private" not in path.read_bytes()


def test_records_of_other_versions(fake_engine, photo, store_root):
    """A record that another version wrote in its own way hides none of the others."""
    run(fake_engine(["red"]), photo)
    for number, record in enumerate(
        [
            '{"pictures": [{}]}', '{"pictures": 3}', '{"pictures": [{"size": "big"}]}', '{"request": 3}', "{}",
            '{"request": {"new_field": 1}}',
            '{"started": "yesterday"}', '{"started": 3}', '{"warnings": null}', '{"usage": 3}',
        ]
    ):  # fmt: skip
        folder = store_root / "runs" / f"0{number}"
        folder.mkdir()
        (folder / "run.jsonl").write_text(record)
    assert history()[-1].bytes == last().bytes
    assert history()[-1].engine == "fake"


def test_runs_from_before_records_were_lines(fake_engine, photo, store_root):
    """A run whose record is one JSON object, as it was at first, is listed with its pictures; a broken one is not."""
    made = run(fake_engine(["red", "blue"]), photo)
    (path,) = store_root.glob("runs/*/run.jsonl")
    head, *lines = map(json.loads, path.read_text().splitlines())
    end = lines.pop()
    pictures = [line["picture"] for line in lines]
    path.with_name("run.json").write_text(json.dumps({**head, "pictures": pictures, **end}))
    path.unlink()
    other = store_root / "runs" / "0"
    other.mkdir()
    (other / "run.json").write_text('{"pictures": [')
    forget()
    (found,) = history()
    assert (found.bytes, found.status, found.engine) == (made.bytes, "done", "fake")


def test_name_that_is_not_utf8(fake_engine, photo, tmp_path):
    """A source whose file name is not UTF-8 is recorded and read back."""
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    photo.save(path, "PNG")
    made = run(fake_engine(["red"]), path)
    assert made[0].path.exists()
    assert history()[0][0].source.path == path


def test_many_runs_at_once(fake_engine, photo):
    """Runs that begin within one moment are all kept."""
    engine = fake_engine(*[["red"] for _ in range(20)])
    for _ in range(20):
        run(engine, photo)
    assert len(history()) == 20


CIRCLE: list = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize("odd", [{(1, 2): 3}, CIRCLE, 10**5000], ids=["keys", "circle", "number"])
def test_parameters_that_json_has_no_form_for(fake_engine, photo, odd):
    """A picture is kept also where an engine says of it what no record can hold; the rest of what it says stays."""
    engine = fake_engine(["red"])
    made = engine.generate

    def generate(request, job):
        for picture in made(request, job):
            picture.parameters |= {"odd": odd, "beside": 5}
            yield picture

    engine.generate = generate
    run = Client(engine).variations(photo, size="64x64")
    assert not run.warnings
    forget()
    (again,) = history()
    assert again[0].bytes == run[0].bytes
    assert again[0].parameters["beside"] == 5


def test_the_newest_runs_are_read_alone(fake_engine, photo, monkeypatch):
    """A panel over a store of many runs reads the records of as many as it shows."""
    engine = fake_engine(*[["red"]] * 5)
    for seed in range(5):
        run(engine, photo, seed=seed)
    forget()
    folders, read_record = [], records_of.record_in
    monkeypatch.setattr(records_of, "record_in", lambda folder: folders.append(folder) or read_record(folder))
    assert [each.request.seed for each in newest_runs(2)] == [3, 4]
    assert len(folders) == 2
    assert [each.request.seed for each in newest_runs()] == [0, 1, 2, 3, 4]
    assert len(newest_runs(9)) == 5
