"""The one way to a variation: the magic, the panel, the command line, the server and Python all call this client.

It picks the engine, checks the request, collects the pictures as they come, has each written to the store, and times
the run. It holds no image logic and knows no interface.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from ipy_imgvar.engines import engine_names, make_engine
from ipy_imgvar.errors import (
    CancelledError,
    ConfigurationError,
    ImageVariationError,
    InvalidRequestError,
    shown,
)
from ipy_imgvar.journal import Recorder
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.settings import Secret
from ipy_imgvar.source import Source, load_sources

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from ipy_imgvar.protocol import Engine
    from ipy_imgvar.result import Variation, Variations

__all__ = ["Client", "variations"]

_log = logging.getLogger("ipy_imgvar")

#: Where each optional feature stands in a request, and what to do without it.
_FEATURES: Final = {
    "mask": "leave it out",
    "prompt": "leave it out",
    "seed": "leave it out: this engine draws its own",
}


class Client:
    """Makes variations of images with one engine.

    Parameters
    ----------
    engine
        A name such as "patch", or an `Engine`. None: what the settings call for.
    api_key, api_base, organization, project
        Where and as whom a hosted engine asks; None looks in the environment.
    model
        Default of the requests' `model`.
    timeout, max_retry_count, extra_headers, extra_query, extra_body
        Defaults of the requests' fields of the same name.

    Raises
    ------
    ConfigurationError
        If there is no engine of that name.

    Examples
    --------
    >>> with Client("patch") as client:
    ...     client.engine.name
    'patch'
    """

    def __init__(
        self,
        engine: str | Engine | None = None,
        *,
        api_key: str | Secret | None = None,
        api_base: str | None = None,
        organization: str | None = None,
        project: str | None = None,
        model: str | None = None,
        timeout: float = 0,
        max_retry_count: int = 0,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        self._api_key = Secret(api_key) if api_key is not None else None
        self._api_base = api_base
        self._organization = organization
        self._project = project
        self._defaults = {
            "model": model,
            "timeout": timeout,
            "max_retry_count": max_retry_count,
            "extra_headers": extra_headers,
            "extra_query": extra_query,
            "extra_body": extra_body,
        }
        VariationRequest.from_arguments(**self._defaults)
        if engine is None or isinstance(engine, str):
            engine = make_engine(engine or "patch")
        elif not _is_engine(engine):
            raise ConfigurationError(
                f"engine is {shown(engine)} ({type(engine).__name__}); allowed: the name of one "
                f"({', '.join(engine_names())}) or an Engine"
            )
        self.engine: Engine = engine

    def variations(
        self,
        image: Any,
        *,
        n: int = 1,
        size: int | str | tuple[int, int] = "1024x1024",
        response_format: str | None = None,
        user: str | None = None,
        model: str | None = None,
        prompt: str | None = None,
        strength: float | str | None = None,
        seed: int | None = None,
        mask: Any = None,
        fit: str = "crop",
        options: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        max_retry_count: int | None = None,
        extra_headers: Mapping[str, str] | None = None,
        extra_query: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        on_progress: Callable[[float, str], None] | None = None,
        on_picture: Callable[[Variation], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Variations:
        """Make `n` variations of each image.

        Parameters
        ----------
        image
            A path, an http(s) or data: URL, bytes, a binary file, a PIL image, an array, a figure, an IPython Image,
            a `Variation`; a list or a `Variations` means each of them.
        n, size, response_format, user, model, prompt, strength, seed, mask, fit, options
            See `VariationRequest`; every accepted spelling is taken.
        timeout, max_retry_count, extra_headers, extra_query, extra_body
            See `VariationRequest`; None takes the client's own.
        on_progress
            Called with the share of the whole run that is done, 0..1, and what is being done.
        on_picture
            Called with each picture when it is finished and stored.
        cancel
            Set it, from any thread, to stop the run.

        Returns
        -------
        Variations
            Source by source.

        Raises
        ------
        InvalidRequestError
            If an argument is wrong; nothing was made.
        EngineError
            If a picture could not be made. With several images the others are still made, and `partial` has them.
        CancelledError
            If `cancel` was set; `partial` has the finished pictures.
        """
        given = {
            "n": n,
            "size": size,
            "response_format": response_format,
            "user": user,
            "model": model,
            "prompt": prompt,
            "strength": strength,
            "seed": seed,
            "fit": fit,
            "options": options,
            "timeout": timeout,
            "max_retry_count": max_retry_count,
            "extra_headers": extra_headers,
            "extra_query": extra_query,
            "extra_body": extra_body,
        }
        arguments = self._defaults | {name: value for name, value in given.items() if value is not None}
        request = VariationRequest.from_arguments(**arguments)
        self._refuse_unsupported(request, mask=mask)
        if "seed" in self.engine.supports and request.seed is None:
            request = replace(request, seed=secrets.randbelow(2**31))
        requests = [replace(request, image=source) for source in load_sources(image)]
        if mask is not None:
            requests = _with_mask(requests, mask)
        for each in requests:
            self.engine.check(each)
        return _collect(self.engine, requests, _Job(len(requests), on_progress, cancel), on_picture)

    def _refuse_unsupported(self, request: VariationRequest, *, mask: Any) -> None:
        asked = {"mask": mask, "prompt": request.prompt, "seed": request.seed}
        for name, remedy in _FEATURES.items():
            if asked[name] is not None and name not in self.engine.supports:
                raise InvalidRequestError(
                    f"the engine {self.engine.name} can't use a {name}; {remedy}, or choose another engine",
                    field=name,
                )

    def close(self) -> None:
        """Release the engine's connections and threads; the client can't be used afterwards."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client: engine {self.engine.name}>"


def variations(image: Any, **arguments: Any) -> Variations:
    """Make variations of an image with a client that lives for this call only.

    Parameters
    ----------
    image
        See `Client.variations`.
    **arguments
        Any argument of `Client` or of `Client.variations`.

    Raises
    ------
    ImageVariationError
        See `Client.variations`.

    Examples
    --------
    >>> import numpy as np
    >>> picture = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    >>> variations(picture, engine="patch", size="64x64", seed=1)
    <Variations: 1 picture by patch>
    """
    own = {"engine", "api_key", "api_base", "organization", "project"}
    with Client(**{name: value for name, value in arguments.items() if name in own}) as client:
        return client.variations(
            image, **{name: value for name, value in arguments.items() if name not in own}
        )


def _is_engine(value: object) -> bool:
    from ipy_imgvar.protocol import Engine

    try:
        return isinstance(value, Engine) and not isinstance(value, type)
    except Exception:  # noqa: BLE001 - a foreign object may raise anything when it is looked at
        return False


class _Job:
    """The run's progress over all images, and its cancel switch; see `protocol.Job`."""

    def __init__(
        self, images: int, on_progress: Callable[[float, str], None] | None, cancel: threading.Event | None
    ) -> None:
        self._images = images
        self._on_progress = on_progress
        self._cancel = cancel
        self.current = 0
        self.warnings: list[str] = []

    def progress(self, fraction: float, text: str, preview: bytes | None = None) -> None:  # noqa: ARG002
        if self._on_progress is not None:
            self._on_progress(min(1.0, (self.current + fraction) / self._images), text)
        self.check()

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def check(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError("the run was cancelled")


def _with_mask(requests: list[VariationRequest], mask: Any) -> list[VariationRequest]:
    masks: list[Source] = load_sources(mask, field="mask")
    if len(masks) not in (1, len(requests)):
        raise InvalidRequestError(
            f"there are {len(masks)} masks for {len(requests)} images; allowed: one, or one for each",
            field="mask",
        )
    if len(masks) == 1:
        masks *= len(requests)
    return [replace(request, mask=each) for request, each in zip(requests, masks, strict=True)]


def _collect(
    engine: Engine,
    requests: list[VariationRequest],
    job: _Job,
    on_picture: Callable[[Variation], None] | None,
) -> Variations:
    """Run every request, and record how it ended whatever happens."""
    shared = replace(requests[0], image=None, mask=None)
    model = engine.model(shared)
    recorder = Recorder(shared, engine=engine.name, model=model, warnings=job.warnings)
    _log.info("asked: engine %s, model %s, %s", engine.name, model, shared.settings())
    try:
        failures = _run_each(engine, requests, job, recorder, on_picture)
    except CancelledError as exc:
        exc.partial = recorder.finish("interrupted") or None
        raise
    except BaseException as exc:
        recorder.finish("interrupted" if isinstance(exc, KeyboardInterrupt) else "failed")
        raise
    result = recorder.finish("failed" if failures else "done")
    if failures:
        raise _failure(failures, len(requests), result)
    return result


def _run_each(
    engine: Engine,
    requests: list[VariationRequest],
    job: _Job,
    recorder: Recorder,
    on_picture: Callable[[Variation], None] | None,
) -> list[tuple[Source | None, ImageVariationError]]:
    """Return the images that failed: one that does is no reason to drop the others; a cancelled run is."""
    failures: list[tuple[Source | None, ImageVariationError]] = []
    for number, request in enumerate(requests):
        job.current = number
        try:
            # Without `closing`, a traceback that is kept would keep the generator's threads.
            with closing(engine.generate(request, job)) as pictures:
                for picture in pictures:
                    kept = recorder.add(picture)
                    _log.info("made: %s of %s, kept at %s", kept, request.image, kept.path)
                    if on_picture is not None:
                        on_picture(kept)
        except CancelledError:
            raise
        except ImageVariationError as exc:
            _log.info("%s failed: %s", request.image, exc)
            failures.append((request.image, exc))
    return failures


def _failure(
    failures: list[tuple[Source | None, ImageVariationError]], images: int, partial: Variations
) -> ImageVariationError:
    """Return the first failure, with the finished pictures; it names the other images that failed."""
    _, first = failures[0]
    first.partial = partial or None
    if images > 1:
        others = ", ".join(str(source) for source, _ in failures)
        first.args = (f"{len(failures)} of {images} images failed ({others}); the first: {first}",)
    return first
