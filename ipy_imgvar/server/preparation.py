"""The start of a server whose engine loads weights: they are downloaded and loaded before the first request.

Standard error gets plain lines, since a log file is no place for a bar.
"""

from __future__ import annotations

import re
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from ipy_imgvar import streams
from ipy_imgvar.engine import Job, Listener, LoadsWeights
from ipy_imgvar.errors import CancelledError, ConfigurationError, EngineError, ImageVariationError
from ipy_imgvar.plain import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ipy_imgvar.engine import Engine

__all__ = ["StoppedError", "prepare", "say"]

#: Seconds between two lines of the same step, such as a download of which only the numbers change.
_REPEAT_S: Final = 10.0
#: The numbers of a progress text, without which two texts of one step are equal.
_NUMBERS: Final = re.compile(r"\d[\d.,]*")


class StoppedError(Exception):
    """A signal that stopped the start.

    Parameters
    ----------
    number
        The signal, such as `signal.SIGINT`.
    """

    def __init__(self, number: int) -> None:
        super().__init__("stopped before it was ready")
        self.number = number


class _Lines:
    """Writer of progress as lines: one for each step, and one every `_REPEAT_S` seconds of a long step."""

    def __init__(self) -> None:
        self._step = ""
        self._written = 0.0

    def progress(self, _: float, text: str) -> None:
        step, now = _NUMBERS.sub("", text), time.monotonic()
        if step == self._step and now - self._written < _REPEAT_S:
            return
        self._step, self._written = step, now
        say(text)


def say(text: str) -> None:
    """Write a line to standard error, after the command's name."""
    streams.say(text, "imgvar serve")


def prepare(engine: Engine, models: Sequence[str], options: Mapping[str, Any], *, quiet: bool) -> None:
    """Load the models of an engine that loads weights; another engine needs nothing.

    Parameters
    ----------
    engine
        The server's engine.
    models, options
        The models and the checked options of the server's start.
    quiet
        Write the announcements only, not the progress.

    Raises
    ------
    StoppedError
        After SIGINT or SIGTERM.
    InvalidRequestError
        If there is no such model.
    EngineError
        If a model can't be loaded.
    """
    if not isinstance(engine, LoadsWeights):
        return
    cancel = threading.Event()
    listener = Listener(None if quiet else _Lines().progress, on_notice=say)
    with _signals(cancel) as received:
        try:
            job = Job(1, listener, cancel)
            # An engine that knows no options of its start still serves without them.
            engine.prepare(models, job, options) if options else engine.prepare(models, job)
        except (CancelledError, KeyboardInterrupt):
            if not received:
                raise
        except ConfigurationError as exc:
            # The line was right, so this is no usage error.
            raise EngineError(str(exc)) from exc
        except ImageVariationError:
            raise
        except Exception as exc:  # A foreign engine may raise anything.
            reason = one_line(f"{type(exc).__name__}: {exc}")
            raise EngineError(f"the engine {engine.name} can't load its model ({reason})") from exc
        if received:
            raise StoppedError(received[0])


@contextmanager
def _signals(cancel: threading.Event) -> Iterator[list[int]]:
    """Set `cancel` at SIGINT or SIGTERM, interrupt at a second one, and yield the list of those received."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        # Python takes signal handlers in the main thread only.
        yield received
        return

    def stop(number: int, _: object) -> None:
        received.append(number)
        cancel.set()
        if len(received) > 1:  # The engine does not look at the job.
            raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield received
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
