"""One run: the loop that collects and records its pictures.

The client chooses the engine and checks the requests; this module runs them.
"""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from ipy_imgvar.errors import CancelledError, ImageVariationError, InvalidRequestError
from ipy_imgvar.plain import plain
from ipy_imgvar.results.history import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ipy_imgvar.engine import Engine, Job
    from ipy_imgvar.images.source import Source
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.results.variations import Variation, Variations

__all__ = ["collect", "run_request"]

_log = logging.getLogger("ipy_imgvar")


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
    # One mask for all images is a setting of the run; one for each belongs to no record.
    masks = {id(each.mask): each.mask for each in requests}
    mask = requests[0].mask if len(masks) == 1 else None
    recorder = Recorder(
        replace(shared, mask=mask),
        engine=engine.name,
        model=engine.model(shared),
        warnings=job.warnings,
        usage=job.usage,
    )
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("%d image(s) for %s: %s", len(requests), engine.name, shared.settings())
    try:
        failures = _run_each(engine, requests, job, recorder)
    except CancelledError as exc:
        exc.partial = recorder.finish("interrupted", job.model) or None
        raise
    except BaseException as exc:
        recorder.finish("interrupted" if isinstance(exc, KeyboardInterrupt) else "failed", job.model)
        raise
    if failures and not recorder.begun and all(isinstance(exc, InvalidRequestError) for _, exc in failures):
        # No engine has started: a mistake in the input is no run, so the history gets no entry.
        raise _failure(failures, len(requests))
    result = recorder.finish("failed" if failures else "done", job.model)
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
