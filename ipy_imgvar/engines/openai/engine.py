"""The `openai` engine: one request for all pictures of an image, and everything that can happen to its answer.

What is posted is decided in `plan`, read in `wire`, and mapped to errors in `faults`. Here are the connection, the
retries, and the order of things: a picture is handed over before the next one is decoded.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx

from ipy_imgvar import wire
from ipy_imgvar.engines.openai import faults
from ipy_imgvar.engines.openai.models import farewell
from ipy_imgvar.engines.openai.network import make_client, watched
from ipy_imgvar.engines.openai.pictures import to_variation
from ipy_imgvar.engines.openai.plan import check, choose_model, make_plan
from ipy_imgvar.engines.openai.retry import delay_s, ordered_s, should_retry
from ipy_imgvar.errors import (
    APIStatusError,
    BadResponseError,
    ConfigurationError,
    EngineError,
    InvalidRequestError,
    RequestTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from ipy_imgvar.engines.openai.plan import Plan
    from ipy_imgvar.protocol import Feature, Job
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.result import Variation
    from ipy_imgvar.settings import Connection

__all__ = ["OpenAIEngine"]

_log = logging.getLogger("ipy_imgvar")
_OK = 200
_WAIT_STEP_S = 0.05


class OpenAIEngine:
    """Asks a server that speaks OpenAI's images API.

    Parameters
    ----------
    connection
        Where and as whom.
    transport
        Used instead of the network, for faults that no server produces on demand.
    """

    name = "openai"
    supports: frozenset[Feature] = frozenset({"mask", "prompt"})

    def __init__(self, connection: Connection, *, transport: httpx.BaseTransport | None = None) -> None:
        self.connection = connection
        self._transport = transport
        self._client: httpx.Client | None = None
        self._opening = threading.Lock()

    def __repr__(self) -> str:
        return f"<OpenAIEngine: {self.connection.server}>"

    def check(self, request: VariationRequest) -> None:
        """Refuse what the route can't do, and OpenAI without a key; see `protocol.Engine`."""
        check(request, is_openai=self.connection.is_openai)
        if self.connection.is_openai and self.connection.api_key is None:
            raise ConfigurationError(
                "there is no API key; set OPENAI_API_KEY in the environment or the notebook, say --api-key ask, or "
                "--engine patch for the offline engine"
            )

    def model(self, request: VariationRequest) -> str:
        """Return the model that will be named, or that the server chooses; see `protocol.Engine`."""
        return choose_model(request, is_openai=self.connection.is_openai) or "the server's default"

    def generate(self, request: VariationRequest, job: Job) -> Generator[Variation]:
        """Post the request and yield each picture of the answer; see `protocol.Engine`."""
        if request.image is None:
            raise InvalidRequestError("the engine openai needs an image", field="image")
        plan = make_plan(request, is_openai=self.connection.is_openai)
        for note in plan.notes:
            job.warn(note)
        model = plan.body.get("model")
        destination = f"{self.connection.server} ({plan.route}, model {model or self.model(request)})"
        job.announce(f"{request.image.name} goes to {destination}")
        watch = _Watch(job, request.timeout, destination)
        problems: list[EngineError] = []
        index = 0
        with watched(watch.check):
            for index, item in enumerate(self._post(request, plan, job, watch), start=1):
                try:
                    picture = to_variation(item, request, plan, self.connection, index=index)
                except EngineError as exc:  # One that can't be read is no reason to lose the others.
                    problems.append(exc)
                    continue
                yield picture
        if problems:
            raise problems[0]
        if index < request.n:
            job.warn(f"{request.n} pictures were asked for, the server sent {index}")
        if line := farewell(model if isinstance(model, str) else None):
            job.warn(line)

    def close(self) -> None:
        """Close the connections; the next run would open new ones."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _post(self, request: VariationRequest, plan: Plan, job: Job, watch: _Watch) -> Iterator[wire.Item]:
        """Post until there is an answer or no try is left; yield its items."""
        attempt = 0
        while True:
            watch.restart()
            with self._send(request, plan) as response:
                if response.status_code == _OK:
                    yield from self._items(response, plan, job)
                    return
                error = self._refusal(response)
            again = should_retry(response.status_code, response.headers, error.message)
            if attempt >= request.max_retry_count or not again:
                refusal = self._error(response, error, plan)
                if again and isinstance(refusal, APIStatusError):
                    refusal.retry_after_s = ordered_s(response.headers)
                raise refusal
            pause_s = delay_s(response.headers, attempt, random.uniform(0.8, 1.2))  # noqa: S311 - no secret
            attempt += 1
            reason = f"{self.connection.server} answered {response.status_code}"
            _wait(pause_s, f"{reason}; try {attempt + 1} of {request.max_retry_count + 1}", job)

    def _send(self, request: VariationRequest, plan: Plan) -> _Exchange:
        with (
            self._opening
        ):  # Two threads that begin at once must not open two pools, of which one is never closed.
            if self._client is None:
                self._client = make_client(self._transport)
            client = self._client
        content: dict[str, Any] = (
            {"json": plan.body}
            if plan.as_json
            else {
                "data": wire.form_fields(plan.body),
                "files": [(name, (filename, data, kind)) for name, filename, data, kind in plan.files],
            }
        )
        timeout = httpx.Timeout(None, connect=request.timeout or None)
        outgoing = client.build_request(
            "POST",
            f"{self.connection.api_base}/images/{plan.route}",
            params=dict(request.extra_query) or None,
            headers=self._headers(request),
            timeout=timeout,
            **content,
        )
        _log.debug("POST %s/images/%s: %s", self.connection.server, plan.route, _fields(plan))
        return _Exchange(client, outgoing, self.connection)

    def _headers(self, request: VariationRequest) -> dict[str, str]:
        connection = self.connection
        headers = {
            "Authorization": f"Bearer {connection.api_key.reveal()}" if connection.api_key else None,
            "OpenAI-Organization": connection.organization,
            "OpenAI-Project": connection.project,
        }
        sent = {name: value for name, value in headers.items() if value} | dict(request.extra_headers)
        for name, value in sent.items():
            if not (isinstance(value, str) and value.isascii() and value.isprintable()):
                raise ConfigurationError(
                    f"the header {name} holds what a header can't carry; allowed: plain text of ASCII characters"
                )
        return sent

    def _items(self, response: httpx.Response, plan: Plan, job: Job) -> Iterator[wire.Item]:
        kind = response.headers.get("content-type", "")
        if plan.stream and "text/event-stream" in kind:
            yield from self._streamed(response, job)
            return
        body = yield from _read_or_salvage(response, self.connection.server)
        try:
            answer = wire.read_answer(body)
        except ValueError as exc:
            raise self._unreadable(body, kind, plan, str(exc)) from exc
        if answer.usage is not None:
            job.count(answer.usage)
        yield from answer.items

    def _unreadable(self, body: bytes | bytearray, kind: str, plan: Plan, problem: str) -> EngineError:
        if plan.route == "variations" and not body:
            return faults.of_status(
                _OK,
                wire.ErrorBody(),
                route=plan.route,
                model=None,
                server=self.connection.server,
                request_id=None,
            )
        said = wire.read_error(bytes(body[:20_000]), kind).message
        quoted = f" ({faults.masked(said, self.connection.api_key)[:100]})" if said else ""
        return BadResponseError(
            f"{self.connection.server} answered 200, but {problem}{quoted}; the server may have charged for it"
        )

    def _streamed(self, response: httpx.Response, job: Job) -> Iterator[wire.Item]:
        finished = 0
        for event in wire.read_events(response.iter_lines()):
            if event.error is not None:
                message = faults.masked(event.error.message, self.connection.api_key)
                raise EngineError(
                    f"{self.connection.server} stopped the stream: {message or 'it gave no reason'}"
                )
            if event.item is not None and event.is_partial:
                job.progress(0.5, "a first look", preview=event.item.data)
            elif event.item is not None:
                finished += 1
                yield event.item
            if event.usage is not None:
                job.count(event.usage)
        if not finished:
            raise BadResponseError(f"the stream of {self.connection.server} ended without a picture")

    def _refusal(self, response: httpx.Response) -> wire.ErrorBody:
        """Read what a refusal says, with anything like a key masked."""
        try:
            body = response.read()
        except httpx.HTTPError:
            body = b""
        error = wire.read_error(body, response.headers.get("content-type", ""))
        key = self.connection.api_key
        _log.debug(
            "%s answered %s: %s",
            self.connection.server,
            response.status_code,
            faults.masked(error.message, key),
        )
        return wire.ErrorBody(
            faults.masked(error.message, key),
            faults.masked(error.code, key) if error.code else None,
            faults.masked(error.param, key) if error.param else None,
            error.details,
        )

    def _error(self, response: httpx.Response, error: wire.ErrorBody, plan: Plan) -> EngineError:
        if response.is_redirect:
            place = httpx.URL(response.headers.get("location", "")).host or "another address"
            return EngineError(
                f"{self.connection.server} redirects to {place}, where the key is not sent; give that address as "
                "--api-base"
            )
        model = plan.body.get("model")
        return faults.of_status(
            response.status_code,
            error,
            route=plan.route,
            model=model if isinstance(model, str) else None,
            server=self.connection.server,
            request_id=response.headers.get("x-request-id"),
        )


class _Exchange:
    """A request and its answer, open as long as the block; what goes wrong leaves as one of our errors."""

    def __init__(self, client: httpx.Client, outgoing: httpx.Request, connection: Connection) -> None:
        self._client = client
        self._outgoing = outgoing
        self._server = connection.server
        self._response: httpx.Response | None = None

    def __enter__(self) -> httpx.Response:
        try:
            self._response = self._client.send(self._outgoing, stream=True)
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise faults.of_connection(exc, self._server) from exc
        return self._response

    def __exit__(self, kind: object, value: BaseException | None, traceback: object) -> None:
        if self._response is not None:
            self._response.close()
        if isinstance(value, httpx.HTTPError):
            raise faults.of_connection(value, self._server) from value


class _Watch:
    """What is looked at while a request waits: the cancel switch, the deadline, and the time to say it still waits."""

    def __init__(self, job: Job, timeout_s: float, destination: str) -> None:
        self._job = job
        self._timeout_s = timeout_s
        self._destination = destination
        self._began = self._said = time.monotonic()

    def restart(self) -> None:
        """Begin the time of another request."""
        self._began = time.monotonic()

    def check(self) -> None:
        """Raise when the run should stop."""
        self._job.check()
        now = time.monotonic()
        if self._timeout_s and now - self._began > self._timeout_s:
            raise RequestTimeoutError(
                f"{self._destination} did not finish within the timeout of {self._timeout_s:g} s; it was not asked "
                "again, since it may have made and charged for the pictures"
            )
        if now - self._said > 1:
            self._said = now
            self._job.progress(0.0, f"waiting for {self._destination}, {now - self._began:.0f} s")


def _wait(seconds: float, reason: str, job: Job) -> None:
    """Sleep, and wake up when the run is cancelled."""
    until = time.monotonic() + seconds
    job.progress(0.0, f"{reason} in {seconds:.1f} s")
    while (left := until - time.monotonic()) > 0:
        job.check()
        time.sleep(min(_WAIT_STEP_S, left))


def _read_or_salvage(response: httpx.Response, server: str) -> Generator[wire.Item, None, bytearray]:
    """Read all of an answer; of one that breaks off, yield the pictures that are whole, then raise."""
    body = bytearray()
    try:
        for chunk in response.iter_bytes():
            body += chunk
    except httpx.HTTPError as exc:
        yield from wire.salvage(body)
        raise faults.of_connection(exc, server) from exc
    except RequestTimeoutError:
        yield from wire.salvage(body)
        raise
    return body


def _fields(plan: Plan) -> dict[str, Any]:
    """Return the fields to log: no user, no picture."""
    return {name: value for name, value in plan.body.items() if name not in ("user", "images", "mask")}
