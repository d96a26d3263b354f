"""Turns a form into a checked request: reads the API's fields, and warns of each that the engine can't use.

It opens no socket and no file. `Client.request` has the rules that all interfaces share.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.images.formats import FORMATS
from ipy_imgvar.images.source import Source
from ipy_imgvar.request import VariationRequest, nonempty_text, whole_number
from ipy_imgvar.server.refusals import Refusal, too_many_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipy_imgvar.server.body import Form
    from ipy_imgvar.server.offer import Offer

__all__ = ["ImageRequest", "Route", "request_of"]

Route = Literal["variations", "edits"]

#: Fields that are arguments of `Client.request` by the same name; the last four are ours, not the API's.
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


def request_of(form: Form, route: Route, offer: Offer) -> ImageRequest:
    """Read a form, and leave out, with a warning, fields that ordinary clients send and the engine can't use.

    A prompt, the options of gpt-image models and OpenAI's model names are left out. A seed, a mask, a size or any other
    model that the server does not have is an error.

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
    options = _options(values)
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
    if values:
        names = ", ".join(shown(name) for name in sorted(values)[:_MAX_NAMES])
        warnings.append(f"unknown to this server and not used: {names}")
    _leave_out(arguments, offer, warnings)
    return ImageRequest(
        request=_request(form, {**arguments, "options": options}, offer, warnings),
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


def _options(values: dict[str, Any]) -> dict[str, str]:
    options = {}
    for name, allowed in _OPTIONS.items():
        if name in values:
            options[name] = _choice(name, values.pop(name), dict.fromkeys(allowed))
    return {name: value for name, value in options.items() if value != "auto"}


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


def _request(form: Form, arguments: dict[str, Any], offer: Offer, warnings: list[str]) -> VariationRequest:
    """Return the client's checked request, without options that the engine lacks or refuses in this request."""
    declared = {option.name: option for option in offer.capabilities(_model(arguments)).options}
    own = {name: value for name, value in offer.options.items() if name in declared}
    asked = arguments["options"]
    taken = {name: value for name, value in asked.items() if name in declared and not declared[name].trusted}
    image = Source("image", data=form.images[0])
    arguments["mask"] = None if form.mask is None else Source("mask", data=form.mask)
    try:
        (request,) = offer.client.request(image, **{**arguments, "options": own | taken})
    except InvalidRequestError as exc:
        if exc.field == "model" and _model(arguments) == arguments.get("model"):
            raise offer.unusable(_model(arguments) or offer.default, exc) from exc
        if exc.field != "options" or not taken:
            raise
        taken = {}
        (request,) = offer.client.request(image, **{**arguments, "options": own})
    for name in asked:
        if name in declared and declared[name].trusted:
            warnings.append(f"{name} is not used: a client of this server can't set it")
        elif name not in taken:
            warnings.append(f"{name} is not used: the engine {offer.engine.name} does not know it")
    return request
