"""The capabilities of the engine `openai`, as data. Interfaces that send nothing read it, so it loads no HTTP client.

References
----------
https://platform.openai.com/docs/api-reference/images/createEdit
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from ipy_imgvar.engine import Capabilities, EngineOption, Sizes
from ipy_imgvar.engines.openai.models import DEFAULT_MODEL
from ipy_imgvar.images.formats import FORMATS

if TYPE_CHECKING:
    from ipy_imgvar.settings import Connection

__all__ = ["EDITS_SIZES", "SENT", "SMALL", "capabilities"]

#: Sizes in pixels that the variations route made and the edits route does not (createVariation, `size`). The edits
#: route is asked for a larger picture, which is reduced on this side.
SMALL: Final = ((256, 256), (512, 512))
#: The sizes that the edits route makes, in pixels (createEdit, `size`): both sides multiples of 16, at most 3:1 in
#: shape, and at most as many pixels as a 4K picture has; further, those of `SMALL`.
EDITS_SIZES: Final = Sizes(multiple=16, ratio=3, pixels=3840 * 2160, also=SMALL)

#: The options that the server receives under the same names (createEdit).
_SENT: Final = (
    EngineOption("quality", object, help="low, medium, high, or what the server knows"),
    EngineOption("background", choices=("transparent", "opaque", "auto"), help="what is behind the subject"),
    EngineOption(
        "output_format",
        choices=tuple(each.api_name for each in FORMATS if each.is_written),
        help="how the server encodes the pictures",
    ),
    EngineOption("output_compression", int, range=(0, 100), help="per cent, for jpeg and webp"),
    EngineOption("moderation", object, help="auto or low"),
    EngineOption("input_fidelity", object, help="low or high: how close to the image's details"),
)
#: The names of those options.
SENT: Final = tuple(option.name for option in _SENT)

_CAPABILITIES: Final = Capabilities(
    # The features of both routes. The route depends on the whole request, so `message.check` refuses the rest.
    features=frozenset({"mask", "prompt", "strength", "stream", "preview"}),
    options=(
        EngineOption("route", choices=("variations", "edits"), help="left out: the one that fits"),
        EngineOption("stream", bool, default=False, help="show first looks while it is made (edits)"),
        EngineOption(
            "edits_json", bool, default=False, help="send JSON, for servers that take no form (edits)"
        ),
        EngineOption(
            "mask_field",
            default="mask",
            choices=("mask", "mask_image"),
            help="the mask's field; vLLM-Omni reads mask_image (edits)",
        ),
        *_SENT,
        EngineOption(
            "partial_images", int, default=2, range=(0, 3), help="first looks of each picture (stream)"
        ),
    ),
    parallel="threads",
    hosted=True,
)


def capabilities(connection: Connection, model: str | None = None) -> Capabilities:  # noqa: ARG001 - a registry's signature
    """Return what the engine takes from a server.

    Parameters
    ----------
    connection
        The server. OpenAI's own has the edits route only, so its sizes are known.
    model
        Ignored: model names are open, and the route depends on the whole request.
    """
    declared = replace(_CAPABILITIES, destination=connection.server)
    if connection.is_openai:
        return replace(declared, models=(DEFAULT_MODEL,), other_models=True, sizes=EDITS_SIZES)
    return declared
