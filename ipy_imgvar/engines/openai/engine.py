"""The `openai` engine: it posts one request for all pictures of an image and yields them as variations.

`message` decides what is posted, `exchange` sends it and reads the answer, `errors` maps failures to our exceptions.
This module retries, waits, and yields each picture before it decodes the next one.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import httpx

from ipy_imgvar.api import answers, events
from ipy_imgvar.api.refusals import ErrorBody, one_line, read_error
from ipy_imgvar.engines.openai.capabilities import capabilities
from ipy_imgvar.engines.openai.errors import Mask, bare, of_status
from ipy_imgvar.engines.openai.exchange import (
    Exchange,
    opened,
    read_or_salvage,
    read_refusal,
    refused,
    request_id,
)
from ipy_imgvar.engines.openai.forecast import forecast
from ipy_imgvar.engines.openai.headers import headers_of
from ipy_imgvar.engines.openai.message import check, choose_model, choose_route, encoded, make_message
from ipy_imgvar.engines.openai.models import farewell
from ipy_imgvar.engines.openai.pictures import MAX_OTHER_BYTES, MAX_PICTURE_BYTES, to_variations
from ipy_imgvar.engines.openai.retry import delay_s, ordered_s, should_retry
from ipy_imgvar.engines.openai.waiting import Watch, wait
from ipy_imgvar.errors import (
    APIStatusError,
    BadResponseError,
    ConfigurationError,
    EngineError,
    ImageVariationError,
    InvalidRequestError,
)
from ipy_imgvar.network.backoff import jitter
from ipy_imgvar.network.client import make_client, peer_of
from ipy_imgvar.network.watch import watched
from ipy_imgvar.results.usage import json_safe

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from ipy_imgvar.batches import BatchService
    from ipy_imgvar.engine import Capabilities, Forecast, Job
    from ipy_imgvar.engines.openai.message import Body, Message
    from ipy_imgvar.images.source import Source
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.results.variations import Variation
    from ipy_imgvar.settings import Connection

__all__ = ["OpenAIEngine"]

_log = logging.getLogger("ipy_imgvar")
#: Seconds that connecting has less than the whole timeout, so that the error says that nothing was sent or charged.
_CONNECT_MARGIN_S: Final = 0.2
#: Bytes of an unreadable answer in which a server's message is searched.
_MAX_UNREADABLE_BYTES: Final = 20_000
#: Characters of that message in the error.
_MAX_QUOTED_CHARS: Final = 100
#: Fields that the log leaves out: the user, and the pictures of a JSON body.
_UNLOGGED: Final = ("user", "images", "mask", "mask_image")


class OpenAIEngine:
    """The engine for a server that speaks OpenAI's images API.

    Parameters
    ----------
    connection
        The server's address, the key and the account.
    transport
        Replaces the network in tests of faults that no server produces on demand.
    """

    name = "openai"

    def __init__(self, connection: Connection, *, transport: httpx.BaseTransport | None = None) -> None:
        self.connection = connection
        self._transport = transport
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()
        self._urls: dict[str, httpx.URL] = {}

    def __repr__(self) -> str:
        return f"<OpenAIEngine: {self.connection.server}>"

    def capabilities(self, model: str | None = None) -> Capabilities:
        """Return what the engine takes; see `engine.Engine`."""
        return capabilities(self.connection, model)

    def check(self, request: VariationRequest) -> None:
        """Refuse a request that its route can't serve, and OpenAI without a key; see `engine.Engine`."""
        check(request, is_openai=self.connection.is_openai)
        if self.connection.is_openai and self.connection.api_key is None:
            raise ConfigurationError(
                "there is no API key; set OPENAI_API_KEY in the environment or the notebook, say --api-key ask, or "
                "--engine patch for the offline engine"
            )

    def model(self, request: VariationRequest) -> str:
        """Return the model that the message names, or a text that the server chooses one; see `engine.Engine`."""
        return choose_model(request, is_openai=self.connection.is_openai) or "the server's default"

    def forecast(self, requests: Sequence[VariationRequest]) -> Forecast:
        """Say what would be posted and how many bytes that has; see `engine.Forecasts`."""
        headers_of(self.connection, requests[0], "")  # Refuses a header that can't be sent.
        return forecast(requests, self.connection)

    def generate(self, request: VariationRequest, job: Job) -> Generator[Variation]:
        """Post the request and yield each picture of the answer; see `engine.Engine`."""
        if request.image is None:
            raise InvalidRequestError("the engine openai needs an image", field="image")
        message = make_message(request, is_openai=self.connection.is_openai)
        for note in message.notes:
            job.warn(note)
        model = message.body.get("model")
        destination = f"{self.connection.server} ({message.route}, model {model or self.model(request)})"
        job.announce(f"{request.image.name} goes to {destination}")
        watch = Watch(job, request.timeout, destination)
        mask = Mask(self.connection, request)
        client = self._connections()
        with watched(watch.check, partial(_digest, request.image)):
            yield from to_variations(
                self._post(request, message, job, watch, mask),
                request,
                message,
                self.connection,
                job=job,
                client=client,
                mask=mask,
                peer=lambda: watch.peer,
            )
        if line := farewell(model if isinstance(model, str) else None):
            job.warn(line)

    def for_batches(self, request: VariationRequest) -> VariationRequest:
        """Return the request by the edits route, unless it names another; see `ipy_imgvar.batches.TakesBatches`."""
        if (
            "route" in request.options
            or choose_route(request, is_openai=self.connection.is_openai) == "edits"
        ):
            return request
        return replace(request, options={**request.options, "route": "edits"})

    def batches(self, request: VariationRequest, job: Job, *, pace: float = 1.0) -> BatchService:
        """Return the server's batches; see `ipy_imgvar.batches.TakesBatches`."""
        from ipy_imgvar.engines.openai.batches import OpenAIBatches

        return OpenAIBatches(self.connection, self._connections(), request, job, pace)

    def close(self) -> None:
        """Close the connections; a later run opens new ones."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connections(self) -> httpx.Client:
        if self._client is None:
            with self._lock:
                self._client = self._client or make_client(self._transport)
        return self._client

    def _post(
        self, request: VariationRequest, message: Message, job: Job, watch: Watch, mask: Mask
    ) -> Iterator[answers.Item]:
        """Post the message, again while `should_retry` and the request allow it, and yield the answer's items."""
        body = encoded(message)
        attempt = 0
        while True:
            watch.restart()
            _log.debug(
                "POST %s/images/%s: %s", self.connection.server, message.route, _fields(message, request)
            )
            with Exchange(self._connections(), self._request(request, message, body), mask) as response:
                watch.peer = peer_of(response)
                if response.is_success:
                    yield from self._items(response, message, job, mask, request)
                    return
                error = read_refusal(response, mask)
            _log.debug("%s answered %d: %s", self.connection.server, response.status_code, error.message)
            again = should_retry(response.status_code, response.headers, f"{error.message} {error.code}")
            if attempt >= request.max_retry_count or not again:
                model = message.body.get("model")
                refusal = refused(
                    response,
                    error,
                    route=message.route,
                    model=model if isinstance(model, str) else None,
                    server=self.connection.server,
                    mask=mask,
                )
                if again and isinstance(refusal, APIStatusError):
                    refusal.retry_after_s = ordered_s(response.headers)
                raise refusal
            pause_s = delay_s(response.headers, attempt, jitter())
            attempt += 1
            reason = f"{self.connection.server} answered {response.status_code}"
            wait(pause_s, f"{reason}; try {attempt + 1} of {request.max_retry_count + 1}", job)

    def _request(self, request: VariationRequest, message: Message, body: Body) -> httpx.Request:
        url = self._urls.get(message.route)
        if url is None:
            url = self._urls[message.route] = httpx.URL(f"{self.connection.address}/images/{message.route}")
        connect_s = request.timeout - min(_CONNECT_MARGIN_S, request.timeout / 2)
        extensions: dict[str, Any] = {"timeout": {"connect": connect_s or None}}
        if request.extra_query:
            # The query may hold a key, and httpx puts addresses into its log and its errors.
            extensions["target"] = url.copy_merge_params(dict(request.extra_query)).raw_path
        # The client's `build_request` merges its settings, which takes as long as sending.
        headers = headers_of(self.connection, request, body.content_type)
        return httpx.Request("POST", url, headers=headers, content=body.data, extensions=extensions)

    def _items(
        self, response: httpx.Response, message: Message, job: Job, mask: Mask, request: VariationRequest
    ) -> Iterator[answers.Item]:
        is_stream, pieces = opened(response, request.n * MAX_PICTURE_BYTES + MAX_OTHER_BYTES, mask)
        if is_stream:
            yield from self._streamed(response, pieces, job, mask)
            return
        body = yield from read_or_salvage(pieces)
        try:
            answer = answers.read_answer(body)
        except ValueError as exc:
            kind = response.headers.get("content-type", "")
            said = read_error(bytes(body[:_MAX_UNREADABLE_BYTES]), kind, mask).message
            quoted = one_line(said, most=_MAX_QUOTED_CHARS)
            problem = mask(f"{exc} ({quoted})" if quoted else str(exc))
            raise self._unreadable(response, message, problem, is_empty=not body) from bare(exc, mask)
        if answer.usage is not None:
            job.count(json_safe(answer.usage, mask))
        yield from answer.items

    def _unreadable(
        self, response: httpx.Response, message: Message, problem: str, *, is_empty: bool
    ) -> EngineError:
        server, status = self.connection.server, response.status_code
        # Some servers answer a route that they don't have with an empty 200.
        if message.route == "variations" and is_empty:
            return of_status(
                status, ErrorBody(), route=message.route, model=None, server=server, request_id=None
            )
        return BadResponseError(
            f"{server} answered {status}, but {problem}; the server may have charged for it"
        )

    def _streamed(
        self, response: httpx.Response, pieces: Iterator[bytes], job: Job, mask: Mask
    ) -> Iterator[answers.Item]:
        server = self.connection.server
        finished = 0
        for event in events.read_events(pieces, mask):
            if event.error is not None:
                raise APIStatusError(
                    f"{server} stopped the stream: {event.error.message or 'it gave no reason'}",
                    status=response.status_code,
                    code=event.error.code,
                    param=event.error.param,
                    request_id=request_id(response, mask),
                )
            # Counted before the pictures: a caller who stops after the first one has paid for all.
            if event.usage is not None:
                job.count(json_safe(event.usage, mask))
            for item in event.items:
                if event.is_partial:
                    _show(item, job)
                else:
                    finished += 1
                    yield item
        if not finished:
            raise BadResponseError(
                f"the stream of {server} ended without a picture; the server may have charged for it"
            )


def _digest(source: Source) -> None:
    """Compute the image's digest, which each picture's record has, while the request waits for its answer."""
    with suppress(ImageVariationError):
        _ = source.sha256


def _show(item: answers.Item, job: Job) -> None:
    """Show a first look of a picture; a damaged one is skipped, since the finished picture follows."""
    with suppress(ValueError):
        job.progress(0.5, "a first look", preview=item.read())


def _fields(message: Message, request: VariationRequest) -> dict[str, Any]:
    """Return the fields for the log: without user and pictures, and only the names of the caller's own fields."""
    shown = {name: value for name, value in message.body.items() if name not in _UNLOGGED}
    return {name: "********" if name in request.extra_body else value for name, value in shown.items()}
