"""Work that can't be stopped, such as a load: it runs in a thread, and the caller leaves it when a run is cancelled."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["POLL_S", "Background"]

T = TypeVar("T")

#: Seconds between two looks at the caller's cancel, a sixth of the .3 s in which a run has to stop.
POLL_S: Final = 0.05


class Background:
    """Runs one call at a time; a call that a caller has left ends before the next one starts.

    Two loads at once corrupt each other for good ("Cannot copy out of meta tensor"): while a model is loaded,
    accelerate makes every new parameter of the process one without memory.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()

    def run(self, call: Callable[[], T], check: Callable[[], None], on_wait: Callable[[], None]) -> T:
        """Return what `call` returns, or raise what it raises.

        Parameters
        ----------
        call
            Runs in a thread of its own.
        check
            Raises to leave; the thread goes on, and its result is dropped.
        on_wait
            Called once if an earlier call still runs.
        """
        self._wait_for_turn(check, on_wait)
        outcome: dict[str, Any] = {}
        left = threading.Event()

        def work() -> None:
            try:
                result = call()
                if not left.is_set():
                    outcome["result"] = result
            except BaseException as exc:  # noqa: BLE001 - the caller raises it
                outcome["error"] = exc
            finally:
                self._turn.release()

        # No daemon: torch aborts the whole process if its thread is stopped within a load, so an exit waits for it.
        thread = threading.Thread(target=work, name="ipy_imgvar-diffusers")
        try:
            thread.start()
        except BaseException:
            self._turn.release()
            raise
        try:
            while thread.is_alive():
                thread.join(POLL_S)
                check()
        except BaseException:
            left.set()
            raise
        if "error" in outcome:
            raise outcome["error"]
        result: T = outcome["result"]
        return result

    def _wait_for_turn(self, check: Callable[[], None], on_wait: Callable[[], None]) -> None:
        if not self._turn.acquire(blocking=False):
            on_wait()
            while not self._turn.acquire(timeout=POLL_S):
                check()
