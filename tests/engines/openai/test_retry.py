"""Whether and when to ask again: pure functions of the answer and the attempt."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.openai.retry import delay_s, should_retry

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "headers", "message", "expected"),
    [
        (429, {}, "Rate limit reached", True),
        (429, {}, "You exceeded your current QUOTA", False),
        (
            429,
            {},
            "Please retry after 9 seconds. Go to https://aka.ms/oai/quotaincrease to increase it",
            True,
        ),
        (429, {"x-should-retry": "true"}, "quota", True),
        (500, {}, "", True),
        (599, {}, "", True),
        (600, {}, "", False),
        (500, {"X-Should-Retry": "False"}, "", False),
        (400, {"x-should-retry": "true"}, "", True),
        (503, {"x-should-retry": "perhaps"}, "", True),
        *[(status, {}, "", False) for status in (400, 401, 403, 404, 408, 409, 422, 499)],
    ],
)
def test_should_retry(status, headers, message, expected):
    """The server's word decides; without it a 429 that is no quota, and every 5xx."""
    assert should_retry(status, headers, message) is expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After-Ms": "1500"}, 1.5),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "20", "retry-after": "7"}, 0.02),
        ({"retry-after": "60"}, 60),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=9), usegmt=True)}, 9),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 -0000"}, 30),
        *[
            ({"retry-after": odd}, 2.0)
            for odd in ("0", "-3", "61", "nan", "inf", "", "soon", "99999999999999999999")
        ],
        ({"retry-after": f"Sun, 22 Nov {9**20} 12:00:30 GMT"}, 2.0),
        ({"retry-after-ms": "x"}, 2.0),
        ({"retry-after-ms": "x", "retry-after": "3"}, 3),
        ({"retry-after-ms": "0", "retry-after": "3"}, 2.0),
        ({"retry-after": format_datetime(NOW - timedelta(seconds=9), usegmt=True)}, 2.0),
        ({}, 2.0),
    ],
)
def test_delay(headers, expected):
    """Milliseconds, seconds or a date are obeyed up to a minute; anything else gives the backoff."""
    assert delay_s(headers, 1, 1.0, NOW) == pytest.approx(expected)


@given(attempt=st.integers(0, 100), jitter=st.floats(0.8, 1.2), value=st.text(max_size=30))
def test_delay_is_bounded(attempt, jitter, value):
    """Whatever a header says, the wait is above 0 and at most 129 s."""
    assert 0 < delay_s({"retry-after": value, "retry-after-ms": value}, attempt, jitter, NOW) <= 129


def test_backoff():
    """The wait doubles from about a second, with a spread, to a bound."""
    assert [delay_s({}, attempt, 1.0) for attempt in range(9)] == [1, 2, 4, 8, 16, 32, 64, 128, 129]
    assert delay_s({}, 0, 0.8) == 0.8
