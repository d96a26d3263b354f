"""Worker processes: each on its own, none left behind, and none that runs the caller's script again."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import wait

import pytest

from ipy_imgvar.bulk.processes import WorkerDiedError, WorkerProcesses


@pytest.fixture
def pool():
    """Two workers, ended with the test."""
    executor = WorkerProcesses(2)
    yield executor
    executor.kill()
    executor.shutdown()


def alive(pid):
    """Return whether a process runs; one that nobody has waited for yet does not."""
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids, within_s=20):
    end = time.monotonic() + within_s
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


def test_results_and_exceptions_come_back(pool):
    """A call's result, or what it raised, is the future's."""
    assert pool.submit(divmod, 7, 2).result(60) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 7, 0).result(60)
    with pytest.raises(TypeError):
        pool.submit(sorted, [1], reverse=True)


def test_a_killed_worker_costs_its_own_task_only(pool):
    """The task of a killed worker fails, the other one's does not, and the next task finds a new worker."""
    sleeping = [pool.submit(time.sleep, 3), pool.submit(time.sleep, 3)]
    while len(pool.pids) < 2:
        time.sleep(0.01)
    time.sleep(1)
    os.kill(pool.pids[0], signal.SIGKILL)
    wait(sleeping)
    errors = [future.exception() for future in sleeping]
    assert sorted(type(error) for error in errors if error) == [WorkerDiedError]
    assert "signal 9" in str(next(filter(None, errors)))
    assert pool.submit(len, "abc").result(60) == 3


def test_an_interrupt_does_not_reach_a_worker(pool):
    """A worker ignores SIGINT: what is under way is finished."""
    future = pool.submit(time.sleep, 1)
    while not pool.pids:
        time.sleep(0.01)
    os.kill(pool.submit(os.getpid).result(60), signal.SIGINT)
    assert future.result(60) is None


def test_what_is_printed_does_no_harm(pool):
    """A call that prints does not get between the answers."""
    assert pool.submit(print, "hello").result(60) is None
    assert pool.submit(len, "ab").result(60) == 2


def test_shutdown_ends_the_workers(pool):
    """After `shutdown` no worker is left and no task is taken."""
    pids = [pool.submit(os.getpid).result(60)]
    pool.shutdown()
    assert gone(pids)
    with pytest.raises(RuntimeError):
        pool.submit(len, "")


def test_workers_end_when_the_parent_is_killed(start_python):
    """A worker in the middle of a task ends when its parent is killed with -9."""
    code = (
        "import os, time; from ipy_imgvar.bulk.processes import WorkerProcesses\n"
        "pool = WorkerProcesses(1); print(pool.submit(os.getpid).result(), flush=True)\n"
        "pool.submit(time.sleep, 600).result()"
    )
    parent = start_python(code, stdout=subprocess.PIPE)
    pid = int(parent.stdout.readline())
    time.sleep(0.3)
    parent.kill()
    assert gone([pid])


def test_a_script_needs_no_guard(tmp_path, make_folder, start_python):
    """A script without `if __name__ == "__main__"` is run once, not again by every worker."""
    script = tmp_path / "script.py"
    script.write_text(
        "from ipy_imgvar import Client\nprint('once')\n"
        f"print(len(Client('patch').map({str(make_folder(2))!r}, out_dir={str(tmp_path / 'out')!r}, size=64).done))"
    )
    done = start_python(
        "import sys, runpy; runpy.run_path(sys.argv[1], run_name='__main__')", script, stdout=subprocess.PIPE
    )
    assert done.communicate(timeout=120)[0].split() == [b"once", b"2"]
    assert sys.executable
