"""Worker processes: each on its own, none left behind, and none that runs the caller's script again."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import FIRST_EXCEPTION, wait

import pytest

from ipy_imgvar.bulk import processes
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


def gone(pids, within_s=100):
    end = time.monotonic() + within_s
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.05)
    return not any(map(alive, pids))


#: A task that says when it has begun, and lasts until it is released.
HOLD = "import time; begun.touch()\nwhile not release.exists(): time.sleep(0.005)"


def wait_for(path, seconds=100):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_results_and_exceptions_come_back(pool):
    """A call's result, or what it raised, is the future's."""
    assert pool.submit(divmod, 7, 2).result(100) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 7, 0).result(100)
    with pytest.raises(TypeError):
        pool.submit(sorted, [1], reverse=True)


def test_a_killed_worker_costs_its_own_task_only(pool, tmp_path):
    """The task of a killed worker fails, the other one's does not, and the next task finds a new worker."""
    release = tmp_path / "release"
    held = [pool.submit(exec, HOLD, {"begun": tmp_path / str(each), "release": release}) for each in range(2)]
    wait_for(tmp_path / "0")
    wait_for(tmp_path / "1")
    os.kill(pool.pids[0], signal.SIGKILL)
    wait(held, 100, FIRST_EXCEPTION)
    release.touch()
    errors = [future.exception(100) for future in held]
    assert sorted(type(error) for error in errors if error) == [WorkerDiedError]
    assert "signal 9" in str(next(filter(None, errors)))
    assert pool.submit(len, "abc").result(100) == 3


def test_a_worker_that_is_killed_gives_the_task_on_its_pipe_to_the_next(tmp_path):
    """A task that was sent ahead is done by another worker, once, when the worker before it is killed."""
    executor = WorkerProcesses(1)
    try:
        begun = tmp_path / "begun"
        first = executor.submit(exec, HOLD, {"begun": begun, "release": tmp_path / "never"})
        others = [executor.submit(os.getpid) for _ in range(4)]
        wait_for(begun)
        time.sleep(0.3)  # The second task is on the pipe.
        victim = executor.pids[0]
        os.kill(victim, signal.SIGKILL)
        assert type(first.exception(100)) is WorkerDiedError
        pids = {other.result(100) for other in others}
        assert len(pids) == 1
        assert victim not in pids
    finally:
        executor.kill()
        executor.shutdown()


def test_a_worker_goes_on_while_its_parent_is_stopped(tmp_path, start_python):
    """A worker does the task on its pipe even while the parent is stopped, and no more than that."""
    # The first task holds the worker until all are queued: only what is queued by then is sent ahead.
    code = (
        "import sys, time; from pathlib import Path; from ipy_imgvar.bulk.processes import WorkerProcesses\n"
        "root, hold, pool = Path(sys.argv[1]), sys.argv[2], WorkerProcesses(1)\n"
        "def held(name):\n"
        "    return pool.submit(exec, hold, {'begun': root / f'{name} begun', 'release': root / name})\n"
        "tasks = [held('all are queued'), held('the parent is stopped')]\n"
        "tasks += [pool.submit(Path.touch, root / str(number)) for number in range(3)]\n"
        "(root / 'all are queued').touch()\n"
        "while not tasks[2].running(): time.sleep(.01)\n"
        "time.sleep(.5); print('sent', flush=True); [each.result() for each in tasks]"
    )
    parent = start_python(code, tmp_path, HOLD, stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b"sent\n"
    parent.send_signal(signal.SIGSTOP)
    (tmp_path / "the parent is stopped").touch()
    wait_for(tmp_path / "0")
    time.sleep(0.5)
    assert [path.name for path in tmp_path.glob("[0-9]")] == ["0"]
    parent.send_signal(signal.SIGCONT)
    assert parent.wait(200) == 0
    assert sorted(path.name for path in tmp_path.glob("[0-9]")) == ["0", "1", "2"]


def test_no_task_waits_behind_another_while_a_worker_is_idle(pool, tmp_path):
    """At the end of a run, tasks are not sent ahead to a worker that is busy."""
    pool.submit(time.sleep, 0).result(100)
    release = tmp_path / "release"
    long = pool.submit(exec, HOLD, {"begun": tmp_path / "begun", "release": release})
    short = [pool.submit(time.sleep, 0) for _ in range(3)]
    for each in short:
        each.result(100)
    assert not long.done()
    release.touch()


@pytest.mark.slow
def test_what_can_not_be_pickled_fails_alone():
    """A task whose arguments can't be pickled fails, and the tasks before and after it do not, wherever it stands."""
    executor = WorkerProcesses(1)
    try:
        first = executor.submit(time.sleep, 1)
        bad = executor.submit(len, (lambda: None,))
        others = [executor.submit(len, "ab") for _ in range(3)]
        assert first.result(100) is None
        assert "pickle" in str(bad.exception(100)).lower()
        assert [each.result(100) for each in others] == [2, 2, 2]
    finally:
        executor.kill()
        executor.shutdown()


def test_a_worker_that_ends_at_its_start_is_waited_for(monkeypatch):
    """Its task fails with the reason, and no process of it is left to the collector."""
    monkeypatch.setattr(processes, "_CODE", "raise SystemExit(3)")
    # More than a pipe takes, so that the worker is gone before it was sent all.
    monkeypatch.setattr(sys, "path", [*sys.path, "x" * 200_000])
    executor = WorkerProcesses(1)
    future = executor.submit(abs, -1)
    with pytest.raises(WorkerDiedError, match="exit code 3"):
        future.result(100)
    assert executor._workers == set()
    executor.shutdown()


@pytest.mark.slow
def test_an_interrupt_does_not_reach_a_worker(pool):
    """A worker ignores SIGINT: what is under way is finished."""
    future = pool.submit(time.sleep, 1)
    while not pool.pids:
        time.sleep(0.01)
    os.kill(pool.submit(os.getpid).result(100), signal.SIGINT)
    assert future.result(100) is None


def test_what_is_printed_does_no_harm(pool):
    """A call that prints does not get between the answers."""
    assert pool.submit(print, "hello").result(100) is None
    assert pool.submit(len, "ab").result(100) == 2


def test_shutdown_ends_the_workers(pool):
    """After `shutdown` no worker is left and no task is taken."""
    pids = [pool.submit(os.getpid).result(100)]
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


@pytest.mark.slow
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
    assert done.communicate(timeout=300)[0].split() == [b"once", b"2"]
    assert sys.executable
