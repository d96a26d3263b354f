"""The map from HTTP statuses and httpx's exceptions to our errors, and the mask that hides secrets in messages."""

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
    from ipy_imgvar.engines.openai.message import Route
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.settings import Connection

__all__ = ["NOT_REPEATED", "Mask", "bare", "of_connection", "of_status"]

#: The end of the message about a connection that was lost after a request for pictures was sent.
NOT_REPEATED: Final = "; it was not asked again, since it may have made and charged for the pictures"
#: Statuses with which servers without the variations route answer it: OpenAI with 404, others with 405 or an empty 2xx.
_NO_ROUTE: Final = (*range(200, 300), 404, 405)
#: For each HTTP status, the advice at the end of the message.
_HINTS: Final = {
    400: "check the option that it names",
    401: "check the key: OPENAI_API_KEY, or --api-key",
    403: "this key may not do that",
    404: "check --model and --api-base",
    413: "send a smaller image",
    422: "check the option that it names; --extra-body sends what we don't",
    429: "wait, or let --max-retry-count try again",
}
#: The text in place of a secret.
_STARS: Final = "********"
#: A key in OpenAI's form, such as "sk-proj-..."; its beginning stays readable.
_KEY_LIKE: Final = re.compile(r"\b(sk-[A-Za-z]*-?)[A-Za-z0-9_-]{6,}")
#: An organisation's id in OpenAI's form.
_ORGANIZATION: Final = re.compile(r"\borg-[A-Za-z0-9]{6,}")
#: Characters from which a text that was sent counts as secret. A shorter one is a word such as "high", and messages
#: without such words would be useless.
_SHORTEST_SECRET: Final = 8
#: Characters from which a secret makes a picture's address secret. Addresses often repeat shorter texts, such as a size
#: or a version.
_KEY_LENGTH: Final = 20
_E = TypeVar("_E", bound=BaseException)
#: The exceptions after which the server can't have received the request.
_NEVER_SENT: Final = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


class Mask:
    """A function that hides secrets in texts: the key, the account, and the caller's own headers, query and fields.

    Servers and libraries may repeat any of these in a message.

    Parameters
    ----------
    connection, request
        The source of the secrets.
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
        # The longest first, since one secret may be part of another. Upper and lower case count as the same, since
        # libraries return names of hosts and encodings in lower case.
        longest_first = map(re.escape, sorted(forms, key=len, reverse=True))
        self._any = re.compile("|".join(longest_first) or "(?!)", re.IGNORECASE)

    def __call__(self, text: str) -> str:
        """Return a text without the secrets, without anything that looks like a key, and made `plain`."""
        return plain(_ORGANIZATION.sub(_STARS, _KEY_LIKE.sub(rf"\1{_STARS}", self.literally(text))))

    def literally(self, text: str) -> str:
        """Return a text without the secrets, also percent-encoded ones; texts that only look like a key stay."""
        return self._any.sub(_STARS, text)

    def address(self, url: str) -> str | None:
        """Return a picture's address, or None where it holds a secret of at least 20 characters."""
        decoded = (url + unquote(url) + unquote_plus(url)).lower()
        long = (each.lower() for each in self._secrets if len(each) >= _KEY_LENGTH)
        return None if any(each in decoded for each in long) else url


def _texts(value: Any) -> Iterator[str]:
    """Yield every text in nested mappings and lists, and its last word alone: the key of "Bearer ..."."""
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
    """Remove the frames of an exception and its causes, and mask their texts; return the exception.

    The frames hold the headers that were sent, and a text may quote a server that repeated them. Tracebacks show both.
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
    """Return the error for an answer with a status other than 2xx, or with an empty body.

    Parameters
    ----------
    status
        The HTTP status code.
    error
        The fields of its body, already masked.
    route, model
        The request's route, and the model that it named.
    server
        The server's name, for the message.
    request_id
        The answer's header `x-request-id`.
    """
    reason = f": {error.message}" if error.message else ""
    shutdown = farewell(model, error.details.get("shutdown_date"))
    if route == "variations" and status in _NO_ROUTE and not (status == 404 and _names_the_model(error)):  # noqa: PLR2004
        hint = "it does not serve variations; say --route edits, or --engine patch for the offline engine"
    elif route == "variations" and "`prompt`" in error.message:
        # diffusers' words ("Provide either `prompt` or ..."), which Xinference passes on.
        hint = 'its model needs a prompt: say --route edits, or --extra-body {"prompt": " "}'
    elif shutdown:
        hint = shutdown
    elif status == 429 and is_quota(f"{error.message} {error.code}"):  # noqa: PLR2004
        hint = "its quota is used up; see the plan and the payments of the account"
    else:
        hint = _HINTS.get(status, "try again later; --max-retry-count does so" if status >= 500 else "")  # noqa: PLR2004
    reference = f" (request {request_id})" if request_id else ""
    message = f"{server} answered {status}{reason}{reference}" + (f"; {hint}" if hint else "")
    kind = _kind(status)
    return kind(message, status=status, code=error.code, param=error.param, request_id=request_id)


def _names_the_model(error: ErrorBody) -> bool:
    """Return whether a refusal is about the request's model, so that the route is there."""
    return (
        error.param == "model"
        or error.code == "model_not_found"
        or re.search(r"\bmodel\b", error.message, re.IGNORECASE) is not None
    )


def _kind(status: int) -> type[APIStatusError]:
    if status in (401, 403):
        return AuthenticationError
    if status == 429:  # noqa: PLR2004
        return RateLimitError
    return ServerError if status >= 500 else APIStatusError  # noqa: PLR2004


def of_connection(exc: httpx.HTTPError | httpx.InvalidURL, server: str, mask: Mask) -> EngineError:
    """Return the error for an exception of httpx: the request got no answer, or only part of one."""
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
        # A proxy's refusal looks like the server's, and users forget that they have set a proxy.
        proxies = "".join(f", the proxy that {name} names" for name in settings.proxy_variables())
        return ConnectionFailedError(
            f"{server} can't be reached ({reason}); check --api-base{proxies} and the network"
        )
    return ConnectionFailedError(f"{server} broke off ({reason}){NOT_REPEATED}")
