"""The token counts of servers, added up: the one implementation for a run, an item of a bulk run, and a bulk run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["add_usage", "json_safe"]

#: Levels of nesting that are read; deeper parts are left out. Chosen above the two or three that servers have.
_MOST_LEVELS = 8
#: The bound of whole numbers, those of 64 bits with a sign; larger ones are left out. Python can't add very large ones
#: to a float, nor write those of over 4300 digits as text.
_LARGEST = 2**63
_NUMBERS = frozenset((int, float, bool, type(None)))


def add_usage(total: dict[str, Any], usage: Mapping[str, Any]) -> None:
    """Add the counts of one request to a sum, in place.

    Numbers are added, also those in nested mappings such as `input_tokens_details`; any other value replaces the
    earlier one. NaN and infinity are left out, since JSON can't hold them.

    Examples
    --------
    >>> total = {"total_tokens": 5}
    >>> add_usage(total, {"total_tokens": 7, "details": {"text": 1}})
    >>> total
    {'total_tokens': 12, 'details': {'text': 1}}
    """
    _add(total, json_safe(usage) or {})


def _add(total: dict[str, Any], usage: Mapping[str, Any]) -> None:
    for name, value in usage.items():
        earlier = total.get(name)
        if isinstance(value, dict):
            inner = dict(earlier) if isinstance(earlier, dict) else {}
            _add(inner, value)
            total[name] = inner
        elif _is_number(value) and _is_number(earlier):
            summed = value + earlier
            total[name] = summed if math.isfinite(summed) and abs(summed) < _LARGEST else earlier
        else:
            total[name] = value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def json_safe(value: Any, clean: Callable[[str], str] = str, levels: int = _MOST_LEVELS) -> Any:
    """Return a value from a server's JSON without the parts that can't be added up and written again.

    These parts are NaN, infinity, whole numbers of more than 64 bits, and values below `levels` of nesting. A value of
    that kind becomes None, and in a mapping or a list it is left out. `clean` is called with every text and name.
    """
    # The usual kinds first: a check against an abstract class takes as long as all the rest, and a history has many.
    kind = type(value)
    if kind is str:
        return clean(value)
    if kind is dict or isinstance(value, Mapping):
        return _safe_fields(value, clean, levels)
    if isinstance(value, (list, tuple)):
        entries = [json_safe(each, clean, levels - 1) for each in value] if levels else []
        return [each for each in entries if each is not None]
    return clean(value) if isinstance(value, str) else _safe_number(value)


def _safe_fields(value: Mapping[Any, Any], clean: Callable[[str], str], levels: int) -> dict[str, Any]:
    found = {}
    for name, each in value.items() if levels else ():
        kind = type(each)
        if kind is str:
            safe = clean(each)
        elif kind in _NUMBERS:
            safe = _safe_number(each)
        else:
            safe = json_safe(each, clean, levels - 1)
        if safe is not None:
            found[clean(str(name))] = safe
    return found


def _safe_number(value: Any) -> Any:
    """Return a number, true or false that JSON can hold and sums can take; None for any other value."""
    if isinstance(value, int):
        return value if -_LARGEST < value < _LARGEST else None
    return value if isinstance(value, float) and math.isfinite(value) else None
