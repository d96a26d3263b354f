"""Which calls of an executor have taken longer than the timeout, whatever their worker does.

An engine watches its own time and says what it waited for. This is for a worker that is stopped, or stuck in code that
never looks at the clock, so it comes some seconds after the engine.
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

    A call counts from when its executor reports it as running. Dask reports nothing, and its calls may wait for a
    cluster that is still growing; so its calls count from the last result that came, and none before the first.

    Parameters
    ----------
    limit_s
        Seconds that a call may take; None is no limit.
    reports
        Whether the executor is known to report what is running.
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
