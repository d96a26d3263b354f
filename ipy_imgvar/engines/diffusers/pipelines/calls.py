"""A request as the call of a pipeline: the arguments that its signature takes, and a generator for each picture."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engines.diffusers.pipelines import strength
from ipy_imgvar.engines.diffusers.pipelines.notes import notes_of
from ipy_imgvar.engines.prompts import PROMPT_VERSION, variation_prompt
from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.images import codec

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from PIL.Image import Image

    from ipy_imgvar.engines.diffusers.pipelines.frame import Frame
    from ipy_imgvar.engines.diffusers.pipelines.loading import Loaded, Recipe
    from ipy_imgvar.request import VariationRequest

__all__ = ["Call", "Made", "call_of", "check_call"]

#: Channels of a UNet that was trained for inpainting: 4 of noise, 4 of the source, 1 of the mask.
_INPAINTING_CHANNELS: Final = 9
#: Steps of a model that was distilled to a few: FLUX.2 klein and FLUX.1 schnell, by their cards.
_DISTILLED_STEPS: Final = 4
#: The arguments by which Redux's own pipeline weakens the embedding.
_SCALES: Final = ("prompt_embeds_scale", "pooled_prompt_embeds_scale")


@dataclass(frozen=True, slots=True)
class Made:
    """One picture of a call; `flagged` says that the model's own safety checker blackened it."""

    image: Image
    flagged: bool


@dataclass(frozen=True, slots=True)
class Call:
    """The call of a pipeline for one request.

    Parameters
    ----------
    pipe
        The pipeline.
    arguments
        Its arguments but for generator and number of pictures.
    record
        The settings for a picture's record; JSON-safe.
    takes
        The names of the pipeline's parameters.
    notes
        A line for each setting of the request that has no effect, or not the whole one.
    """

    pipe: Any
    arguments: dict[str, Any]
    record: dict[str, Any]
    takes: frozenset[str]
    notes: tuple[str, ...] = ()

    def run(self, seeds: Sequence[int], **more: Any) -> list[Made]:
        """Make a picture of each seed, in one batch.

        The generators are the CPU's, so that the noise is the same on every device.
        """
        import torch

        arguments = {**self.arguments, **{name: value for name, value in more.items() if name in self.takes}}
        if len(seeds) > 1:
            arguments["num_images_per_prompt"] = len(seeds)
        if "generator" not in self.takes:
            with torch.random.fork_rng():
                torch.manual_seed(seeds[0])
                return _pictures(self.pipe(**arguments))
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        return _pictures(self.pipe(**arguments, generator=generators if len(seeds) > 1 else generators[0]))


def _pictures(output: Any) -> list[Made]:
    images = getattr(output, "images", None)
    if images is None:
        images = output[0] if isinstance(output, tuple) else output
    flags = getattr(output, "nsfw_content_detected", None) or [False] * len(images)
    pictures = [
        each if hasattr(each, "convert") else codec.from_array(each, "the pipeline's picture")
        for each in images
    ]
    return [Made(image, bool(flag)) for image, flag in zip(pictures, flags, strict=True)]


def check_call(recipe: Recipe, request: VariationRequest, options: Mapping[str, Any]) -> None:
    """Refuse what a model can't honour, before its weights are loaded.

    Raises
    ------
    InvalidRequestError
        For a mask, a prompt or a negative prompt that it can't use, or a model that only paints into a mask.
    """
    masked = request.mask is not None
    if recipe.channels == _INPAINTING_CHANNELS and not masked:
        raise InvalidRequestError(
            f"{recipe.label} only paints into a mask; give one (--mask), or choose another model",
            field="mask",
        )
    if masked and recipe.family.inpaint is None:
        raise InvalidRequestError(
            f"{recipe.label} can't use a mask; leave it out, or choose another model", field="mask"
        )
    if request.prompt is not None and not recipe.family.prompt:
        raise InvalidRequestError(f"{recipe.label} takes no prompt; leave it out", field="prompt")
    if options.get("negative_prompt") and not recipe.family.negative:
        raise InvalidRequestError(f"{recipe.label} takes no negative prompt; leave it out", field="options")


def call_of(
    loaded: Loaded, request: VariationRequest, options: Mapping[str, Any], frame: Frame, steps: int | None
) -> Call:
    """Return the call for a request that `check_call` accepted.

    Parameters
    ----------
    loaded
        The model.
    request
        The checked request.
    options
        The engine's options: those of the request, else their defaults.
    frame
        The source and the mask.
    steps
        The preset's number of steps, or None.
    """
    masked = frame.repaint is not None
    pipe = loaded.pipeline(_class_for(loaded, masked=masked))
    signature = inspect.signature(type(pipe).__call__).parameters
    wanted: dict[str, Any] = {
        "width": frame.made[0],
        "height": frame.made[1],
        **({} if loaded.prior is not None else {"image": frame.image}),
        **({"mask_image": frame.repaint} if masked else {}),
        **_prompts(loaded, request, options, signature),
        **_controls(loaded, request, options, steps=steps, masked=masked),
        **_guidance(loaded, options, signature),
    }
    record = _record(loaded, request, wanted, {*signature, *_SCALES})
    if loaded.prior is not None:
        wanted |= _redux(loaded, frame, wanted)
    if (adapter := loaded.recipe.adapter) is not None:
        scale = options.get("adapter_scale")
        scale = strength.adapter_scale(request.strength) if scale is None else scale
        pipe.set_ip_adapter_scale(scale)
        wanted["ip_adapter_image"] = frame.image
        record |= {"adapter": adapter.name, "adapter_scale": scale}
    arguments = {name: value for name, value in wanted.items() if name in signature}
    notes = notes_of(loaded, request, options, {**arguments, "masked": masked}, signature)
    return Call(pipe, arguments, {"pipeline": type(pipe).__name__, **record}, frozenset(signature), notes)


def _class_for(loaded: Loaded, *, masked: bool) -> str:
    """Return the name of the class that serves a request."""
    family, own = loaded.family, type(loaded.pipe)
    if masked and family.inpaint is not None:
        return family.inpaint
    takes = inspect.signature(own.__call__).parameters
    return own.__name__ if "image" in takes and "mask_image" not in takes else family.image


def _record(
    loaded: Loaded, request: VariationRequest, wanted: Mapping[str, Any], names: Collection[str]
) -> dict[str, Any]:
    """Return the arguments that are numbers or texts, and the version of an instruction of ours."""
    worded = loaded.family.control == "wording" and request.prompt is None
    return {
        **{
            name: wanted[name]
            for name in wanted
            if name in names and isinstance(wanted[name], (int, float, str))
        },
        **({"prompt_version": PROMPT_VERSION} if worded else {}),
    }


def _prompts(
    loaded: Loaded, request: VariationRequest, options: Mapping[str, Any], signature: Mapping[str, Any]
) -> dict[str, Any]:
    negative = options.get("negative_prompt")
    prompts = {"negative_prompt": negative} if negative else {}
    if not loaded.family.prompt or "prompt" not in signature:
        return prompts
    # An edit model does nothing without an instruction; the others refuse None and take an empty prompt.
    own = variation_prompt(request.strength) if loaded.family.control == "wording" else ""
    return {"prompt": request.prompt or own, **prompts}


def _controls(
    loaded: Loaded,
    request: VariationRequest,
    options: Mapping[str, Any],
    *,
    steps: int | None,
    masked: bool,
) -> dict[str, Any]:
    family, distilled = loaded.family, loaded.is_distilled
    wanted = options.get("steps") or (_DISTILLED_STEPS if distilled else steps or family.steps)
    few = family.few_steps or distilled
    if masked:
        return strength.inpainting(request.strength, wanted, few_steps=few)
    return strength.controls(
        family.control, request.strength, wanted, few_steps=few, all_steps=family.all_steps
    )


def _guidance(loaded: Loaded, options: Mapping[str, Any], signature: Mapping[str, Any]) -> dict[str, Any]:
    guidance = options.get("guidance")
    guidance = loaded.family.guidance if guidance is None else guidance
    own = signature.get("guidance_scale")
    if own is not None and own.default is None and "true_cfg_scale" in signature:
        # Qwen's guidance compares with a negative prompt, and is off without one.
        negative = options.get("negative_prompt") or " "
        return {"negative_prompt": negative} | ({} if guidance is None else {"true_cfg_scale": guidance})
    return {} if guidance is None else {"guidance_scale": guidance}


def _redux(loaded: Loaded, frame: Frame, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return the embedding that Redux makes of the source, in place of a prompt's."""
    output = loaded.prior(frame.image, **{name: wanted[name] for name in _SCALES if name in wanted})
    return {"prompt_embeds": output.prompt_embeds, "pooled_prompt_embeds": output.pooled_prompt_embeds}
