"""The time limit of a run, as a check that an engine calls beside the caller's cancel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ipy_imgvar.errors import RequestTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["with_deadline"]


def with_deadline(check: Callable[[], None], timeout_s: float, advice: str) -> Callable[[], None]:
    """Return a check that also raises `RequestTimeoutError` once `timeout_s` have passed from now.

    Parameters
    ----------
    check
        Raises `CancelledError` if the run should stop.
    timeout_s
        Seconds for the run; 0 sets no limit.
    advice
        What makes a run shorter, in words for the message.
    """
    if not timeout_s:
        return check
    deadline = time.monotonic() + timeout_s

    def check_both() -> None:
        check()
        if time.monotonic() > deadline:
            raise RequestTimeoutError(
                f"the run took longer than the timeout of {timeout_s:g} s; raise it, or {advice}"
            )

    return check_both
