"""Runs a bounded number of requests at a time; a bounded number waits, and the rest is refused.

A request is admitted or refused at once, and an admitted one is always answered. Runs use threads, not processes: an
engine's large steps release the interpreter's lock, and an engine with open connections can't be copied.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ipy_imgvar.server.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["ClientGoneError", "Queue"]

Result = TypeVar("Result")

#: The most seconds of Retry-After: the estimate is too rough for a longer time.
_MAX_WAIT_S: Final = 120
#: The mean of a run's time before the first has ended, in seconds; only Retry-After depends on it.
_FIRST_MEAN_S: Final = 1.0
#: The weight of the latest run in the moving mean, 0..1: after ten more runs, a run counts for a tenth of that.
_MEAN_WEIGHT: Final = 0.2


class ClientGoneError(Exception):
    """The client's disconnection before its answer was ready."""


class Queue:
    """A bounded number of runs, and a bounded queue before them.

    Parameters
    ----------
    runs
        Requests that run at a time.
    queue
        Requests that may wait.
    """

    def __init__(self, runs: int, queue: int) -> None:
        self._runs = runs
        self._room = runs + queue
        self._pool = ThreadPoolExecutor(runs, "imgvar-run")
        self._lock = threading.Lock()
        self._cancels: set[threading.Event] = set()
        self._mean_s = _FIRST_MEAN_S
        self.stopping = False

    @property
    def admitted(self) -> int:
        """How many requests run or wait."""
        return len(self._cancels)

    @property
    def is_full(self) -> bool:
        """Whether one more would be refused."""
        return self.admitted >= self._room

    def full(self) -> Refusal:
        """Return the answer to a request when the queue is full."""
        wait_s = math.ceil(self._mean_s * max(1, self.admitted - self._runs + 1) / self._runs)
        return Refusal(
            503,
            f"the server is busy: {self.admitted} requests run or wait; send it again after the time in Retry-After",
            code="overloaded",
            headers={"retry-after": str(min(wait_s, _MAX_WAIT_S))},
        )

    async def run(self, work: Callable[[threading.Event], Result], gone: Coroutine[Any, Any, None]) -> Result:
        """Call `work` on a thread as soon as one is free.

        Parameters
        ----------
        work
            Called with an event; it should return soon after the event is set.
        gone
            Returns when the client has closed its connection.

        Raises
        ------
        Refusal
            If the queue is full.
        ClientGoneError
            If `gone` returns first; the work is cancelled.
        """
        cancel = threading.Event()
        with self._lock:
            if self.is_full:
                raise self.full()
            self._cancels.add(cancel)
        future = self._pool.submit(self._timed, work, cancel)
        future.add_done_callback(lambda _: self._release(cancel))
        return await self._first_of(future, cancel, gone)

    async def _first_of(
        self, future: Future[Result], cancel: threading.Event, gone: Coroutine[Any, Any, None]
    ) -> Result:
        result = asyncio.wrap_future(future)
        watcher = asyncio.create_task(gone)
        try:
            both: list[asyncio.Future[Any]] = [result, watcher]
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not result.done():
                raise ClientGoneError
            return result.result()
        finally:
            # A second signal to the server cancels this task itself, and the thread has to stop then too.
            cancel.set()
            result.cancel()
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await watcher

    def _timed(self, work: Callable[[threading.Event], Result], cancel: threading.Event) -> Result:
        began = time.monotonic()
        try:
            return work(cancel)
        finally:
            self._mean_s += _MEAN_WEIGHT * (time.monotonic() - began - self._mean_s)

    def _release(self, cancel: threading.Event) -> None:
        with self._lock:
            self._cancels.discard(cancel)

    def abandon(self) -> None:
        """Cancel all requests that run or wait."""
        with self._lock:
            cancels = list(self._cancels)
        for each in cancels:
            each.set()

    def close(self) -> None:
        """Wait for the threads to end; no request may run after this."""
        self._pool.shutdown(wait=True, cancel_futures=True)
