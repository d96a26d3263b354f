"""Requests to object stores, tried again after a transient fault, and given up at once where the caller asks for it."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final, TypeVar

from ipy_imgvar.errors import ImageVariationError, RequestTimeoutError
from ipy_imgvar.network.backoff import backoff_s, jitter
from ipy_imgvar.storage.faults import is_transient

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TRIES", "attempt", "retries", "watched"]

_log = logging.getLogger("ipy_imgvar")
_T = TypeVar("_T")
#: Tries of a request, with 1, 2, 4 and 8 seconds between them.
TRIES: Final = 5
#: The longest wait between two tries, in seconds.
_LONGEST_S: Final = 8.0
#: Seconds between two calls of a caller's `check`.
_CHECK_S: Final = 0.1

_lock = threading.Lock()
_retries = 0


def retries() -> int:
    """Return how many requests this process has tried again since its start."""
    return _retries


def attempt(work: Callable[[], _T], *, check: Callable[[], None] | None = None, tries: int = TRIES) -> _T:
    """Return what a request gives; try it again after a transient fault.

    Parameters
    ----------
    work
        The request; it may be made several times.
    check
        Called ten times a second while it runs or waits; raises to give it up, and the request then ends in a thread.
    tries
        How often it is made, at most.
    """
    global _retries  # noqa: PLW0603 - the process' one count
    for number in range(tries):
        try:
            return work() if check is None else _guarded(work, check)
        except ImageVariationError:
            raise
        except Exception as exc:
            if number + 1 >= tries or not is_transient(exc):
                raise
            _log.info("a storage request is tried again (%s)", type(exc).__name__)
        with _lock:
            _retries += 1
        _wait(backoff_s(number, jitter(), _LONGEST_S), check)
    raise AssertionError(tries)


def watched(check: Callable[[], None] | None, timeout_s: float, name: str) -> Callable[[], None] | None:
    """Return a check that calls `check` and raises after `timeout_s` seconds from now; None if there is neither."""
    if not timeout_s:
        return check
    until = time.monotonic() + timeout_s

    def checked() -> None:
        if check is not None:
            check()
        if time.monotonic() > until:
            raise RequestTimeoutError(
                f"{name}: not read within the timeout of {timeout_s:g} s; raise --timeout"
            )

    return checked


def _wait(seconds: float, check: Callable[[], None] | None) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if check is not None:
            check()
        time.sleep(left if check is None else min(left, _CHECK_S))


def _guarded(work: Callable[[], _T], check: Callable[[], None]) -> _T:
    """Run the work in a thread, since no file system of fsspec can be asked to stop."""
    check()
    results: list[_T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as exc:  # noqa: BLE001 - raised again by the caller's thread
            errors.append(exc)

    thread = threading.Thread(target=run, name="imgvar-storage", daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_CHECK_S)
        if thread.is_alive():
            check()
    if errors:
        raise errors[0]
    return results[0]
