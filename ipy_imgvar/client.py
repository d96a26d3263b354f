"""The client that the magic, the panel, the command line, the server and Python callers share.

It chooses the engine, checks the requests and passes both to `run`. It processes no image and knows no interface.
"""

from __future__ import annotations

import copy
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self, Unpack

from ipy_imgvar.batches import for_batches
from ipy_imgvar.capabilities import check_features, checked
from ipy_imgvar.engine import Job, Listener
from ipy_imgvar.engines import EngineSpec, checked_engine, default_engine, make_engine, remember
from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.images.source import load_sources
from ipy_imgvar.request import RequestArguments, VariationRequest, refuse_beside, with_request_fields
from ipy_imgvar.run import Part, collect, fetch_images, with_masks
from ipy_imgvar.settings import Secret, connection

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from ipy_imgvar.bulk import BulkResult
    from ipy_imgvar.engine import Engine
    from ipy_imgvar.planning.plan import Plan
    from ipy_imgvar.results.sweep import Sweep
    from ipy_imgvar.results.variation import Variation
    from ipy_imgvar.results.variations import Variations

__all__ = ["Client"]


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
        account = {"organization": organization, "project": project}
        settings = connection(api_key=api_key, api_base=api_base, namespace=namespace, **account)
        self._settings = settings
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
            make_engine(engine, settings) if isinstance(engine, str) else remember(checked_engine(engine))
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
        return [checked(each, self.engine) for each in with_masks(requests, mask)]

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
        fetch_images(requests, job)
        return collect([Part(self.engine, each) for each in requests], job)

    @with_request_fields
    def sweep(
        self,
        image: Any,
        *,
        over: Mapping[str, Iterable[Any]],
        confirm: bool | Callable[[Plan], bool] | None = None,
        resume: bool = True,
        on_progress: Callable[[float, str], None] | None = None,
        on_picture: Callable[[Variation], None] | None = None,
        on_preview: Callable[[bytes], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
        cancel: threading.Event | None = None,
        **arguments: Unpack[RequestArguments],
    ) -> Sweep:
        """Make variations with every combination of some settings.

        Parameters
        ----------
        image
            See `request`; with several images, each gets every combination.
        over
            The values of each axis: strength, seed, engine, model, size, prompt, fit, or an option of the engine.
            Any iterable of values, in every spelling that the field takes.
        confirm
            Above 64 pictures, True or a function of the `Plan` that returns True; the sweep makes nothing otherwise.
        resume
            Go on with the same sweep if its newest run was interrupted or failed: its pictures are taken over.
        on_progress, on_picture, on_preview, on_notice, cancel
            See `run`; `on_notice` first gets the plan's lines if the sweep is large or goes to a server.
        **arguments
            The settings that all combinations share, see `request`. Without a seed, all combinations get the same
            one.

        Returns
        -------
        Sweep
            The pictures source by source; the last axis changes fastest.

        Raises
        ------
        InvalidRequestError
            If an axis, a value or an argument is wrong, or a large sweep is not confirmed; nothing is made.
        EngineError, CancelledError
            See `run`; the other combinations are made, and `partial` is the `Sweep` of those.
        """
        from ipy_imgvar.sweep import making, preparation

        prepared = preparation.prepare(self, image, over, arguments)
        listener = Listener(on_progress, on_picture, on_preview, on_notice)
        return making.make(prepared, listener, cancel, confirm=confirm, resume=resume)

    @with_request_fields
    def plan(
        self,
        image: Any,
        *,
        over: Mapping[str, Iterable[Any]] | None = None,
        out_file: str | Path | None = None,
        out_dir: str | Path | None = None,
        save_into: str | Path | None = None,
        max_workers: int | None = None,
        resume: bool = True,
        batch: bool = False,
        **arguments: Unpack[RequestArguments],
    ) -> Plan:
        """Say what a run would do; makes, sends, fetches, loads and writes nothing.

        Parameters
        ----------
        image, over, **arguments
            See `request`, and `sweep` for the axes.
        out_file, save_into
            The path or pattern to save to, or a folder for files with default names.
        out_dir, max_workers, resume, batch
            See `map`, which takes such an `image`; for `resume` without `out_dir`, see `sweep`.

        Raises
        ------
        ImageVariationError
            As the run does before it makes anything.
        """
        from ipy_imgvar.planning import planner
        from ipy_imgvar.sweep import making

        if out_dir is not None:
            refuse_beside("out_dir", planner.OWN_FILES, over=over, out_file=out_file, save_into=save_into)
            shared = self.engine, self._bulk_request(arguments, batch=batch), image, out_dir
            return planner.plan_bulk(*shared, max_workers=max_workers, resume=resume, batch=batch)
        if over is not None:
            where = {"out_file": out_file, "save_into": save_into}
            return making.plan(self, image, over, arguments, **where, resume=resume)
        parts = [Part(self.engine, each) for each in self.request(image, **arguments)]
        drawn = arguments.get("seed") is None
        return planner.plan_run(parts, drawn=drawn, out_file=out_file, save_into=save_into)

    def using(self, engine: str) -> Client:
        """Return a client with the same settings, another engine and no default model; close it too."""
        other = copy.copy(self)
        other.engine = make_engine(engine, self._settings)
        other._defaults = self._defaults | {"model": None}  # noqa: SLF001 - it names a model of this engine
        other._spec = EngineSpec(engine, self._settings)  # noqa: SLF001 - a copy of this object
        return other

    @with_request_fields
    def map(
        self,
        images: Any,
        *,
        out_dir: str | Path,
        executor: Executor | None = None,
        max_workers: int | None = None,
        resume: bool = True,
        batch: bool = False,
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
            A folder or pattern, also by address (s3://bucket/**/*.png), a Series, or an iterable, read in turn.
        out_dir
            The folder for pictures, `ledger.jsonl` and `index.html`, or its address in an object store: s3://bucket/out.
        executor, max_workers
            An executor whose workers see the same folders or bucket, or a Dask client; docs/clusters.md has more.
        resume
            Skip an image if the ledger says that it is done with the same request and source, and its files exist.
        batch
            Ask in batches: at half the price, within a day. The same call again goes on; see `bulk.batches.run`.
        on_progress, on_notice, progress
            See `run`; `progress` shows a bar, and None shows one in a notebook and a terminal only.
        **arguments
            See `request`; one mask is for all images, and an image's seed comes from `seed` and its bytes. Without
            `max_retry_count`, the run tries again up to 10 times after a 429.

        Raises
        ------
        InvalidRequestError
            If an argument is wrong or the folder can't be written; the engine has made nothing.
        EngineError, CancelledError
            If the executor takes no more work, or `cancel` was set; finished pictures stay in the folder.
        """
        from ipy_imgvar.bulk import batches
        from ipy_imgvar.bulk import run as bulk

        shared = self._bulk_request(arguments, Job(cancel=cancel), batch=batch)
        where: dict[str, Any] = {"out_dir": out_dir, "executor": executor, "resume": resume, "bar": progress}
        where |= {"max_workers": max_workers, "listener": Listener(on_progress, on_notice=on_notice)}
        if batch:
            return batches.run(self.engine, shared, images, **where, cancel=cancel)
        patient = arguments.get("max_retry_count") is None and not self._defaults["max_retry_count"]
        where |= {"max_retry_count": None if patient else shared.max_retry_count, "spec": self._spec}
        return bulk.run(self.engine, shared, images, **where, cancel=cancel)

    def _bulk_request(
        self, arguments: RequestArguments, job: Job | None = None, *, batch: bool = False
    ) -> VariationRequest:
        """Return the checked request of a bulk run, without an image; a job reads its mask."""
        mask = arguments.pop("mask", None)
        (shared,) = with_masks([self._shared_request(arguments, mask)], mask)
        if job is not None:
            fetch_images([shared], job)
        return checked(for_batches(self.engine, shared) if batch else shared, self.engine)

    def _shared_request(self, given: Mapping[str, Any], mask: Any) -> VariationRequest:
        """Return the checked request that all images share, without image and mask."""
        arguments = self._defaults | {name: value for name, value in given.items() if value is not None}
        model = arguments.get("model")
        capabilities = self.engine.capabilities(model if isinstance(model, str) else None)
        # Before the parse, so that no message advises adding a seed that this engine would refuse.
        check_features({**arguments, "mask": mask}, capabilities, self.engine.name)
        return VariationRequest.from_arguments(**arguments)

    def close(self) -> None:
        """Release the engine's connections and threads; the client can't be used afterwards."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client: engine {self.engine.name}>"
