"""How many runs there are at a time, who waits, and who is turned away.

A run is admitted or refused at once; an admitted one is always answered. Threads, not processes: an engine's large
steps release the interpreter's lock, and an engine with open connections can't be copied.
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

#: Seconds that Retry-After asks for at most: an estimate beyond says little.
_MAX_WAIT_S: Final = 120


class ClientGoneError(Exception):
    """A client that closed its connection before its answer was ready."""


class Queue:
    """A bounded number of runs, and a bounded queue before them.

    Parameters
    ----------
    runs
        At a time.
    queue
        That may wait.
    """

    def __init__(self, runs: int, queue: int) -> None:
        self._runs = runs
        self._room = runs + queue
        self._pool = ThreadPoolExecutor(runs, "imgvar-run")
        self._lock = threading.Lock()
        self._cancels: set[threading.Event] = set()
        self._mean_s = 1.0
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
        """Return the answer to a request that there is no room for."""
        wait_s = math.ceil(self._mean_s * max(1, self.admitted - self._runs + 1) / self._runs)
        return Refusal(
            503,
            f"the server is busy: {self.admitted} requests run or wait; send it again after the time in Retry-After",
            code="overloaded",
            headers={"retry-after": str(min(wait_s, _MAX_WAIT_S))},
        )

    async def run(self, work: Callable[[threading.Event], Result], gone: Coroutine[Any, Any, None]) -> Result:
        """Do `work` on a thread as soon as there is one.

        Parameters
        ----------
        work
            Called with an event; it should end soon after that is set.
        gone
            Done when the client has closed its connection.

        Raises
        ------
        Refusal
            If the queue is full.
        ClientGoneError
            If `gone` was done first; the work is cancelled.
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
            # Also when this task itself is cancelled, as a server that is told twice to stop does.
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
            self._mean_s += 0.2 * (time.monotonic() - began - self._mean_s)

    def _release(self, cancel: threading.Event) -> None:
        with self._lock:
            self._cancels.discard(cancel)

    def abandon(self) -> None:
        """Cancel everything that runs or waits."""
        with self._lock:
            cancels = list(self._cancels)
        for each in cancels:
            each.set()

    def close(self) -> None:
        """Wait for the threads to end; call it when nothing is to be run any more."""
        self._pool.shutdown(wait=True, cancel_futures=True)
