"""From a form to what is asked of the engine: the API's fields, checked, and what of them an engine can't use.

Pure: no socket and no file. The rules that every interface shares are `VariationRequest`'s and are only called here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from ipy_imgvar.capabilities import checked
from ipy_imgvar.errors import InvalidRequestError, shown
from ipy_imgvar.formats import FORMATS
from ipy_imgvar.plain import plain
from ipy_imgvar.request import VariationRequest, whole_number
from ipy_imgvar.server.faults import Refusal, too_many_images

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipy_imgvar.protocol import Engine
    from ipy_imgvar.server.form import Form

__all__ = ["Ask", "Route", "ask_of", "fitted"]

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
class Ask:
    """One checked request.

    Parameters
    ----------
    request
        What the engine is asked, without the image.
    image, mask
        Encoded.
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
    image: bytes
    mask: bytes | None = None
    as_url: bool = False
    extension: str = ".png"
    stream: bool = False
    partial_images: int = 0
    warnings: list[str] = field(default_factory=list)


def ask_of(form: Form, route: Route) -> Ask:
    """Read a form.

    Raises
    ------
    Refusal, InvalidRequestError
        For a field that is missing or wrong.
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
    known = {name: values.pop(name) for name in _SHARED if name in values}
    if values:
        names = ", ".join(shown(name) for name in sorted(values)[:5])
        warnings.append(f"unknown to this server and not used: {names}")
    return Ask(
        request=VariationRequest.from_arguments(**known, options=options),
        image=form.images[0],
        mask=form.mask,
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


def fitted(ask: Ask, engine: Engine) -> Ask:
    """Leave out what an engine can't use and a client may not know better: each with a warning.

    A prompt, the options of gpt-image models and the model names of OpenAI are left out; a seed, a mask, a size or
    any other model that the engine does not have is an error.

    Raises
    ------
    Refusal
        For a model that is not there.
    InvalidRequestError
        For anything else that the engine refuses.
    """
    request, warnings = ask.request, list(ask.warnings)
    found = engine.capabilities(request.model)
    if request.prompt is not None and "prompt" not in found.features:
        request = replace(request, prompt=None)
        warnings.append(f"prompt is not used: the engine {engine.name} takes none")
    known = {option.name for option in found.options}
    request, ignored = _without_options(request, set(request.options) - known)
    asked = request.model
    if asked is not None and not found.takes_model(asked):
        request = replace(request, model=None)
        own = engine.model(request)
        if _OPENAI_MODEL.fullmatch(asked):
            warnings.append(f"model {plain(asked[:60])} is not here: {own} answered")
        elif asked != engine.name:
            raise Refusal(
                404,
                f"model is {shown(asked)}; this server has only {own}; or leave it out",
                code="model_not_found",
                param="model",
            )
    try:
        request = checked(request, engine)
    except InvalidRequestError as exc:
        if exc.field != "options":
            raise
        # Known, but not beside the rest of the request.
        request, more = _without_options(request, set(request.options))
        ignored += more
        request = checked(request, engine)
    warnings += [f"{name} is not used: the engine {engine.name} does not know it" for name in ignored]
    return replace(ask, request=request, warnings=warnings)


def _without_options(request: VariationRequest, names: set[str]) -> tuple[VariationRequest, list[str]]:
    """Return the request without some options, and those it had, in its order."""
    ignored = [name for name in request.options if name in names]
    options = {name: value for name, value in request.options.items() if name not in names}
    return (replace(request, options=options), ignored) if ignored else (request, [])
