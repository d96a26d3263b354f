"""Whether and when a refused request is sent again: pure functions of the answer and the attempt.

The rules are PSOpenAI's, with its default of no retry. A request whose answer broke off, timed out or never came is
not sent again: the server may have made the pictures, and charged for them.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from ipy_imgvar.network.backoff import backoff_s

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["delay_s", "is_quota", "ordered_s", "should_retry"]

#: Too Many Requests (RFC 6585, section 4).
_TOO_MANY: Final = 429
_SERVER_ERRORS: Final = range(500, 600)
#: Seconds that a server may ask to wait; a longer wait is ignored in favour of our own back-off (as in PSOpenAI).
_LONGEST_ORDER_S: Final = 60.0
#: Seconds between two tries at most, where the server names no wait (as in PSOpenAI).
_LONGEST_BACKOFF_S: Final = 129.0


def should_retry(status: int, headers: Mapping[str, str], message: str) -> bool:
    """Return whether to send a request again: as the server's header says, else for 429 (not for quotas) and 5xx.

    Parameters
    ----------
    status
        The HTTP status code.
    headers
        The answer's headers; upper and lower case are the same in names.
    message
        The server's message and its error code.
    """
    word = _header(headers, "x-should-retry").lower()
    if word in ("true", "false"):
        return word == "true"
    if status == _TOO_MANY:
        return not is_quota(message)
    return status in _SERVER_ERRORS


def is_quota(message: str) -> bool:
    """Return whether a 429 means that the account's quota is used up (`insufficient_quota`), so that no retry helps."""
    # Azure's limit of requests a minute resets by itself, but its message has a link to aka.ms/oai/quotaincrease.
    return "quota" in message.lower().replace("quotaincrease", "")


def delay_s(headers: Mapping[str, str], attempt: int, jitter: float, now: datetime | None = None) -> float:
    """Return the seconds to wait before a retry: as the server asks, up to a minute, else growing with each attempt.

    Parameters
    ----------
    headers
        The answer's headers. `retry-after-ms`, else `retry-after` in seconds or as an HTTP date (RFC 9110, section
        10.2.3), is obeyed when it is above 0 and at most 60 s.
    attempt
        0 before the first retry.
    jitter
        The random part of the wait; see `backoff.jitter`.
    now
        The time that an HTTP date is compared with; None takes the current time.
    """
    return ordered_s(headers, now) or backoff_s(attempt, jitter, _LONGEST_BACKOFF_S)


def ordered_s(headers: Mapping[str, str], now: datetime | None = None) -> float:
    """Return the seconds that the server asks to wait, or 0 where it asks for no wait that `delay_s` obeys."""
    ordered = _ordered_s(headers, now or datetime.now(UTC))
    return ordered if ordered is not None and 0 < ordered <= _LONGEST_ORDER_S else 0.0


def _ordered_s(headers: Mapping[str, str], now: datetime) -> float | None:
    moment = _header(headers, "retry-after")
    for text, unit_s in ((_header(headers, "retry-after-ms"), 0.001), (moment, 1.0)):
        with suppress(ValueError):
            return float(text) * unit_s
    try:
        when = parsedate_to_datetime(moment)
    except (ValueError, OverflowError):  # A year of twenty digits overflows.
        return None
    return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - now).total_seconds()


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value.strip() for key, value in headers.items() if key.lower() == name), "")
