"""A small thread pool over chunks that reports to a caller and stops when told to.

No random number is drawn and no result is combined out of order here, so the number of threads never changes
a byte.
"""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

__all__ = ["Workers"]

Chunk = TypeVar("Chunk")

_POLL_S = 0.03


class Workers:
    """Run chunks on `threads` threads, asking `check` before each of them.

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
        self._pool = ThreadPoolExecutor(threads, "imgvar-patch") if threads > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait for the running chunks and end every thread; safe to call twice."""
        if self._pool is None:
            return
        try:
            self._pool.shutdown(wait=True, cancel_futures=True)
        except BaseException:
            # A second interrupt while waiting must not leave a thread behind either.
            self._pool.shutdown(wait=True, cancel_futures=True)
            raise

    def check(self) -> None:
        """Raise what the caller's `check` raises, if it asks to stop."""
        if self._check is not None:
            self._check()

    def each(self, function: Callable[[Chunk], object], chunks: Iterable[Chunk]) -> None:
        """Call `function` on every chunk; chunks must write to separate places.

        The first exception of a chunk, or of `check`, is raised after the running chunks have ended.
        """
        todo = list(chunks)
        if self._pool is None or len(todo) < 2:  # noqa: PLR2004
            for chunk in todo:
                self.check()
                function(chunk)
            return
        running: set[Future[object]] = set()
        try:
            for chunk in todo:
                self.check()
                while len(running) >= self._threads:
                    running = self._collect(running)
                running.add(self._pool.submit(function, chunk))
            while running:
                running = self._collect(running)
        finally:
            wait(running)

    def _collect(self, running: set[Future[object]]) -> set[Future[object]]:
        done, pending = wait(running, timeout=_POLL_S, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
        if not done:
            self.check()
        return pending
