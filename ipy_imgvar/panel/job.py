"""The panel's background tasks: one at a time per worker, on a daemon thread, with a stop event.

Widgets get their events on the kernel's main thread, which must never wait. Python can't end a thread, so the panel
abandons a task that does not stop in time: the thread runs on, and the panel ignores its calls of `tell`. In a browser,
a task runs in the event itself, and can't be cancelled: the next event comes after its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import CancelledError
from ipy_imgvar.systems import in_browser

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[["BackgroundTask"], Callable[[], None] | None]
    Execute = Callable[[Callable[[], None]], object]
    After = Callable[[float, Callable[[], None]], object]

__all__ = ["PATIENCE_S", "BackgroundTask", "Worker", "after", "on_thread"]

#: Seconds that a cancelled task has to stop by itself, so that the panel is free again within 0.3 s.
PATIENCE_S: Final = 0.2


def on_thread(work: Callable[[], None]) -> None:
    """Run `work` on a daemon thread of its own; in a browser, which has none, run it at once."""
    if in_browser():
        work()
        return
    threading.Thread(target=work, name="ipy_imgvar panel", daemon=True).start()


def after(delay_s: float, action: Callable[[], None]) -> None:
    """Call `action` from a daemon thread, `delay_s` seconds from now; in a browser, from the running event loop."""
    if in_browser():
        with contextlib.suppress(RuntimeError):  # Without a loop, no event can follow that it would be for.
            asyncio.get_running_loop().call_later(delay_s, action)
        return
    timer = threading.Timer(delay_s, action)
    timer.daemon = True
    timer.start()


class BackgroundTask:
    """A piece of work on a thread: its stop event, and its way to call the panel."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        # Reentrant, since an action that `tell` calls may abandon the task.
        self._lock = threading.RLock()
        self._abandoned = False

    @property
    def abandoned(self) -> bool:
        """Whether the panel has stopped listening."""
        return self._abandoned

    def check(self) -> None:
        """Raise `CancelledError` after `stop` is set."""
        if self.stop.is_set():
            raise CancelledError("the panel's job was stopped")

    def tell(self, action: Callable[..., None], *arguments: Any) -> None:
        """Call `action` unless the task is abandoned; `abandon` waits for a call that has begun."""
        with self._lock:
            if not self._abandoned:
                action(*arguments)

    def abandon(self) -> bool:
        """Ignore the task's calls from now on; return False if they were ignored before."""
        self.stop.set()
        with self._lock:
            first, self._abandoned = not self._abandoned, True
        return first


class Worker:
    """Runs one task at a time.

    Parameters
    ----------
    execute
        Runs a function on a thread; a test's own runs it at once.
    later
        Calls a function after some seconds; a test's own calls it on demand.
    """

    def __init__(self, execute: Execute = on_thread, later: After = after) -> None:
        self._execute = execute
        self._later = later
        self._lock = threading.Lock()
        self._task: BackgroundTask | None = None

    def submit(self, work: Work, *, replace: bool = False) -> bool:
        """Start a task; during another one, abandon that with `replace`, else return False.

        The function that `work` returns is called after the worker is free again, so that it may start the next task.
        """
        with self._lock:
            if self._task is not None:
                if not replace:
                    return False
                self._task.abandon()
            task = self._task = BackgroundTask()

        def run() -> None:
            last = None
            try:
                last = work(task)
            finally:
                self._forget(task)
            if last is not None:
                task.tell(last)

        try:
            self._execute(run)
        except RuntimeError:  # The process can't start another thread.
            self._forget(task)
            raise
        return True

    def cancel(self, left: Callable[[], None]) -> None:
        """Tell the task to stop; if it still runs after `PATIENCE_S`, abandon it and call `left`."""
        task = self._task
        if task is None:
            return
        task.stop.set()

        def give_up() -> None:
            if self._task is task and task.abandon():
                self._forget(task)
                left()

        self._later(PATIENCE_S, give_up)

    def close(self) -> None:
        """Tell the task to stop and abandon it; safe to call twice."""
        task = self._task
        if task is not None:
            task.abandon()
            self._forget(task)

    def _forget(self, task: BackgroundTask) -> None:
        # A task that was replaced leaves the worker to its successor.
        with self._lock:
            if self._task is task:
                self._task = None
