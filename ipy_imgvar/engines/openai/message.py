"""The message that a request becomes: its route, fields and files, and the bytes to post. Pure, but decodes images.

References
----------
https://platform.openai.com/docs/api-reference/images/createVariation
https://platform.openai.com/docs/api-reference/images/createEdit
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from ipy_imgvar.api.forms import form_fields, multipart
from ipy_imgvar.capabilities import check_size
from ipy_imgvar.engines.openai.capabilities import EDITS_SIZES, SENT, SMALL
from ipy_imgvar.engines.openai.models import DEFAULT_MODEL, is_gpt_image
from ipy_imgvar.engines.prompts import PROMPT_VERSION, variation_prompt
from ipy_imgvar.errors import InvalidImageError, InvalidRequestError
from ipy_imgvar.images.formats import FORMATS, subtype_of

if TYPE_CHECKING:
    from ipy_imgvar.request import Size, VariationRequest

__all__ = [
    "Body",
    "Message",
    "Route",
    "check",
    "choose_model",
    "choose_route",
    "encoded",
    "make_message",
    "outline",
    "unused_fields",
]

Route = Literal["variations", "edits"]

#: Bytes of an image on the variations route: "less than 4MB" (createVariation, `image`). A larger one is reduced.
_CLASSIC_MAX_BYTES: Final = 4_000_000
#: Bytes of an image on the edits route: "less than 50MB" (createEdit, `image`). A larger one is refused.
_EDITS_MAX_BYTES: Final = 50_000_000
#: The MIME types of images that go to the edits route unchanged; other formats are sent as PNG.
_EDITS_TYPES: Final = tuple(each.mime_type for each in FORMATS if each.is_written)
#: The size in pixels that the edits route is asked for where the request wants one of `SMALL`.
_EDITS_SMALLEST: Final = (1024, 1024)


@dataclass(frozen=True, slots=True)
class Message:
    """The message of one request, and how to treat its answer.

    Parameters
    ----------
    route
        The last part of the address.
    body
        The fields. The pictures are among them where `as_json` is true.
    files
        Field name, file name, bytes and MIME type of each file; empty where the pictures are in `body`.
    as_json
        The body is sent as JSON, not as a form.
    stream
        The answer is a stream of events.
    reduce_to
        The request's width and height in pixels, where the server is asked for a larger picture.
    notes
        One line for each departure from the request, for the user.
    parameters
        The settings that each picture's record keeps: JSON-safe, without user, address and pictures.
    """

    route: Route
    body: dict[str, Any] = field(repr=False)
    files: list[tuple[str, str, bytes, str]] = field(repr=False)
    as_json: bool = False
    stream: bool = False
    reduce_to: Size | None = None
    notes: list[str] = field(default_factory=list)
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, repr=False)
class Body:
    """The body to post and its type; without a repr, so that no traceback with variables shows it."""

    content_type: str
    data: bytes


def choose_route(request: VariationRequest, *, is_openai: bool) -> Route:
    """Return the route for a request.

    Parameters
    ----------
    request
        Its option `route` wins; a prompt, a mask or a GPT Image model needs the edits route.
    is_openai
        The server is OpenAI's own, which no longer has the variations route.
    """
    if (route := request.options.get("route")) is not None:
        return "edits" if route == "edits" else "variations"
    if is_openai or request.prompt is not None or request.mask is not None or is_gpt_image(request.model):
        return "edits"
    return "variations"


def unused_fields(request: VariationRequest, *, is_openai: bool) -> tuple[str, ...]:
    """Return the fields that the route of a request has no place for, or that its prompt replaces."""
    if choose_route(request, is_openai=is_openai) == "variations":
        return ("strength",)
    return ("fit", "strength") if request.prompt is not None else ("fit",)


def choose_model(request: VariationRequest, *, is_openai: bool) -> str | None:
    """Return the model to name: the request's, else on OpenAI's edits route our default, else None."""
    if request.model is None and is_openai and choose_route(request, is_openai=is_openai) == "edits":
        return DEFAULT_MODEL
    return request.model


def check(request: VariationRequest, *, is_openai: bool) -> None:
    """Raise `InvalidRequestError` where the request's route can't do what it asks; see `engine.Engine.check`."""
    if request.fit == "retarget":
        raise InvalidRequestError(
            "fit is retarget; allowed: crop, pad, stretch; only patch has it", field="fit"
        )
    if choose_route(request, is_openai=is_openai) == "edits":
        check_size(request.size, EDITS_SIZES, "the edits route makes")
        return
    for name, given in (("prompt", request.prompt), ("mask", request.mask)):
        if given is not None:
            raise InvalidRequestError(
                f"the route variations takes no {name}; leave it out, or say --route edits", field=name
            )
    if extra := [name for name in request.options if name != "route"]:
        raise InvalidRequestError(
            f"the route variations takes no option {extra[0]}; leave it out, or say --route edits",
            field="options",
        )


def make_message(request: VariationRequest, *, is_openai: bool) -> Message:
    """Return the message of a request that `check` accepted.

    Raises
    ------
    InvalidImageError
        If the image can't be read, or is too large to send.
    """
    route = choose_route(request, is_openai=is_openai)
    message = _edits(request, is_openai=is_openai) if route == "edits" else _classic(request)
    if request.user is not None:
        message.body["user"] = request.user
    # The caller's own fields win over ours, as in PSOpenAI.
    message.body.update(request.extra_body)
    return message


def encoded(message: Message) -> Body:
    """Return a message as the bytes to post.

    Raises
    ------
    InvalidRequestError
        If `extra_body` holds what JSON has no form for.
    """
    try:
        if message.as_json:
            body = {name: value for name, value in message.body.items() if value is not None}
            return Body("application/json", json.dumps(body, allow_nan=False).encode())
        return Body(*multipart(form_fields(message.body), message.files))
    except (TypeError, ValueError, RecursionError) as exc:
        raise InvalidRequestError(
            f"extra_body holds what JSON has no form for ({type(exc).__name__}); allowed: texts, numbers, true, "
            "false, null, lists and dictionaries",
            field="extra_body",
        ) from exc


def _classic(request: VariationRequest) -> Message:
    assert request.image is not None  # noqa: S101 - the engine has refused it
    data, note = _square_png(request)
    size = f"{request.size[0]}x{request.size[1]}"
    url = request.response_format == "url"
    body = {
        "model": request.model,
        "n": request.n,
        "size": size,
        "response_format": "url" if url else "b64_json",
    }
    parameters = {"route": "variations", "model": request.model, "size": size, "fit": request.fit}
    notes = [note] if note else []
    if request.strength != type(request)().strength:
        notes.append("the strength is not sent: the route variations has none")
    file = ("image", f"{request.image.stem}.png", data, "image/png")
    return Message("variations", body, [file], notes=notes, parameters=parameters)


def _square_png(request: VariationRequest) -> tuple[bytes, str | None]:
    """Return the image as the variations route takes it, a square PNG below 4 MB, and a note on how it changed."""
    from ipy_imgvar.images import codec
    from ipy_imgvar.images.png import may_be_turned

    assert request.image is not None  # noqa: S101 - the engine has refused it
    original = request.image.read()
    mime_type, size = codec.probe(original, request.image.name)
    is_fit = mime_type == "image/png" and size[0] == size[1] and len(original) < _CLASSIC_MAX_BYTES
    # A PNG may ask for a rotation in its Exif data, and few servers apply that.
    if is_fit and not may_be_turned(original):
        return original, None
    image = request.image.open()
    side = (max(request.size), max(request.size))
    done = "made square" if image.width != image.height else "converted"
    while True:
        fitted = codec.fit_image(image, side, request.fit)
        if request.fit == "pad":
            largest = max(fitted.size)
            fitted = codec.pad_image(fitted, (largest, largest))
        data = codec.encode_png(fitted, level=6)
        if len(data) < _CLASSIC_MAX_BYTES:
            break
        # Three quarters of the side have about half of the pixels, so a few rounds are enough.
        side = (side[0] * 3 // 4, side[1] * 3 // 4)
    sent = f"a PNG of {fitted.width}x{fitted.height}"
    return data, f"{request.image.name} ({size[0]}x{size[1]}) is sent as {sent}: {done} by {request.fit}"


def outline(request: VariationRequest, *, is_openai: bool) -> Message:
    """Return the message of a request for the edits route without its pictures; its image is not read."""
    model = choose_model(request, is_openai=is_openai)
    is_own = _has_own_model(request, is_openai=is_openai)
    small = request.size in SMALL and not is_own
    sent_size = _EDITS_SMALLEST if small else request.size
    prompt = request.prompt or variation_prompt(request.strength)
    options = {name: request.options[name] for name in SENT if name in request.options}
    stream = bool(request.options.get("stream"))
    body: dict[str, Any] = {
        "model": model,
        "prompt": prompt,
        "n": request.n,
        "size": f"{sent_size[0]}x{sent_size[1]}",
        **options,
    }
    if stream:
        body |= {"stream": True, "partial_images": request.options.get("partial_images", 2)}
    if not is_openai and not is_gpt_image(model):
        # By default, other servers answer with addresses, some even with paths on their own disk.
        body["response_format"] = "url" if request.response_format == "url" else "b64_json"
    parameters = {
        "route": "edits",
        "model": model,
        "size": body["size"],
        "prompt": prompt,
        **({} if request.prompt else {"prompt_version": PROMPT_VERSION, "strength": request.strength}),
        "options": options,
    }
    notes = []
    if small:
        notes.append(
            f"{sent_size[0]}x{sent_size[1]} is asked for, the least this route makes, and reduced here"
        )
    return Message(
        "edits",
        body,
        [],
        stream=stream,
        reduce_to=request.size if small else None,
        notes=notes,
        parameters=parameters,
    )


def _edits(request: VariationRequest, *, is_openai: bool) -> Message:
    is_own = _has_own_model(request, is_openai=is_openai)
    files = _edits_files(request, is_own=is_own)
    message = replace(outline(request, is_openai=is_openai), files=files)
    return _as_json(message) if request.options.get("edits_json") else message


def _has_own_model(request: VariationRequest, *, is_openai: bool) -> bool:
    """Return whether the request names a model that is not OpenAI's: such a server makes small pictures as well.

    A server that is asked without a model may have any, also one of OpenAI's.
    """
    return request.model is not None and not is_openai and not is_gpt_image(request.model)


def _edits_files(request: VariationRequest, *, is_own: bool) -> list[tuple[str, str, bytes, str]]:
    image = _edits_image(request, is_own=is_own)
    return [image] if request.mask is None else [image, _edits_mask(request)]


def _edits_image(request: VariationRequest, *, is_own: bool) -> tuple[str, str, bytes, str]:
    from ipy_imgvar.images import codec

    assert request.image is not None  # noqa: S101 - the engine has refused it
    data, name = request.image.read(), request.image.name
    mime_type, _ = codec.probe(data, name)
    # A mask's pixels are those of the upright picture, so a rotation that Exif data asks for is applied first. Servers
    # with models of their own apply none, and stable-diffusion.cpp drops a picture that is grey or that it can't read.
    is_odd = is_own and not codec.is_plain(data, name)
    if mime_type not in _EDITS_TYPES or request.mask is not None or is_odd:
        image = request.image.open()
        upright = image.convert("RGB") if is_own and image.mode == "L" else image
        data, mime_type = codec.encode_png(upright, level=6), "image/png"
    if len(data) > _EDITS_MAX_BYTES:
        raise InvalidImageError(
            f"{name} has {len(data) / 1e6:.0f} MB; allowed: {_EDITS_MAX_BYTES / 1e6:.0f}; reduce it first"
        )
    return "image", f"{request.image.stem}.{subtype_of(mime_type)}", data, mime_type


def _edits_mask(request: VariationRequest) -> tuple[str, str, bytes, str]:
    """Return the mask in the API's form: opaque where pixels stay, transparent where it edits (createEdit, `mask`).

    vLLM-Omni reads it from the field `mask_image`, which the option `mask_field` names.
    """
    from ipy_imgvar.images import codec

    assert request.image is not None  # noqa: S101 - the engine has refused it
    assert request.mask is not None  # noqa: S101 - the caller has checked it
    keep = codec.kept_pixels(request.mask.open(), request.image.open().size)
    name = request.options.get("mask_field", "mask")
    return name, "mask.png", codec.encode_png(codec.opaque_where(keep), level=6), "image/png"


def _as_json(message: Message) -> Message:
    """Return a message with its pictures in the body as data: URLs, for servers that take no form."""
    urls = {
        name: {"image_url": f"data:{mime_type};base64,{base64.b64encode(data).decode('ascii')}"}
        for name, _, data, mime_type in message.files
    }
    body = {**message.body, "images": [urls.pop("image")], **urls}
    return Message(
        message.route,
        body,
        [],
        as_json=True,
        stream=message.stream,
        reduce_to=message.reduce_to,
        notes=message.notes,
        parameters=message.parameters,
    )
