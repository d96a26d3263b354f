"""Runs one request on a worker's thread, and encodes its pictures for the answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.api import answers
from ipy_imgvar.errors import CancelledError, EngineError, InvalidImageError, InvalidRequestError
from ipy_imgvar.images import codec
from ipy_imgvar.images.decoding import decoding_bytes
from ipy_imgvar.images.formats import FORMATS, WRITTEN, format_of
from ipy_imgvar.plain import plain
from ipy_imgvar.results.usage import json_safe

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from ipy_imgvar.images.source import Source
    from ipy_imgvar.request import VariationRequest
    from ipy_imgvar.results.variations import Variation, Variations
    from ipy_imgvar.server.limits import Limits
    from ipy_imgvar.server.offer import Offer
    from ipy_imgvar.server.request import ImageRequest

__all__ = ["Encoded", "encode", "make", "usage_fields"]

#: Pillow's names of the formats that the API takes; the codec reads more.
_UPLOADS: Final = tuple(each.name for each in FORMATS if each.api_name)


@dataclass(frozen=True, slots=True)
class Encoded:
    """The result of a run: encoded pictures, the engine's usage, and warnings for the client."""

    pictures: list[bytes]
    mime_type: str
    usage: Mapping[str, Any]
    warnings: list[str]
    seed: int | None


def make(
    offer: Offer,
    image_request: ImageRequest,
    limits: Limits,
    cancel: threading.Event,
    *,
    on_start: Callable[[], None] | None = None,
    on_picture: Callable[[Variation], None] | None = None,
    on_preview: Callable[[bytes], None] | None = None,
) -> Encoded:
    """Make the pictures; call it on a thread of its own.

    Parameters
    ----------
    offer
        Its client makes the pictures.
    image_request
        The request and the form of its answer.
    limits
        The bounds of the image and the time.
    cancel
        Set it to stop the run.
    on_start
        Called when the image and the mask have passed all checks.
    on_picture, on_preview
        See `Client.variations`.

    Raises
    ------
    Refusal
        If the engine refuses the model.
    ImageVariationError
        See `Client.variations`. If the engine fails after some pictures, they are returned with a warning.
    """
    if cancel.is_set():  # The client left while its request waited.
        raise CancelledError("nobody waits for this any more")
    request = replace(image_request.request, timeout=limits.run_timeout_s or image_request.request.timeout)
    _check_uploads(request, limits)
    if on_start is not None:
        on_start()
    try:
        result = offer.client.run([request], cancel=cancel, on_picture=on_picture, on_preview=on_preview)
    except InvalidRequestError as exc:
        if exc.field != "model":
            raise
        raise offer.unusable(request.model, exc) from exc
    except EngineError as exc:
        if not exc.partial:
            raise
        exc.partial.warnings.append(
            f"{len(exc.partial)} of {image_request.request.n} pictures were made before the engine failed"
        )
        result = exc.partial
    return _encode_all(result, image_request)


def _encode_all(result: Variations, image_request: ImageRequest) -> Encoded:
    return Encoded(
        [encode(each, image_request) for each in result],
        WRITTEN[image_request.extension].mime_type,
        usage_fields(result.usage),
        [plain(each) for each in (*image_request.warnings, *result.warnings)],
        result[0].seed if result else None,
    )


def encode(picture: Variation, image_request: ImageRequest) -> bytes:
    """Return a picture's bytes in the request's format."""
    return codec.convert(picture.bytes, image_request.extension)


def usage_fields(usage: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return an engine's usage as JSON values if it has the API's fields, else the API's fields with zeros."""
    counted = json_safe(usage or {})
    return counted if all(name in counted for name in answers.NO_USAGE) else answers.NO_USAGE


def _check_uploads(request: VariationRequest, limits: Limits) -> None:
    """Check the image and the mask; a mask needs transparency."""
    for source in filter(None, (request.image, request.mask)):
        _check_upload(source, limits)
    if request.mask is not None and request.mask.open().mode != "RGBA":
        raise InvalidImageError(
            "the mask has no transparency; allowed: a PNG that is transparent where the picture may change",
            field="mask",
        )


def _check_upload(source: Source, limits: Limits) -> None:
    """Check an upload's type and size by its header, before anything is decoded."""
    data, name = source.read(), source.name
    if format_of(data) not in _UPLOADS:
        raise InvalidImageError(
            f"the {name} is no PNG, JPEG, WebP or GIF file; send one of these", field=name
        )
    try:
        _, (width, height) = codec.probe(data, f"the {name}")
    except InvalidImageError as exc:
        exc.field = name
        raise
    if width * height > limits.image_pixels or max(width, height) > limits.image_side_px:
        raise InvalidImageError(
            f"the {name} has {width}x{height} pixels; allowed: {limits.image_pixels / 1e6:g} million, and "
            f"{limits.image_side_px} a side; reduce it first",
            field=name,
        )
    # The file itself is in memory, and a decoder may copy it, so twice its bytes are allowed.
    allowed = limits.decoding_bytes + 4 * width * height + 2 * len(data)
    if (taken := decoding_bytes(data, (width, height))) > allowed:
        raise InvalidImageError(
            f"the {name} has {width}x{height} pixels, which take {taken / 1e6:.0f} MB to decode as they are kept; "
            f"allowed: {allowed / 1e6:.0f} MB; reduce it, or save it anew as a PNG or a baseline JPEG",
            field=name,
        )
