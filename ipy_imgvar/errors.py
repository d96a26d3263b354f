"""Everything this package raises on purpose.

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

A message is one line: what was received, what is allowed, what to do next. Exceptions of other libraries are mapped
where they leave an engine or a codec, never further out.
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
    """Base of every error of this package.

    Parameters
    ----------
    message
        One line for a person; line breaks in it become spaces, control characters are escaped.
    partial
        The pictures that were finished before the failure, or None when there are none.
    """

    def __init__(self, message: str, *, partial: Variations | None = None) -> None:
        super().__init__(plain(" ".join(message.splitlines())))
        self.partial = partial


class InvalidRequestError(ImageVariationError, ValueError):
    """An argument that no engine could honour; nothing was sent or made.

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
    """A setting (engine, key, address, store) that can't work as it is, in an argument or in the environment."""


class EngineError(ImageVariationError):
    """A failure of an engine to make the pictures."""


class ConnectionFailedError(EngineError):
    """A server that could not be reached or broke off; whether it did any work is unknown."""


class RequestTimeoutError(ConnectionFailedError):
    """A request or run that took longer than its time limit."""


class APIStatusError(EngineError):
    """A server's refusal.

    Parameters
    ----------
    message
        One line for a person.
    status
        The HTTP status code.
    code, param
        The fields of the same name in the API's error object, where the server sent them.
    request_id
        The `x-request-id` header, to quote to the server's operator.
    retry_after_s
        Seconds that the server asks to wait before another try, 0 where it names none; None where another try is no
        use.

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
    """A refusal of the credentials (401 or 403): the key is missing, wrong or not allowed to do this."""


class RateLimitError(APIStatusError):
    """A refusal because of too many requests, or of a quota that is used up (429)."""


class ServerError(APIStatusError):
    """A fault of the server's own (5xx)."""


class BadResponseError(EngineError):
    """An answer that says success and can't be understood; the server may have charged for it."""


class CancelledError(ImageVariationError):
    """A run that the caller's `cancel` event ended; `partial` has the finished pictures."""


class _Shown(reprlib.Repr):
    """A repr of at most a line, also of arrays and data frames."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 80
        self.maxlist = self.maxtuple = self.maxdict = 4

    def repr_instance(self, x: Any, level: int) -> str:
        # The repr of an array or a data frame runs over many lines and says less than its type.
        text = super().repr_instance(x, level)
        return f"<{type(x).__name__}>" if "\n" in text else text


def shown(value: object) -> str:
    r"""Give a short, one-line repr of a received value for an error message.

    Examples
    --------
    >>> shown("300x300x2")
    "'300x300x2'"
    """
    return _Shown().repr(value)
