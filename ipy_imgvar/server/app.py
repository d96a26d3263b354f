"""The routes: thin handlers that read a request, run it and answer; other modules hold the rules and write bodies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ipy_imgvar.api import answers
from ipy_imgvar.errors import ImageVariationError
from ipy_imgvar.images.formats import WRITTEN
from ipy_imgvar.plain import plain
from ipy_imgvar.server import guard
from ipy_imgvar.server.body import Uploads, read_form
from ipy_imgvar.server.links import Links
from ipy_imgvar.server.queue import ClientGoneError, Queue
from ipy_imgvar.server.refusals import Refusal, refusal_of
from ipy_imgvar.server.request import request_of
from ipy_imgvar.server.run import make
from ipy_imgvar.server.stream import EventSource

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ipy_imgvar.server.limits import Limits
    from ipy_imgvar.server.offer import Offer
    from ipy_imgvar.server.request import ImageRequest
    from ipy_imgvar.server.request import Route as ImageRoute
    from ipy_imgvar.server.run import Encoded

__all__ = ["Service", "create_app"]

_log = logging.getLogger("ipy_imgvar.server")

#: Seconds between two removals of pictures whose lifetime is over.
_TIDY_S: Final = 60.0
#: Seconds for which a stopping server reads the body of a refused request, so that its sender sees the answer.
_DISCARD_S: Final = 5.0
#: Bytes of one piece of a large answer: a client has `Limits.chunk_timeout_s` to read each.
_PIECE_BYTES: Final = 65_536
#: Bytes of the warning header: clients and proxies refuse headers of more than 8 kB in all.
_MAX_WARNING_BYTES: Final = 1000
#: Bytes of a request's id: 128 random bits, so that no two requests share one.
_ID_BYTES: Final = 16
#: Bytes of a header beside its name and value: the colon, a space and the line end.
_HEADER_EXTRA_BYTES: Final = 4
#: Characters of a request's method that the log shows; a client may send any text.
_MAX_METHOD_CHARS: Final = 10


class Service:
    """The state that the handlers share.

    Parameters
    ----------
    offer
        Its client's engine makes the pictures; the client is closed with the service.
    limits
        The bounds of requests, runs and pictures.
    policy
        The keys and host names that are accepted.
    """

    def __init__(self, offer: Offer, limits: Limits, policy: guard.Policy) -> None:
        self.offer = offer
        self.limits = limits
        self.policy = policy
        # An engine that runs one at a time fills its device.
        runs = 1 if offer.capabilities().parallel == "one" else limits.runs
        self.queue = Queue(runs, limits.queue)
        self.uploads = Uploads(limits.uploads_bytes)
        self.links = Links(limits.links_bytes, limits.links_s)
        self.started = int(time.time())

    def close(self) -> None:
        """End the threads, remove the pictures, and close the client."""
        self.queue.close()
        self.links.close()
        self.offer.client.close()


def create_app(service: Service) -> ASGIApp:
    """Return the application; it closes the service when it ends."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        tidying = asyncio.create_task(_tidy(service.links))
        yield
        tidying.cancel()
        await asyncio.to_thread(service.close)

    routes = [
        Route("/v1/images/variations", partial(_images, service, "variations"), methods=["POST"]),
        Route("/v1/images/edits", partial(_images, service, "edits"), methods=["POST"]),
        Route("/v1/models", partial(_models, service)),
        Route("/v1/models/{name:path}", partial(_model, service)),
        Route("/healthz", partial(_health, service)),
        Route("/images/{name}.png", partial(_picture, service)),
    ]
    handlers = {
        HTTPException: _answer_unknown_route,
        Refusal: _answer_refusal,
        ClientGoneError: _answer_gone_client,
        Exception: _answer_error,
    }
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)  # type: ignore[arg-type]
    app.router.redirect_slashes = False
    return _Guard(app, service)


async def _tidy(links: Links) -> None:
    while True:
        await asyncio.sleep(_TIDY_S)
        await asyncio.to_thread(links.tidy)


async def _answer_unknown_route(request: Request, exc: HTTPException) -> Response:
    if exc.status_code == 405:  # noqa: PLR2004
        refusal = Refusal(405, f"{request.method} is not for this address", headers=exc.headers)
    else:
        refusal = Refusal(404, "there is nothing at this address; pictures are made at /v1/images/variations")
    return _answer(refusal)


async def _answer_refusal(_: Request, exc: Refusal) -> Response:
    return _answer(exc)


async def _answer_gone_client(_: Request, __: ClientGoneError) -> Response:
    return Response(status_code=499)  # nginx's code for a closed connection; only the log gets it


async def _answer_error(_: Request, exc: Exception) -> Response:
    return _answer(refusal_of(exc))


def _answer(refusal: Refusal) -> Response:
    return Response(refusal.body, refusal.status, refusal.headers, "application/json")


class _Guard:
    """Refuses clients that may not use the server, gives each answer an id, and logs every exception."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, began, status = f"req_{secrets.token_hex(_ID_BYTES)}", time.perf_counter(), 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                elapsed_ms = round((time.perf_counter() - began) * 1000)
                message["headers"] = [
                    *message["headers"],
                    # The server is about to close the connection, so the client must not send another request.
                    *([(b"connection", b"close")] if self._service.queue.stopping else []),
                    (b"x-request-id", request_id.encode()),
                    (b"openai-processing-ms", str(elapsed_ms).encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            if (refusal := self._refusal(scope)) is None:
                await self._app(scope, receive, send_marked)
            else:
                if self._service.queue.stopping:
                    await _discard(receive)
                await _answer(refusal)(scope, receive, send_marked)
        except Exception:
            # The application has usually answered by now; without an answer, uvicorn has to send one.
            _log.exception("%s failed", request_id)
            if not status:
                raise
        finally:
            # The log has no path and no query, since a picture's address gives access to it.
            _log.info(
                "%s %s %d %.3f s",
                request_id,
                scope["method"][:_MAX_METHOD_CHARS],
                status,
                time.perf_counter() - began,
            )

    def _refusal(self, scope: Scope) -> Refusal | None:
        # h11 bounds only headers that come in several pieces, so those in one piece are measured here.
        if (
            sum(len(name) + len(value) + _HEADER_EXTRA_BYTES for name, value in scope["headers"])
            > self._service.limits.header_bytes
        ):
            return Refusal(431, "the headers are too long", code="headers_too_large")
        if self._service.queue.stopping:
            headers = {"retry-after": "10"}
            return Refusal(503, "the server is stopping; try again", code="server_stopping", headers=headers)
        server = scope.get("server")
        address = server[0] if server else None
        return guard.refusal_for(scope["path"], scope["headers"], address, self._service.policy)


async def _images(service: Service, route: ImageRoute, request: Request) -> Response:
    # A full server refuses before it reads the body; `Queue.run` checks again.
    if service.queue.is_full:
        raise service.queue.full()
    with contextlib.ExitStack() as holding:
        take = holding.enter_context(service.uploads.share())
        form = await read_form(
            request.headers, request.receive, service.limits, take, json_too=route == "edits"
        )
        with _as_refusals():
            image_request = request_of(form, route, service.offer)
            if image_request.stream:
                return await _stream(service, image_request, request, holding)
            finish = partial(_make_and_write, service, image_request, _base_of(request))
            body, encoded = await service.queue.run(finish, _wait_for_disconnect(request))
    return _Pieces(body, headers=_extra_headers(encoded.warnings, encoded.seed))


@contextlib.contextmanager
def _as_refusals() -> Iterator[None]:
    """Raise this package's errors as refusals, and log those that are not the client's fault."""
    try:
        yield
    except ImageVariationError as exc:
        refusal = refusal_of(exc)
        if refusal.status >= 500:  # noqa: PLR2004
            _log.error("%s: %s", type(exc).__name__, exc)
        raise refusal from exc


def _make_and_write(
    service: Service, image_request: ImageRequest, base: str, cancel: Any
) -> tuple[bytes, Encoded]:
    """Make the pictures and the answer's body; the run's thread calls it, since it encodes megabytes."""
    encoded = make(service.offer, image_request, service.limits, cancel)
    if image_request.as_url:
        items = [
            answers.Item(url=f"{base}/images/{service.links.add(each, encoded.mime_type)}.png")
            for each in encoded.pictures
        ]
    else:
        items = [answers.Item.of(each) for each in encoded.pictures]
    facts = {} if image_request.as_url else {"output_format": WRITTEN[image_request.extension].api_name}
    return answers.write_answer(
        items, created=int(time.time()), facts={**facts, "usage": dict(encoded.usage)}
    ), encoded


async def _discard(receive: Receive) -> None:
    """Read a body and drop it: closing a connection with unread data resets it, and the client loses the answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_S):
            while (await receive()).get("more_body", False):
                pass


def _base_of(request: Request) -> str:
    # The guard has checked the Host header.
    return f"{request.url.scheme}://{request.headers['host']}"


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _extra_headers(warnings: list[str], seed: int | None) -> dict[str, str]:
    headers = {"cache-control": "no-store"}
    if warnings:
        text = plain("; ".join(warnings)).encode("ascii", "replace")
        headers["x-imgvar-warning"] = text[:_MAX_WARNING_BYTES].decode()
    if seed is not None:
        headers["x-imgvar-seed"] = str(seed)
    return headers


class _Pieces(Response):
    """A large answer in pieces, so that a slow reader has the time-out for each piece."""

    media_type = "application/json"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        view = memoryview(self.body)
        for start in range(0, len(view), _PIECE_BYTES):
            more = start + _PIECE_BYTES < len(view)
            piece = bytes(view[start : start + _PIECE_BYTES])
            await send({"type": "http.response.body", "body": piece, "more_body": more})


async def _stream(
    service: Service, image_request: ImageRequest, request: Request, holding: contextlib.ExitStack
) -> Response:
    """Answer with events once the run has begun; an error before that has an ordinary answer."""
    events = EventSource(service.offer, image_request, service.limits)
    run: asyncio.Task[None] = asyncio.create_task(
        service.queue.run(events.run, _wait_for_disconnect(request))
    )
    run.add_done_callback(
        lambda task: task.cancelled() or task.exception()
    )  # asyncio warns of an unread exception; the stream reports it
    held = holding.pop_all()  # the upload counts against the bound until the run has ended
    run.add_done_callback(lambda _: held.close())
    begun = asyncio.create_task(events.started.wait())
    try:
        await asyncio.wait({run, begun}, return_when=asyncio.FIRST_COMPLETED)
        if run.done() and (exc := run.exception()) is not None:
            raise exc
    finally:
        begun.cancel()
        if not begun.done() and not run.done():
            run.cancel()

    headers = _extra_headers(image_request.warnings, None)
    return StreamingResponse(events.chunks(run), headers=headers, media_type="text/event-stream")


async def _models(service: Service, _: Request) -> Response:
    return Response(
        answers.write_models(service.offer.models, created=service.started), media_type="application/json"
    )


async def _model(service: Service, request: Request) -> Response:
    name, models = request.path_params["name"], service.offer.models
    if name not in models:
        raise Refusal(
            404,
            f"there is no model of that name; this server has only {', '.join(models)}",
            code="model_not_found",
            param="model",
        )
    body = json.dumps(answers.model_fields(name, service.started))
    return Response(body, media_type="application/json")


async def _health(service: Service, _: Request) -> Response:
    body = json.dumps({"status": "ok", "requests": service.queue.admitted})
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


async def _picture(service: Service, request: Request) -> Response:
    picture = await asyncio.to_thread(service.links.read, request.path_params["name"])
    if picture is None:
        raise Refusal(
            404, "there is no such picture, or no more: each is kept for 60 minutes", code="not_found"
        )
    data, mime_type = picture
    headers = {
        # A browser that opens the address must run nothing of the file.
        "content-security-policy": "default-src 'none'; sandbox",
        "cache-control": "private, max-age=3600",
    }
    return Response(data, media_type=mime_type, headers=headers)
