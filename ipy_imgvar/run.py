"""One run: its progress, its cancel switch, and the loop that collects and records its pictures.

The client chooses the engine and checks the requests; this module runs them.
"""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ipy_imgvar.errors import CancelledError, ImageVariationError, InvalidRequestError
from ipy_imgvar.plain import plain
from ipy_imgvar.results.history import Recorder
from ipy_imgvar.results.usage import add_usage

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from ipy_imgvar.engine import Engine
    from ipy_imgvar.images.source import Source
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.results.variations import Variation, Variations

__all__ = ["Job", "Listener", "collect", "run_request"]

_log = logging.getLogger("ipy_imgvar")


@dataclass(frozen=True, slots=True)
class Listener:
    """The caller's functions that a run calls; None for those that the caller left out. See `Client.run`."""

    on_progress: Callable[[float, str], None] | None = None
    on_picture: Callable[[Variation], None] | None = None
    on_preview: Callable[[bytes], None] | None = None
    on_notice: Callable[[str], None] | None = None


class Job:
    """A run's progress over all its images, its cancel switch, its warnings and its usage; see `engine.Job`.

    Parameters
    ----------
    images
        The number of images of the run.
    listener
        The functions that get progress, pictures and notices.
    cancel
        Stops the run once it is set, from any thread.
    threads
        The number of threads that an engine may use for one picture; None leaves it to the engine.
    """

    def __init__(
        self,
        images: int = 1,
        listener: Listener | None = None,
        cancel: threading.Event | None = None,
        threads: int | None = None,
    ) -> None:
        self.threads = threads
        self._images = images
        self._cancel = cancel
        self.listener = listener or Listener()
        self.current = 0
        self._furthest = 0.0
        self.warnings: list[str] = []
        self.usage: dict[str, Any] = {}

    def progress(self, fraction: float, text: str, preview: bytes | None = None) -> None:
        """Report progress; see `engine.Job.progress`."""
        # Never back: an engine that waits for a server knows no fraction, and reports 0 again after a preview.
        self._furthest = max(self._furthest, min(1.0, (self.current + fraction) / self._images))
        if self.listener.on_progress is not None:
            self.listener.on_progress(self._furthest, plain(text))
        if preview is not None and self.listener.on_preview is not None:
            self.listener.on_preview(preview)
        self.check()

    def announce(self, text: str) -> None:
        """Pass on a notice; see `engine.Job.announce`."""
        text = plain(text)
        _log.info("%s", text)
        if self.listener.on_notice is not None:
            self.listener.on_notice(text)

    def count(self, usage: Mapping[str, Any]) -> None:
        """Add usage; see `engine.Job.count`."""
        _log.info("usage: %s", dict(usage))
        add_usage(self.usage, usage)

    def warn(self, text: str) -> None:
        """Add a warning, once; see `engine.Job.warn`."""
        if (line := plain(text)) not in self.warnings:
            self.warnings.append(line)

    def check(self) -> None:
        """Raise when cancelled; see `engine.Job.check`."""
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError("the run was cancelled")


def run_request(
    engine: Engine, request: VariationRequest, job: Job, take: Callable[[Variation], object]
) -> None:
    """Make the pictures of one image, and pass each to `take` as soon as it is ready.

    Raises
    ------
    CancelledError
        If the caller cancelled the job; `take` keeps the pictures that it has.
    ImageVariationError
        An error of the engine or of `take`.
    """
    # Closed at once, since a stored traceback would keep the generator, and with it the engine's threads, alive.
    with closing(engine.generate(request, job)) as pictures:
        for picture in pictures:
            take(picture)
            job.check()


def collect(engine: Engine, requests: Sequence[VariationRequest], job: Job) -> Variations:
    """Run every request, and record the run and its end, also after an error or an interrupt."""
    shared = replace(requests[0], image=None, mask=None)
    recorder = Recorder(
        shared, engine=engine.name, model=engine.model(shared), warnings=job.warnings, usage=job.usage
    )
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("%d image(s) for %s: %s", len(requests), engine.name, shared.settings())
    try:
        failures = _run_each(engine, requests, job, recorder)
    except CancelledError as exc:
        exc.partial = recorder.finish("interrupted") or None
        raise
    except BaseException as exc:
        recorder.finish("interrupted" if isinstance(exc, KeyboardInterrupt) else "failed")
        raise
    if failures and not recorder.begun and all(isinstance(exc, InvalidRequestError) for _, exc in failures):
        # No engine has started: a mistake in the input is no run, so the history gets no entry.
        raise _failure(failures, len(requests))
    result = recorder.finish("failed" if failures else "done")
    if failures:
        raise _failure(failures, len(requests), result)
    return result


def _run_each(
    engine: Engine,
    requests: Sequence[VariationRequest],
    job: Job,
    recorder: Recorder,
) -> list[tuple[Source | None, ImageVariationError]]:
    """Return the images that failed, with their errors: the others go on, and only a cancel ends the run."""
    failures: list[tuple[Source | None, ImageVariationError]] = []

    def take(picture: Variation) -> None:
        stored = recorder.add(picture)
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s: %s, %dx%d", plain(stored.name), stored.mime_type, *stored.size)
        if job.listener.on_picture is not None:
            job.listener.on_picture(stored)

    for number, request in enumerate(requests):
        job.current = number
        job.check()
        try:
            run_request(engine, request, job, take)
        except CancelledError:
            raise
        except ImageVariationError as exc:
            _log.info("%s failed: %s", request.image, exc)
            failures.append((request.image, exc))
    return failures


def _failure(
    failures: list[tuple[Source | None, ImageVariationError]], images: int, partial: Variations | None = None
) -> ImageVariationError:
    """Return the first failure, with the finished pictures; it names the other images that failed."""
    _, first = failures[0]
    first.partial = partial or None
    if images > 1:
        others = ", ".join(str(source) for source, _ in failures)
        first.args = (f"{len(failures)} of {images} images failed ({others}); the first: {first}",)
    return first
