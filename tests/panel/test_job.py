"""The panel's threads: one task at a time, told to stop, abandoned."""

import contextlib
import threading

from ipy_imgvar.panel.job import Worker


def test_a_second_job_is_refused_while_one_goes_on():
    """Of two jobs submitted together, one is started."""
    started, go = [], threading.Event()
    worker = Worker()
    ended = threading.Event()

    def work(task):  # noqa: ARG001
        started.append(1)
        go.wait(100)
        ended.set()

    assert worker.submit(work)
    assert not worker.submit(work)
    go.set()
    assert ended.wait(100)
    assert started == [1]


def test_a_job_that_fails_frees_the_worker():
    """After a task that raised, the next one is started."""
    worker = Worker(_swallow)
    assert worker.submit(lambda task: 1 / 0)  # noqa: ARG005
    done = []
    assert worker.submit(done.append)
    assert len(done) == 1


def _swallow(work):
    with contextlib.suppress(ZeroDivisionError):
        work()


def test_a_cancelled_job_is_told_and_left_behind():
    """A task that ignores Cancel is abandoned, and the panel ignores its later calls."""
    later, said, left, held = [], [], [], []
    worker = Worker(held.append, lambda delay, action: later.append((delay, action)))
    worker.submit(lambda task: None)  # noqa: ARG005
    task = worker._task
    worker.cancel(lambda: left.append(1))
    assert task.stop.is_set()
    assert later[0][0] <= 0.3
    task.tell(said.append, "before")
    later[0][1]()
    task.tell(said.append, "after")
    assert (said, left) == (["before"], [1])
    assert worker.submit(lambda task: None)  # noqa: ARG005


def test_a_job_that_ended_in_time_is_not_left_behind():
    """When the task ends by itself after Cancel, it is not abandoned."""
    later, left, works = [], [], []
    worker = Worker(works.append, lambda _, action: later.append(action))
    worker.submit(lambda task: None)  # noqa: ARG005
    worker.cancel(lambda: left.append(1))
    works[0]()
    later[0]()
    assert left == []


def test_a_replaced_job_is_not_heard():
    """Of two sources chosen in a row, only the second is taken."""
    works, said = [], []
    worker = Worker(works.append)
    worker.submit(lambda task: task.tell(said.append, "first"))
    worker.submit(lambda task: task.tell(said.append, "second"), replace=True)
    for work in works:
        work()
    assert said == ["second"]


def test_close_is_idempotent_and_ends_the_job():
    """Closing tells the task to stop, and may be done twice."""
    worker = Worker(lambda work: None)  # noqa: ARG005
    worker.submit(lambda task: None)  # noqa: ARG005
    task = worker._task
    worker.close()
    worker.close()
    assert task.stop.is_set()
    assert task.abandoned


def test_work_runs_on_a_daemon_thread():
    """A task's thread does not keep the process alive, and ends with the task."""
    found, done = [], threading.Event()

    def work(task):  # noqa: ARG001
        found.append(threading.current_thread())
        done.set()

    Worker().submit(work)
    assert done.wait(100)
    found[0].join(100)
    assert found[0].daemon
    assert not found[0].is_alive()
