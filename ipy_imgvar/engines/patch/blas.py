"""Hold BLAS to one thread while any run of the engine is at work.

`threadpoolctl` sets a limit for the whole process and restores what it found. Two runs that overlap in time would
restore in the wrong order and could leave the process limited for good, so one reference count is kept here: the first
run in sets the limit, the last one out lifts it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["single_threaded_blas"]


class _Guard:
    """The process's one count of runs, and the limiter that the first of them set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs = 0
        self._limiter: threadpool_limits | None = None

    def enter(self) -> None:
        with self._lock:
            if self._limiter is None:
                self._limiter = threadpool_limits(limits=1, user_api="blas")
            self._runs += 1

    def leave(self) -> None:
        with self._lock:
            self._runs -= 1
            if self._runs == 0 and self._limiter is not None:
                limiter, self._limiter = self._limiter, None
                limiter.restore_original_limits()


_GUARD = _Guard()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limit BLAS to one thread until the last overlapping use of this context ends.

    Two BLAS threads inside the engine's own two-thread pool were four times slower than one.
    """
    _GUARD.enter()
    try:
        yield
    finally:
        _GUARD.leave()
