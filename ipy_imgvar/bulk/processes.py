"""An executor whose workers are fresh interpreters, each with a pipe of its own.

Long runs in notebooks and scripts need four things that `concurrent.futures.ProcessPoolExecutor` lacks: a worker that
is killed costs its own task only; a task's time limit holds even if its worker is stopped; workers don't import the
caller's `__main__`, so a script needs no guard; and workers end when this process ends, even by SIGKILL.

Two packages come close. loky needs no guard, but one killed worker breaks the executor with all its tasks, and a task
has no time limit. pebble has the first two, but its workers come from `multiprocessing`: "spawn" and "forkserver"
import `__main__`, and "fork" copies a process that has threads, as a notebook's kernel has.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["WorkerDiedError", "WorkerProcesses", "WorkerTimeoutError", "serve"]

#: A worker's program. The first line that it reads is the parent's `sys.path`, as JSON.
_CODE: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
    "from ipy_imgvar.bulk.processes import serve; serve()"
)
#: The header of each message on a pipe: its length in bytes, 64 bits.
_LENGTH: Final = struct.Struct("<Q")
#: Seconds that a worker's first task may take beyond the limit: the interpreter and the engine start, which takes 1 s
#: on an idle machine and many times that on a busy one.
_START_S: Final = 30.0
#: Seconds that an idle worker has to end once its pipe is closed; then it is killed.
_END_S: Final = 5.0
_Call = tuple["Callable[..., Any]", tuple[Any, ...]]
_Task = tuple["Future[Any]", "Callable[..., Any]", tuple[Any, ...]]


class WorkerDiedError(BrokenExecutor):
    """The end of a worker in the middle of a task; another worker takes its place."""


class WorkerTimeoutError(WorkerDiedError):
    """The end of a worker that was killed because its task took longer than the limit."""


class WorkerProcesses(Executor):
    """Runs calls in worker processes.

    Parameters
    ----------
    max_workers
        The most workers; a task that finds no idle one starts another.
    limit_s
        Seconds after which a worker is killed in the middle of its task, even if it is stopped by a signal or reads
        nothing; None is no limit. A worker's first task has 30 s more.
    first
        Returns a function and its arguments, which each worker calls before its first task.
    """

    def __init__(
        self, max_workers: int, limit_s: float | None = None, first: Callable[[], _Call] | None = None
    ) -> None:
        self._max_workers = max_workers
        self._limit_s = limit_s
        self._first = first
        self._queue: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._workers: set[subprocess.Popen[bytes]] = set()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._closed = False
        self._killed = False

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that are alive."""
        return [worker.pid for worker in list(self._workers) if worker.poll() is None]

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn(*args)` in a worker; the function and its arguments must be picklable, and keywords are refused."""
        if kwargs:
            raise TypeError("keyword arguments are not supported")
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            future: Future[Any] = Future()
            self._queue.put((future, fn, args))
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._max_workers:
                thread = threading.Thread(target=self._tend, name="imgvar-bulk", daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """End the workers when their tasks are done; `cancel_futures` drops the tasks that have not begun."""
        with self._lock:
            self._closed = True
        if cancel_futures:
            while True:
                try:
                    left = self._queue.get_nowait()
                except queue.Empty:
                    break
                if left is not None:
                    left[0].cancel()
        for _ in self._threads:
            self._queue.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def kill(self) -> None:
        """End every worker in the middle of its task."""
        self._killed = True  # Before the loop, for a worker that is being started.
        self.shutdown(wait=False, cancel_futures=True)
        for worker in list(self._workers):
            worker.kill()

    def _tend(self) -> None:
        """Send tasks to one worker until a None comes; each worker has such a thread."""
        worker: subprocess.Popen[bytes] | None = None
        mine: deque[_Task] = deque()  # The first is under way, another lies on the pipe.
        sent = 0
        while mine or self._take(mine):
            future, fn, args = mine[0]
            is_first = worker is None
            limit = _Limit(self._limit_s, first=is_first)
            try:
                if worker is None:
                    worker, sent = self._start_worker(), 0
                with limit.of(worker):
                    if is_first and self._first is not None:
                        _exchange(worker, self._first())
                    if not sent:
                        _send(_input(worker), (fn, args))
                        sent = 1
                    sent += self._send_next(worker, mine)
                    ok, value = _receive(_output(worker))
                if limit.passed:  # The answer came while the timer killed the worker.
                    self._end_worker(worker)
                    worker = None
            except (OSError, EOFError, pickle.UnpicklingError) as exc:
                code = self._end_worker(worker)
                worker = None
                kind = WorkerTimeoutError if limit.passed else WorkerDiedError
                future.set_exception(kind(f"a worker process ended ({code or exc})"))
            except Exception as exc:  # noqa: BLE001 - pickling raises anything; the caller gets it
                future.set_exception(exc)
            else:
                (future.set_result if ok else future.set_exception)(value)
            mine.popleft()
            sent = max(0, sent - 1)
            self._idle.release()
        self._end_worker(worker)

    def _take(self, mine: deque[_Task], *, wait: bool = True) -> bool:
        """Take the next task that nobody has cancelled; return whether there is one."""
        with suppress(queue.Empty):
            while (task := self._queue.get(block=wait)) is not None:
                if task[0].set_running_or_notify_cancel():
                    mine.append(task)
                    return True
                self._idle.release()
            if not wait:
                self._queue.put(None)  # It ends this thread later.
        return False

    def _send_next(self, worker: subprocess.Popen[bytes], mine: deque[_Task]) -> bool:
        """Send a task ahead, so that the worker goes on at once while this process is busy or waits for a core.

        It is sent only if one is left for each other worker: at the end of a run, none may wait behind another's.
        """
        if len(mine) > 1 or self._queue.qsize() < self._max_workers or not self._take(mine, wait=False):
            return False
        future, fn, args = mine[-1]
        try:
            _send(_input(worker), (fn, args))
        except OSError:
            raise
        except Exception as exc:  # noqa: BLE001 - as above
            mine.pop()
            future.set_exception(exc)
            self._idle.release()
            return False
        return True

    def _start_worker(self) -> subprocess.Popen[bytes]:
        worker = subprocess.Popen(  # noqa: S603 - this interpreter, and nothing from outside
            [sys.executable, "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # A program without a console (pythonw) has no standard error that a worker could take over.
            stderr=subprocess.DEVNULL if sys.stderr is None else None,
            # Ctrl-C in a terminal reaches the whole group, and only the parent handles it.
            start_new_session=True,
            creationflags=_new_group(),
        )
        self._workers.add(worker)
        if self._killed:
            worker.kill()
        try:
            _input(worker).write(json.dumps([os.path.abspath(each) for each in sys.path]).encode() + b"\n")  # noqa: PTH100
            _input(worker).flush()
        except OSError as exc:  # It was killed, or could not begin.
            raise EOFError(self._end_worker(worker)) from exc
        return worker

    def _end_worker(self, worker: subprocess.Popen[bytes] | None) -> str:
        """Close a worker's pipes, wait for its end, and return how it ended."""
        if worker is None:
            return ""
        for pipe in (worker.stdin, worker.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:  # The buffer still held half a task for a dead worker.
                continue
        try:
            code = worker.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            code = worker.wait()
        self._workers.discard(worker)
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


class _Limit:
    """Kills a worker whose task takes longer than the limit; that also ends a blocked write to its pipe."""

    def __init__(self, limit_s: float | None, *, first: bool) -> None:
        self._limit_s = None if limit_s is None else limit_s + first * _START_S
        self.passed = False

    @contextmanager
    def of(self, worker: subprocess.Popen[bytes]) -> Iterator[None]:
        """Kill the worker if the block takes longer than the limit."""
        if self._limit_s is None:
            yield
            return

        def kill() -> None:
            self.passed = True
            worker.kill()

        timer = threading.Timer(self._limit_s, kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _new_group() -> int:
    """Return the flags that are `start_new_session` on Windows, and keep a worker's console from showing a window."""
    group: int = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
    hidden: int = getattr(subprocess, "CREATE_NO_WINDOW", 0)
    return group | hidden


def _exchange(worker: subprocess.Popen[bytes], call: _Call) -> tuple[bool, Any]:
    _send(_input(worker), call)
    answer: tuple[bool, Any] = _receive(_output(worker))
    return answer


def _input(worker: subprocess.Popen[bytes]) -> IO[bytes]:
    assert worker.stdin is not None  # noqa: S101 - because of PIPE
    return worker.stdin


def _output(worker: subprocess.Popen[bytes]) -> IO[bytes]:
    assert worker.stdout is not None  # noqa: S101 - because of PIPE
    return worker.stdout


def _send(pipe: IO[bytes], value: Any) -> None:
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    header = pipe.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)  # noqa: S301 - from our own parent or child, over a private pipe


def serve() -> None:
    """Run a worker process: answer calls until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Printed text goes to stderr, so that it can't mix with the answers.
    calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read_calls, args=(sys.stdin.buffer, calls), daemon=True).start()
    while True:
        fn, args = calls.get()
        try:
            answer = True, fn(*args)
        except BaseException as exc:  # noqa: BLE001 - the caller gets it
            answer = False, exc
        try:
            _send(answers, answer)
        except OSError:
            os._exit(1)
        except Exception as exc:  # noqa: BLE001 - an exception may hold what can't be pickled
            _send(answers, (False, RuntimeError(f"{type(answer[1]).__name__}: {exc}")))


def _read_calls(pipe: IO[bytes], calls: queue.SimpleQueue[Any]) -> None:
    """Queue the calls, and end the process at once when the parent is gone, even in the middle of a task."""
    while True:
        try:
            calls.put(_receive(pipe))
        except EOFError:
            os._exit(0)
        except Exception:  # noqa: BLE001 - unpickling raises anything, such as an ImportError
            import traceback

            traceback.print_exc()
            os._exit(1)
