"""The exceptions of this package, and the repr of a value in their messages.

* ImageVariationError
  - InvalidRequestError (also ValueError)
    + InvalidImageError
  - ConfigurationError (also ValueError)
  - EngineError
    + ConnectionFailedError
      · RequestTimeoutError
    + APIStatusError
      · AuthenticationError
      · RateLimitError
      · ServerError
    + BadResponseError
  - CancelledError

A message is one line: the received value, the allowed values, the next step. An engine or a codec maps the exceptions
of other libraries itself; no caller of either sees one.
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any

from ipy_imgvar.plain import plain

if TYPE_CHECKING:
    from ipy_imgvar.results.variations import Variations

__all__ = [
    "APIStatusError",
    "AuthenticationError",
    "BadResponseError",
    "CancelledError",
    "ConfigurationError",
    "ConnectionFailedError",
    "EngineError",
    "ImageVariationError",
    "InvalidImageError",
    "InvalidRequestError",
    "RateLimitError",
    "RequestTimeoutError",
    "ServerError",
    "shown",
]


class ImageVariationError(Exception):
    """The base class of every error of this package.

    Parameters
    ----------
    message
        One line for a person; line breaks in it become spaces, control characters are escaped.
    partial
        The pictures that were finished before the failure; None if there are none.
    """

    def __init__(self, message: str, *, partial: Variations | None = None) -> None:
        super().__init__(plain(" ".join(message.splitlines())))
        self.partial = partial


class InvalidRequestError(ImageVariationError, ValueError):
    """An argument that no engine, or not this one, can honour; the engine has sent and made nothing.

    Parameters
    ----------
    message
        One line for a person.
    field
        The name of the argument, as `Client.variations` spells it.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class InvalidImageError(InvalidRequestError):
    """A source or mask that is missing, unreadable, too large or of an unclear shape."""

    def __init__(self, message: str, *, field: str = "image") -> None:
        super().__init__(message, field=field)


class ConfigurationError(ImageVariationError, ValueError):
    """A wrong setting (engine, key, address, store) in an argument or in the environment."""


class EngineError(ImageVariationError):
    """A failure of the engine while it makes the pictures."""


class ConnectionFailedError(EngineError):
    """A failed or broken connection to a server, which may have done the work and charged for it."""


class RequestTimeoutError(ConnectionFailedError):
    """A request or run beyond its time limit."""


class APIStatusError(EngineError):
    """An answer of a server with an error status (4xx or 5xx).

    Parameters
    ----------
    message
        One line for a person.
    status
        The HTTP status code.
    code, param
        The fields of the same name in the API's error object; None if the server sent none.
    request_id
        The `x-request-id` header, for a report to the server's operator.
    retry_after_s
        The seconds to wait before another try, 0 if the server names none; None if another try would fail too.

    References
    ----------
    https://platform.openai.com/docs/guides/error-codes
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s
        self.code = code
        self.param = param
        self.request_id = request_id


class AuthenticationError(APIStatusError):
    """The server's refusal of the credentials (401 or 403): the key is missing, wrong or lacks the permission."""


class RateLimitError(APIStatusError):
    """The server's refusal because of too many requests or an exhausted quota (429)."""


class ServerError(APIStatusError):
    """An internal error of the server (5xx)."""


class BadResponseError(EngineError):
    """A successful answer that the client can't read; the server may have charged for it."""


class CancelledError(ImageVariationError):
    """The end of a run by the caller's `cancel` event; `partial` has the finished pictures."""


class _Shown(reprlib.Repr):
    """Makes reprs of at most one line, also of arrays and data frames."""

    def __init__(self) -> None:
        super().__init__()
        # Characters of a text, and elements of a container: a message should fit a line or two of a terminal.
        self.maxstring = self.maxother = 80
        self.maxlist = self.maxtuple = self.maxdict = 4

    def repr_instance(self, x: Any, level: int) -> str:
        # The repr of an array or a data frame runs over many lines and says less than its type.
        text = super().repr_instance(x, level)
        return f"<{type(x).__name__}>" if "\n" in text else text


def shown(value: object) -> str:
    r"""Return a short, one-line repr of a received value for an error message.

    Examples
    --------
    >>> shown("300x300x2")
    "'300x300x2'"
    """
    return _Shown().repr(value)
