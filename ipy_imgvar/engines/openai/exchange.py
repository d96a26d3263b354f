"""One HTTP request and its answer: bounds on the bytes that are read, and masks on the texts that are shown."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING, Final

import httpx

from ipy_imgvar.api import answers
from ipy_imgvar.api.refusals import ErrorBody, read_error
from ipy_imgvar.engines.openai.errors import Mask, bare, of_connection, of_status
from ipy_imgvar.errors import (
    APIStatusError,
    BadResponseError,
    CancelledError,
    ConnectionFailedError,
    ImageVariationError,
)
from ipy_imgvar.network import payload

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from ipy_imgvar.engines.openai.message import Route

__all__ = ["Exchange", "chunks", "opened", "read_or_salvage", "read_refusal", "refused", "request_id"]

#: Bytes of a refusal that are read, 1 MiB: its message is one line, and the rest is an HTML page at most.
_MAX_REFUSAL_BYTES: Final = 1 << 20
#: Characters of a request's id that an error keeps; OpenAI's have 36.
_MAX_ID_CHARS: Final = 200
#: The bytes of a byte order mark and of white space, which may stand before an answer.
_IGNORED_AT_START: Final = b"\xef\xbb\xbf \t\r\n"
#: The beginnings of a stream's first line (section 9.2.5 of
#: https://html.spec.whatwg.org/multipage/server-sent-events.html).
_EVENT_FIELDS: Final = (b"event:", b"data:", b":")


class Exchange:
    """An HTTP request as a context manager that returns the open answer; it raises our errors, not httpx's."""

    def __init__(self, client: httpx.Client, outgoing: httpx.Request, mask: Mask) -> None:
        self._client = client
        self._outgoing = outgoing
        self._mask = mask
        self._response: httpx.Response | None = None

    def __enter__(self) -> httpx.Response:
        with _mapped(self._outgoing, self._mask):
            # The client's `send` would follow redirects, add cookies and logins from .netrc, and log the address.
            transport = self._client._transport_for_url(self._outgoing.url)  # noqa: SLF001 - it knows the proxies
            self._response = transport.handle_request(self._outgoing)
        self._response.request = self._outgoing
        return self._response

    def __exit__(self, *exc_info: object) -> None:
        if self._response is not None:
            self._response.close()


@contextmanager
def _mapped(outgoing: httpx.Request, mask: Mask) -> Iterator[None]:
    """Turn httpx's exceptions into our errors, and drop tracebacks, whose frames hold the key and the pictures."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        server = outgoing.url.netloc.decode("ascii")
        raise of_connection(exc, server, mask) from bare(exc, mask)
    except ImageVariationError as exc:  # The watch raises these: cancelled, or over time.
        raise bare(exc, mask)  # noqa: B904 - it has no other cause


def chunks(response: httpx.Response, most: int, mask: Mask) -> Iterator[bytes]:
    """Yield the bytes of an answer as they arrive, and raise `BadResponseError` beyond `most` of them."""

    def too_much() -> BadResponseError:
        return BadResponseError(
            f"{response.request.url.host} sent more than {most >> 20} MiB, too much for what was asked; "
            "the rest was not read"
        )

    with _mapped(response.request, mask):
        yield from payload.pieces(response, most, too_much)


def opened(response: httpx.Response, most: int, mask: Mask) -> tuple[bool, Iterator[bytes]]:
    """Return whether an answer is a stream of events, and its bytes as `chunks` yields them.

    The first bytes decide before the content type does: some servers name one and send the other.
    """
    pieces = chunks(response, most, mask)
    head = bytearray()
    for piece in pieces:
        head += piece
        if len(start := head.lstrip(_IGNORED_AT_START)) >= len(_EVENT_FIELDS[0]):
            break
    else:
        start = head.lstrip(_IGNORED_AT_START)
    is_named = "text/event-stream" in response.headers.get("content-type", "")
    is_stream = start.startswith(_EVENT_FIELDS) or (is_named and start[:1] != b"{")
    return is_stream, chain([bytes(head)], pieces)


def read_or_salvage(pieces: Iterator[bytes]) -> Generator[answers.Item, None, bytearray]:
    """Return the whole body of an answer; of an answer that breaks off, yield the complete pictures, then raise."""
    body = bytearray()
    try:
        for piece in pieces:
            body += piece
    except CancelledError:
        raise
    except ImageVariationError:
        yield from answers.salvage(body)
        raise
    return body


def read_refusal(response: httpx.Response, mask: Mask) -> ErrorBody:
    """Return the fields of a refusal, with everything that looks like a key masked."""
    body = bytearray()
    with suppress(ConnectionFailedError, BadResponseError):  # Part of a message is better than none.
        for chunk in chunks(response, _MAX_REFUSAL_BYTES, mask):
            body += chunk
    error = read_error(bytes(body), response.headers.get("content-type", ""), mask)
    shutdown = error.details.get("shutdown_date")
    # Only this detail is used, so no other one, which the mask has not seen, goes on.
    details = {"shutdown_date": mask(shutdown)} if isinstance(shutdown, str) else {}
    return ErrorBody(error.message, error.code, error.param, details)


def request_id(response: httpx.Response, mask: Mask) -> str | None:
    """Return the server's id of the request, masked and cut to be shown; None where it gave none."""
    name = response.headers.get("x-request-id")
    return mask(name)[:_MAX_ID_CHARS] if name else None


def _redirect_target(response: httpx.Response, mask: Mask) -> str:
    """Return the address that a redirect leads to, without its login, query and fragment, which may be private."""
    try:
        url = response.request.url.join(response.headers["location"])
    except (httpx.InvalidURL, ValueError):
        return "another address"
    return mask(str(url.copy_with(query=None, fragment=None, userinfo=b"")))


def refused(
    response: httpx.Response, error: ErrorBody, *, route: Route, model: str | None, server: str, mask: Mask
) -> APIStatusError:
    """Return the error for an answer with a status other than 2xx; see `of_status` for the parameters."""
    if response.has_redirect_location:
        return APIStatusError(
            f"{server} answered {response.status_code}: it redirects to {_redirect_target(response, mask)}, where "
            "the key is not sent; give that server as --api-base",
            status=response.status_code,
        )
    answer_id = request_id(response, mask)
    return of_status(
        response.status_code, error, route=route, model=model, server=server, request_id=answer_id
    )
