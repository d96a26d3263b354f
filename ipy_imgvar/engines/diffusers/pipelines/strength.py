"""What a strength means to each kind of pipeline. Pure.

The curves are proposals: they were chosen from the papers' and cards' ranges, and no eye has compared them across
families on real weights yet.

References
----------
SDEdit, https://arxiv.org/abs/2108.01073, section 3: noise is added to the source up to a share of the schedule.
DALL-E 2, https://arxiv.org/abs/2204.06125, section 3.1: variations from the embedding of an image.
FLUX.1 Redux, https://huggingface.co/black-forest-labs/FLUX.1-Redux-dev: `prompt_embeds_scale`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ipy_imgvar.engines.diffusers.pipelines.families import Control

__all__ = ["LEAST", "adapter_scale", "controls", "inpainting"]

#: The least share of the schedule: below it, a pipeline of 25 steps makes none, and several raise an error.
LEAST: Final = 0.05
#: Steps of the schedule that latent consistency models are distilled from (LCMScheduler, `original_inference_steps`).
_LCM_SCHEDULE: Final = 50
#: The least share of the schedule for repainting beside kept pixels: a smaller one leaves the region as it was.
_LEAST_INPAINTING: Final = 0.5
#: Noise on unCLIP's embedding at strength 1, of its 1000 levels, and the curve's exponent: 63, 247 and 549 at the
#: three named strengths.
_NOISE_LEVEL, _NOISE_EXPONENT = 700, 1.5
#: Guidance by the image alone, at strength 0 and at 1: more guidance stays nearer to the embedding.
_NEAR_GUIDANCE, _FAR_GUIDANCE = 7.0, 3.0
#: The loss of the embedding's scale, and of an image adapter's scale, at strength 1.
_EMBEDDING_LOSS, _ADAPTER_LOSS = 0.35, 0.6


def controls(
    control: Control, strength: float, steps: int, *, few_steps: bool = False, all_steps: bool = False
) -> dict[str, Any]:
    """Return the arguments by which a strength acts on a pipeline.

    Parameters
    ----------
    control
        The family's control.
    strength
        The distance from the source, 0..1.
    steps
        The number of steps that the caller asked for, or the family's.
    few_steps
        The model needs this number of steps after the share of the schedule that `strength` leaves.
    all_steps
        The scheduler runs all of them at every strength, and has no more than that share of its own 50.

    Returns
    -------
    dict
        `num_inference_steps`, and the argument of the control; "wording" and "none" have no number.
    """
    if control == "strength":
        share = max(LEAST, strength)
        if all_steps:
            return {"strength": share, "num_inference_steps": min(steps, int(_LCM_SCHEDULE * share))}
        # A pipeline runs int(steps * share) steps, which is 0 for 4 steps at .2.
        schedule = math.ceil(steps / share) if few_steps else max(steps, math.ceil(1 / share))
        return {"strength": share, "num_inference_steps": schedule}
    if control == "noise_level":
        level = round(_NOISE_LEVEL * strength**_NOISE_EXPONENT)
        return {"noise_level": level, "num_inference_steps": steps}
    if control == "guidance":
        guidance = _NEAR_GUIDANCE + (_FAR_GUIDANCE - _NEAR_GUIDANCE) * strength
        return {"guidance_scale": round(guidance, 3), "num_inference_steps": steps}
    if control == "scale":
        scale = round(1 - _EMBEDDING_LOSS * strength, 3)
        return {
            "prompt_embeds_scale": scale,
            "pooled_prompt_embeds_scale": scale,
            "num_inference_steps": steps,
        }
    return {"num_inference_steps": steps}


def inpainting(strength: float, steps: int, *, few_steps: bool = False) -> dict[str, Any]:
    """Return the arguments for repainting the part that a mask leaves free, by the same share of the schedule."""
    return controls("strength", max(_LEAST_INPAINTING, strength), steps, few_steps=few_steps)


def adapter_scale(strength: float) -> float:
    """Return the weight of an image adapter, 0..1: what the picture takes from the source's content and style."""
    return round(1 - _ADAPTER_LOSS * strength, 3)
