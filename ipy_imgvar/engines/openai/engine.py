"""The `openai` engine: one request for all pictures of an image, and everything that can happen to its answer.

What is posted is decided in `plan`; `exchange` sends it and reads the answer, `faults` maps what went wrong. Here are
the retries and the order of things: a picture is handed over before the next one is decoded.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import httpx

from ipy_imgvar.api import answers, events
from ipy_imgvar.api.forms import form_fields, multipart
from ipy_imgvar.api.refusals import ErrorBody, one_line, read_error
from ipy_imgvar.engines.openai.capabilities import capabilities
from ipy_imgvar.engines.openai.errors import Mask, bare, of_status
from ipy_imgvar.engines.openai.exchange import (
    Exchange,
    opened,
    read_or_salvage,
    read_refusal,
    redirect_target,
    request_id,
)
from ipy_imgvar.engines.openai.models import farewell
from ipy_imgvar.engines.openai.pictures import to_variation
from ipy_imgvar.engines.openai.plan import check, choose_model, make_plan
from ipy_imgvar.engines.openai.retry import delay_s, ordered_s, should_retry
from ipy_imgvar.errors import (
    APIStatusError,
    BadResponseError,
    ConfigurationError,
    EngineError,
    ImageVariationError,
    InvalidRequestError,
    RequestTimeoutError,
)
from ipy_imgvar.network import payload
from ipy_imgvar.network.backoff import jitter
from ipy_imgvar.network.client import AGENT, make_client, peer_of
from ipy_imgvar.network.watch import watched
from ipy_imgvar.results.usage import json_safe

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from ipy_imgvar.engine import Capabilities, Job
    from ipy_imgvar.engines.openai.plan import Plan
    from ipy_imgvar.images.source import Source
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.results.variations import Variation
    from ipy_imgvar.settings import Connection

__all__ = ["OpenAIEngine"]

_log = logging.getLogger("ipy_imgvar")
_WAIT_STEP_S: Final = 0.05
#: 50 MB is the most that an image may have; as base64 it is a third longer.
_MOST_FOR_ONE: Final = 70_000_000
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


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
        """Refuse what the route can't do, and OpenAI without a key; see `engine.Engine`."""
        check(request, is_openai=self.connection.is_openai)
        if self.connection.is_openai and self.connection.api_key is None:
            raise ConfigurationError(
                "there is no API key; set OPENAI_API_KEY in the environment or the notebook, say --api-key ask, or "
                "--engine patch for the offline engine"
            )

    def model(self, request: VariationRequest) -> str:
        """Return the model that will be named, or that the server chooses; see `engine.Engine`."""
        return choose_model(request, is_openai=self.connection.is_openai) or "the server's default"

    def generate(self, request: VariationRequest, job: Job) -> Generator[Variation]:
        """Post the request and yield each picture of the answer; see `engine.Engine`."""
        if request.image is None:
            raise InvalidRequestError("the engine openai needs an image", field="image")
        plan = make_plan(request, is_openai=self.connection.is_openai)
        for note in plan.notes:
            job.warn(note)
        model = plan.body.get("model")
        destination = f"{self.connection.server} ({plan.route}, model {model or self.model(request)})"
        job.announce(f"{request.image.name} goes to {destination}")
        watch = _Watch(job, request.timeout, destination)
        mask = Mask(self.connection, request)
        client = self._connections()
        problems: list[EngineError] = []
        index = 0
        with watched(watch.check, partial(_digest, request.image)):
            for index, item in enumerate(self._post(request, plan, job, watch, mask), start=1):
                try:
                    picture = to_variation(
                        item,
                        request,
                        plan,
                        self.connection,
                        index=index,
                        client=client,
                        mask=mask,
                        peer=watch.peer,
                    )
                except EngineError as exc:  # One that can't be read is no reason to lose the others.
                    exc.args = (mask.literally(str(exc)),)
                    problems.append(exc)
                    continue
                yield picture
        if problems:
            raise problems[0]
        if index != request.n:
            were = "picture was" if request.n == 1 else "pictures were"
            job.warn(f"{request.n} {were} asked for, the server sent {index}")
        if line := farewell(model if isinstance(model, str) else None):
            job.warn(line)

    def close(self) -> None:
        """Close the connections; the next run would open new ones."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _connections(self) -> httpx.Client:
        if self._client is None:
            with self._lock:
                self._client = self._client or make_client(self._transport)
        return self._client

    def _post(
        self, request: VariationRequest, plan: Plan, job: Job, watch: _Watch, mask: Mask
    ) -> Iterator[answers.Item]:
        """Post until there is an answer or no try is left; yield its items."""
        message = _encoded(plan)
        attempt = 0
        while True:
            watch.restart()
            _log.debug("POST %s/images/%s: %s", self.connection.server, plan.route, _fields(plan, request))
            with Exchange(self._connections(), self._request(request, plan, message), mask) as response:
                watch.peer = peer_of(response)
                if response.is_success:
                    yield from self._items(response, plan, job, mask, request)
                    return
                error = read_refusal(response, mask)
            _log.debug("%s answered %d: %s", self.connection.server, response.status_code, error.message)
            again = should_retry(response.status_code, response.headers, f"{error.message} {error.code}")
            if attempt >= request.max_retry_count or not again:
                refusal = self._error(response, error, plan, mask)
                if again and isinstance(refusal, APIStatusError):
                    refusal.retry_after_s = ordered_s(response.headers)
                raise refusal
            pause_s = delay_s(response.headers, attempt, jitter())
            attempt += 1
            reason = f"{self.connection.server} answered {response.status_code}"
            _wait(pause_s, f"{reason}; try {attempt + 1} of {request.max_retry_count + 1}", job)

    def _request(self, request: VariationRequest, plan: Plan, message: _Message) -> httpx.Request:
        url = self._urls.get(plan.route)
        if url is None:
            url = self._urls[plan.route] = httpx.URL(f"{self.connection.address}/images/{plan.route}")
        # Before the deadline of the whole: where nothing was sent, nothing can have been charged.
        connect_s = request.timeout - min(0.2, request.timeout / 2)
        extensions: dict[str, Any] = {"timeout": {"connect": connect_s or None}}
        if request.extra_query:
            # Beside the address, since httpx logs each address and what is added may hold a key.
            extensions["target"] = url.copy_merge_params(dict(request.extra_query)).raw_path
        # Not the client's `build_request`: merging its settings takes as long as sending.
        headers = self._headers(request, message.content_type)
        return httpx.Request("POST", url, headers=headers, content=message.body, extensions=extensions)

    def _headers(self, request: VariationRequest, content_type: str) -> _Sealed:
        """Return what is sent beside the body; what the caller adds replaces ours, in any case of letters."""
        connection = self.connection
        ours = _Sealed(
            {
                "Accept": "application/json, text/event-stream",
                "Accept-Encoding": payload.ACCEPTED,
                "User-Agent": AGENT,
                "Content-Type": content_type,
                "Authorization": connection.authorization,
                "OpenAI-Organization": connection.organization,
                "OpenAI-Project": connection.project,
            }
        )
        added = {name.lower() for name in request.extra_headers}
        sent = _Sealed((name, value) for name, value in ours.items() if value and name.lower() not in added)
        sent.update(request.extra_headers)
        if bad := [name for name in sent if not _HEADER_NAME.fullmatch(name)]:
            raise ConfigurationError(
                f"{len(bad)} header has a name that can't be sent; allowed: letters, digits and hyphens"
            )
        if bad := [name for name in sent if not _can_be_sent(sent[name])]:
            raise ConfigurationError(
                f"the header {bad[0]} holds what a header can't carry; allowed: plain text of ASCII characters"
            )
        return _Sealed((name, value.strip()) for name, value in sent.items())

    def _items(
        self, response: httpx.Response, plan: Plan, job: Job, mask: Mask, request: VariationRequest
    ) -> Iterator[answers.Item]:
        is_stream, pieces = opened(response, request.n * _MOST_FOR_ONE + (1 << 20), mask)
        if is_stream:
            yield from self._streamed(response, pieces, job, mask)
            return
        body = yield from read_or_salvage(pieces)
        try:
            answer = answers.read_answer(body)
        except ValueError as exc:
            kind = response.headers.get("content-type", "")
            said = one_line(read_error(bytes(body[:20_000]), kind, mask).message, most=100)
            problem = mask(f"{exc} ({said})" if said else str(exc))
            raise self._unreadable(response, plan, problem, is_empty=not body) from bare(exc, mask)
        if answer.usage is not None:
            job.count(json_safe(answer.usage, mask))
        yield from answer.items

    def _unreadable(
        self, response: httpx.Response, plan: Plan, problem: str, *, is_empty: bool
    ) -> EngineError:
        server, status = self.connection.server, response.status_code
        if plan.route == "variations" and is_empty:
            return of_status(
                status, ErrorBody(), route=plan.route, model=None, server=server, request_id=None
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
            # Before the pictures: whoever stops after the first has paid for all.
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

    def _error(self, response: httpx.Response, error: ErrorBody, plan: Plan, mask: Mask) -> EngineError:
        server = self.connection.server
        if response.has_redirect_location:
            return APIStatusError(
                f"{server} answered {response.status_code}: it redirects to {redirect_target(response, mask)}, where the key "
                "is not sent; give that server as --api-base",
                status=response.status_code,
            )
        model, answer_id = plan.body.get("model"), request_id(response, mask)
        model = model if isinstance(model, str) else None
        return of_status(
            response.status_code, error, route=plan.route, model=model, server=server, request_id=answer_id
        )


@dataclass(frozen=True, slots=True, repr=False)
class _Message:
    """What is posted; a traceback with variables must not show it, so it has no repr of its own."""

    content_type: str
    body: bytes


class _Sealed(dict[str, Any]):
    """Headers whose values no repr shows."""

    def __repr__(self) -> str:
        return f"<headers: {', '.join(self)}>"


def _can_be_sent(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isprintable()


class _Watch:
    """What is looked at while a request waits: the cancel switch, the deadline, and the time to say it still waits."""

    def __init__(self, job: Job, timeout_s: float, destination: str) -> None:
        self._job = job
        self._timeout_s = timeout_s
        self._destination = destination
        #: The address that the answer comes from, where it is known.
        self.peer: str | None = None
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
    """Sleep, say every second for how long still, and wake up when the run is cancelled."""
    until = time.monotonic() + seconds
    said = -1.0
    while (left := until - time.monotonic()) > 0:
        job.check()
        if time.monotonic() - said >= 1:
            said = time.monotonic()
            job.progress(0.0, f"{reason} in {left:.1f} s")
        time.sleep(min(_WAIT_STEP_S, left))


def _digest(source: Source) -> None:
    """Work out the digest that each picture's record has, while there is nothing else to do."""
    with suppress(ImageVariationError):
        _ = source.sha256


def _encoded(plan: Plan) -> _Message:
    """Return what is posted."""
    try:
        if plan.as_json:
            body = {name: value for name, value in plan.body.items() if value is not None}
            return _Message("application/json", json.dumps(body, allow_nan=False).encode())
        return _Message(*multipart(form_fields(plan.body), plan.files))
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidRequestError(
            f"extra_body holds what JSON has no form for ({type(exc).__name__}); allowed: texts, numbers, true, "
            "false, null, lists and dictionaries",
            field="extra_body",
        ) from exc


def _show(item: answers.Item, job: Job) -> None:
    """Show an unfinished picture; one that can't be read is no fault."""
    with suppress(ValueError):
        job.progress(0.5, "a first look", preview=item.read())


def _fields(plan: Plan, request: VariationRequest) -> dict[str, Any]:
    """Return the fields to log: no user, no picture, and of what the caller added only the names."""
    shown = {name: value for name, value in plan.body.items() if name not in ("user", "images", "mask")}
    return {name: "********" if name in request.extra_body else value for name, value in shown.items()}
