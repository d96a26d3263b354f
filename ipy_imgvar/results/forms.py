"""The forms in which a run's pictures are returned: url, base64, byte, image or array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.request import RESPONSE_FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ipy_imgvar.results.variations import Variation, Variations

__all__ = ["converted", "form_of"]

_CONVERTERS: Final[Mapping[str, Callable[[Variation], Any]]] = {
    "url": lambda each: each.url,
    "base64": lambda each: each.base64,
    "byte": lambda each: each.bytes,
    "image": lambda each: each.image,
    "array": lambda each: each.to_numpy(),
}


def form_of(value: Any) -> str:
    """Return the normal name of a response format: url, base64, byte, image or array.

    Raises
    ------
    InvalidRequestError
        If the value is no response format.
    """
    name = value.strip().lower() if isinstance(value, str) else ""
    name = RESPONSE_FORMATS.get(name, name)
    if name not in _CONVERTERS:
        allowed = ", ".join([*RESPONSE_FORMATS, "image", "array"])
        raise InvalidRequestError(
            f"response_format is {shown(value)}; allowed: {allowed}", field="response_format"
        )
    return name


def converted(pictures: Variations, form: str, *, single: bool) -> Any:
    """Return the pictures in one of the forms that `form_of` returns.

    Parameters
    ----------
    pictures
        The result of a run.
    form
        As `form_of` returns it.
    single
        The caller asked for one picture: return its value, not a list of one.
    """
    values = [_CONVERTERS[form](each) for each in pictures]
    return values[0] if single and len(values) == 1 else values
