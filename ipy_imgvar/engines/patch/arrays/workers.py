"""Chunks on a few threads, with a caller that can stop them.

Helper threads live only as long as one call of `each`, in which the calling thread works too. Between two
calls, and so between two pictures, there is no thread to leave behind, whatever happens to the generator
that yields them.

No random number is drawn and no result is combined out of order here, so the number of threads never changes
a byte.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Workers"]

Chunk = TypeVar("Chunk")

_WORTH = 2
"""Chunks for which a thread is worth starting: with fewer, waking it up takes longer than they do."""


class Workers:
    """Run chunks on `threads` threads, asking `check` before each of the calling thread's.

    Parameters
    ----------
    threads : int
        1 runs everything in the calling thread.
    check : callable or None
        Called often, always in the calling thread; it raises to cancel.
    """

    def __init__(self, threads: int, check: Callable[[], None] | None) -> None:
        self._threads = threads
        self._check = check

    def check(self) -> None:
        """Raise what the caller's `check` raises, if it asks to stop."""
        if self._check is not None:
            self._check()

    def each(self, function: Callable[[Chunk], object], chunks: Iterable[Chunk]) -> None:
        """Call `function` on every chunk; chunks must write to separate places.

        The first exception of a chunk, or of `check`, is raised after the running chunks have ended.
        """
        work = _Work(function, chunks)
        helpers = [
            threading.Thread(target=work.help, name="imgvar-patch", daemon=True)
            for _ in range(min(self._threads, work.count // _WORTH) - 1)
        ]
        try:
            for helper in helpers:
                helper.start()
            work.run(self.check)
        finally:
            work.stop()
            try:
                _join(helpers)
            except BaseException:
                # A second interrupt while waiting must not leave a thread behind either.
                _join(helpers)
                raise
        work.finish()


class _Work(Generic[Chunk]):
    """The chunks of one call that nobody has begun, and what went wrong."""

    def __init__(self, function: Callable[[Chunk], object], chunks: Iterable[Chunk]) -> None:
        self._function = function
        self._todo = deque(chunks)
        self._error: BaseException | None = None
        self.count = len(self._todo)

    def run(self, check: Callable[[], None] | None = None) -> None:
        while True:
            if check is not None:
                check()
            try:
                chunk = self._todo.popleft()
            except IndexError:
                return
            self._function(chunk)

    def help(self) -> None:
        try:
            self.run()
        except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
            self._error = error
            self.stop()

    def stop(self) -> None:
        self._todo.clear()

    def finish(self) -> None:
        if self._error is not None:
            raise self._error


def _join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        while thread.is_alive():
            thread.join()
