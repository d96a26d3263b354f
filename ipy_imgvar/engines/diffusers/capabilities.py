"""The capabilities of the engine `diffusers`, as data. It reads no weights and imports none of the extra's packages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engine import Capabilities, EngineOption, Sizes
from ipy_imgvar.engines.diffusers.device.machine import DTYPES
from ipy_imgvar.engines.diffusers.device.placement import OFFLOADS
from ipy_imgvar.engines.diffusers.pipelines.families import family_of
from ipy_imgvar.engines.diffusers.weights.cache import index_of
from ipy_imgvar.engines.diffusers.weights.presets import PRESETS
from ipy_imgvar.engines.diffusers.weights.reference import reference
from ipy_imgvar.errors import InvalidRequestError

if TYPE_CHECKING:
    from ipy_imgvar.engines.diffusers.pipelines.families import Family
    from ipy_imgvar.engines.diffusers.weights.reference import Reference
    from ipy_imgvar.settings import Connection

__all__ = ["CAPABILITIES", "capabilities", "family_of_model"]

#: Pixels of a side: below the first a picture shows nothing, above the second it is enlarged four times.
_LEAST_PX, _MOST_PX = 32, 4096

CAPABILITIES: Final = Capabilities(
    # A model may lack a mask or a prompt; `capabilities` says so for one that is known.
    features=frozenset({"mask", "prompt", "seed", "strength", "stream", "preview"}),
    models=tuple(PRESETS),
    other_models=True,
    model_notes={name: preset.summary for name, preset in PRESETS.items()},
    options=(
        EngineOption("steps", int, range=(1, 200), help="denoising steps; left out: what the model needs"),
        EngineOption(
            "guidance", float, range=(0, 50), help="weight of the prompt; left out: the model's own"
        ),
        EngineOption(
            "negative_prompt", str, help="what the pictures should not show, where a model takes it"
        ),
        EngineOption("batch", int, default=1, range=(1, 10), help="pictures at once; more may change them"),
        EngineOption("side", int, range=(64, 2048), help="pixels a side of the model's own pictures"),
        EngineOption("adapter_scale", float, range=(0, 1), help="weight of the image adapter"),
        EngineOption("adapter", str, trusted=True, help="the .safetensors file of an IP-Adapter, or none"),
        EngineOption("base", str, trusted=True, help="the FLUX.1 pipeline that makes Redux's pictures"),
        EngineOption("device", str, trusted=True, help="cuda, cuda:1, mps or cpu; left out: the best"),
        EngineOption("dtype", choices=DTYPES, trusted=True, help="number format; left out: by the device"),
        EngineOption(
            "offload", default="auto", choices=OFFLOADS, trusted=True, help="weights in main memory"
        ),
        EngineOption(
            "preview_decoder", str, trusted=True, help="a tiny autoencoder that shows unfinished pictures"
        ),
        EngineOption("local_files_only", bool, default=False, trusted=True, help="download nothing"),
    ),
    sizes=Sizes(least=_LEAST_PX, most=_MOST_PX),
    parallel="one",
)


def capabilities(connection: Connection, model: str | None = None) -> Capabilities:  # noqa: ARG001 - a registry's signature
    """Return what the engine takes with a model.

    Parameters
    ----------
    connection
        Ignored: the engine sends no image.
    model
        A preset, a hub id or a folder. For one whose pipeline is known or on this disk, the features are its own.
    """
    try:
        family = None if model is None else family_of_model(reference(model))
    except InvalidRequestError:  # `Engine.check` refuses it with its own line.
        return CAPABILITIES
    if family is None:
        return CAPABILITIES
    lacks = {"prompt"} if not family.prompt else set()
    lacks |= {"mask"} if family.inpaint is None else set()
    return replace(CAPABILITIES, features=CAPABILITIES.features - lacks)


def family_of_model(model: Reference) -> Family | None:
    """Return the family of a model, or None where nothing on this disk tells it."""
    name = class_of(model)
    return None if name is None else family_of(name)


def class_of(model: Reference) -> str | None:
    """Return the class name of a model's pipeline: the preset's, else that of a model on this disk."""
    if model.preset is not None:
        return model.preset.pipeline
    index: Any = index_of(model) or {}
    name = index.get("_class_name")
    return name if isinstance(name, str) else None
