import contextlib
import copy
import gc
import inspect
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import ipy_imgvar
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.results import history, locks
from ipy_imgvar.results import store as records
from ipy_imgvar.results.history import Recorder
from ipy_imgvar.results.store import Store, new_run_id
from ipy_imgvar.storage import disk
from ipy_imgvar.storage.disk import write_atomic


def put(store, name=None, *, pictures=1, size=1000):
    """Write a finished run of `pictures` files of `size` bytes."""
    run = store.begin(name or new_run_id(), {"engine": "fake", "status": "running"})
    for _ in range(pictures):
        run.add(b"x" * size, ".png", {})
    run.finish(status="done")
    store.make_room(run)
    return run


def names(store):
    return [folder.name for folder, _ in store.runs()]


class TestWriteAtomic:
    """Files that are whole or absent."""

    def test_makes_parents_and_replaces(self, tmp_path):
        """Folders are made as needed, and an existing file is replaced."""
        path = tmp_path / "a" / "b" / "x.png"
        for data in (b"old", b"new", b""):
            write_atomic(path, data)
            assert path.read_bytes() == data
        assert [each.name for each in path.parent.iterdir()] == ["x.png"]

    def test_long_names(self, tmp_path):
        """A name as long as the file system takes can be written."""
        for name in ("x" * 251 + ".png", "é" * 120 + ".png"):
            write_atomic(tmp_path / name, b"data")
            assert (tmp_path / name).read_bytes() == b"data"

    @pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
    def test_failure_leaves_the_old_file_alone(self, tmp_path, monkeypatch, fault):
        """When writing fails or is interrupted, the old content stays and nothing else is left."""
        path = tmp_path / "x.png"
        path.write_bytes(b"old")

        def fail(*_):
            raise fault

        monkeypatch.setattr(os, "replace", fail)
        with pytest.raises(type(fault)):
            write_atomic(path, b"new")
        assert path.read_bytes() == b"old"
        assert [each.name for each in tmp_path.iterdir()] == ["x.png"]

    def test_real_full_disk(self, tmp_path):
        """A write that breaks off half way, here at a limit on file size, leaves nothing behind."""
        code = (
            "import resource, signal, sys; from pathlib import Path\n"
            "from ipy_imgvar.storage.disk import write_atomic\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "try: write_atomic(Path(sys.argv[1]), b'x' * 5000)\n"
            "except OSError as exc: print(type(exc).__name__)\n"
        )
        done = child(code, tmp_path / "x.png", wait=True)
        assert done.stdout.strip() == "OSError"
        assert [each.name for each in tmp_path.iterdir()] == []

    def test_target_is_a_folder(self, tmp_path):
        """A folder in the target's place is an `OSError`, and nothing is left beside it."""
        (tmp_path / "x.png").mkdir()
        with pytest.raises(OSError, match=r"x\.png"):
            write_atomic(tmp_path / "x.png", b"data")
        assert [each.name for each in tmp_path.iterdir()] == ["x.png"]


def child(code, *arguments, wait=False):
    """Start a Python process that imports this package."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(ipy_imgvar.__file__).parents[1])}
    if wait:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return subprocess.Popen(command, env=environment)


WRITER = """
import sys
from pathlib import Path
from ipy_imgvar.results.store import Store, new_run_id
store = Store(Path(sys.argv[1]), 10**9)
while True:
    run = store.begin(new_run_id(), {"engine": "fake", "status": "running"})
    for number in range(4):
        run.add(bytes([number]) * 200_000 + b"end", ".png", {"index": number + 1})
    run.finish(status="done")
"""


class TestKill:
    """What a killed process leaves."""

    def test_everything_finished_is_readable(self, tmp_path):
        """After SIGKILL in the middle of writing, every run is readable and every listed picture is whole."""
        broken_off = 0
        for attempt in range(4):
            root = tmp_path / str(attempt)
            writer = child(WRITER, root)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline and len(list(Store(root, 10**9).runs())) < 3 + attempt:
                time.sleep(0.003)
            writer.send_signal(signal.SIGKILL)
            writer.wait()
            runs = list(Store(root, 10**9).runs())
            assert len(runs) >= 3
            for folder, record in runs:
                for number, entry in enumerate(record["pictures"]):
                    assert (folder / entry["file"]).read_bytes() == bytes([number]) * 200_000 + b"end"
                for file in folder.glob("[0-9]*.png"):
                    assert file.stat().st_size == 200_003
                assert record["status"] == ("done" if len(record["pictures"]) == 4 else "running") or (
                    folder == runs[-1][0]
                )
            broken_off += runs[-1][1]["status"] == "running"
            assert all(record["status"] == "done" for _, record in runs[:-1])
        assert broken_off <= 4


class TestRuns:
    """The folder of one run."""

    def test_nothing_on_disk_before_a_picture(self, tmp_path):
        """A run that made nothing yet has no folder."""
        store = Store(tmp_path / "s", 10**9)
        run = store.begin("a", {})
        assert not run.folder.exists()
        assert names(store) == []

    def test_store_is_private(self, tmp_path):
        """Only this user can look into the store."""
        Store(tmp_path / "s", 10**9).begin("a", {})
        assert (tmp_path / "s").stat().st_mode & 0o077 == 0

    def test_a_second_try_leaves_one_line(self, tmp_path):
        """A picture that is added again with a shorter entry has one line, which can be parsed, and counts once."""
        run = Store(tmp_path / "s", 10**9).begin("a", {})
        run.add(b"x" * 900, ".png", {"note": "y" * 500}, number=1)
        run.add(b"x" * 100, ".png", {"note": "z"}, number=1)
        _head, line = (run.folder / "run.jsonl").read_text("ascii").splitlines()
        assert json.loads(line) == {"picture": {"note": "z", "file": "1.png"}}
        assert run.byte_count == sum(file.stat().st_size for file in run.folder.iterdir())

    def test_bytes_are_kept(self, tmp_path):
        """A picture is in the store byte for byte, with its entry in the record, in the order of adding."""
        store = Store(tmp_path / "s", 10**9)
        run = store.begin("a", {"engine": "fake"})
        paths = [
            run.add(data, ext, {"seed": data.hex()}) for data, ext in ((b"\0\xff", ".png"), (b"", ".jpg"))
        ]
        assert [path.read_bytes() for path in paths] == [b"\0\xff", b""]
        ((folder, record),) = store.runs()
        assert record["id"] == folder.name == "a"
        assert [(each["seed"], each["file"]) for each in record["pictures"]] == [
            ("00ff", "1.png"),
            ("", "2.jpg"),
        ]
        run.finish(status="done", elapsed=1.5)
        ((_, record),) = store.runs()
        assert (record["status"], record["elapsed"], record["engine"]) == ("done", 1.5, "fake")

    def test_odd_records(self, tmp_path):
        """A record takes names that are not UTF-8, and what JSON doesn't know."""
        store = Store(tmp_path / "s", 10**9)
        store.begin("a", {}).add(b"x", ".png", {"source": "caf\udce9", "path": Path("/x"), "name": "日本"})
        ((_, record),) = store.runs()
        assert record["pictures"][0] == {"source": "caf\udce9", "path": "/x", "name": "日本", "file": "1.png"}

    def test_names_sort_by_time(self):
        """Names of runs sort by the time they were made and are not given twice."""
        made = []
        for _ in range(50):
            made.append(new_run_id())
            time.sleep(0.0001)
        assert made == sorted(made)
        assert len({new_run_id() for _ in range(1000)}) == 1000

    @pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe", b"null"])
    def test_unreadable_records_are_skipped(self, tmp_path, content):
        """A record that can't be read hides no other."""
        store = Store(tmp_path / "s", 10**9)
        put(store, "a")
        put(store, "c")
        (tmp_path / "s/runs/b").mkdir()
        (tmp_path / "s/runs/b/run.json").write_bytes(content)
        (tmp_path / "s/runs/stray.txt").touch()
        (tmp_path / "s/runs/empty").mkdir()
        assert names(store) == ["a", "c"]

    def test_no_store_yet(self, tmp_path):
        """A store that was never written to has no runs."""
        assert names(Store(tmp_path / "s", 1)) == []

    @pytest.mark.parametrize("place", ["file", "file/below"])
    def test_unwritable(self, tmp_path, place):
        """A store that can't be made is an `OSError`, for the journal to turn into a warning."""
        (tmp_path / "file").touch()
        with pytest.raises(OSError, match="file"):
            Store(tmp_path / place, 10**9).begin("a", {}).add(b"x", ".png", {})


class TestBound:
    """Making room."""

    def test_oldest_first(self, tmp_path):
        """When the bound is passed, the oldest runs go, and only as many as needed."""
        store = Store(tmp_path / "s", 5000)
        for name in "abcdefg":
            put(store, name)
        kept = names(store)
        assert kept == sorted(kept)
        assert kept[-1] == "g"
        assert "a" not in kept
        assert 3 <= len(kept) <= 4
        total = sum(each.stat().st_size for each in (tmp_path / "s").rglob("*") if each.is_file())
        assert total <= 5000

    def test_within_the_bound_all_stay(self, tmp_path):
        """Nothing goes as long as everything fits."""
        store = Store(tmp_path / "s", 10**6)
        for name in "abc":
            put(store, name)
        assert names(store) == ["a", "b", "c"]

    def test_the_newest_stays(self, tmp_path):
        """A run that alone passes the bound is kept: it was just made."""
        store = Store(tmp_path / "s", 10)
        for name in "ab":
            put(store, name)
        assert names(store) == ["b"]

    def test_runs_in_use_stay(self, tmp_path):
        """A run whose pictures this process still holds is not removed; once let go it is."""
        store = Store(tmp_path / "s", 10)
        held = put(store, "a")
        put(store, "b")
        put(store, "c")
        assert names(store) == ["a", "c"]
        del held
        put(store, "d")
        assert names(store) == ["d"]

    def test_what_others_wrote_counts(self, tmp_path):
        """Runs of an earlier process count towards the bound."""
        put(Store(tmp_path / "s", 10**9), "a", size=5000)
        put(Store(tmp_path / "s", 3000), "b")
        assert names(Store(tmp_path / "s", 1)) == ["b"]

    def test_half_files_are_removed_with_their_run(self, tmp_path):
        """What a killed process left half-written counts, and goes with its run."""
        store = Store(tmp_path / "s", 3000)
        folder = tmp_path / "s/runs/a"
        folder.mkdir(parents=True)
        (folder / ".1.png-0.tmp").write_bytes(b"x" * 5000)
        put(store, "b")
        assert not folder.exists()

    def test_other_files_are_left_alone(self, tmp_path):
        """Whatever else lies in the store's folder is never removed."""
        store = Store(tmp_path / "s", 10)
        (tmp_path / "s").mkdir()
        (tmp_path / "s/mine.txt").write_text("x" * 1000)
        put(store, "a")
        put(store, "b")
        assert (tmp_path / "s/mine.txt").exists()


def test_record_is_json_lines(tmp_path):
    """The record is a JSON object a line, for other programs to read."""
    run = put(Store(tmp_path / "s", 10**9), "a")
    head, picture, end = map(json.loads, (run.folder / "run.jsonl").read_text("ascii").splitlines())
    assert head["id"] == "a"
    assert picture["picture"]["file"] == "1.png"
    assert end == {"status": "done"}


FULL_DISK = """
import json, resource, signal, sys
from pathlib import Path
from ipy_imgvar.results.store import Store
PNG = bytes.fromhex(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in range(int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])):
    store = Store(Path(sys.argv[1]) / str(limit), 10**9)
    run = store.begin("a", {"status": "running"})
    run.add(PNG, ".png", {"n": 1})
    run.finish(status="done")
    run = store.begin("b", {"status": "running"})
    run.add(PNG, ".png", {"n": 1})
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
    failed = False
    for step in (lambda: run.add(PNG, ".png", {"n": "x" * 4000}), lambda: run.finish(status="done", more="y" * 90)):
        try:
            step()
        except OSError:
            failed = True
    resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    print(limit, int(failed))
"""


@pytest.mark.parametrize("step", [37, pytest.param(1, marks=pytest.mark.slow)])
def test_a_disk_that_fills_at_any_byte(tmp_path, step):
    """Wherever the disk fills in a record of 4 kB, every finished run and picture before is listed afterwards."""
    png = bytes.fromhex("89504e470d0a1a0a") + b"x" * 60
    done = child(FULL_DISK, tmp_path, png.hex(), 100, 4400, step, wait=True)
    outcomes = dict(map(str.split, done.stdout.splitlines()))
    assert set(outcomes.values()) == {"0", "1"}
    for limit, failed in outcomes.items():
        (_, first), (folder, second) = Store(tmp_path / limit, 10**9).runs()
        assert (first["status"], len(first["pictures"])) == ("done", 1)
        assert len(second["pictures"]) >= 1
        assert (second["status"] == "done") or failed == "1"
        for entry in second["pictures"]:
            assert (folder / entry["file"]).read_bytes() == png


SHARER = """
import random, sys, time
from pathlib import Path
from ipy_imgvar.results.store import Store
root, bound, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
store, held = Store(root, bound), []
for _ in range(count):
    run = store.begin(store.new_id(), {"status": "running"})
    for number in range(random.randint(1, 4)):
        run.add(bytes([number]) * 30_000, ".png", {})
        time.sleep(random.random() / 500)
        for each in [*held, run]:
            for entry in each.record["pictures"]:
                if (each.folder / entry["file"]).stat().st_size != 30_000:
                    raise SystemExit("a picture is broken")
    run.finish(status="done")
    store.make_room(run)
    held = [*held[-2:], run]
print("ok")
"""


@pytest.mark.parametrize(("count", "kills"), [(25, 2), pytest.param(100, 10, marks=pytest.mark.slow)])
def test_two_processes_and_one_bound(tmp_path, count, kills):
    """Processes that share a store and a bound, some of them killed, lose no picture that a living one holds."""
    bound = 2_000_000
    steady = subprocess.Popen(
        [sys.executable, "-c", SHARER, tmp_path, str(bound), str(count)],
        env={**os.environ, "PYTHONPATH": str(Path(ipy_imgvar.__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    for number in range(kills):
        other = child(SHARER, tmp_path, bound, 10_000)
        runs = len(list((tmp_path / "runs").glob("*"))) if number else 0
        deadline = time.monotonic() + 5
        while len(list((tmp_path / "runs").glob("*"))) <= runs and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1 * (number % 4))
        other.kill()
        other.wait()
    out, err = steady.communicate(timeout=300)
    assert out.strip() == "ok", err
    store = Store(tmp_path, bound)
    run = put(store, store.new_id())
    assert run.folder.exists()
    size = sum(each.stat().st_size for each in (tmp_path / "runs").rglob("*") if each.is_file())
    assert size <= bound + 4 * 30_000 + 5_000
    assert store.living() == {run.folder.name}


def test_a_run_of_another_process_is_living_until_it_ends(tmp_path):
    """A run counts as living as long as its process holds it, and no longer once that is killed."""
    code = (
        "import sys, time; from pathlib import Path; from ipy_imgvar.results.store import Store\n"
        "store = Store(Path(sys.argv[1]), 10**9); run = store.begin('a', {'status': 'running'})\n"
        "run.add(b'x', '.png', {}); print('here', flush=True); time.sleep(100)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        env={**os.environ, "PYTHONPATH": str(Path(ipy_imgvar.__file__).parents[1])},
        stdout=subprocess.PIPE,
    )
    assert other.stdout.readline() == b"here\n"
    store = Store(tmp_path, 1)
    assert store.living() == {"a"}
    put(store, "b")
    put(store, "c")
    assert names(store) == ["a", "c"]
    other.kill()
    other.wait()
    other.stdout.close()
    assert store.living() <= {"b", "c"}
    put(store, "d")
    assert "a" not in names(store)


def test_names_when_the_clock_went_back(tmp_path):
    """A new process's runs sort behind those that are there, also where the clock went back."""
    store = Store(tmp_path / "s", 10**9)
    put(store, "20990101T000000000000-abcdef")
    other = Store(tmp_path / "s", 10**9)
    ids = [other.new_id() for _ in range(3)]
    assert sorted(["20990101T000000000000-abcdef", *ids])[1:] == ids


def test_the_bound_holds_where_another_process_came_and_went(tmp_path):
    """What a process wrote that has ended counts, also where the mark it left was cleared away meanwhile."""
    ours = Store(tmp_path, 10_000)
    put(ours)
    code = (
        "import sys; sys.path[:] = sys.argv[2:]; from pathlib import Path; from ipy_imgvar.results.store import Store\n"
        "store = Store(Path(sys.argv[1]), 10_000); run = store.begin(store.new_id(), {})\n"
        "run.add(b'x' * 8000, '.png', {}); run.finish(status='done'); store.make_room(run)\n"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path, *sys.path], check=True)
    ours.living()
    for _ in range(3):
        put(ours)
    assert sum(each.stat().st_size for each in (tmp_path / "runs").rglob("*.*")) <= 10_000
    assert len(list((tmp_path / "holders").iterdir())) == 1


def test_a_name_sorts_behind_those_of_other_processes(tmp_path):
    """A run is named behind all that were written before it, also where its own process did not write them."""
    ours, others = Store(tmp_path, 10_000), Store(tmp_path, 10_000)
    put(ours, ours.new_id())
    put(others, f"{int(new_run_id()[:4]) + 1}0101T000000000000-abcdef")
    assert ours.new_id() > names(ours)[-1]


def test_kept_sources_count(tmp_path):
    """Sources that the store keeps make it no larger than its bound at the next run."""
    store = Store(tmp_path, 10_000)
    put(store)
    for _ in range(5):
        store.keep("source.png", bytes(3000))
    put(store)
    assert sum(each.stat().st_size for each in (tmp_path / "runs").rglob("*.*")) <= 10_000


def test_a_run_may_be_let_go_of_while_another_begins(tmp_path, monkeypatch):
    """The collector may let go of a run while the thread that it interrupts notes another one."""
    store = Store(tmp_path, 10_000)
    circle = [put(store)]
    circle.append(circle)
    del circle
    written = []

    def write(file, data, write=os.write):
        gc.collect()
        written.append(data)
        return write(file, data)

    monkeypatch.setattr("ipy_imgvar.results.holders.os.write", write)
    thread = threading.Thread(target=store._holders.hold, args=("next",), daemon=True)
    thread.start()
    thread.join(100)
    assert not thread.is_alive()
    assert written[-1] == b"+next\n"


def test_a_mark_is_removed_under_its_lock(tmp_path, monkeypatch):
    """A process that has just made its mark finds it locked as long as another one takes it for a dead one's."""
    locked = []

    def unlink(path, unlink=os.unlink):
        with Path(path).open("r+b") as file:
            locked.append(not locks.lock(file.fileno()))
        unlink(path)

    (tmp_path / "mark").write_bytes(b"")
    monkeypatch.setattr("ipy_imgvar.results.locks.os.unlink", unlink)
    assert locks.remove_if_free(str(tmp_path / "mark"))
    assert locked == [sys.platform != "win32"]


def test_a_mark_that_another_process_has_locked_is_not_used(tmp_path, monkeypatch):
    """Where another process looks at a mark that was just made, and so removes it, another mark is made."""
    taken = []

    def lock(file, lock=locks.lock):
        if not taken:  # The other one is quicker, and is about to remove it.
            taken.extend((tmp_path / "holders").iterdir())
            return False
        return lock(file)

    monkeypatch.setattr("ipy_imgvar.results.holders.lock", lock)
    run = Store(tmp_path, 10_000).begin("a", {})
    (first,) = taken
    assert first.read_bytes() == b""
    assert Store(tmp_path, 10_000).living() == {run.folder.name}


def test_a_store_that_was_removed_guards_anew(tmp_path):
    """Where somebody removes the whole store during a session, later runs of that session are guarded all the same."""
    store = Store(tmp_path / "store", 10_000)
    first = put(store)
    shutil.rmtree(tmp_path / "store")
    run = store.begin("next", {})
    assert Store(tmp_path / "store", 10_000).living() == {"next"}
    assert first.folder.name != run.folder.name


def test_a_damaged_first_line_costs_no_picture(tmp_path):
    """Where a power failure left zeros at the start of a record, the pictures of its other lines are listed."""
    store = Store(tmp_path, 10_000)
    path = put(store, pictures=3).folder / "run.jsonl"
    first, rest = path.read_bytes().split(b"\n", 1)
    path.write_bytes(bytes(len(first)) + b"\n" + rest)
    ((_, record),) = store.runs()
    assert [each["file"] for each in record["pictures"]] == ["1.png", "2.png", "3.png"]


@contextlib.contextmanager
def interrupt_at(step):
    """Raise `KeyboardInterrupt` before line number `step` that the modules of the store execute."""
    modules, before, seen = {inspect.getfile(each) for each in (history, records, disk)}, sys.gettrace(), 0

    def trace(frame, event, _):
        nonlocal seen
        if frame.f_code.co_filename not in modules:
            return None
        if event == "line":
            seen += 1
            if seen == step:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def test_an_interrupt_at_any_line_loses_no_finished_picture(patch, photo):
    """Wherever Ctrl-C comes while pictures are written, the run is in the history and lists each picture once."""
    pictures = list(patch.variations(photo, n=2, size=64, seed=1))
    step, was_interrupted = 0, True
    while was_interrupted:
        step, was_interrupted = step + 1, False
        recorder = Recorder(VariationRequest(), engine="fake", model="m", warnings=[], usage={})
        begun = 0
        try:
            with interrupt_at(step):
                for picture in pictures:
                    begun += 1
                    recorder.add(copy.copy(picture))
        except KeyboardInterrupt:
            was_interrupted = True
        result = recorder.finish("interrupted" if was_interrupted else "done")
        assert begun - 1 <= len(result) <= 2, step
        if result:
            stored = ipy_imgvar.last()
            assert stored.status == result.status, step
            assert [each.bytes for each in stored] == [each.bytes for each in pictures[: len(result)]], step
            assert len(list(stored[0].path.parent.iterdir())) == len(result) + 1, step
    assert step > 40
