"""Schedules the tasks of a bulk run: how many run at once, and which are tried again.

Tasks are taken from an iterator one by one, so a long run needs no more memory. A 429 (too many requests) holds back
the whole pool; any other retry holds back its own item only.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.bulk.cluster import deaths_in, scheduler_of
from ipy_imgvar.bulk.processes import WorkerProcesses, WorkerTimeoutError
from ipy_imgvar.bulk.work import Outcome, Task
from ipy_imgvar.engines import EngineSpec
from ipy_imgvar.errors import EngineError
from ipy_imgvar.network.backoff import backoff_s, jitter
from ipy_imgvar.plain import one_line, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ipy_imgvar.bulk.items import ReadyItem
    from ipy_imgvar.bulk.workers import Workers

__all__ = ["Pool", "failure"]

_log = logging.getLogger("ipy_imgvar")
#: Seconds that a wait lasts at most: a stop is noticed, and the bar moves, after this time.
_POLL_S: Final = 0.2
#: Tries of an item whose worker dies: the death may have another cause than the item, such as a lack of memory.
_MAX_DEATHS: Final = 3
#: Retries after a 429 where the caller names no number: a server charges nothing for a 429, and the same request
#: succeeds later.
_MAX_429_RETRIES: Final = 10
#: The most seconds between two tries where the server names none: OpenAI's limits count requests per minute.
_LONGEST_BACKOFF_S: Final = 60.0
#: Seconds between two looks at the size of a cluster: a question takes its scheduler 1 ms, and a worker 1 s to start.
_MEASURE_S: Final = 1.0


class Pool:
    """Runs tasks on workers and hands over each outcome, in the order in which they end.

    Parameters
    ----------
    workers
        The executor and its engine.
    max_retry_count
        How often an item is tried again after a 429 or 5xx; None is patient with a 429 and tries no 5xx again.
    cancel
        Once it is set, no further item is taken.
    tell
        Gets a line where the run waits for workers.
    lost
        Asked before each item: once it returns a text, such as that another run took over, no further item is taken.
    """

    def __init__(
        self,
        workers: Workers,
        max_retry_count: int | None,
        cancel: threading.Event | None = None,
        tell: Callable[[str], None] | None = None,
        lost: Callable[[], str | None] = lambda: None,
    ) -> None:
        self._workers = workers
        self._retries = max_retry_count
        self._running: dict[Future[Any], Task] = {}
        #: A heap of the tasks to try again: when, by the monotonic clock; a number that keeps their order; the task.
        self._later: list[tuple[float, int, Task]] = []
        self._number = itertools.count()
        self._held_until = 0.0
        self._set_count(workers.count)
        self._measured = -_MEASURE_S
        self._tell = tell or _log.warning
        self._has_waited = False
        self._cancel = cancel
        self._lost = lost
        self._deadlines = workers.deadlines()
        #: Set by an interrupt: no further item is taken.
        self.interrupted = False
        #: Set it to give up the tasks under way.
        self.abandon = threading.Event()

    def _set_count(self, count: int) -> None:
        self._count = count
        # Sending a task to another process takes time, so each has a second task in reserve; one of ours has it on its
        # pipe, and a third waits for whoever is first. A thread needs none, and would post it in spite of a 429.
        self._size = max(count, getattr(self._workers.executor, "_max_workers", 0) or 0)
        reserve = 2 if isinstance(self._workers.executor, WorkerProcesses) else 1
        self._limit = count * (1 + reserve if isinstance(self._workers.engine, EngineSpec) else 1)

    @property
    def is_stopping(self) -> bool:
        """Whether no further item is taken."""
        is_cancelled = self._cancel is not None and self._cancel.is_set()
        return self.interrupted or is_cancelled or self._lost() is not None

    def close(self, *, now: bool) -> None:
        """End the workers that are ours; see `Workers.close`."""
        self._workers.close(now=now, wait=not self._deadlines.lost())

    def run(
        self,
        tasks: Iterator[Task],
        done: Callable[[Task, Outcome], None],
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        """Run tasks until none is left, or until a stop and the end of those under way.

        Parameters
        ----------
        tasks
            Read one by one, when there is room for the next.
        done
            Called with each task that has ended.
        tick
            Called a few times a second.

        Raises
        ------
        EngineError
            If the executor takes no more work, or its workers can't do it; what it finished was handed over.
        """
        more = True
        broken: Exception | None = None
        while not self.abandon.is_set():
            try:
                self._measure()
                more = self._fill(tasks, more=more) if broken is None else False
            except Exception as exc:  # noqa: BLE001 - the images' own iterator, or a closed executor
                broken = self._break(broken, exc)
            if not self._running:
                if broken is not None:
                    raise broken
                if self.is_stopping or not (more or self._later):
                    return
                self._rest()
                tick()
                continue
            try:
                self._end_some(done)
            except EngineError as exc:
                broken = self._break(broken, exc)
            try:
                tick()
            except Exception as exc:  # noqa: BLE001 - the caller's own; the tasks under way end first
                broken = self._break(broken, exc)

    def _break(self, broken: Exception | None, exc: Exception) -> Exception:
        """Take no further task, and return the exception that is raised when those under way have ended."""
        self._later.clear()
        return broken or exc

    def _end_some(self, done: Callable[[Task, Outcome], None]) -> None:
        """Wait for a moment, and hand over what has ended and what is late."""
        if self.is_stopping:
            self._take_back()
        ended, _ = wait(self._running, timeout=_POLL_S, return_when=FIRST_COMPLETED)
        useless: EngineError | None = None
        for future in ended:
            try:
                self._end(future, self._running.pop(future), done)
            except EngineError as exc:
                useless = exc
            self._deadlines.answer()
        self._give_up_overdue(done)
        if useless is not None:
            raise useless
        if self._running and self._deadlines.lost() >= self._size:
            self._forget_waiting()
            raise _no_worker_answers()

    def _measure(self) -> None:
        """Ask a cluster for its size now and then: workers that join late get work, and a run waits for the first."""
        if time.monotonic() - self._measured < _MEASURE_S:
            return
        try:
            count = self._workers.size()
        except EngineError:
            # Calls that were under way may never end: some futures of Dask stay as they are.
            self._running.clear()
            raise
        self._measured = time.monotonic()
        if count:
            if not self._workers.is_fixed and count != self._count:
                self._set_count(count)
        elif count == 0:
            self._deadlines.pause()
            if not self._has_waited:
                self._has_waited = True
                at = scheduler_of(self._workers.executor)
                self._tell("the run waits for workers" + (f" of the scheduler at {at}" if at else ""))
            if self.is_stopping:
                self._forget_waiting()

    def _give_up_overdue(self, done: Callable[[Task, Outcome], None]) -> None:
        """Record what has taken too long as failed; a thread, or a process of others, can't be ended from here."""
        for future in self._deadlines.overdue(self._running):
            task = self._running.pop(future)
            if not future.cancel():
                self._deadlines.lose(future)
            done(task, Outcome(failure(task.ready, self._timeout_text("which is left to itself"))))

    def _timeout_text(self, fate: str) -> str:
        limit = f"the timeout of {self._workers.timeout_s:g} s"
        return (
            f"the run took longer than {limit}, and so did its worker, {fate}; raise it, or lower n or size"
        )

    def _forget_waiting(self) -> None:
        """Take back what no worker will ever begin; the next run does it."""
        self._later.clear()
        for future in self._running:
            future.cancel()
        self._running.clear()

    def _take_back(self) -> None:
        """Take back what no worker has begun; the futures of other executors, as Dask's, don't say what has begun."""
        if _says_what_runs(self._workers.executor):
            for future in [each for each in self._running if not each.done() and each.cancel()]:
                del self._running[future]

    def _rest(self) -> None:
        due = max(self._held_until, self._later[0][0] if self._later else 0.0)
        time.sleep(min(_POLL_S, max(0.0, due - time.monotonic())))

    def _fill(self, tasks: Iterator[Task], *, more: bool) -> bool:
        """Start tasks while there is room; return whether the iterator may have more."""
        while len(self._running) < self._room() and not self.is_stopping:
            now = time.monotonic()
            if now < self._held_until:
                break
            if self._later and self._later[0][0] <= now:
                task = heapq.heappop(self._later)[2]
            elif more and len(self._later) < self._limit:
                following = next(tasks, None)
                if following is None:
                    return False
                task = following
            else:
                break
            self._submit(task)
        return more

    def _room(self) -> int:
        """Return how many calls may be under way; a worker that a late call holds up takes none."""
        free = self._size - self._deadlines.lost()
        return max(1, min(self._limit, free * self._limit // self._count))

    def _submit(self, task: Task) -> None:
        if self._deadlines.lost() >= self._size:
            raise _no_worker_answers()
        try:
            self._running[self._workers.submit(task, self.abandon)] = task
        except Exception as exc:
            raise EngineError(
                f"the executor takes no more work ({type(exc).__name__}: {exc}); run the same again to go on"
            ) from exc

    def _end(self, future: Future[Any], task: Task, done: Callable[[Task, Outcome], None]) -> None:
        outcome: Outcome | None
        try:
            answer = future.result()
        except BaseException as exc:  # noqa: BLE001 - a dead worker; `work` itself raises nothing
            outcome = self._after_death(task, exc)
        else:
            outcome = self._workers.outcome(answer, task)
            if outcome.again_s is not None:
                outcome = self._after_refusal(task, outcome, outcome.again_s)
        if outcome is not None:
            done(task, outcome)

    def _after_death(self, task: Task, exc: BaseException) -> Outcome | None:
        self._workers.raise_if_useless(exc)
        _log.warning("%s: %s: %s", plain(task.ready.source), type(exc).__name__, exc)
        if isinstance(exc, WorkerTimeoutError):
            return Outcome(failure(task.ready, self._timeout_text("which was ended")))
        deaths = task.tries + deaths_in(exc)
        if deaths < _MAX_DEATHS and not self.is_stopping:
            self._try_later(replace(task, tries=task.tries + 1), 0.0)
            return None
        # Dask adds three sentences of advice.
        reason = str(exc).partition(". ")[0]
        error = f"its worker ended in the middle of it {deaths} times ({type(exc).__name__}: {reason})"
        return Outcome(failure(task.ready, error))

    def _after_refusal(self, task: Task, outcome: Outcome, again_s: float) -> Outcome | None:
        """Schedule another try of a refused item, if it may have one; a 429 holds back the whole pool."""
        allowed = self._retries if self._retries is not None else _MAX_429_RETRIES if outcome.slow_down else 0
        delay_s = again_s or backoff_s(task.tries, jitter(), _LONGEST_BACKOFF_S)
        if outcome.slow_down:
            self._held_until = max(self._held_until, time.monotonic() + delay_s)
        if task.tries >= allowed or self.is_stopping:
            return outcome
        self._try_later(replace(task, tries=task.tries + 1), delay_s)
        return None

    def _try_later(self, task: Task, delay_s: float) -> None:
        heapq.heappush(self._later, (time.monotonic() + delay_s, next(self._number), task))


def _says_what_runs(executor: Executor) -> bool:
    """Return whether an executor's futures say which calls have begun."""
    # A process pool's module was loaded before the pool was made; loading it here fails in a browser.
    processes = getattr(sys.modules.get("concurrent.futures.process"), "ProcessPoolExecutor", ())
    return isinstance(executor, (WorkerProcesses, ThreadPoolExecutor, processes))


def _no_worker_answers() -> EngineError:
    return EngineError(
        "the executor takes no more work: each of its workers is held up by an item that took longer than the timeout; "
        "run the same again to go on"
    )


def failure(ready: ReadyItem, error: str) -> dict[str, Any]:
    """Return the record of an item that failed outside a worker; the error becomes one plain line."""
    return {
        "item": ready.item,
        "status": "failed",
        "source": ready.source,
        "sha256": None,
        "paths": [],
        "seed": None,
        "usage": None,
        "error": one_line(error),
        "elapsed": None,
    }
