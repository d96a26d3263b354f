"""The axes of a sweep as a caller gives them: which names there are, and the values of each, read once."""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import ImageVariationError, InvalidRequestError, shown
from ipy_imgvar.plain import plain
from ipy_imgvar.request import VariationRequest
from ipy_imgvar.results.axes import same
from ipy_imgvar.results.usage import json_safe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "FIELDS",
    "check_count",
    "check_distinct",
    "check_names",
    "normal_option",
    "ordered",
    "read_axes",
    "read_values",
]

#: The fields of a request, and the engine, that a sweep can vary beside the options of its engine.
FIELDS: Final = ("strength", "seed", "engine", "model", "size", "prompt", "fit")
#: Pictures of a sweep at most: each is a request that is checked before the first one runs.
_MOST_PICTURES: Final = 10_000
#: Names that callers may take for an axis, and that are given once instead.
_GIVEN_ONCE: Final = {each.name for each in fields(VariationRequest)} - set(FIELDS) | {"images"}
#: Characters of the text that stands for a value which JSON can't hold.
_MOST_CHARS: Final = 200


def read_axes(over: Any, given: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the values of each axis as they were given, read once.

    Parameters
    ----------
    over
        What a caller passed as `over`.
    given
        The arguments beside it.

    Raises
    ------
    InvalidRequestError
        If it is no mapping of names to finite iterables with values, or a name is among `given` too.
    """
    if not isinstance(over, Mapping):
        raise _refused(
            f"over is {shown(over)}; allowed: a dictionary of axes and their values, such as "
            "{'strength': [.2, .5], 'seed': range(4)}"
        )
    if not over:
        raise _refused("the sweep has no axis; allowed: such as over={'strength': [.2, .5]}")
    for name in over:
        if not isinstance(name, str):
            raise _refused(f"an axis is {shown(name)}; allowed: names such as strength and seed, as text")
        if name in _GIVEN_ONCE:
            advice = "name the option itself" if name == "options" else f"give {name} once, beside over"
            raise _refused(f"{name} can't be an axis: {advice}; allowed: {', '.join(FIELDS)}, or an option")
    axes = {name: read_values(name, values) for name, values in over.items()}
    options = given.get("options")
    taken = {name for name, value in given.items() if value is not None}
    taken |= set(options) if isinstance(options, Mapping) else set()
    for name in axes:
        if name in taken:
            raise InvalidRequestError(
                f"{name} is given both as an axis of the sweep and on its own; give it once", field=name
            )
    return axes


def read_values(name: str, values: Any) -> list[Any]:
    """Return an axis's values, numpy's scalars as Python's own.

    Parameters
    ----------
    name
        The axis.
    values
        An iterable; no more of an endless one is read than a sweep may have pictures.

    Raises
    ------
    InvalidRequestError
        If it is no iterable or a text, can't be read, or has no values, too many, or None among them.
    """
    allowed = "allowed: a list, a range or another iterable of values"
    if isinstance(values, (str, bytes, bytearray)):
        raise _refused(f"the axis {plain(name)} is {shown(values)}; {allowed}")
    try:
        iterator = iter(values)
    except TypeError:
        raise _refused(f"the axis {plain(name)} is {shown(values)}; {allowed}") from None
    try:
        # A set has another order in each process, and a sweep that goes on needs its own.
        found = (
            ordered(values)
            if isinstance(values, (set, frozenset))
            else list(itertools.islice(iterator, _MOST_PICTURES + 1))
        )
    except ImageVariationError:
        raise
    except Exception as exc:  # A foreign iterable may raise anything.
        raise _refused(
            f"the values of {plain(name)} can't be read ({type(exc).__name__}: {exc}); {allowed}"
        ) from exc
    if not found:
        raise _refused(f"the axis {plain(name)} has no values; give at least one")
    if len(found) > _MOST_PICTURES:
        raise _refused(f"the axis {plain(name)} has more than {_MOST_PICTURES:,} values; {_most()}")
    for value in found:
        if value is None:
            raise _refused(
                f"the axis {plain(name)} has the value None, which means the default; give the value that you mean"
            )
    return [_own(value) for value in found]


def _own(value: Any) -> Any:
    """Return numpy's scalars as Python's own, and any other value as it is."""
    is_scalar = type(value).__module__ == "numpy" and getattr(value, "shape", None) == ()
    return value.item() if is_scalar and hasattr(value, "item") else value


def ordered(values: Iterable[Any]) -> list[Any]:
    """Return a set's elements in one order: each process gives them in another one."""
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=repr)


def check_names(names: Iterable[str], options: Sequence[str]) -> None:
    """Refuse a name that is neither a field nor an option of one of the engines.

    Parameters
    ----------
    names
        The axes.
    options
        The options that the engines of the sweep declare.
    """
    allowed = [*FIELDS, *dict.fromkeys(options)]
    for name in names:
        if name not in allowed:
            near = difflib.get_close_matches(name.lower(), allowed, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise _refused(f"the axis {shown(name)} is unknown; allowed: {', '.join(allowed)}{hint}")


def check_count(count: int) -> None:
    """Refuse a sweep of too many pictures."""
    if count > _MOST_PICTURES:
        raise _refused(f"the sweep has {count:,} pictures; {_most()}")


def _most() -> str:
    return (
        f"allowed: at most {_MOST_PICTURES:,} pictures; give fewer values, or use Client.map for many images"
    )


def check_distinct(name: str, given: Sequence[Any], normal: Sequence[Any]) -> None:
    """Refuse two values of an axis that are the same in normal form, such as .5 and "medium".

    Parameters
    ----------
    name
        The axis.
    given, normal
        Its values as the caller wrote them, and in normal form.
    """
    seen: dict[str, Any] = {}
    for written, value in zip(given, normal, strict=True):
        if same(value) in seen:
            earlier, later = shown(seen[same(value)]), shown(written)
            both = f"{later} twice" if earlier == later else f"{earlier} and {later}, both {shown(value)}"
            raise _refused(f"the axis {name} has {both}; give each value once")
        seen[same(value)] = written


def normal_option(value: Any) -> Any:
    """Return an option's value as JSON can hold it; a text stands for what it can't.

    Examples
    --------
    >>> normal_option((1, 2)), normal_option(b"key"), normal_option(False)
    ([1, 2], "b'key'", False)
    """
    try:
        restored = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        restored = None
    # What a record is read back as: `json_safe` leaves out None, and what lies more than eight levels deep.
    if restored is not None and json_safe(restored) == restored:
        return restored
    text = plain(str(value))
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}..."


def _refused(text: str) -> InvalidRequestError:
    return InvalidRequestError(text, field="over")
