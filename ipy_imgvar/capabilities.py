"""Checks of a request against an engine's `Capabilities`, with the same messages for every engine.

Pure functions; `Engine.check` has the rules that `Capabilities` can't express.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.request import STRENGTHS, whole_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipy_imgvar.engine import Capabilities, Engine, EngineOption, Sizes
    from ipy_imgvar.request import Size, VariationRequest

__all__ = [
    "check",
    "check_features",
    "check_model",
    "check_size",
    "checked",
    "checked_options",
    "option_value",
]

#: The request's fields that need a feature, with the message's advice, in the order of the checks.
_FEATURES: Final[Mapping[str, str]] = {
    "mask": "leave it out",
    "prompt": "leave it out",
    "seed": "leave it out: this engine draws its own",
    "index": "leave it out: without a seed no picture can be made again",
}
#: The accepted words of an option of type `bool`, in lower case.
_WORDS: Final[Mapping[str, bool]] = {
    "true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
#: A text that becomes a number in an option of type `object`; 18 digits always fit 64 bits.
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
#: The bounds of a number whose option declares none: those of a signed 64-bit integer.
_LEAST, _MOST = -(2**63), 2**63 - 1


def checked(request: VariationRequest, engine: Engine) -> VariationRequest:
    """Return a request that has passed `check` and the engine's own check.

    Raises
    ------
    InvalidRequestError
        For a field that the engine can't honour.
    """
    request = check(request, engine.capabilities(request.model), engine.name)
    engine.check(request)
    return request


def check(request: VariationRequest, capabilities: Capabilities, engine: str) -> VariationRequest:
    """Return the request with its options converted to the types that the engine declares.

    Parameters
    ----------
    request
        With or without an image.
    capabilities
        Those of the engine with the request's model.
    engine
        The engine's name, for messages.

    Raises
    ------
    InvalidRequestError
        For a feature, model, size or option that the capabilities lack.
    """
    check_features({name: getattr(request, name) for name in (*_FEATURES, "model")}, capabilities, engine)
    # Every request has a strength, so only a value beside the default shows that the caller chose it.
    if request.strength != STRENGTHS["medium"] and "strength" not in capabilities.features:
        raise _without("strength", engine)
    check_size(request.size, capabilities.sizes, f"the engine {engine} makes")
    check_model(request.model, capabilities, engine)
    if not request.options:
        return request
    return replace(request, options=checked_options(request.options, capabilities, engine))


def check_model(model: str | None, capabilities: Capabilities, engine: str) -> None:
    """Raise `InvalidRequestError` for a model that the engine does not have; see `check`."""
    if not capabilities.takes_model(model):
        raise InvalidRequestError(
            f"model is {shown(model)}; the engine {engine} has only {', '.join(capabilities.models)}; leave it out",
            field="model",
        )


def check_features(arguments: Mapping[str, Any], capabilities: Capabilities, engine: str) -> None:
    """Raise `InvalidRequestError` for a mask, prompt, seed or index if the engine lacks the feature.

    Parameters
    ----------
    arguments
        Arguments of a request by name, in any spelling; None for one that the caller left out.
    capabilities, engine
        See `check`.
    """
    for name in _FEATURES:
        feature = "seed" if name == "index" else name
        if arguments.get(name) is not None and feature not in capabilities.features:
            model = arguments.get("model")
            raise _without(name, engine if model is None else f"{engine} with the model {shown(model)}")


def _without(name: str, engine: str) -> InvalidRequestError:
    """Return the refusal of a field whose feature the engine lacks."""
    article = "an" if name == "index" else "a"
    remedy = _FEATURES.get(name, "leave it out")
    return InvalidRequestError(
        f"the engine {engine} can't use {article} {name}; {remedy}, or choose another engine", field=name
    )


def check_size(size: Size, sizes: Sizes, maker: str) -> None:
    """Raise `InvalidRequestError` for a size outside of the rules.

    Parameters
    ----------
    size
        Width and height in pixels.
    sizes
        The allowed sizes.
    maker
        The subject and verb of the message's second part, such as "the engine patch makes".
    """
    if size in sizes.also or size in sizes.fixed or (not sizes.fixed and _follows(size, sizes)):
        return
    raise InvalidRequestError(f"size is {_written(size)}; {maker} {_described(sizes)}", field="size")


def _follows(size: Size, sizes: Sizes) -> bool:
    """Return whether a size follows every rule."""
    width, height = size
    return (
        min(size) >= sizes.least
        and (sizes.most is None or max(size) <= sizes.most)
        and width % sizes.multiple == height % sizes.multiple == 0
        and (sizes.ratio is None or max(size) <= sizes.ratio * min(size))
        and (sizes.pixels is None or width * height <= sizes.pixels)
    )


def _described(sizes: Sizes) -> str:
    """Return the rules in words, for a message."""
    if sizes.fixed:
        return ", ".join(map(_written, (*sizes.fixed, *sizes.also)))
    sides = f"sides of {sizes.least} to {sizes.most} pixels" if sizes.most is not None else "sides"
    if sizes.most is None and sizes.least > 1:
        sides = f"sides of at least {sizes.least} pixels"
    rules = [sides + (f" divisible by {sizes.multiple}" if sizes.multiple > 1 else "")]
    if sizes.ratio is not None:
        rules.append(f"at most {sizes.ratio:g}:1")
    if sizes.pixels is not None:
        rules.append(f"at most {sizes.pixels:,} pixels in all")
    if sizes.also:
        rules.append(f"and {', '.join(map(_written, sizes.also))}")
    return ", ".join(rules)


def _written(size: Size) -> str:
    return f"{size[0]}x{size[1]}"


def checked_options(given: Mapping[str, Any], capabilities: Capabilities, engine: str) -> dict[str, Any]:
    """Return options converted to the types that the engine declares.

    Parameters
    ----------
    given
        Values by name, of any type.
    capabilities, engine
        See `check`.

    Raises
    ------
    InvalidRequestError
        For an option that the engine doesn't declare, or a value that is not allowed.
    """
    known = {option.name: option for option in capabilities.options}
    for name in given:
        if name not in known:
            allowed = f"allowed: {', '.join(known)}" if known else "it has none; leave it out"
            more = "; --extra-body sends anything else" if capabilities.hosted else ""
            raise InvalidRequestError(
                f"option {shown(name)} is unknown to the engine {engine}; {allowed}{more}", field="options"
            )
    return {name: option_value(known[name], value) for name, value in given.items()}


def option_value(option: EngineOption, value: Any) -> Any:
    """Return an option's value converted to its declared type.

    Raises
    ------
    InvalidRequestError
        If the value can't be converted, or is not allowed.
    """
    if option.choices:
        word = str(value).strip().lower()
        converted = word if word in option.choices else None
    else:
        converted = _CONVERSIONS[option.type](value, *(option.range or (_LEAST, _MOST)))
    if converted is None:
        raise InvalidRequestError(
            f"option {option.name} is {shown(value)}; allowed: {option.allowed}", field="options"
        )
    return converted


def _bool(value: Any, *_: float) -> bool | None:
    return _WORDS.get(str(value).strip().lower())


def _int(value: Any, low: float, high: float) -> int | None:
    try:
        return whole_number("option", value, math.ceil(low), math.floor(high))
    except InvalidRequestError:
        return None


def _float(value: Any, low: float, high: float) -> float | None:
    try:
        number = float("nan" if isinstance(value, bool) else value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if low <= number <= high else None


def _str(value: Any, *_: float) -> str | None:
    return value if isinstance(value, str) else str(value) if isinstance(value, (int, float)) else None


def _anything(value: Any, *_: float) -> Any:
    return int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value


#: Converts a value of an option, given its range, or returns None if it can't; by the option's type.
_CONVERSIONS: Final[Mapping[type, Any]] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    object: _anything,
}
