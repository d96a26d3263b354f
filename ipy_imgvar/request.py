"""A request for variations: its fields, their limits and the rules between them, in one frozen value.

Magic, panel, command line, server and Python all build a `VariationRequest`, so a mistake gets the same message
everywhere. `capabilities` checks what an engine declares (sizes, models, options), `Engine.check` the rest.
"""

from __future__ import annotations

import inspect
import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, ParamSpec, Self, TypedDict, TypeVar, cast, get_args

from ipy_imgvar.errors import InvalidRequestError, shown

if TYPE_CHECKING:
    from ipy_imgvar.images.source import Source

__all__ = [
    "FITS",
    "RESPONSE_FORMATS",
    "STRENGTHS",
    "Fit",
    "RequestArguments",
    "ResponseFormat",
    "Size",
    "VariationRequest",
    "nonempty_text",
    "refuse_beside",
    "whole_number",
    "with_request_fields",
]

P = ParamSpec("P")
T = TypeVar("T")

Size = tuple[int, int]
Fit = Literal["crop", "pad", "stretch", "retarget"]
ResponseFormat = Literal["url", "base64", "byte"]

FITS: Final = cast("tuple[Fit, ...]", get_args(Fit))
#: Every accepted spelling of a response format; PSOpenAI has its own, the API calls base64 `b64_json`.
RESPONSE_FORMATS: Final[Mapping[str, ResponseFormat]] = {
    "url": "url",
    "base64": "base64",
    "b64_json": "base64",
    "byte": "byte",
    "bytes": "byte",
}
#: The words for a strength and their values, 0..1: the distance from the source. The panel's slider shows the numbers.
STRENGTHS: Final[Mapping[str, float]] = {"subtle": 0.2, "medium": 0.5, "strong": 0.85}

#: Pixels of a side, for every engine: an array of 8192 x 8192 RGB floats takes .8 GB. Engines declare less in `Sizes`.
_MAX_SIDE_PX: Final = 8192
#: The largest seed: the largest signed 64-bit integer.
_MAX_SEED: Final = 2**63 - 1
#: Pictures of one request, the API's limit: https://platform.openai.com/docs/api-reference/images/createVariation
_MAX_N: Final = 10
#: Tries after the first, the range of PSOpenAI's -MaxRetryCount.
_MAX_RETRIES: Final = 100
#: Seconds for one request: a day; 0 stands for "no limit", so no caller needs more.
_MAX_TIMEOUT_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class VariationRequest:
    """A checked request for variations of one image.

    `from_arguments` makes it from every accepted spelling; the fields hold the normal form.

    Parameters
    ----------
    image
        The source, or None where a request stands for several images.
    n
        The number of pictures, 1..10.
    size
        Width and height of each picture, in pixels.
    response_format
        The form in which the caller wants the pictures; the client tells a server whose API has the choice.
    user
        An id of the end user, for servers that take one.
    model, prompt
        None lets the engine choose.
    strength
        The distance from the source, 0..1.
    seed
        None draws one; an engine that takes no seed refuses it.
    index
        Make only this picture of the run of `seed`, 1..10, with the same bytes as in the run; the argument `n` may give
        the size of that run, and the request's `n` is 1. None makes the pictures 1 to `n`.
    mask
        The region that must stay, in the image's shape: True, 255 or opaque means keep.
    fit
        The way to adapt an image whose aspect ratio differs from that of `size`.
    options
        The engine's own options; the client checks them against its `Capabilities`.
    timeout
        Seconds for one request; 0 means no limit.
    max_retry_count
        The number of further tries after a 429 or 5xx, 0..100.
    extra_headers, extra_query, extra_body
        Sent to a server beside the client's own. They may hold keys, so neither the repr nor any record has them.
    """

    image: Source | None = None
    n: int = 1
    size: Size = (1024, 1024)
    response_format: ResponseFormat | None = None
    user: str | None = None
    model: str | None = None
    prompt: str | None = None
    strength: float = STRENGTHS["medium"]
    seed: int | None = None
    index: int | None = None
    mask: Source | None = None
    fit: Fit = "crop"
    options: Mapping[str, Any] = field(default_factory=dict)
    timeout: float = 0.0
    max_retry_count: int = 0
    extra_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    extra_query: Mapping[str, Any] = field(default_factory=dict, repr=False)
    extra_body: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_arguments(cls, **arguments: Any) -> Self:
        """Build a request from arguments in any accepted spelling.

        Parameters
        ----------
        **arguments
            The fields of this class; a None means the field's default.

        Raises
        ------
        InvalidRequestError
            For a value that the field doesn't allow, or a name that is no field.

        Examples
        --------
        >>> VariationRequest.from_arguments(size="512x256", strength="subtle").size
        (512, 256)
        """
        names = _names()
        if unknown := sorted(set(arguments) - names):
            hint = '; the client has the engine: Client("patch")' if unknown[0] == "engine" else ""
            raise InvalidRequestError(
                f"unknown argument {shown(unknown[0])}; allowed: {', '.join(sorted(names))}{hint}",
                field=unknown[0],
            )
        given = {name: value for name, value in arguments.items() if value is not None}
        request = cls(
            **{name: _PARSERS[name](value) if name in _PARSERS else value for name, value in given.items()}
        )
        if request.index is not None:
            _check_index(request)
            return replace(request, n=1)
        return request

    @property
    def is_at_hand(self) -> bool:
        """Whether there is an image, and no address has to be fetched to read it and the mask."""
        return (
            self.image is not None
            and self.image.host is None
            and (self.mask is None or self.mask.host is None)
        )

    def settings(self) -> dict[str, Any]:
        """Return the fields that a record may hold: no image, mask, headers, query, body or user.

        The result is JSON-safe as long as `options` is, and `from_arguments(**result)` takes it back.
        """
        private = {"image", "mask", "user", "extra_headers", "extra_query", "extra_body"}
        public = {each.name: getattr(self, each.name) for each in fields(self) if each.name not in private}
        if self.index is None:  # Left out, so that records from before this field existed stay equal.
            del public["index"]
        return public | {"size": f"{self.size[0]}x{self.size[1]}", "options": dict(self.options)}


@cache
def _names() -> frozenset[str]:
    return frozenset(each.name for each in fields(VariationRequest))


class RequestArguments(TypedDict, total=False):
    """The fields of `VariationRequest` without the image, in every spelling that `from_arguments` takes."""

    n: int | str | None
    size: int | str | Size | None
    response_format: str | None
    user: str | None
    model: str | None
    prompt: str | None
    strength: float | str | None
    seed: int | str | None
    index: int | str | None
    mask: Any
    fit: str | None
    options: Mapping[str, Any] | None
    timeout: float | None
    max_retry_count: int | str | None
    extra_headers: Mapping[str, str] | None
    extra_query: Mapping[str, Any] | None
    extra_body: Mapping[str, Any] | None


def with_request_fields(function: Callable[P, T]) -> Callable[P, T]:
    """Add the fields of a request to the signature of a function that takes them as `**arguments`.

    Python's `help` and a notebook's completion read the signature, and ignore a `TypedDict`.
    """
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    shared = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=_shown_default(each))
        for each in fields(VariationRequest)
        if each.name in RequestArguments.__annotations__
    ]
    first = [each for each in own if each.kind is each.POSITIONAL_OR_KEYWORD]
    shown = signature.replace(parameters=[*first, *shared, *own[len(first) :]])
    function.__signature__ = shown  # type: ignore[attr-defined]
    return function


def _shown_default(field: Field[Any]) -> Any:
    """Return a field's default; None for an empty mapping, and for a field whose default the client has."""
    own_of_client = field.name in ("timeout", "max_retry_count")
    return None if own_of_client or field.default is MISSING else field.default


def _check_index(request: VariationRequest) -> None:
    """Refuse an index without the run's seed, or above the size of the run, which an `n` above 1 gives."""
    if request.seed is None:
        raise InvalidRequestError("index repeats one picture of a run: give its seed too", field="index")
    if 1 < request.n < (request.index or 0):
        raise InvalidRequestError(
            f"index is {request.index}, and n is {request.n}; allowed: an index up to n, or no n",
            field="index",
        )


def whole_number(name: str, value: Any, low: int, high: int) -> int:
    """Return `value`, a whole number or its decimal text, if it is in range; else raise `InvalidRequestError`."""
    # At most 20 digits, more than any limit has: `int` raises its own error for a text of thousands.
    is_digits = isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,20}\s*", value)
    number = _index(int(value) if is_digits else value)
    if number is None or not low <= number <= high:
        raise InvalidRequestError(
            f"{name} is {shown(value)}; allowed: a whole number from {low} to {high}", field=name
        )
    return number


def _index(value: Any) -> int | None:
    """Return a whole number of any type, numpy's included; None for any other value."""
    try:
        return None if isinstance(value, bool) else operator.index(value)
    except TypeError:  # Every array has `__index__`, and it raises for most.
        return None


def _real_number(name: str, value: Any, low: float, high: float, allowed: str) -> float:
    """Return `value`, a number or its text, if it is in range; else raise `InvalidRequestError`."""
    try:
        number = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    # Every comparison with nan is false, so nan fails here too.
    if not low <= number <= high:
        raise InvalidRequestError(f"{name} is {shown(value)}; allowed: {allowed}", field=name)
    return number


def _size(value: Any) -> Size:
    """Return width and height in pixels from "512x256", "512", 512 or a pair."""
    text = str(value).strip().lower() if isinstance(value, str) else value
    if isinstance(text, str) and (match := re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)):
        width = int(match[1])
        size = (width, int(match[2] or width))
    elif isinstance(text, (tuple, list)) and len(text) == 2:  # noqa: PLR2004
        size = (_index(text[0]) or 0, _index(text[1]) or 0)
    else:
        side = _index(text) or 0
        size = (side, side)
    if not all(1 <= side <= _MAX_SIDE_PX for side in size):
        raise InvalidRequestError(
            f"size is {shown(value)}; allowed: 256, 512, 1024, or WIDTHxHEIGHT in pixels such as 512x512",
            field="size",
        )
    return size


def _choice(name: str, value: Any, allowed: Mapping[str, Any]) -> Any:
    if isinstance(value, str) and value.strip().lower() in allowed:
        return allowed[value.strip().lower()]
    raise InvalidRequestError(f"{name} is {shown(value)}; allowed: {', '.join(allowed)}", field=name)


def _strength(value: Any) -> float:
    if isinstance(value, str) and value.strip().lower() in STRENGTHS:
        return STRENGTHS[value.strip().lower()]
    return _real_number("strength", value, 0, 1, "subtle, medium, strong or a number from 0 to 1")


def refuse_beside(other: str, why: str, **given: object) -> None:
    """Raise `InvalidRequestError` for the first argument that is given, and has no use beside another one."""
    for name, value in given.items():
        if value is not None:
            raise InvalidRequestError(f"{name} is given beside {other}; give one of them: {why}", field=name)


def nonempty_text(name: str, value: Any) -> str:
    """Return `value` if it is text with more than spaces in it; else raise `InvalidRequestError`."""
    if isinstance(value, str) and value.strip():
        return value
    received = "empty" if isinstance(value, str) else shown(value)
    raise InvalidRequestError(
        f"{name} is {received}; allowed: text; leave {name} out to not send one", field=name
    )


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    # The message leaves the values out: headers and bodies may hold keys.
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return dict(value)
    raise InvalidRequestError(
        f"{name} is a {type(value).__name__}; allowed: a dictionary with text keys", field=name
    )


_TIMEOUTS: Final = f"seconds from 0 (no limit) to {_MAX_TIMEOUT_S}"
#: Turns a field's accepted spellings into its normal form; a field without a parser is taken as it is.
_PARSERS: Final[Mapping[str, Any]] = {
    "n": lambda value: whole_number("n", value, 1, _MAX_N),
    "size": _size,
    "response_format": lambda value: _choice("response_format", value, RESPONSE_FORMATS),
    "user": lambda value: nonempty_text("user", value),
    "model": lambda value: nonempty_text("model", value),
    "prompt": lambda value: nonempty_text("prompt", value),
    "strength": _strength,
    "seed": lambda value: whole_number("seed", value, 0, _MAX_SEED),
    "index": lambda value: whole_number("index", value, 1, _MAX_N),
    "fit": lambda value: _choice("fit", value, {name: name for name in FITS}),
    "options": lambda value: _mapping("options", value),
    "timeout": lambda value: _real_number("timeout", value, 0, _MAX_TIMEOUT_S, _TIMEOUTS),
    "max_retry_count": lambda value: whole_number("max_retry_count", value, 0, _MAX_RETRIES),
    "extra_headers": lambda value: _mapping("extra_headers", value),
    "extra_query": lambda value: _mapping("extra_query", value),
    "extra_body": lambda value: _mapping("extra_body", value),
}
