"""The panel's threads: at most one job at a time, which can be told to stop and left behind.

Widgets get their events on the kernel's main thread, which must never wait: work goes to a daemon thread. A job that
does not stop in time is abandoned: its thread ends when it ends, and nothing it says reaches the panel any more.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import CancelledError

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[["BackgroundTask"], Callable[[], None] | None]
    Execute = Callable[[Callable[[], None]], object]
    After = Callable[[float, Callable[[], None]], object]

__all__ = ["PATIENCE_S", "BackgroundTask", "Worker", "after", "on_thread"]

#: How long a cancelled job may take to stop by itself; a person should wait at most 0.3 s.
PATIENCE_S: Final = 0.2


def on_thread(work: Callable[[], None]) -> None:
    """Run `work` on a daemon thread of its own."""
    threading.Thread(target=work, name="ipy_imgvar panel", daemon=True).start()


def after(delay_s: float, action: Callable[[], None]) -> None:
    """Call `action` from a daemon thread, `delay_s` seconds from now."""
    timer = threading.Timer(delay_s, action)
    timer.daemon = True
    timer.start()


class BackgroundTask:
    """One piece of work, as its thread sees it."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._lock = threading.RLock()
        self._abandoned = False

    @property
    def abandoned(self) -> bool:
        """Whether the panel has stopped listening."""
        return self._abandoned

    def check(self) -> None:
        """Raise where the job was told to stop."""
        if self.stop.is_set():
            raise CancelledError("the panel's job was stopped")

    def tell(self, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action` unless the job was abandoned; the two never overlap."""
        with self._lock:
            if not self._abandoned:
                action(*arguments)

    def abandon(self) -> bool:
        """Stop listening; False where that was done before."""
        self.stop.set()
        with self._lock:
            first, self._abandoned = not self._abandoned, True
        return first


class Worker:
    """Runs one job at a time.

    Parameters
    ----------
    execute
        Runs a function elsewhere; tests run it at once.
    later
        Calls a function after some seconds; tests call it when they like.
    """

    def __init__(self, execute: Execute = on_thread, later: After = after) -> None:
        self._execute = execute
        self._later = later
        self._lock = threading.Lock()
        self._job: BackgroundTask | None = None

    def submit(self, work: Work, *, replace: bool = False) -> bool:
        """Start a job; False, and nothing happens, while another goes on, unless it is to be replaced.

        What `work` returns is called when the worker is free again: who hears of the end may start the next job.
        """
        with self._lock:
            if self._job is not None:
                if not replace:
                    return False
                self._job.abandon()
            job = self._job = BackgroundTask()

        def run() -> None:
            last = None
            try:
                last = work(job)
            finally:
                self._forget(job)
            if last is not None:
                job.tell(last)

        try:
            self._execute(run)
        except RuntimeError:  # The process can't start another thread.
            self._forget(job)
            raise
        return True

    def cancel(self, left: Callable[[], None]) -> None:
        """Tell the job to stop; if it has not after `PATIENCE_S`, abandon it and call `left`."""
        job = self._job
        if job is None:
            return
        job.stop.set()

        def give_up() -> None:
            if self._job is job and job.abandon():
                self._forget(job)
                left()

        self._later(PATIENCE_S, give_up)

    def close(self) -> None:
        """Tell the job to stop and listen to it no more; it may be called more than once."""
        job = self._job
        if job is not None:
            job.abandon()
            self._forget(job)

    def _forget(self, job: BackgroundTask) -> None:
        with self._lock:
            if self._job is job:
                self._job = None
