"""A time limit holds whatever a worker does: stopped by a signal, stuck, or never begun."""

import os
import signal
import subprocess
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest

from ipy_imgvar import Client
from ipy_imgvar.bulk import deadlines, processes
from ipy_imgvar.bulk.processes import WorkerProcesses, WorkerTimeoutError
from ipy_imgvar.engine import Capabilities
from ipy_imgvar.errors import EngineError


@pytest.fixture
def impatient(monkeypatch):
    """Have limits be as short as the timeouts of these tests."""
    monkeypatch.setattr(deadlines, "GRACE_S", 0.3)
    monkeypatch.setattr("ipy_imgvar.bulk.workers.GRACE_S", 0.3)
    monkeypatch.setattr(processes, "_END_S", 0.3)


@pytest.fixture
def make_pool(impatient):  # noqa: ARG001
    """Return a function that makes worker processes with a limit, and one warm worker."""
    pools = []

    def make(limit_s):
        pool = WorkerProcesses(1, limit_s)
        pools.append(pool)
        return pool, pool.submit(os.getpid).result(100)

    yield make
    for pool in pools:
        pool.kill()
        pool.shutdown()


def test_a_stopped_worker_is_killed_and_replaced(make_pool):
    """A worker that is stopped in the middle of a task is killed at the limit, and another one takes the next task."""
    pool, pid = make_pool(1.0)
    future = pool.submit(time.sleep, 0.5)
    os.kill(pid, signal.SIGSTOP)
    assert isinstance(future.exception(100), WorkerTimeoutError)
    assert pool.submit(os.getpid).result(100) != pid


@pytest.mark.slow
def test_a_stopped_worker_that_reads_nothing_is_killed(make_pool):
    """A task larger than a pipe, for a worker that is stopped, ends at the limit too."""
    pool, pid = make_pool(1.0)
    os.kill(pid, signal.SIGSTOP)
    assert isinstance(pool.submit(len, bytes(8 << 20)).exception(100), WorkerTimeoutError)


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_worker_that_is_stopped_as_it_starts_is_killed(monkeypatch):
    """A worker that never finishes starting is killed at the limit of its first task."""
    monkeypatch.setattr(processes, "_START_S", 0.5)
    monkeypatch.setattr(processes, "_CODE", "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)")
    pool = WorkerProcesses(1, 0.5)
    assert isinstance(pool.submit(len, "").exception(100), WorkerTimeoutError)
    pool.shutdown()
    assert not pool.pids


def test_a_stopped_idle_worker_does_not_hold_up_the_end(make_pool):
    """`shutdown` kills an idle worker that is stopped, also without a limit."""
    pool, pid = make_pool(None)
    os.kill(pid, signal.SIGSTOP)
    pool.shutdown()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.fixture
def made_pools(monkeypatch):
    """Return the list of the worker processes that runs make."""
    made = []

    class Noted(WorkerProcesses):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr("ipy_imgvar.bulk.workers.WorkerProcesses", Noted)
    return made


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_stopped_worker_fails_its_own_item_only(made_pools, make_photos, tmp_path):
    """`timeout` bounds the item of a stopped worker: it is recorded as failed, in a clear line, others are done."""
    out = tmp_path / "out"

    def stop():
        while not out.exists() or not list(out.glob("*.png")):
            time.sleep(0.005)
        os.kill(made_pools[0].pids[0], signal.SIGSTOP)

    thread = threading.Thread(target=stop, daemon=True)
    thread.start()
    with Client("patch") as client:
        result = client.map(str(make_photos(3)), out_dir=out, max_workers=1, size=64, timeout=1.5)
        thread.join(100)
        assert [len(result.done), len(result.failed)] == [2, 1]
        assert "longer than the timeout of 1.5 s" in result.failed[0].error
        again = client.map(str(tmp_path / "photographs"), out_dir=out, size=64)
    assert [len(again.done), len(again.skipped)] == [1, 2]


STOPPED = """
import sys
from ipy_imgvar import Client
from ipy_imgvar.bulk import workers
class Noted(workers.WorkerProcesses):
    def _start_worker(self):
        worker = super()._start_worker()
        print(worker.pid, flush=True)
        return worker
workers.WorkerProcesses = Noted
say = lambda *_: print(".", flush=True)
Client("patch").map(sys.argv[1], out_dir=sys.argv[2], size=64, max_workers=1, on_progress=say)
"""


@pytest.mark.slow
def test_a_second_interrupt_ends_a_run_whose_worker_is_stopped(make_photos, tmp_path, look, start_python):
    """Without a timeout a run waits for a stopped worker; a first interrupt too, and a second one ends it."""
    process = start_python(
        STOPPED, make_photos(5), tmp_path / "out", stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    worker = int(process.stdout.readline())
    process.stdout.readline()
    os.kill(worker, signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert b"goes on from there" in said
    assert len(look.pictures(tmp_path / "out")) >= len(look.records(tmp_path / "out")) > 0
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


class Stuck:
    """An engine that never comes back from some images, and looks at no clock."""

    name = "stuck"

    def capabilities(self, model=None):  # noqa: ARG002
        return Capabilities(parallel="threads")

    def __init__(self, make, stuck):
        self.make, self.stuck = make, stuck
        self.release = threading.Event()

    def check(self, request):
        """Accept anything."""

    def model(self, request):  # noqa: ARG002
        return "1"

    def generate(self, request, job):  # noqa: ARG002
        if request.image.stem in self.stuck:
            self.release.wait(100)
        yield self.make("red", source=request.image)

    def close(self):
        """Do nothing."""


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_stuck_thread_fails_its_own_item_only(make_folder, tmp_path, make_picture):
    """A thread that is stuck is given up at the timeout and the others go on, with an executor of the caller's too."""
    engine = Stuck(make_picture, {"p001"})
    folder = str(make_folder(4))
    try:
        for executor in (None, ThreadPoolExecutor(2)):
            out = tmp_path / f"out{executor is None}"
            result = Client(engine).map(folder, out_dir=out, max_workers=2, executor=executor, timeout=0.5)
            assert [len(result.done), len(result.failed)] == [3, 1]
            assert "timeout of 0.5 s" in result.failed[0].error
    finally:
        engine.release.set()


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_an_executor_with_no_free_worker_is_said(make_folder, tmp_path, make_picture, look):
    """Where every worker is stuck the run ends with a clear line, and what it did not begin is not on record."""
    engine = Stuck(make_picture, {"p000", "p001"})
    try:
        with pytest.raises(EngineError, match="held up"):
            Client(engine).map(
                str(make_folder(4)), out_dir=tmp_path / "out", executor=ThreadPoolExecutor(2), timeout=0.5
            )
    finally:
        engine.release.set()
    assert [each["status"] for each in look.records(tmp_path / "out")] == ["failed", "failed"]


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_a_stopped_process_of_another_executor_is_given_up(make_folder, tmp_path):
    """A stopped process of the caller's executor fails its item at the timeout, and the same again goes on later."""
    folder, out = str(make_folder(4)), tmp_path / "out"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor, Client("patch") as client:
        executor.submit(os.getpid).result(100)
        (pid,) = executor._processes
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(EngineError, match="held up"):
                client.map(folder, out_dir=out, executor=executor, size=64, timeout=0.5)
        finally:
            os.kill(pid, signal.SIGCONT)
        result = client.map(folder, out_dir=out, executor=executor, size=64)
    assert len(result.done) == 4


def test_calls_that_wait_for_a_growing_cluster_are_not_late(monkeypatch):
    """An executor that reports nothing as running, as Dask's, is late only when it was silent since its last result."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    watch = deadlines.Deadlines(5.0, reports=False)
    future = Future()
    assert watch.overdue([future]) == []
    now[0] = 100.0
    assert watch.overdue([future]) == []
    watch.answer()
    now[0] = 104.0
    assert watch.overdue([future]) == []
    now[0] = 106.0
    assert watch.overdue([future]) == [future]
