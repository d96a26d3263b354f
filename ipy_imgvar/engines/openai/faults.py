"""What a server refused or a network lost, as one of our errors: the only place where either is mapped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import httpx

from ipy_imgvar.engines.openai.models import farewell
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

if TYPE_CHECKING:
    from ipy_imgvar.engines.openai.plan import Route
    from ipy_imgvar.settings import Secret
    from ipy_imgvar.wire import ErrorBody

__all__ = ["masked", "of_connection", "of_status"]

#: A 200 comes here only when its body was empty.
_NO_ROUTE: Final = (200, 404, 405)
_HINTS: Final = {
    400: "check the option that it names",
    401: "check the key: OPENAI_API_KEY, or --api-key",
    403: "this key may not do that",
    404: "check --model and --api-base",
    413: "send a smaller image",
    422: "check the option that it names; --extra-body sends what we don't",
    429: "wait, or let --max-retry-count try again",
}
_KEY_LIKE: Final = re.compile(r"\b(sk-[A-Za-z]*-?)[A-Za-z0-9_-]{6,}")
_NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


def masked(text: str, key: Secret | None) -> str:
    """Return a text without the key in use, and without anything that looks like one."""
    if key is not None:
        text = text.replace(key.reveal(), "********")
    return _KEY_LIKE.sub(r"\1********", text)


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


def of_connection(exc: httpx.HTTPError | httpx.InvalidURL, server: str) -> EngineError:
    """Return the error for a request that got no whole answer."""
    reason = f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__
    if isinstance(exc, httpx.DecodingError):
        return BadResponseError(
            f"the answer of {server} can't be unpacked ({reason}); the server may have charged for it"
        )
    if isinstance(exc, httpx.ConnectTimeout):
        return RequestTimeoutError(
            f"{server} did not accept a connection in time; raise --timeout or check --api-base"
        )
    if isinstance(exc, (*_NEVER_SENT, httpx.InvalidURL)):
        return ConnectionFailedError(
            f"{server} can't be reached ({reason}); check --api-base and the network"
        )
    return ConnectionFailedError(
        f"{server} broke off ({reason}); it was not asked again, since it may have made and charged for the pictures"
    )
