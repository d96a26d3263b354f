"""One run: the loop that collects and records its pictures.

The client chooses the engines and checks the requests; this module runs them.
"""

from __future__ import annotations

import logging
import textwrap
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import (
    AuthenticationError,
    CancelledError,
    ConnectionFailedError,
    ImageVariationError,
    InvalidImageError,
    InvalidRequestError,
    RequestTimeoutError,
)
from ipy_imgvar.images.source import load_sources
from ipy_imgvar.plain import plain
from ipy_imgvar.results.axes import words
from ipy_imgvar.results.history import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ipy_imgvar.engine import Engine, Job
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.results.sweep import SweepRecord
    from ipy_imgvar.results.variation import Variation
    from ipy_imgvar.results.variations import Variations

__all__ = ["Part", "collect", "fetch_images", "run_request", "with_masks"]

_log = logging.getLogger("ipy_imgvar")
#: Failed parts that a message names; it counts the others.
_NAMED: Final = 5
#: Characters of a combination in a message: a prompt may be long.
_MOST_CHARS: Final = 80
#: Failures to connect, one after another, after which a sweep takes an engine's server for gone.
_GONE_AFTER: Final = 2


@dataclass(frozen=True, slots=True)
class Part:
    """One request of a run.

    Parameters
    ----------
    engine
        The engine that answers it.
    request
        The checked request.
    combination
        Its values of a sweep's axes; empty outside of a sweep.
    image_number
        The number of its image among a sweep's, from 0.
    """

    engine: Engine
    request: VariationRequest
    combination: Mapping[str, Any] = field(default_factory=dict)
    image_number: int = 0

    def __str__(self) -> str:
        source = str(self.request.image)
        if not self.combination:
            return source
        return f"{source}, {textwrap.shorten(words(self.combination), _MOST_CHARS, placeholder='...')}"


def with_masks(requests: list[VariationRequest], mask: Any) -> list[VariationRequest]:
    """Return the requests with one mask for all, or one for each; None leaves them without."""
    if mask is None:
        return requests
    masks = load_sources(mask, field="mask")
    if len(masks) not in (1, len(requests)):
        raise InvalidRequestError(
            f"there are {len(masks)} masks for {len(requests)} images; allowed: one, or one for each",
            field="mask",
        )
    if len(masks) == 1:
        masks *= len(requests)
    return [replace(request, mask=each) for request, each in zip(requests, masks, strict=True)]


def fetch_images(requests: Sequence[VariationRequest], job: Job) -> None:
    """Fetch each image and each mask that is an address, and decode each mask, once; an error of one names `mask`."""
    # By identity, since one source or mask may serve several requests.
    for request in {id(each.image): each for each in requests}.values():
        if request.image is not None:
            request.image.fetch(timeout_s=request.timeout, check=job.check)
    masks = {id(each.mask): (each.mask, each.timeout) for each in requests if each.mask is not None}
    try:
        for mask, timeout_s in masks.values():
            mask.fetch(timeout_s=timeout_s, check=job.check)
            mask.open()
    except InvalidImageError as exc:
        exc.field = "mask"
        raise


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


def collect(
    parts: Sequence[Part],
    job: Job,
    sweep: SweepRecord | None = None,
    finished: Mapping[int, Sequence[Variation]] | None = None,
) -> Variations:
    """Run every part, and record the run and its end, also after an error or an interrupt.

    Parameters
    ----------
    parts
        In the order in which they run.
    job
        The caller's functions and its cancel.
    sweep
        What the parts vary; the result is then a `Sweep`.
    finished
        By the number of a part, its pictures that an earlier run has made; such a part does not run.
    """
    shared = replace(parts[0].request, image=None, mask=None)
    # One mask for all images is a setting of the run; one for each belongs to no record.
    masks = {id(each.request.mask): each.request.mask for each in parts}
    models = _Models(parts)
    recorder = Recorder(
        replace(shared, mask=parts[0].request.mask if len(masks) == 1 else None),
        engine=", ".join(dict.fromkeys(each.engine.name for each in parts)),
        model=models.names(),
        warnings=job.warnings,
        usage=job.usage,
        sweep=sweep,
    )
    if _log.isEnabledFor(logging.DEBUG):
        _log.debug("%d request(s) for %s: %s", len(parts), parts[0].engine.name, shared.settings())
    run = _Run(parts, job, recorder, models)
    try:
        failures = run.each(finished or {})
    except CancelledError as exc:
        exc.partial = recorder.finish("interrupted", models.names()) or None
        raise
    except BaseException as exc:
        recorder.finish("interrupted" if isinstance(exc, KeyboardInterrupt) else "failed", models.names())
        raise
    if failures and not recorder.begun and all(isinstance(exc, InvalidRequestError) for _, exc in failures):
        # No engine has started: a mistake in the input is no run, so the history gets no entry.
        raise run.failure()
    result = recorder.finish("failed" if failures else "done", models.names())
    if failures:
        raise run.failure(result)
    return result


class _Models:
    """The names of the models that answer a run's parts: as planned, until an engine has learned another."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._planned = [each.engine.model(each.request) for each in parts]
        self._learned: dict[str, str] = {}

    def learn(self, number: int, name: str | None) -> None:
        """Note the name that the engine of part `number` has learned, if any."""
        if name is not None:
            self._learned[self._planned[number]] = name

    def names(self) -> str:
        """Return the names, each once."""
        return ", ".join(dict.fromkeys(self._learned.get(each, each) for each in self._planned))


class _Run:
    """The parts as they run, one by one: one that fails does not stop the others, only a cancel ends the run."""

    def __init__(self, parts: Sequence[Part], job: Job, recorder: Recorder, models: _Models) -> None:
        self._parts, self._job, self._recorder, self._models = parts, job, recorder, models
        self._failures: list[tuple[Part, ImageVariationError]] = []
        #: Failures to connect in a row, by engine; and the engines, or models of one, whose requests would all fail.
        self._unconnected: Counter[str] = Counter()
        self._gone: set[tuple[str, ...]] = set()
        self._untried = 0

    def each(self, finished: Mapping[int, Sequence[Variation]]) -> list[tuple[Part, ImageVariationError]]:
        """Run the parts that are not finished, and return those that failed, with their errors."""
        for number, pictures in finished.items():
            for picture in pictures:
                self._take(picture, self._parts[number], picture.seconds)
        rest = [number for number in range(len(self._parts)) if number not in finished]
        for done, number in enumerate(rest):
            self._job.current, self._job.model = done, None
            self._job.check()
            part = self._parts[number]
            if self._gone & {(part.engine.name,), (part.engine.name, part.request.model or "")}:
                self._untried += 1
            else:
                self._run(number)
        return self._failures

    def _run(self, number: int) -> None:
        part, name = self._parts[number], self._parts[number].engine.name
        try:
            run_request(part.engine, part.request, self._job, lambda picture: self._take(picture, part))
        except CancelledError:
            raise
        except ImageVariationError as exc:
            _log.info("%s failed: %s", part, exc)
            self._failures.append((part, exc))
            self._note(part, exc)
        else:
            self._unconnected[name] = 0
        finally:
            self._models.learn(number, self._job.model)

    def _take(self, picture: Variation, part: Part, seconds: float | None = None) -> None:
        if part.combination:
            picture.combination, picture.image_number = dict(part.combination), part.image_number
        stored = self._recorder.add(picture, seconds)
        if _log.isEnabledFor(logging.DEBUG):
            _log.debug("%s: %s, %dx%d", plain(stored.name), stored.mime_type, *stored.size)
        if self._job.listener.on_picture is not None:
            self._job.listener.on_picture(stored)

    def _note(self, part: Part, exc: ImageVariationError) -> None:
        """Note whether the other combinations of a sweep would fail as this one has."""
        if not part.combination:
            return
        engine = part.engine.name
        connects = not isinstance(exc, ConnectionFailedError) or isinstance(exc, RequestTimeoutError)
        self._unconnected[engine] = 0 if connects else self._unconnected[engine] + 1
        if isinstance(exc, AuthenticationError) and exc.status == HTTPStatus.FORBIDDEN:
            self._gone.add((engine, part.request.model or ""))  # An account may be allowed another model.
        elif isinstance(exc, AuthenticationError) or self._unconnected[engine] >= _GONE_AFTER:
            self._gone.add((engine,))

    def failure(self, partial: Variations | None = None) -> ImageVariationError:
        """Return the first failure, with the finished pictures; it names the other parts that failed."""
        _, first = self._failures[0]
        first.partial = partial or None
        if len(self._parts) > 1:
            count = len(self._failures)
            kind = "combinations" if self._parts[0].combination else "images"
            separator = "; " if self._parts[0].combination else ", "
            others = separator.join(str(part) for part, _ in self._failures[:_NAMED])
            more = f" and {count - _NAMED} more" if count > _NAMED else ""
            left = f", and {self._untried} more were not tried" if self._untried else ""
            first.args = (
                f"{count} of {len(self._parts)} {kind} failed ({others}{more}){left}; the first: {first}",
            )
        return first
