"""One request to a server and its answer: what is read of it, how much, and what of it may be shown."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING, Final

import httpx

from ipy_imgvar.api import answers
from ipy_imgvar.api.refusals import ErrorBody, read_error
from ipy_imgvar.engines.openai.errors import Mask, bare, of_connection
from ipy_imgvar.errors import BadResponseError, CancelledError, ConnectionFailedError, ImageVariationError
from ipy_imgvar.network import payload

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["Exchange", "opened", "place_of", "read_or_salvage", "read_refusal", "request_id"]

_MOST_OF_A_REFUSAL: Final = 1 << 20
_LONGEST_ID: Final = 200
#: A byte order mark and white space.
_BEFORE_ANY: Final = b"\xef\xbb\xbf \t\r\n"
#: How a line of a stream may begin (https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.5).
_EVENT_FIELDS: Final = (b"event:", b"data:", b":")


class Exchange:
    """A request and its answer, open as long as the block; what goes wrong leaves as one of our errors."""

    def __init__(self, client: httpx.Client, outgoing: httpx.Request, mask: Mask) -> None:
        self._client = client
        self._outgoing = outgoing
        self._mask = mask
        self._response: httpx.Response | None = None

    def __enter__(self) -> httpx.Response:
        with _mapped(self._outgoing, self._mask):
            # The client's `send` would add cookies, logins of .netrc and a line in httpx's log, and follow redirects.
            transport = self._client._transport_for_url(self._outgoing.url)  # noqa: SLF001 - it knows the proxies
            self._response = transport.handle_request(self._outgoing)
        self._response.request = self._outgoing
        return self._response

    def __exit__(self, *exc_info: object) -> None:
        if self._response is not None:
            self._response.close()


@contextmanager
def _mapped(outgoing: httpx.Request, mask: Mask) -> Iterator[None]:
    """Turn what httpx raises into our errors, and keep the frames that hold what was sent out of every traceback."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as exc:
        server = outgoing.url.netloc.decode("ascii")
        raise of_connection(exc, server, mask) from bare(exc, mask)
    except ImageVariationError as exc:  # of the watch: cancelled, or too late
        raise bare(exc, mask)  # noqa: B904 - it has no other cause


def chunks(response: httpx.Response, most: int, mask: Mask) -> Iterator[bytes]:
    """Yield the bytes of an answer as they come, up to a bound."""

    def too_much() -> BadResponseError:
        return BadResponseError(
            f"{response.request.url.host} sent more than {most >> 20} MiB, too much for what was asked; "
            "the rest was not read"
        )

    with _mapped(response.request, mask):
        yield from payload.pieces(response, most, too_much)


def opened(response: httpx.Response, most: int, mask: Mask) -> tuple[bool, Iterator[bytes]]:
    """Return whether an answer is a stream of events, and its bytes as `chunks` gives them.

    How it begins counts before its type: some servers name one and send the other.
    """
    pieces = chunks(response, most, mask)
    head = bytearray()
    for piece in pieces:
        head += piece
        if len(start := head.lstrip(_BEFORE_ANY)) >= len(_EVENT_FIELDS[0]):
            break
    else:
        start = head.lstrip(_BEFORE_ANY)
    is_named = "text/event-stream" in response.headers.get("content-type", "")
    is_stream = start.startswith(_EVENT_FIELDS) or (is_named and start[:1] != b"{")
    return is_stream, chain([bytes(head)], pieces)


def read_or_salvage(pieces: Iterator[bytes]) -> Generator[answers.Item, None, bytearray]:
    """Read all of an answer; of one that breaks off, yield the pictures that are whole, then raise."""
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
    """Read what a refusal says, with anything like a key masked."""
    body = bytearray()
    with suppress(ConnectionFailedError, BadResponseError):  # What came of it is better than nothing.
        for chunk in chunks(response, _MOST_OF_A_REFUSAL, mask):
            body += chunk
    error = read_error(bytes(body), response.headers.get("content-type", ""), mask)
    shutdown = error.details.get("shutdown_date")
    known = {"shutdown_date": mask(shutdown)} if isinstance(shutdown, str) else {}
    return ErrorBody(error.message, error.code, error.param, known)


def request_id(response: httpx.Response, mask: Mask) -> str | None:
    """Return the name that the server gave to the request, as it may be shown; None where it gave none."""
    name = response.headers.get("x-request-id")
    return mask(name)[:_LONGEST_ID] if name else None


def place_of(response: httpx.Response, mask: Mask) -> str:
    """Return where a redirect leads, without what may be private in it."""
    try:
        url = response.request.url.join(response.headers["location"])
    except (httpx.InvalidURL, ValueError):
        return "another address"
    return mask(str(url.copy_with(query=None, fragment=None, userinfo=b"")))
