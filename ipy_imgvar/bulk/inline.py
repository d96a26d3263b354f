"""An executor that runs each call at once, in the thread that submits it: for a browser, which has no other."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Inline"]


class Inline(Executor):
    """Runs one call after the other; each future that it returns is done."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run the call, and return the future of its result or of its exception; an interrupt is raised at once."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as exc:  # noqa: BLE001 - the caller gets it, as from any executor
            future.set_exception(exc)
        return future
