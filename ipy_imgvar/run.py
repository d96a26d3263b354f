"""One run: its progress and cancel switch, and how its pictures are collected, recorded and, if it must be, kept.

The client decides what is run and by which engine; here is what happens from then on, whatever it is.
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
    """The caller's functions that a run calls; see `Client.run`. A None is not called."""

    on_progress: Callable[[float, str], None] | None = None
    on_picture: Callable[[Variation], None] | None = None
    on_preview: Callable[[bytes], None] | None = None
    on_notice: Callable[[str], None] | None = None


class Job:
    """A run's progress over all its images, its cancel switch, its warnings and its usage; see `engine.Job`.

    Parameters
    ----------
    images
        How many images the run has.
    listener
        Hears of progress, pictures and notices.
    cancel
        Stops the run once it is set, from any thread.
    threads
        How many threads an engine may use for one picture; None leaves it to the engine.
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
        """Report; see `engine.Job.progress`."""
        # An engine that waits for a server knows no fraction, and says 0 again after a first look.
        self._furthest = max(self._furthest, min(1.0, (self.current + fraction) / self._images))
        if self.listener.on_progress is not None:
            self.listener.on_progress(self._furthest, plain(text))
        if preview is not None and self.listener.on_preview is not None:
            self.listener.on_preview(preview)
        self.check()

    def announce(self, text: str) -> None:
        """Tell; see `engine.Job.announce`."""
        text = plain(text)
        _log.info("%s", text)
        if self.listener.on_notice is not None:
            self.listener.on_notice(text)

    def count(self, usage: Mapping[str, Any]) -> None:
        """Add; see `engine.Job.count`."""
        _log.info("usage: %s", dict(usage))
        add_usage(self.usage, usage)

    def warn(self, text: str) -> None:
        """Add; see `engine.Job.warn`."""
        if (line := plain(text)) not in self.warnings:
            self.warnings.append(line)

    def check(self) -> None:
        """Raise when cancelled; see `engine.Job.check`."""
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError("the run was cancelled")


def run_request(
    engine: Engine, request: VariationRequest, job: Job, take: Callable[[Variation], object]
) -> None:
    """Make the pictures of one image, and hand each to `take` the moment it is ready.

    Raises
    ------
    CancelledError
        If the job was cancelled; pictures that were taken stay.
    ImageVariationError
        Whatever the engine or `take` raises.
    """
    # Without `closing`, a traceback that is kept would keep the generator's threads.
    with closing(engine.generate(request, job)) as pictures:
        for picture in pictures:
            take(picture)
            job.check()


def collect(engine: Engine, requests: Sequence[VariationRequest], job: Job) -> Variations:
    """Run every request, and record how it ended whatever happens."""
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
        # Nothing was asked of anybody: a mistake in the input is no run, and leaves no trace.
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
    """Return the images that failed: one that does is no reason to drop the others; a cancelled run is."""
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
