"""How long to wait before another try, where the server names no time: the one rule for a request and a bulk run."""

from __future__ import annotations

import random

__all__ = ["backoff_s", "jitter"]


def backoff_s(attempt: int, jitter: float, longest_s: float) -> float:
    """Return the seconds to wait: they double with each attempt, up to a bound.

    Parameters
    ----------
    attempt
        0 before the first retry, which waits about a second.
    jitter
        0.8..1.2, see `jitter`.
    longest_s
        The bound, in seconds.

    Examples
    --------
    >>> [backoff_s(attempt, 1.0, 60.0) for attempt in (0, 1, 5, 6)]
    [1.0, 2.0, 32.0, 60.0]
    """
    return min(2.0**attempt * jitter, longest_s)


def jitter() -> float:
    """Return a random factor of 0.8..1.2: clients that were refused at the same time come back at different times."""
    return random.uniform(0.8, 1.2)  # noqa: S311 - no secret
