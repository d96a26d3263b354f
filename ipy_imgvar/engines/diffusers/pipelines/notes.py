"""The lines that say which settings of a request have no effect on a model, or not the whole one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engines.diffusers.pipelines.packages import quiet
from ipy_imgvar.request import STRENGTHS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipy_imgvar.engines.diffusers.pipelines.loading import Loaded
    from ipy_imgvar.request import VariationRequest

__all__ = ["notes_of"]

#: Tokens from which a tokenizer's limit is none: transformers writes a huge number for it.
_NO_LIMIT: Final = 10**6


def notes_of(
    loaded: Loaded,
    request: VariationRequest,
    options: Mapping[str, Any],
    arguments: Mapping[str, Any],
    signature: Mapping[str, Any],
) -> tuple[str, ...]:
    """Return a line for each setting that the pipeline won't use as the request has it.

    Parameters
    ----------
    loaded, request, options
        See `calls.call_of`.
    arguments
        The pipeline's arguments, and whether the request is "masked".
    signature
        The pipeline's parameters by name.
    """
    label, control = loaded.recipe.label, loaded.family.control
    guidance, negative = options.get("guidance"), options.get("negative_prompt")
    beside = request.strength != STRENGTHS["medium"] and not arguments["masked"]
    weight = arguments.get("true_cfg_scale", arguments.get("guidance_scale"))
    lines = {
        f"the strength has no effect on {label} beside a prompt: the prompt says what changes": (
            beside and control == "wording" and request.prompt is not None
        ),
        f"the strength has no effect on {label}": beside and control == "none",
        f"the guidance replaces the strength: on {label} they are the same argument": (
            guidance is not None and control == "guidance"
        ),
        f"guidance has no effect on {label}, which was distilled to a few steps": (
            guidance is not None and loaded.is_distilled
        ),
        f"negative_prompt has no effect on {label} at guidance {weight}; --option guidance above 1 uses it": (
            bool(negative) and weight is not None and weight <= 1
        ),
        "adapter_scale has no effect: no image adapter is in use": (
            options.get("adapter_scale") is not None and loaded.recipe.adapter is None
        ),
    }
    cut = _cut_prompt(loaded, request.prompt, signature)
    return tuple(line for line, holds in lines.items() if holds) + ((cut,) if cut else ())


def _cut_prompt(loaded: Loaded, prompt: str | None, signature: Mapping[str, Any]) -> str | None:
    """Return the line for a prompt that is longer than the model reads."""
    if prompt is None or "prompt" not in signature:
        return None
    own = signature.get("max_sequence_length")
    # With several text encoders, the last has the longest limit.
    names = ("tokenizer_3", "tokenizer_2", "tokenizer") if own is not None else ("tokenizer",)
    tokenizer = next((each for name in names if (each := getattr(loaded.pipe, name, None)) is not None), None)
    limit = own.default if own is not None else getattr(tokenizer, "model_max_length", _NO_LIMIT)
    if tokenizer is None or not isinstance(limit, int) or limit >= _NO_LIMIT:
        return None
    with quiet():
        tokens = len(tokenizer(prompt, truncation=False).input_ids)
    if tokens <= limit:
        return None
    return f"the prompt has {tokens} tokens, and {loaded.recipe.label} reads the first {limit}"
