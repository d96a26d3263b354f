"""Waits that a run can cancel: for a server's answer, and before another try; both report that they still wait."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from ipy_imgvar.engines.openai.errors import NOT_REPEATED
from ipy_imgvar.errors import RequestTimeoutError

if TYPE_CHECKING:
    from ipy_imgvar.engine import Job

__all__ = ["Watch", "wait"]

#: Seconds between two looks at the cancel switch during a wait, chosen so that a click seems to work at once.
_WAIT_STEP_S: Final = 0.05
#: Seconds between two messages that a request or a retry still waits.
_REPORT_EVERY_S: Final = 1.0


class Watch:
    """The checks during a request: is it cancelled, is it over its deadline, and is a message due that it waits.

    Parameters
    ----------
    job
        The run that may be cancelled; it receives the messages.
    timeout_s
        Seconds that one request may take; 0 for no bound.
    destination
        The server, the route and the model, for the messages.
    """

    def __init__(self, job: Job, timeout_s: float, destination: str) -> None:
        self._job = job
        self._timeout_s = timeout_s
        self._destination = destination
        #: The IP address that answered, or None where a proxy hides it.
        self.peer: str | None = None
        self._began = self._reported = time.monotonic()

    def restart(self) -> None:
        """Start the clock of another request."""
        self._began = time.monotonic()

    def check(self) -> None:
        """Raise when the run should stop."""
        self._job.check()
        now = time.monotonic()
        if self._timeout_s and now - self._began > self._timeout_s:
            raise RequestTimeoutError(
                f"{self._destination} did not finish within the timeout of {self._timeout_s:g} s{NOT_REPEATED}"
            )
        if now - self._reported > _REPORT_EVERY_S:
            self._reported = now
            self._job.progress(0.0, f"waiting for {self._destination}, {now - self._began:.0f} s")


def wait(seconds: float, reason: str, job: Job) -> None:
    """Sleep, report the remaining seconds once a second, and stop when the run is cancelled."""
    until = time.monotonic() + seconds
    reported = -_REPORT_EVERY_S
    while (left := until - time.monotonic()) > 0:
        job.check()
        if time.monotonic() - reported >= _REPORT_EVERY_S:
            reported = time.monotonic()
            job.progress(0.0, f"{reason} in {left:.1f} s")
        time.sleep(min(_WAIT_STEP_S, left))
