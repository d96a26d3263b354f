"""The client that the magic, the panel, the command line, the server and Python callers share.

It chooses the engine, checks the requests and passes both to `run`. It processes no image and knows no interface.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

from ipy_imgvar.capabilities import check_features, checked
from ipy_imgvar.engine import Engine, Job, Listener
from ipy_imgvar.engines import EngineSpec, default_engine, engine_names, make_engine, remember
from ipy_imgvar.errors import ConfigurationError, InvalidImageError, InvalidRequestError, shown
from ipy_imgvar.images.source import load_sources
from ipy_imgvar.request import RequestArguments, VariationRequest, with_request_fields
from ipy_imgvar.run import collect
from ipy_imgvar.settings import Secret, connection

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from ipy_imgvar.bulk import BulkResult
    from ipy_imgvar.results.variations import Variation, Variations

__all__ = ["Client", "variations"]


class Client:
    """Makes variations of images with one engine.

    Parameters
    ----------
    engine
        A name such as "patch", or an `Engine`. None: "openai" if a key or a base is given here, in `namespace` or in
        the environment, else "patch".
    api_key, api_base, organization, project
        The server of a hosted engine and the credentials for it; None looks in `namespace`, then in the environment
        (see `settings.connection`).
    model
        Default of the requests' `model`.
    timeout, max_retry_count, extra_headers, extra_query, extra_body
        Defaults of the requests' fields of the same name.
    namespace
        A notebook's variables; None outside of a notebook.

    Raises
    ------
    ConfigurationError
        If there is no engine of that name, or a setting can't work.

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
        namespace: Mapping[str, Any] | None = None,
    ) -> None:
        # Wrapped before any call that can fail: a traceback with variables, as in %xmode Verbose, shows arguments.
        api_key = None if api_key is None else Secret(api_key)
        settings = connection(
            api_key=api_key,
            api_base=api_base,
            organization=organization,
            project=project,
            namespace=namespace,
        )
        self._defaults = {
            "model": model,
            "timeout": timeout,
            "max_retry_count": max_retry_count,
            "extra_headers": extra_headers,
            "extra_query": extra_query,
            "extra_body": extra_body,
        }
        # Checks the defaults now, so that a wrong one is reported here and not by the first request.
        VariationRequest.from_arguments(**self._defaults)
        if engine is None:
            engine = default_engine(settings)
        #: Describes the engine for another process, which makes its own; None if the caller passed an object.
        self._spec = EngineSpec(engine, settings) if isinstance(engine, str) else None
        self.engine: Engine = (
            make_engine(engine, settings) if isinstance(engine, str) else remember(_checked(engine))
        )

    @with_request_fields
    def variations(
        self,
        image: Any,
        *,
        on_progress: Callable[[float, str], None] | None = None,
        on_picture: Callable[[Variation], None] | None = None,
        on_preview: Callable[[bytes], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
        cancel: threading.Event | None = None,
        **arguments: Unpack[RequestArguments],
    ) -> Variations:
        """Make `n` variations of each image.

        Calls `request`, then `run`, which document the parameters and the errors.
        """
        return self.run(
            self.request(image, **arguments),
            on_progress=on_progress,
            on_picture=on_picture,
            on_preview=on_preview,
            on_notice=on_notice,
            cancel=cancel,
        )

    @with_request_fields
    def request(self, image: Any, **arguments: Unpack[RequestArguments]) -> list[VariationRequest]:
        """Check the arguments and return one request for each image; sends nothing and makes nothing.

        Parameters
        ----------
        image
            A path, an http(s) or data: URL, bytes, a binary file, a PIL image, an array, a figure, an IPython Image,
            a `Variation`; a list, a `Variations`, a pandas Series or an array of paths means each of its elements. The
            client fetches no address here.
        **arguments
            The other fields of `VariationRequest`, in every accepted spelling; None takes the client's own default,
            else the field's. A list of masks has one mask for each image. If the engine takes a seed and the caller
            gives none, the client draws one seed for all images.

        Raises
        ------
        InvalidRequestError
            If an argument is wrong, or the engine can't use it.
        """
        mask = arguments.pop("mask", None)
        request = self._shared_request(arguments, mask)
        if "seed" in self.engine.capabilities(request.model).features and request.seed is None:
            # 31 bits, so that the seed also fits a signed 32-bit integer of an engine or a server.
            request = replace(request, seed=secrets.randbelow(2**31))
        requests = [replace(request, image=source) for source in load_sources(image)]
        if mask is not None:
            requests = _with_masks(requests, mask)
        return [checked(each, self.engine) for each in requests]

    def run(
        self,
        requests: Sequence[VariationRequest],
        *,
        on_progress: Callable[[float, str], None] | None = None,
        on_picture: Callable[[Variation], None] | None = None,
        on_preview: Callable[[bytes], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
        cancel: threading.Event | None = None,
    ) -> Variations:
        """Run requests that `request` has checked.

        Parameters
        ----------
        requests
            The result of one call of `request`: they differ in image and mask only. `timeout` also bounds the fetch of
            each image that is an address.
        on_progress
            Called with the finished share of the whole run, 0..1, and a text that names the current step.
        on_picture
            Called with each picture when it is finished and stored.
        on_preview
            Called with each encoded picture of an unfinished state, if the engine yields such pictures.
        on_notice
            Called before a picture is sent to a server, with a line that names it and the model.
        cancel
            Set it, from any thread, to stop the run.

        Returns
        -------
        Variations
            The pictures in the order of `requests`.

        Raises
        ------
        InvalidRequestError
            If an image or a mask can't be read; the engine has made nothing.
        EngineError
            If the engine could not make a picture. With several images it still makes the others; `partial` has them.
        CancelledError
            If `cancel` was set; `partial` has the finished pictures.
        """
        if not requests:
            raise InvalidRequestError("there is no request to run; give those of Client.request")
        job = Job(len(requests), Listener(on_progress, on_picture, on_preview, on_notice), cancel)
        for each in requests:
            if each.image is not None:
                each.image.fetch(timeout_s=each.timeout, check=job.check)
        _read_masks(requests, job)
        return collect(self.engine, requests, job)

    @with_request_fields
    def map(
        self,
        images: Any,
        *,
        out_dir: str | Path,
        executor: Executor | None = None,
        max_workers: int | None = None,
        resume: bool = True,
        on_progress: Callable[[float, str], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
        progress: bool | None = None,
        cancel: threading.Event | None = None,
        **arguments: Unpack[RequestArguments],
    ) -> BulkResult:
        """Make variations of many images into a folder, and continue a run that stopped earlier.

        The ledger records an image that fails, and the others go on; an interrupt first finishes those at work.

        Parameters
        ----------
        images
            A folder, a pattern, a pandas Series, or an iterable of anything that `variations` takes, read in turn.
        out_dir
            The folder for the pictures, `ledger.jsonl` and `index.html`.
        executor, max_workers
            An executor whose workers see the same folders; see `bulk.workers.choose_workers`.
        resume
            Skip an image if the ledger says that it is done with the same request and source, and its files exist.
        on_progress, on_notice, progress
            See `run`; `progress` shows a bar, and None shows one in a notebook and a terminal only.
        **arguments
            See `request`; one mask is for all images, and an image's seed comes from `seed` and its path. Without
            `max_retry_count`, the run tries again up to 10 times after a 429.

        Raises
        ------
        InvalidRequestError
            If an argument is wrong or the folder can't be written; the engine has made nothing.
        EngineError, CancelledError
            If the executor takes no more work, or `cancel` was set; finished pictures stay in the folder.
        """
        from ipy_imgvar.bulk import run as bulk

        shared = self._bulk_request(arguments, cancel)
        patient = arguments.get("max_retry_count") is None and not self._defaults["max_retry_count"]
        return bulk.run(
            self.engine,
            shared,
            images,
            out_dir=out_dir,
            executor=executor,
            max_workers=max_workers,
            resume=resume,
            max_retry_count=None if patient else shared.max_retry_count,
            listener=Listener(on_progress, on_notice=on_notice),
            bar=progress,
            cancel=cancel,
            spec=self._spec,
        )

    def _bulk_request(self, arguments: RequestArguments, cancel: threading.Event | None) -> VariationRequest:
        """Return the checked request of a bulk run, without an image; reads its mask."""
        mask = arguments.pop("mask", None)
        shared = self._shared_request(arguments, mask)
        if mask is not None:
            (shared,) = _with_masks([shared], mask)
            _read_masks([shared], Job(cancel=cancel))
        return checked(shared, self.engine)

    def _shared_request(self, given: Mapping[str, Any], mask: Any) -> VariationRequest:
        """Return the checked request that all images share, without image and mask."""
        arguments = self._defaults | {name: value for name, value in given.items() if value is not None}
        # Before the parse, so that no message advises adding a seed that this engine would refuse.
        self._refuse_unsupported({**arguments, "mask": mask})
        return VariationRequest.from_arguments(**arguments)

    def _refuse_unsupported(self, arguments: Mapping[str, Any]) -> None:
        model = arguments.get("model")
        capabilities = self.engine.capabilities(model if isinstance(model, str) else None)
        check_features(arguments, capabilities, self.engine.name)

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
    # Wrapped here too, since a traceback with variables would show this function's arguments.
    if arguments.get("api_key") is not None:
        arguments["api_key"] = Secret(arguments["api_key"])
    own = {"engine", "api_key", "api_base", "organization", "project", "namespace"}
    with Client(**{name: value for name, value in arguments.items() if name in own}) as client:
        return client.variations(
            image, **{name: value for name, value in arguments.items() if name not in own}
        )


def _checked(engine: Any) -> Engine:
    """Return an object that has the methods of an engine; else raise `ConfigurationError`."""
    try:
        fits = isinstance(engine, Engine) and not isinstance(engine, type)
    except Exception:  # noqa: BLE001 - a foreign object may raise anything when it is looked at
        fits = False
    if fits:
        return cast("Engine", engine)
    raise ConfigurationError(
        f"engine is {shown(engine)}; allowed: {', '.join(engine_names())}, or an object with the methods of an Engine"
    )


def _with_masks(requests: list[VariationRequest], mask: Any) -> list[VariationRequest]:
    """Return the requests with one mask for all, or one for each."""
    masks = load_sources(mask, field="mask")
    if len(masks) not in (1, len(requests)):
        raise InvalidRequestError(
            f"there are {len(masks)} masks for {len(requests)} images; allowed: one, or one for each",
            field="mask",
        )
    if len(masks) == 1:
        masks *= len(requests)
    return [replace(request, mask=each) for request, each in zip(requests, masks, strict=True)]


def _read_masks(requests: Sequence[VariationRequest], job: Job) -> None:
    """Fetch and decode each mask once, before the run; an error names the argument `mask`."""
    # By identity, since one mask may serve all requests.
    masks = {id(each.mask): (each.mask, each.timeout) for each in requests if each.mask is not None}
    try:
        for mask, timeout_s in masks.values():
            mask.fetch(timeout_s=timeout_s, check=job.check)
            mask.open()
    except InvalidImageError as exc:
        exc.field = "mask"
        raise
