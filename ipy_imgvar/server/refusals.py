"""Errors as the API reports them: one status and one JSON object for each error of this package.

A hosted engine's server may send an error too. Its text is passed on only if it is about the client's own request;
any other text could name the operator's key, account or address, and goes to the log only.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from ipy_imgvar.api.refusals import write_error
from ipy_imgvar.errors import (
    APIStatusError,
    AuthenticationError,
    CancelledError,
    ConfigurationError,
    EngineError,
    InvalidImageError,
    InvalidRequestError,
    RateLimitError,
    RequestTimeoutError,
)
from ipy_imgvar.plain import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Refusal", "refusal_of", "too_many_images"]

#: Seconds of Retry-After where the server has no estimate.
_RETRY_AFTER_S: Final = 10


class Refusal(Exception):  # noqa: N818 - it is an answer, and mostly the client's fault
    """An answer with an error status, which a handler raises.

    Parameters
    ----------
    status
        The HTTP status.
    message
        One line for a person.
    code, param
        The fields of the same name in the API's error object.
    headers
        Further headers, such as `retry-after`.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        # Each text may quote a client or another server.
        self.message = plain(message)
        self.code = None if code is None else plain(code)
        self.param = None if param is None else plain(param)
        self.headers = dict(headers or {})

    @property
    def body(self) -> bytes:
        """The JSON of the answer."""
        return write_error(self.message, kind=_kind(self.status), param=self.param, code=self.code)


def _kind(status: int) -> str:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "server_error"
    return "rate_limit_error" if status == HTTPStatus.TOO_MANY_REQUESTS else "invalid_request_error"


def too_many_images(count: int) -> Refusal:
    """Return the answer to a request with more than one image."""
    return Refusal(
        400,
        f"there are {count} images; this server takes one for each request",
        code="too_many_images",
        param="image",
    )


def refusal_of(exc: BaseException) -> Refusal:
    """Return the answer to a request that ended with an exception."""
    if isinstance(exc, Refusal):
        return exc
    if isinstance(exc, InvalidRequestError):
        code = "invalid_image" if isinstance(exc, InvalidImageError) else "invalid_value"
        return Refusal(400, str(exc), code=code, param=exc.field)
    if isinstance(exc, CancelledError):
        return Refusal(
            503,
            "the server stopped before this was made; send it again",
            code="server_stopping",
            headers={"retry-after": str(_RETRY_AFTER_S)},
        )
    if isinstance(exc, EngineError):
        return _of_engine(exc)
    if isinstance(exc, ConfigurationError):
        return Refusal(500, "this server is not set up for that; ask who runs it", code="not_configured")
    return Refusal(
        500, "the server failed on this request; its log has the request id", code="internal_error"
    )


def _of_engine(exc: EngineError) -> Refusal:
    if isinstance(exc, RateLimitError):
        headers = {"retry-after": str(_RETRY_AFTER_S)}
        return Refusal(429, "the engine's server asks to wait", code="rate_limit_exceeded", headers=headers)
    if isinstance(exc, RequestTimeoutError):
        return Refusal(504, "the run took longer than this server allows; lower n or size", code="timeout")
    # 400, 413 and 422 are about the request itself; 401 and 403 are about the operator's key.
    own = isinstance(exc, APIStatusError) and not isinstance(exc, AuthenticationError)
    if own and isinstance(exc, APIStatusError) and exc.status in (400, 413, 422):
        return Refusal(400, str(exc), code=exc.code, param=exc.param)
    return Refusal(502, "the engine could not make this; the server's log says why", code="engine_error")
