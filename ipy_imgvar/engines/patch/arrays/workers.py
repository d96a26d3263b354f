"""Run chunks of array work on a few threads, with a caller that can stop them.

Helper threads live only as long as one call of `each`, in which the calling thread works too. Between two
calls, and so between two pictures, there is no thread to leave behind, even if the generator that yields them
is dropped.

No random number is drawn and no result is combined out of order here, so the number of threads never changes
a byte.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ipy_imgvar.systems import in_browser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Workers"]

Chunk = TypeVar("Chunk")

#: Chunks for each thread: with fewer, starting the thread takes longer than the chunks do.
_CHUNKS_PER_THREAD: Final = 2


class Workers:
    """Runs chunks on `threads` threads and calls `check` before each chunk of the calling thread.

    Parameters
    ----------
    threads : int
        1 runs everything in the calling thread, as any number does in a browser.
    check : callable or None
        Called often, always in the calling thread; it raises to cancel.
    """

    def __init__(self, threads: int, check: Callable[[], None] | None) -> None:
        self._threads = 1 if in_browser() else threads
        self._check = check

    def check(self) -> None:
        """Call the caller's `check`, which raises to cancel."""
        if self._check is not None:
            self._check()

    def each(self, function: Callable[[Chunk], object], chunks: Iterable[Chunk]) -> None:
        """Call `function` on every chunk; chunks must write to separate elements.

        The first exception of a chunk, or of `check`, is raised after the running chunks have ended.
        """
        work = _Work(function, chunks)
        helpers = [
            threading.Thread(target=work.help, name="imgvar-patch", daemon=True)
            for _ in range(min(self._threads, work.count // _CHUNKS_PER_THREAD) - 1)
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
    """The chunks of one call that no thread has begun, and the first exception of a helper."""

    def __init__(self, function: Callable[[Chunk], object], chunks: Iterable[Chunk]) -> None:
        self._function = function
        # Threads share it without a lock: a deque's popleft and clear are atomic.
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
