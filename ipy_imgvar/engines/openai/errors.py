"""What a server refused or a network lost, as one of our errors: the only place where either is mapped."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import httpx

from ipy_imgvar import settings
from ipy_imgvar.engines.openai.models import farewell
from ipy_imgvar.engines.openai.retry import is_quota
from ipy_imgvar.errors import (
    APIStatusError,
    AuthenticationError,
    BadResponseError,
    ConnectionFailedError,
    EngineError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
)
from ipy_imgvar.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipy_imgvar.api.refusals import ErrorBody
    from ipy_imgvar.engines.openai.plan import Route
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.settings import Connection

__all__ = ["Mask", "bare", "of_connection", "of_status"]

#: A success comes here only when its body was empty.
_NO_ROUTE: Final = (*range(200, 300), 404, 405)
_HINTS: Final = {
    400: "check the option that it names",
    401: "check the key: OPENAI_API_KEY, or --api-key",
    403: "this key may not do that",
    404: "check --model and --api-base",
    413: "send a smaller image",
    422: "check the option that it names; --extra-body sends what we don't",
    429: "wait, or let --max-retry-count try again",
}
_STARS: Final = "********"
_KEY_LIKE: Final = re.compile(r"\b(sk-[A-Za-z]*-?)[A-Za-z0-9_-]{6,}")
_ORGANIZATION: Final = re.compile(r"\borg-[A-Za-z0-9]{6,}")
#: A shorter text is a word such as "high", and hiding it would spoil the message.
_SHORTEST_SECRET: Final = 8
#: An address may well repeat what is shorter, such as a size or a version.
_KEY_LENGTH: Final = 20
_E = TypeVar("_E", bound=BaseException)
_NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


class Mask:
    """Hides what a server or a library may repeat of what we sent: the key, who asks, and the caller's own additions.

    Parameters
    ----------
    connection, request
        What was sent.
    """

    def __init__(self, connection: Connection, request: VariationRequest) -> None:
        texts = (
            connection.organization,
            connection.project,
            *(connection.login or ()),
            *_texts(connection.authorization),
            *_texts((request.extra_headers, request.extra_query, request.extra_body)),
        )
        self._secrets = {text for text in texts if text and len(text) >= _SHORTEST_SECRET}
        forms = {
            form
            for text in self._secrets
            for form in (text, quote(text), quote(text, safe=""), quote_plus(text))
        }
        # The longest first, since one may be a part of another. The case of letters is of no account, since libraries
        # return the name of a host, or of an encoding, in small ones.
        longest_first = map(re.escape, sorted(forms, key=len, reverse=True))
        self._any = re.compile("|".join(longest_first) or "(?!)", re.IGNORECASE)

    def __call__(self, text: str) -> str:
        """Return a text without any of it, and without anything that looks like a key; see also `plain`."""
        return plain(_ORGANIZATION.sub(_STARS, _KEY_LIKE.sub(rf"\1{_STARS}", self.literally(text))))

    def literally(self, text: str) -> str:
        """Return a text without what was sent, as it is or percent-encoded; what only looks like a key stays."""
        return self._any.sub(_STARS, text)

    def address(self, url: str) -> str | None:
        """Return the address of a picture, or None where a key or another long text that was sent stands in it."""
        decoded = (url + unquote(url) + unquote_plus(url)).lower()
        long = (each.lower() for each in self._secrets if len(each) >= _KEY_LENGTH)
        return None if any(each in decoded for each in long) else url


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in a nest of mappings and lists, and the second word of "Bearer ..."."""
    if isinstance(value, str):
        yield value
        yield value.rpartition(" ")[2]
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)


def bare(exc: _E, mask: Mask) -> _E:
    """Return an exception, and those that led to it, without their frames: httpx's hold the headers that we sent.

    Their texts, which a traceback shows too, may quote what a server has repeated of it.
    """
    each: BaseException | None = exc
    while each is not None:
        each.__traceback__ = None
        each.args = tuple(mask(arg) if isinstance(arg, str) else arg for arg in each.args)
        each = each.__cause__ or each.__context__
    return exc


def of_status(
    status: int, error: ErrorBody, *, route: Route, model: str | None, server: str, request_id: str | None
) -> APIStatusError:
    """Return the error for an answer that is no success.

    Parameters
    ----------
    status
        The HTTP status code.
    error
        What its body said, already masked.
    route, model
        What was asked.
    server
        The server's name, for the message.
    request_id
        Its `x-request-id`.
    """
    said = f": {error.message}" if error.message else ""
    known = farewell(model, error.details.get("shutdown_date"))
    if route == "variations" and status in _NO_ROUTE:
        hint = "it does not serve variations; say --route edits, or --engine patch for the offline engine"
    elif known:
        hint = known
    elif status == 429 and is_quota(f"{error.message} {error.code}"):  # noqa: PLR2004
        hint = "its quota is used up; see the plan and the payments of the account"
    else:
        hint = _HINTS.get(status, "try again later; --max-retry-count does so" if status >= 500 else "")  # noqa: PLR2004
    reference = f" (request {request_id})" if request_id else ""
    message = f"{server} answered {status}{said}{reference}" + (f"; {hint}" if hint else "")
    kind = _kind(status)
    return kind(message, status=status, code=error.code, param=error.param, request_id=request_id)


def _kind(status: int) -> type[APIStatusError]:
    if status in (401, 403):
        return AuthenticationError
    if status == 429:  # noqa: PLR2004
        return RateLimitError
    return ServerError if status >= 500 else APIStatusError  # noqa: PLR2004


def of_connection(exc: httpx.HTTPError | httpx.InvalidURL, server: str, mask: Mask) -> EngineError:
    """Return the error for a request that got no whole answer."""
    reason = f"{type(exc).__name__}: {mask(str(exc))}" if str(exc) else type(exc).__name__
    if isinstance(exc, httpx.DecodingError):
        return BadResponseError(
            f"the answer of {server} can't be unpacked ({reason}); the server may have charged for it"
        )
    if isinstance(exc, httpx.ConnectTimeout):
        return RequestTimeoutError(
            f"{server} did not accept a connection in time; raise --timeout or check --api-base"
        )
    if isinstance(exc, (*_NEVER_SENT, httpx.InvalidURL)):
        # A proxy that refuses looks like a server that does, and people forget that they have set one.
        proxies = "".join(f", the proxy that {name} names" for name in settings.proxy_variables())
        return ConnectionFailedError(
            f"{server} can't be reached ({reason}); check --api-base{proxies} and the network"
        )
    return ConnectionFailedError(
        f"{server} broke off ({reason}); it was not asked again, since it may have made and charged for the pictures"
    )
