"""Turns a form into a checked request: reads the API's fields and the engine's options, and warns of each without use.

It opens no socket and no file. `Client.request` has the rules that all interfaces share.
"""

from __future__ import annotations

from collections import ChainMap
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from ipy_imgvar.capabilities import option_value
from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.images.formats import FORMATS
from ipy_imgvar.images.source import Source
from ipy_imgvar.request import VariationRequest, nonempty_text, whole_number
from ipy_imgvar.server.refusals import Refusal, too_many_images

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ipy_imgvar.engine import EngineOption
    from ipy_imgvar.server.body import Form
    from ipy_imgvar.server.offer import Offer

__all__ = ["ImageRequest", "Route", "request_of"]

Route = Literal["variations", "edits"]

#: Fields that are arguments of `Client.request` by the same name; the last four are ours, not the API's. A name of the
#: API or of these means that, also where an engine has an option of the same name.
_SHARED: Final = ("n", "size", "user", "model", "prompt", "seed", "index", "strength", "fit")
#: The values of `response_format`.
_WHERE_SHOWN: Final = {"url": "url", "b64_json": "b64_json"}
#: The file name extensions of the values of `output_format`.
_EXTENSIONS: Final = {each.api_name: each.extensions[0] for each in FORMATS if each.is_written}
#: Fields that only gpt-image models know, and their values; they become options of engines that have these.
_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "quality": ("auto", "standard", "low", "medium", "high", "xhigh", "max"),
    "background": ("auto", "transparent", "opaque"),
    "input_fidelity": ("low", "high"),
    "moderation": ("auto", "low"),
}
#: Whole numbers and their ranges in the API: a quality in per cent, and the number of unfinished states of a stream.
_NUMBERS: Final = {"output_compression": (0, 100), "partial_images": (0, 3)}
#: Warnings of an option that is left out.
_NOT_FOR_CLIENTS: Final = "{} is not used: a client of this server can't set it"
_UNKNOWN_TO_ENGINE: Final = "{} is not used: the engine {} does not know it"
#: Unknown fields that a warning names; a client may send hundreds.
_MAX_NAMES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """One checked request, and the form of its answer.

    Parameters
    ----------
    request
        The engine's request. Its image and mask are still encoded and unchecked.
    as_url
        Whether the answer has addresses in place of pictures.
    extension
        The format of the pictures, as a file name extension.
    stream
        Whether the answer is a stream of events.
    partial_images
        The most unfinished states that a stream sends.
    warnings
        One line for each field that was not used.
    """

    request: VariationRequest
    as_url: bool = False
    extension: str = ".png"
    stream: bool = False
    partial_images: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Options:
    """A client's options by name.

    Parameters
    ----------
    own
        Those of the engine, which it must honour or refuse.
    usual
        Those of gpt-image models, which clients send to every server, so that they may be left out.
    declared
        All that the engine has.
    """

    own: Mapping[str, Any]
    usual: Mapping[str, Any]
    declared: Mapping[str, EngineOption]


def request_of(form: Form, route: Route, offer: Offer) -> ImageRequest:
    """Read a form, and leave out, with a warning, fields that ordinary clients send and the engine can't use.

    A prompt, the options of gpt-image models and OpenAI's model names are left out. A seed, a mask, a size or any other
    model that the server does not have is an error. A field that has the name of one of the engine's options sets it,
    unless the option is trusted.

    Raises
    ------
    Refusal, InvalidRequestError
        For a field that is missing or wrong, or that the engine refuses.
    """
    values = {name: value for name, value in form.values.items() if value not in (None, "")}
    warnings: list[str] = []
    _check_present(form, values, route)
    if str(values.get("size", "")).lower() == "auto":
        del values["size"]
    usual = _usual_options(values)
    numbers = {
        name: whole_number(name, values.pop(name), *bounds)
        for name, bounds in _NUMBERS.items()
        if name in values
    }
    if numbers.get("output_compression", 100) != 100:  # noqa: PLR2004 - per cent, the best quality
        warnings.append("output_compression is not used: pictures are encoded at one quality")
    extension = _EXTENSIONS[_choice("output_format", values.pop("output_format", "png"), _EXTENSIONS)]
    # The API's own defaults: dall-e-2 answers with addresses; gpt-image models have none.
    classic = route == "variations" or values.get("model") == "dall-e-2"
    shape = _choice(
        "response_format", values.pop("response_format", "url" if classic else "b64_json"), _WHERE_SHOWN
    )
    stream = route == "edits" and _flag("stream", values.pop("stream", False))
    arguments: dict[str, Any] = {name: values.pop(name) for name in _SHARED if name in values}
    _leave_out(arguments, offer, warnings)
    declared = {option.name: option for option in offer.capabilities(_model(arguments)).options}
    own = _own_options(values, declared, warnings)
    _warn_of_unknown(values, warnings)
    options = _Options(own, _usable(usual, declared, offer.engine.name, warnings), declared)
    return ImageRequest(
        request=_request(form, arguments, options, offer, warnings),
        as_url=shape == "url" and not stream,
        extension=extension,
        stream=stream,
        partial_images=numbers.get("partial_images", 0),
        warnings=warnings,
    )


def _check_present(form: Form, values: Mapping[str, Any], route: Route) -> None:
    if not form.images:
        raise Refusal(
            400,
            "image is missing; send a file, as curl does with -F image=@cat.png",
            code="missing_required_parameter",
            param="image",
        )
    if len(form.images) > 1:
        raise too_many_images(len(form.images))
    if route == "edits" and "prompt" not in values:
        raise Refusal(
            400,
            "prompt is missing; an edit needs one, /v1/images/variations needs none",
            code="missing_required_parameter",
            param="prompt",
        )
    if route == "variations" and form.mask is not None:
        raise Refusal(
            400,
            "mask is given; /v1/images/edits takes one, a variation none",
            code="unknown_parameter",
            param="mask",
        )


def _usual_options(values: dict[str, Any]) -> dict[str, str]:
    """Take the options of gpt-image models out of a form; "auto" leaves one to the engine."""
    options = {}
    for name, allowed in _OPTIONS.items():
        if name in values:
            options[name] = _choice(name, values.pop(name), dict.fromkeys(allowed))
    return {name: value for name, value in options.items() if value != "auto"}


def _warn_of_unknown(values: Mapping[str, Any], warnings: list[str]) -> None:
    if values:
        names = ", ".join(shown(name) for name in sorted(values)[:_MAX_NAMES])
        warnings.append(f"unknown to this server and not used: {names}")


def _choice(name: str, value: Any, allowed: Mapping[str, Any]) -> str:
    if isinstance(value, str) and value in allowed:
        return value
    raise InvalidRequestError(f"{name} is {shown(value)}; allowed: {', '.join(allowed)}", field=name)


def _flag(name: str, value: Any) -> bool:
    words = {"true": True, "1": True, "false": False, "0": False}
    word = str(value).strip().lower()
    if word not in words:
        raise InvalidRequestError(f"{name} is {shown(value)}; allowed: true or false", field=name)
    return words[word]


def _leave_out(arguments: dict[str, Any], offer: Offer, warnings: list[str]) -> None:
    """Replace the model by the engine's name of it, and remove a prompt that the engine can't use, with a warning.

    Raises
    ------
    Refusal
        For a model that the server does not have.
    """
    if isinstance(arguments.get("model"), str):  # the request refuses any other type
        arguments["model"] = offer.resolved(arguments["model"], warnings)
    features = offer.capabilities(_model(arguments)).features
    if "prompt" in arguments and "prompt" not in features:
        nonempty_text("prompt", arguments.pop("prompt"))
        warnings.append(f"prompt is not used: the engine {offer.engine.name} takes none")


def _model(arguments: Mapping[str, Any]) -> str | None:
    model = arguments.get("model")
    return model if isinstance(model, str) else None


def _own_options(
    values: dict[str, Any], declared: Mapping[str, EngineOption], warnings: list[str]
) -> dict[str, Any]:
    """Take the engine's own options out of a form, and leave out, with a warning, those that are the owner's alone.

    Raises
    ------
    InvalidRequestError
        For a value that the option does not allow; its field is the option's name, as a client wrote it.
    """
    own = {}
    for name, option in declared.items():
        if name not in values:
            continue
        value = values.pop(name)
        if option.trusted:
            warnings.append(_NOT_FOR_CLIENTS.format(name))
            continue
        try:
            own[name] = option_value(option, value)
        except InvalidRequestError as exc:
            exc.field = name
            raise
    return own


def _usable(
    usual: Mapping[str, str], declared: Mapping[str, EngineOption], engine: str, warnings: list[str]
) -> dict[str, str]:
    """Return the options of gpt-image models that a client may set here, and warn of the others."""
    usable = {}
    for name, value in usual.items():
        if name not in declared:
            warnings.append(_UNKNOWN_TO_ENGINE.format(name, engine))
        elif declared[name].trusted:
            warnings.append(_NOT_FOR_CLIENTS.format(name))
        else:
            usable[name] = value
    return usable


def _request(
    form: Form, arguments: Mapping[str, Any], options: _Options, offer: Offer, warnings: list[str]
) -> VariationRequest:
    """Return the client's checked request, without options of gpt-image models that the engine refuses in it.

    Raises
    ------
    Refusal, InvalidRequestError
        For a value that the engine refuses. Where that is one of its own options, the field is the option's name.
    """
    image = Source("image", data=form.images[0])
    mask = None if form.mask is None else Source("mask", data=form.mask)

    def checked(*chosen: Mapping[str, Any]) -> VariationRequest:
        # The owner's values are the defaults of the engine's own options, so a client's win.
        owners = {name: value for name, value in offer.options.items() if name in options.declared}
        merged = dict(ChainMap(*map(dict, chosen), owners))
        (request,) = offer.client.request(image, **{**arguments, "mask": mask, "options": merged})
        return request

    try:
        return checked(options.usual, options.own)
    except InvalidRequestError as exc:
        if exc.field == "model" and _model(arguments) == arguments.get("model"):
            raise offer.unusable(_model(arguments) or offer.default, exc) from exc
        if exc.field != "options":
            raise
    try:
        request = checked(options.own)
    except InvalidRequestError as exc:
        if exc.field == "options":
            exc.field = _refused(options.own, checked)
        raise
    warnings += [_UNKNOWN_TO_ENGINE.format(name, offer.engine.name) for name in options.usual]
    return request


def _refused(own: Mapping[str, Any], checked: Callable[..., Any]) -> str:
    """Return the name of the option without which the request passes, or "options" if that is no single one."""
    for name in own:
        with suppress(InvalidRequestError):
            checked({other: value for other, value in own.items() if other != name})
            return name
    return "options"
