"""From a form to a checked request: the API's fields, and a warning for each that the engine can't use.

Pure: no socket and no file. The rules that every interface shares are `Client.request`'s and are only called here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.images.formats import FORMATS
from ipy_imgvar.images.source import Source
from ipy_imgvar.plain import plain
from ipy_imgvar.request import VariationRequest, nonempty_text, whole_number
from ipy_imgvar.server.refusals import Refusal, too_many_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipy_imgvar.client import Client
    from ipy_imgvar.engine import Engine
    from ipy_imgvar.server.body import Form

__all__ = ["ImageRequest", "Route", "request_of"]

Route = Literal["variations", "edits"]

#: Fields that go to the engine by the same name; the last four are ours.
_SHARED: Final = ("n", "size", "user", "model", "prompt", "seed", "index", "strength", "fit")
_WHERE_SHOWN: Final = {"url": "url", "b64_json": "b64_json"}
_EXTENSIONS: Final = {each.api_name: each.extensions[0] for each in FORMATS if each.is_written}
#: What only gpt-image models know: handed on as options to engines that take them.
_OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "quality": ("auto", "standard", "low", "medium", "high", "xhigh", "max"),
    "background": ("auto", "transparent", "opaque"),
    "input_fidelity": ("low", "high"),
    "moderation": ("auto", "low"),
}
_NUMBERS: Final = {"output_compression": (0, 100), "partial_images": (0, 3)}
#: Names that OpenAI's clients send to every server; those are no reason to fail.
_OPENAI_MODEL: Final = re.compile(r"(dall-e|gpt-image|chatgpt-image)\b.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """One checked request, and how its pictures are answered.

    Parameters
    ----------
    request
        What the engine is asked. Its image and mask are encoded, and not looked at yet.
    as_url
        Whether pictures are answered as addresses.
    extension
        The format of the pictures, as a file name extension.
    stream
        Whether the answer is a stream of events.
    partial_images
        How many unfinished states a stream may show.
    warnings
        What was not used, a line each.
    """

    request: VariationRequest
    as_url: bool = False
    extension: str = ".png"
    stream: bool = False
    partial_images: int = 0
    warnings: list[str] = field(default_factory=list)


def request_of(form: Form, route: Route, client: Client) -> ImageRequest:
    """Read a form, and leave out what the engine can't use and its sender may not know better: each with a warning.

    A prompt, the options of gpt-image models and the model names of OpenAI are left out; a seed, a mask, a size or
    any other model that the engine does not have is an error.

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
    if numbers.get("output_compression", 100) != 100:  # noqa: PLR2004 - per cent: as good as it can be
        warnings.append("output_compression is not used: pictures are encoded at one quality")
    extension = _EXTENSIONS[_choice("output_format", values.pop("output_format", "png"), _EXTENSIONS)]
    # The API's own defaults: addresses, except for the models that know no addresses.
    classic = route == "variations" or values.get("model") == "dall-e-2"
    shape = _choice(
        "response_format", values.pop("response_format", "url" if classic else "b64_json"), _WHERE_SHOWN
    )
    stream = route == "edits" and _flag("stream", values.pop("stream", False))
    arguments: dict[str, Any] = {name: values.pop(name) for name in _SHARED if name in values}
    if values:
        names = ", ".join(shown(name) for name in sorted(values)[:5])
        warnings.append(f"unknown to this server and not used: {names}")
    _leave_out(arguments, client.engine, warnings)
    return ImageRequest(
        request=_request(form, {**arguments, "options": options}, client, warnings),
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
    found = {}
    for name, allowed in _OPTIONS.items():
        if name in values:
            found[name] = _choice(name, values.pop(name), dict.fromkeys(allowed))
    return {name: value for name, value in found.items() if value != "auto"}


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


def _leave_out(arguments: dict[str, Any], engine: Engine, warnings: list[str]) -> None:
    """Take out a prompt and a model of OpenAI's that the engine can't use, and say so.

    Raises
    ------
    Refusal
        For any other model that is not there.
    """
    model = arguments.get("model")
    name = model if isinstance(model, str) else None  # the request refuses any other type
    known = engine.capabilities(name)
    if "prompt" in arguments and "prompt" not in known.features:
        nonempty_text("prompt", arguments.pop("prompt"))
        warnings.append(f"prompt is not used: the engine {engine.name} takes none")
    if known.takes_model(name):
        return
    del arguments["model"]
    own = engine.model(VariationRequest())
    if _OPENAI_MODEL.fullmatch(name or ""):
        warnings.append(f"model {plain(str(name)[:60])} is not here: {own} answered")
    elif name != engine.name:
        raise Refusal(
            404,
            f"model is {shown(name)}; this server has only {own}; or leave it out",
            code="model_not_found",
            param="model",
        )


def _request(form: Form, arguments: dict[str, Any], client: Client, warnings: list[str]) -> VariationRequest:
    """Return the client's checked request, without the options that the engine does not take, at all or with it."""
    model = arguments.get("model")
    known = {option.name for option in client.engine.capabilities(model).options}
    taken = {name: value for name, value in arguments["options"].items() if name in known}
    image = Source("image", data=form.images[0])
    arguments["mask"] = None if form.mask is None else Source("mask", data=form.mask)
    try:
        (request,) = client.request(image, **{**arguments, "options": taken})
    except InvalidRequestError as exc:
        if exc.field != "options":
            raise
        taken = {}
        (request,) = client.request(image, **{**arguments, "options": taken})
    engine = client.engine.name
    ignored = [name for name in arguments["options"] if name not in taken]
    warnings += [f"{name} is not used: the engine {engine} does not know it" for name in ignored]
    return request
