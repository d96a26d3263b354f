"""The values of a sweep's axes: compared, and in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ipy_imgvar.plain import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["same", "shortened", "word", "words"]


def same(value: Any) -> str:
    """Return a text that is equal for equal values of an axis only: 1, 1.0 and true differ, as they do in JSON."""
    return json.dumps(value, sort_keys=True, default=str)


def words(combination: Mapping[str, Any]) -> str:
    """Return a combination in words.

    Examples
    --------
    >>> words({"strength": 0.2, "seed": 1})
    'strength 0.2, seed 1'
    """
    return ", ".join(f"{plain(name)} {word(value)}" for name, value in combination.items())


def word(value: Any) -> str:
    """Return a value of an axis as text for a person: whole and short numbers, true and false in small letters."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else plain(str(value))


def shortened(text: str, most_chars: int) -> str:
    """Return a text with at most so many characters; one that was cut ends with an ellipsis.

    Examples
    --------
    >>> shortened("a red cat on a wall", 10)
    'a red cat…'
    """
    return text if len(text) <= most_chars else text[: most_chars - 1].rstrip() + "…"
