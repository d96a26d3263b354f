"""Hold BLAS to one thread while any run of the engine is at work.

A limit set through `threadpoolctl` is the whole process's, and the code that sets it restores what was there
before. Two runs that overlap in time would restore in the wrong order and could leave the process limited
for good, so this module holds one set of running users: the first one in sets the limit, the last one out lifts
it.

Since 3.8, `threadpoolctl` gives OpenBLAS to the thread that sets a limit and ignores all others while that
thread lives. The last one out may be another thread than the first one in, so control is given back at once.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["single_threaded_blas"]


class _Guard:
    """The process's users of the limit, and the libraries it changed, with their former threads."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._users: set[object] = set()
        self._changed: list[tuple[Any, int]] = []

    def enter(self, user: object) -> None:
        with self._lock:
            if not self._users:
                self._limit()
            self._users.add(user)

    def leave(self, user: object) -> None:
        with self._lock:
            self._users.discard(user)
            if not self._users:
                self._lift()

    def _limit(self) -> None:
        try:
            from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]
        except ImportError:  # In a browser, where BLAS has one thread.
            return
        for library in ThreadpoolController().select(user_api="blas").lib_controllers:
            before = library.num_threads
            if before > 1:
                # Noted first: an interrupt after the limit is set must find what to lift.
                self._changed.append((library, before))
                _set(library, 1)

    def _lift(self) -> None:
        while self._changed:
            _set(*self._changed[-1])
            self._changed.pop()


_GUARD = _Guard()


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Limit BLAS to one thread until the last overlapping use of this context ends.

    Two BLAS threads inside the engine's own two-thread pool were four times slower than one.
    """
    user = object()
    try:
        _GUARD.enter(user)
        yield
    finally:
        _GUARD.leave(user)


def _set(library: Any, threads: int) -> None:
    library.set_num_threads(threads)
    release = getattr(library, "clear_controlling_thread", None)
    if release is not None:
        release()
