"""An executor whose workers are fresh interpreters, each on a pipe of its own.

Four things that `concurrent.futures.ProcessPoolExecutor` does not do, and long runs in notebooks and scripts need: a
worker that is killed costs its own task only; a task has a time limit that holds even where its worker is stopped;
workers never import the caller's `__main__`, so a script needs no guard; and they end when this process ends, however
it does.
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
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["WorkerDiedError", "WorkerProcesses", "WorkerTimeoutError", "serve"]

#: The first line that a worker reads is where modules are found.
_CODE: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.stdin.buffer.readline()); "
    "from ipy_imgvar.bulk.processes import serve; serve()"
)
_LENGTH: Final = struct.Struct("<Q")
#: Seconds that the first task of a worker may take beyond the limit: an interpreter and the engine are loaded, which
#: takes 1 s on an idle machine and many times that on a busy one.
_START_S: Final = 30.0
#: Seconds that an idle worker has to end once its pipe is closed.
_END_S: Final = 5.0
_Call = tuple["Callable[..., Any]", tuple[Any, ...]]
_Task = tuple["Future[Any]", "Callable[..., Any]", tuple[Any, ...]]


class WorkerDiedError(BrokenExecutor):
    """Report that a worker ended in the middle of a task; another one takes its place."""


class WorkerTimeoutError(WorkerDiedError):
    """Report that a worker was killed because its task took longer than the limit."""


class WorkerProcesses(Executor):
    """Runs calls in worker processes.

    Parameters
    ----------
    max_workers
        How many; each is started by the first task that finds no idle one.
    limit_s
        Seconds after which a worker is killed in the middle of its task, also one that reads nothing or is stopped by a
        signal; None waits for ever. The first task of a worker has 30 s more.
    first
        Returns the call, a function and its arguments, that each worker makes before its first task.
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
        """Run `fn(*args)` in a worker; it and its arguments must be picklable. There are no keyword arguments."""
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
        """End the workers when their tasks are done; with `cancel_futures`, drop what has not begun."""
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
        """Hand tasks to one worker, as long as there are any; a thread's whole life."""
        worker: subprocess.Popen[bytes] | None = None
        while (task := self._queue.get()) is not None:
            future, fn, args = task
            if not future.set_running_or_notify_cancel():
                self._idle.release()
                continue
            is_first = worker is None
            limit = _Limit(self._limit_s, first=is_first)
            try:
                if worker is None:
                    worker = self._started()
                with limit.of(worker):
                    if is_first and self._first is not None:
                        _exchange(worker, self._first())
                    ok, value = _exchange(worker, (fn, args))
                if limit.passed:  # Its answer came at the last instant.
                    self._ended(worker)
                    worker = None
            except (OSError, EOFError, pickle.UnpicklingError) as exc:
                code = self._ended(worker)
                worker = None
                kind = WorkerTimeoutError if limit.passed else WorkerDiedError
                future.set_exception(kind(f"a worker process ended ({code or exc})"))
            except Exception as exc:  # noqa: BLE001 - what can't be pickled raises anything; the caller gets it
                future.set_exception(exc)
            else:
                (future.set_result if ok else future.set_exception)(value)
            self._idle.release()
        self._ended(worker)

    def _started(self) -> subprocess.Popen[bytes]:
        worker = subprocess.Popen(  # noqa: S603 - this interpreter, and nothing from outside
            [sys.executable, "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C in a terminal goes to the whole group; it is for the parent only.
        )
        assert worker.stdin is not None  # noqa: S101 - it was asked for
        self._workers.add(worker)
        if self._killed:
            worker.kill()
        worker.stdin.write(json.dumps([os.path.abspath(each) for each in sys.path]).encode() + b"\n")  # noqa: PTH100
        worker.stdin.flush()
        return worker

    def _ended(self, worker: subprocess.Popen[bytes] | None) -> str:
        """Let go of a worker and say how it ended."""
        if worker is None:
            return ""
        for pipe in (worker.stdin, worker.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:  # Half a task was still in the buffer of a dead worker.
                continue
        try:
            code = worker.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            code = worker.wait()
        self._workers.discard(worker)
        return f"killed by signal {-code}" if code < 0 else f"exit code {code}"


class _Limit:
    """Kills a worker that takes longer than the limit with one task; killing also ends a write to a full pipe."""

    def __init__(self, limit_s: float | None, *, first: bool) -> None:
        self._limit_s = None if limit_s is None else limit_s + first * _START_S
        self.passed = False

    @contextmanager
    def of(self, worker: subprocess.Popen[bytes]) -> Iterator[None]:
        """Watch over the block, in which the worker has its task."""
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


def _exchange(worker: subprocess.Popen[bytes], call: _Call) -> tuple[bool, Any]:
    assert worker.stdin is not None  # noqa: S101 - both were asked for
    assert worker.stdout is not None  # noqa: S101
    _send(worker.stdin, call)
    answer: tuple[bool, Any] = _received(worker.stdout)
    return answer


def _send(pipe: IO[bytes], value: Any) -> None:
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _received(pipe: IO[bytes]) -> Any:
    header = pipe.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        raise EOFError
    (length,) = _LENGTH.unpack(header)
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return pickle.loads(data)  # noqa: S301 - from our own parent or child, over a pipe that nobody else has


def serve() -> None:
    """Work until the parent closes the pipe: what a worker process runs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What anybody prints must not get between the answers.
    calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_read_calls, args=(sys.stdin.buffer, calls), daemon=True).start()
    while True:
        fn, args = calls.get()
        try:
            answer = True, fn(*args)
        except BaseException as exc:  # noqa: BLE001 - it belongs to the caller
            answer = False, exc
        try:
            _send(answers, answer)
        except OSError:
            os._exit(1)
        except Exception as exc:  # noqa: BLE001 - an exception may hold what can't be pickled
            _send(answers, (False, RuntimeError(f"{type(answer[1]).__name__}: {exc}")))


def _read_calls(pipe: IO[bytes], calls: queue.SimpleQueue[Any]) -> None:
    """Pass on what comes, and end the process at once when the parent is gone, also in the middle of a task."""
    while True:
        try:
            calls.put(_received(pipe))
        except EOFError:
            os._exit(0)
        except Exception:  # noqa: BLE001 - such as a function that can't be imported here
            import traceback

            traceback.print_exc()
            os._exit(1)
