"""Whether and when a refused request is sent again: a pure function of the answer and the attempt.

The rules are those of PSOpenAI, with its default of no retry at all. A request whose answer broke off, timed out or
never came is not sent again: the server may have made, and charged for, what it was asked.
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

_TOO_MANY: Final = 429
_SERVER_ERRORS: Final = range(500, 600)
_LONGEST_ORDER_S: Final = 60.0
_LONGEST_BACKOFF_S: Final = 129.0


def should_retry(status: int, headers: Mapping[str, str], message: str) -> bool:
    """Return whether an answer invites another try: the server's word, else 429 (but no quota) and 5xx.

    Parameters
    ----------
    status
        The HTTP status code.
    headers
        With names in any case.
    message
        The server's message.
    """
    word = _header(headers, "x-should-retry").lower()
    if word in ("true", "false"):
        return word == "true"
    if status == _TOO_MANY:
        return not is_quota(message)
    return status in _SERVER_ERRORS


def is_quota(message: str) -> bool:
    """Return whether a 429 means that the account has nothing left (`insufficient_quota`), so that no try is of use."""
    # Azure's limit of requests a minute passes by itself, and its message ends with a link to aka.ms/oai/quotaincrease.
    return "quota" in message.lower().replace("quotaincrease", "")


def delay_s(headers: Mapping[str, str], attempt: int, jitter: float, now: datetime | None = None) -> float:
    """Return how many seconds to wait: as the server says, up to a minute, else longer and longer.

    Parameters
    ----------
    headers
        `retry-after-ms`, else `retry-after` in seconds or as an HTTP date, is obeyed when it is above 0 and at most
        60 s.
    attempt
        0 before the first retry.
    jitter
        See `backoff.jitter`.
    now
        None takes the clock's.
    """
    return ordered_s(headers, now) or backoff_s(attempt, jitter, _LONGEST_BACKOFF_S)


def ordered_s(headers: Mapping[str, str], now: datetime | None = None) -> float:
    """Return how many seconds the server asks to wait, or 0 where it names none that is obeyed; see `delay_s`."""
    ordered = _ordered_s(headers, now or datetime.now(UTC))
    return ordered if ordered is not None and 0 < ordered <= _LONGEST_ORDER_S else 0.0


def _ordered_s(headers: Mapping[str, str], now: datetime) -> float | None:
    moment = _header(headers, "retry-after")
    for text, unit_s in ((_header(headers, "retry-after-ms"), 0.001), (moment, 1.0)):
        with suppress(ValueError):
            return float(text) * unit_s
    try:
        when = parsedate_to_datetime(moment)
    except (ValueError, OverflowError):  # The latter for a year of twenty digits.
        return None
    return ((when if when.tzinfo else when.replace(tzinfo=UTC)) - now).total_seconds()


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value.strip() for key, value in headers.items() if key.lower() == name), "")
