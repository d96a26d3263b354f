"""The routes: handlers that read, ask and answer; every rule and every byte they send is made elsewhere."""

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
from ipy_imgvar.request import VariationRequest
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

    from ipy_imgvar.client import Client
    from ipy_imgvar.server.limits import Limits
    from ipy_imgvar.server.request import ImageRequest
    from ipy_imgvar.server.request import Route as ImageRoute
    from ipy_imgvar.server.run import Encoded

__all__ = ["Service", "create_app"]

_log = logging.getLogger("ipy_imgvar.server")

#: Seconds between two removals of pictures whose hour is over.
_TIDY_S: Final = 60.0
#: Seconds for which the body of a refused request is read, so that its sender sees the answer.
_DISCARD_S: Final = 5.0
#: Bytes of a piece of a large answer; the time-out of a slow reader counts for each.
_PIECE_BYTES: Final = 65_536
#: Bytes of the warning header; clients and proxies refuse headers of more than 8 kB in all.
_MAX_WARNING: Final = 1000


class Service:
    """What the handlers share.

    Parameters
    ----------
    client
        Whose engine makes the pictures; it is closed with the service.
    limits
        See `Limits`.
    policy
        Who may ask.
    """

    def __init__(self, client: Client, limits: Limits, policy: guard.Policy) -> None:
        self.client = client
        self.limits = limits
        self.policy = policy
        # A device that has room for one run is no place for two.
        runs = 1 if client.engine.capabilities().parallel == "one" else limits.runs
        self.load = Queue(runs, limits.queue)
        self.uploads = Uploads(limits.uploads_bytes)
        self.kept = Links(limits.kept_bytes, limits.kept_s)
        self.started = int(time.time())

    @property
    def models(self) -> list[str]:
        """The models that the engine knows, first the one that answers when none is named."""
        engine = self.client.engine
        return list(dict.fromkeys([engine.model(VariationRequest()), *engine.capabilities().models]))

    def close(self) -> None:
        """End the threads, remove the pictures, and close the client."""
        self.load.close()
        self.kept.close()
        self.client.close()


def create_app(service: Service) -> ASGIApp:
    """Return the application; its lifespan ends with the service's."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        tidying = asyncio.create_task(_tidy(service.kept))
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
    handlers = {HTTPException: _no_route, Refusal: _refused, ClientGoneError: _unsent, Exception: _failed}
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)  # type: ignore[arg-type]
    app.router.redirect_slashes = False
    return _Guarded(app, service)


async def _tidy(kept: Links) -> None:
    while True:
        await asyncio.sleep(_TIDY_S)
        await asyncio.to_thread(kept.tidy)


async def _no_route(request: Request, exc: HTTPException) -> Response:
    if exc.status_code == 405:  # noqa: PLR2004
        refusal = Refusal(405, f"{request.method} is not for this address", headers=exc.headers)
    else:
        refusal = Refusal(404, "there is nothing at this address; pictures are made at /v1/images/variations")
    return _answer(refusal)


async def _refused(_: Request, exc: Refusal) -> Response:
    return _answer(exc)


async def _unsent(_: Request, __: ClientGoneError) -> Response:
    return Response(status_code=499)  # it reaches the log only


async def _failed(_: Request, exc: Exception) -> Response:
    return _answer(refusal_of(exc))


def _answer(refusal: Refusal) -> Response:
    return Response(refusal.body, refusal.status, refusal.headers, "application/json")


class _Guarded:
    """Checks who asks, gives every answer its id, and lets no exception out."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, began, status = f"req_{secrets.token_hex(16)}", time.perf_counter(), 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                elapsed_ms = round((time.perf_counter() - began) * 1000)
                message["headers"] = [
                    *message["headers"],
                    # A client that keeps the connection would send its next request into a closed one.
                    *([(b"connection", b"close")] if self._service.load.stopping else []),
                    (b"x-request-id", request_id.encode()),
                    (b"openai-processing-ms", str(elapsed_ms).encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        try:
            if (refusal := self._refusal(scope)) is None:
                await self._app(scope, receive, send_marked)
            else:
                if self._service.load.stopping:
                    await _discard(receive)
                await _answer(refusal)(scope, receive, send_marked)
        except Exception:
            # The application has answered; what it could not answer is a connection that breaks off.
            _log.exception("%s failed", request_id)
            if not status:
                raise
        finally:
            # Neither path nor query: a picture's address is a key to it.
            _log.info(
                "%s %s %d %.3f s", request_id, scope["method"][:10], status, time.perf_counter() - began
            )

    def _refusal(self, scope: Scope) -> Refusal | None:
        # h11 bounds what it has to hold back; headers that come in one piece it takes whole.
        if (
            sum(len(name) + len(value) + 4 for name, value in scope["headers"])
            > self._service.limits.header_bytes
        ):
            return Refusal(431, "the headers are too long", code="headers_too_large")
        if self._service.load.stopping:
            headers = {"retry-after": "10"}
            return Refusal(503, "the server is stopping; try again", code="server_stopping", headers=headers)
        server = scope.get("server")
        address = server[0] if server else None
        return guard.refusal_for(scope["path"], scope["headers"], address, self._service.policy)


async def _images(service: Service, route: ImageRoute, request: Request) -> Response:
    # Before a byte of the body is read; the run itself asks again.
    if service.load.is_full:
        raise service.load.full()
    with contextlib.ExitStack() as holding:
        take = holding.enter_context(service.uploads.share())
        form = await read_form(
            request.headers, request.receive, service.limits, take, json_too=route == "edits"
        )
        with _as_refusals():
            asked = request_of(form, route, service.client)
            if asked.stream:
                return await _streamed(service, asked, request, holding)
            finish = partial(_made_and_written, service, asked, _base_of(request))
            body, made = await service.load.run(finish, _gone(request))
    return _Pieces(body, headers=_facts(made.warnings, made.seed))


@contextlib.contextmanager
def _as_refusals() -> Iterator[None]:
    """Turn what the request, the image or the engine is at fault for into the answer, and log what is not theirs."""
    try:
        yield
    except ImageVariationError as exc:
        refusal = refusal_of(exc)
        if refusal.status >= 500:  # noqa: PLR2004
            _log.error("%s: %s", type(exc).__name__, exc)
        raise refusal from exc


def _made_and_written(service: Service, asked: ImageRequest, base: str, cancel: Any) -> tuple[bytes, Encoded]:
    """Make the pictures and the answer; on the run's thread, since megabytes are encoded."""
    made = make(service.client, asked, service.limits, cancel)
    if asked.as_url:
        items = [
            answers.Item(url=f"{base}/images/{service.kept.add(each, made.mime_type)}.png")
            for each in made.pictures
        ]
    else:
        items = [answers.Item.of(each) for each in made.pictures]
    facts = {} if asked.as_url else {"output_format": WRITTEN[asked.extension].api_name}
    return answers.write_answer(
        items, created=int(time.time()), facts={**facts, "usage": dict(made.usage)}
    ), made


async def _discard(receive: Receive) -> None:
    """Take a body off the wire: a connection that is closed before that is reset, and the answer with it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_S):
            while (await receive()).get("more_body", False):
                pass


def _base_of(request: Request) -> str:
    # The guard has seen that it is ours.
    return f"{request.url.scheme}://{request.headers['host']}"


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _facts(warnings: list[str], seed: int | None) -> dict[str, str]:
    headers = {"cache-control": "no-store"}
    if warnings:
        text = plain("; ".join(warnings)).encode("ascii", "replace")
        headers["x-imgvar-warning"] = text[:_MAX_WARNING].decode()
    if seed is not None:
        headers["x-imgvar-seed"] = str(seed)
    return headers


class _Pieces(Response):
    """A large answer in pieces, so that the time-out of a slow reader is each piece's."""

    media_type = "application/json"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        view = memoryview(self.body)
        for start in range(0, len(view), _PIECE_BYTES):
            more = start + _PIECE_BYTES < len(view)
            piece = bytes(view[start : start + _PIECE_BYTES])
            await send({"type": "http.response.body", "body": piece, "more_body": more})


async def _streamed(
    service: Service, asked: ImageRequest, request: Request, holding: contextlib.ExitStack
) -> Response:
    """Answer with events once the run has begun; what is wrong before that is an answer as any other."""
    events = EventSource(service.client, asked, service.limits)
    run: asyncio.Task[None] = asyncio.create_task(service.load.run(events.run, _gone(request)))
    run.add_done_callback(lambda task: task.cancelled() or task.exception())  # told in the stream, if at all
    held = holding.pop_all()  # the upload is in memory until the run has ended
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

    headers = _facts(asked.warnings, None)
    return StreamingResponse(events.chunks(run), headers=headers, media_type="text/event-stream")


async def _models(service: Service, _: Request) -> Response:
    return Response(
        answers.write_models(service.models, created=service.started), media_type="application/json"
    )


async def _model(service: Service, request: Request) -> Response:
    name, models = request.path_params["name"], service.models
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
    body = json.dumps({"status": "ok", "requests": service.load.admitted})
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


async def _picture(service: Service, request: Request) -> Response:
    found = await asyncio.to_thread(service.kept.read, request.path_params["name"])
    if found is None:
        raise Refusal(
            404, "there is no such picture, or no more: each is kept for 60 minutes", code="not_found"
        )
    data, mime_type = found
    headers = {
        "content-security-policy": "default-src 'none'; sandbox",
        "cache-control": "private, max-age=3600",
    }
    return Response(data, media_type=mime_type, headers=headers)
