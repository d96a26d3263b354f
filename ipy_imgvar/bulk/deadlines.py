"""Finds an executor's calls that have taken longer than the timeout, even where their worker is stopped.

An engine checks the timeout itself, and its message names the step that took too long. A worker that is stopped, or
stuck in code that never checks, needs a check from outside. This check waits some
seconds longer, so that the engine's message comes first.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future

__all__ = ["GRACE_S", "Deadlines"]

#: Seconds beyond the timeout, so that the engine's own message comes first.
GRACE_S: Final = 5.0


class Deadlines:
    """Finds the calls that have taken too long, and counts the workers that they hold up.

    A call's time begins when its executor reports it as running. Dask reports no start, and its calls may wait for a
    cluster that is still growing. So their time begins with the latest result, and no call is late before the first.

    Parameters
    ----------
    limit_s
        Seconds that a call may take; None is no limit.
    reports
        Whether the executor is known to report which calls run; the first report sets it.
    """

    def __init__(self, limit_s: float | None, *, reports: bool = True) -> None:
        self._limit_s = limit_s
        self._reports = reports
        self._began: dict[Future[Any], float] = {}
        self._answered: float | None = None
        self._lost: list[Future[Any]] = []

    def answer(self) -> None:
        """Note that a result has come."""
        self._answered = time.monotonic()

    def pause(self) -> None:
        """Note that no worker is there now, so that nothing that waits is late."""
        if self._answered is not None:
            self._answered = time.monotonic()

    def lose(self, future: Future[Any]) -> None:
        """Note a call that can be neither ended nor taken back."""
        self._lost.append(future)

    def lost(self) -> int:
        """Return how many workers are held up by such calls."""
        self._lost = [future for future in self._lost if not future.done()]
        return len(self._lost)

    def overdue(self, futures: Iterable[Future[Any]]) -> list[Future[Any]]:
        """Return the calls under way that have taken too long."""
        if self._limit_s is None:
            return []
        # An iterator could be read only once.
        now, futures = time.monotonic(), list(futures)
        running = [future for future in futures if future.running()]
        self._reports |= bool(running)
        counted = running if self._reports else futures
        self._began = {future: self._began.get(future, now) for future in counted}
        if not self._reports and self._answered is None:
            return []
        silent_since = 0.0 if self._reports else (self._answered or 0.0)
        return [
            future for future, began in self._began.items() if now - max(began, silent_since) > self._limit_s
        ]
