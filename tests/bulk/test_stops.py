"""A stop waits for what workers have begun, and for nothing else."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from ipy_imgvar import Client
from ipy_imgvar.bulk.deadlines import Deadlines
from ipy_imgvar.bulk.pool import Pool
from ipy_imgvar.bulk.processes import WorkerProcesses
from ipy_imgvar.bulk.work import Outcome
from ipy_imgvar.engines import EngineSpec
from ipy_imgvar.errors import CancelledError


def test_a_stop_takes_back_what_no_thread_has_begun(fake_engine, make_folder, tmp_path, look):
    """Items that wait for a thread of a small executor are not made once the run is cancelled."""
    cancel = threading.Event()
    engine = fake_engine(*[[lambda _: cancel.set(), 0.5, "red"]] * 9)
    with ThreadPoolExecutor(1) as executor, pytest.raises(CancelledError, match="1 done"):
        Client(engine).map(
            str(make_folder(9)),
            out_dir=tmp_path / "out",
            size=64,
            executor=executor,
            max_workers=4,
            cancel=cancel,
        )
    assert engine.ended == len(look.records(tmp_path / "out")) == 1


class Sleepers:
    """Stands for `Workers` with one process, whose tasks are seconds to sleep."""

    count, is_fixed, timeout_s = 1, True, 0.0
    engine = EngineSpec("patch")

    def __init__(self, executor):
        self.executor = executor

    def deadlines(self):
        return Deadlines(None)

    def size(self):
        return None

    def submit(self, task, _):
        return self.executor.submit(time.sleep, task)

    def outcome(self, _, task):
        return Outcome({"item": task, "status": "done"})


@pytest.mark.slow
@pytest.mark.parametrize("by", ["interrupt", "lock"])
def test_a_stop_takes_back_what_no_process_was_sent(by):
    """Of three tasks for a process, the one under way ends, with the one on its pipe; the third is not begun."""
    executor = WorkerProcesses(1)
    stop, ended = threading.Event(), []
    executor.submit(len, "").result(100)
    lost = {"lost": lambda: "another run took over" if stop.is_set() else None} if by == "lock" else {}
    pool = Pool(Sleepers(executor), None, **lost)

    def interrupt():
        stop.set()
        pool.interrupted = by == "interrupt"

    timer = threading.Timer(0.3, interrupt)
    timer.start()
    try:
        pool.run(iter([1.0, 0.4, 0.3, 0.2, 0.1]), lambda task, _: ended.append(task))
    finally:
        timer.join()
        executor.kill()
        executor.shutdown()
    assert ended in ([1.0], [1.0, 0.4])
