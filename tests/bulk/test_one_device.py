"""Bulk runs of an engine for one device: it is made and loaded once in each worker, and does one image at a time."""

import json
import os
from collections import Counter
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from importlib.util import find_spec
from multiprocessing import get_context

import pytest

from ipy_imgvar import Client, cli
from ipy_imgvar.bulk import work

pytestmark = pytest.mark.usefixtures("installed_engine")
ASKED = {"size": 64, "seed": 7, "model": "hard", "options": {"bits": 2, "device": "gpu"}}


@pytest.fixture
def notes(tmp_path, monkeypatch):
    """Return a function that reads what the test engine noted of an event: the process and the value."""
    path = tmp_path / "notes"
    monkeypatch.setenv("POSTERISE_NOTES", str(path))

    def read(event):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [(process, value) for process, noted, value in lines if noted == event]

    return read


def check_each_worker(notes, out_dir, look):
    """Check that each process loaded the model once, had the options, closed its engine, and that all was recorded."""
    loaded = notes("loaded")
    assert {value for _, value in loaded} == {"hard"}
    assert set(Counter(process for process, _ in loaded).values()) == {1}
    assert all(value == {"bits": 2, "device": "gpu"} for _, value in notes("options"))
    assert {process for process, _ in notes("closed")} == {process for process, _ in loaded}
    for record in look.records(out_dir):
        assert (record["status"], record["model"], record["request"]["model"]) == ("done", "hard@1", "hard")
        assert record["request"]["options"] == {"bits": 2, "device": "gpu"}


def test_in_this_process(make_folder, tmp_path, notes, look):
    """The client's own engine makes the images one by one, with the model loaded once, and the client closes it."""
    with Client("posterise-weights") as client:
        result = client.map(str(make_folder(4)), out_dir=tmp_path / "out", **ASKED)
        assert len(result.done) == 4
        assert [value for _, value in notes("loaded")] == ["hard"]
    assert notes("loaded")[0][0] == os.getpid()
    check_each_worker(notes, tmp_path / "out", look)


def test_threads_of_an_executor_take_turns(make_folder, tmp_path, notes, look):
    """An executor with several threads of this process gets one image at a time."""
    with Client("posterise-weights") as client, ThreadPoolExecutor(4) as executor:
        assert (
            len(client.map(str(make_folder(4)), out_dir=tmp_path / "out", executor=executor, **ASKED).done)
            == 4
        )
    check_each_worker(notes, tmp_path / "out", look)


@pytest.mark.slow
def test_a_spawned_pool_loads_once_a_process(make_folder, tmp_path, notes, look):
    """Each process of a pool makes the engine by its name once, and closes it when it ends; the bytes are the same."""
    folder = str(make_folder(6))
    with Client("posterise-weights") as client:
        with ProcessPoolExecutor(2, get_context("spawn")) as executor:
            assert len(client.map(folder, out_dir=tmp_path / "out", executor=executor, **ASKED).done) == 6
        check_each_worker(notes, tmp_path / "out", look)
        assert os.getpid() not in {process for process, _ in notes("loaded")}
        client.map(folder, out_dir=tmp_path / "single", **ASKED)
    assert look.pictures(tmp_path / "out") == look.pictures(tmp_path / "single")


class Cluster(Executor):
    """As if a cluster's worker had several threads: an executor that does not say that it has threads."""

    def __init__(self, threads):
        self._threads = ThreadPoolExecutor(threads)

    def submit(self, function, *arguments):
        return self._threads.submit(function, *arguments)

    def shutdown(self, *arguments, **named):
        self._threads.shutdown(*arguments, **named)


def test_threads_of_one_worker_take_turns(make_folder, tmp_path, notes, look, monkeypatch):
    """A cluster's worker with several threads has one engine, which gets one image at a time."""
    monkeypatch.setattr(work, "_engines", {})
    with Client("posterise-weights") as client, Cluster(4) as executor:
        result = client.map(
            str(make_folder(4)), out_dir=tmp_path / "out", executor=executor, max_workers=4, **ASKED
        )
    assert len(result.done) == 4
    assert len(notes("loaded")) == 1
    assert {each["status"] for each in look.records(tmp_path / "out")} == {"done"}
    for engine in work._engines.values():
        engine.close()


def test_what_is_loaded_is_told(make_folder, tmp_path):
    """A run in this process tells what the engine loads, once, and shows its steps before the first image is done."""
    heard, shown = [], []
    with Client("posterise-weights") as client:
        client.map(
            str(make_folder(3)),
            out_dir=tmp_path / "out",
            on_notice=heard.append,
            on_progress=lambda share, text: shown.append((share, text)),
            **ASKED,
        )
    assert heard == ["hard: 2 MB from nowhere, free for all"]
    assert shown[-1][0] == 1
    assert "3 done" in shown[-1][1]


def test_a_slow_load_is_shown(make_folder, tmp_path):
    """While the first image waits for its model, the progress has the engine's words and no share."""
    shown = []

    def show(share, text):
        shown.append((share, text))
        client.engine.hurry = True

    with Client("posterise-weights") as client:
        client.map(str(make_folder(1)), out_dir=tmp_path / "out", on_progress=show, size=64, model="slow")
    assert shown[0] == (0, "loading 3 of 3 MB")


def test_the_command(make_folder, tmp_path, notes, look, capsys):
    """`imgvar bulk` passes model and options on, tells what is loaded, and frees it at the end."""
    out = tmp_path / "out"
    words = ["bulk", str(make_folder(2)), "--out-dir", str(out), "-s", "64", "--engine", "posterise-weights"]
    assert cli.main([*words, "--model", "hard", "--option", "bits=2", "--option", "device=gpu"]) == 0
    assert "imgvar: hard: 2 MB from nowhere, free for all" in capsys.readouterr().err
    check_each_worker(notes, out, look)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(find_spec("distributed") is None, reason="distributed is not installed")
def test_dask_with_a_worker_for_each_device(make_folder, tmp_path, notes, look):
    """Two single-threaded Dask workers load the model once each, and make the bytes of a single run."""
    import distributed

    folder = str(make_folder(8))
    arguments = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with (
        distributed.LocalCluster(**arguments) as cluster,
        distributed.Client(cluster) as dask,
        Client("posterise-weights") as client,
    ):
        result = client.map(folder, out_dir=tmp_path / "out", executor=dask.get_executor(), **ASKED)
        client.map(folder, out_dir=tmp_path / "single", **ASKED)
    assert len(result.done) == 8
    assert look.pictures(tmp_path / "out") == look.pictures(tmp_path / "single")
    loaded = Counter(process for process, _ in notes("loaded"))
    assert set(loaded.values()) == {1}
    assert len(loaded) == 3
