"""The families of pipelines: for each, what the signature of its class can't tell. Data, and no import of diffusers.

References
----------
The classes of diffusers 0.42.1, read with `inspect`: https://huggingface.co/docs/diffusers/api/pipelines/overview
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["FAMILIES", "Control", "Family", "family_of"]

#: The argument by which a strength acts; see `strength.controls`.
Control = Literal["strength", "noise_level", "guidance", "scale", "wording", "none"]


@dataclass(frozen=True, slots=True)
class Family:
    """One family of pipelines, which share their components.

    Parameters
    ----------
    name
        The family's name in the documentation.
    classes
        The class names that a `model_index.json` of this family may have.
    image
        The class that takes an image.
    control
        The argument by which a strength acts.
    inpaint
        The class that takes a mask, or None.
    steps
        The number of denoising steps that each picture gets at least about; see `strength.controls`.
    few_steps
        The model is distilled to a few steps, and needs that number at every strength.
    all_steps
        The scheduler runs the number of steps that it is told at every strength, out of a schedule of 50.
    guidance
        The guidance scale, or None for the pipeline's own default.
    side_px
        The side in pixels of the square that the model was trained on, for a model whose configuration has none.
    least_px
        The least side in pixels of such a square that gives whole pictures; a smaller picture is reduced from it.
    grid_px
        The number of pixels that divides both sides of a picture.
    prompt, negative
        Whether the pipeline takes a prompt, and a negative prompt.
    batches
        Whether a batch makes the same pictures as one call for each, but for rounding.
    """

    name: str
    classes: tuple[str, ...]
    image: str
    control: Control
    inpaint: str | None = None
    steps: int = 28
    few_steps: bool = False
    all_steps: bool = False
    guidance: float | None = None
    side_px: int = 1024
    least_px: int = 512
    grid_px: int = 16
    prompt: bool = True
    negative: bool = True
    batches: bool = False


def _of(stem: str) -> tuple[str, ...]:
    """Return the three class names that most families have."""
    return f"{stem}Pipeline", f"{stem}Img2ImgPipeline", f"{stem}InpaintPipeline"


#: Steps and guidance are those of the models' cards or of the classes' own defaults, where those differ from ours.
FAMILIES: Final = (
    Family(
        "Stable Diffusion 1 and 2", _of("StableDiffusion"), "StableDiffusionImg2ImgPipeline", "strength",
        "StableDiffusionInpaintPipeline", steps=25, side_px=512, grid_px=8, batches=True,
    ),
    Family(
        "Stable Diffusion XL", _of("StableDiffusionXL"), "StableDiffusionXLImg2ImgPipeline", "strength",
        "StableDiffusionXLInpaintPipeline", steps=30, least_px=768, grid_px=8, batches=True,
    ),
    Family(
        "Stable Diffusion 3", _of("StableDiffusion3"), "StableDiffusion3Img2ImgPipeline", "strength",
        "StableDiffusion3InpaintPipeline",
    ),
    Family(
        "Latent consistency", ("LatentConsistencyModelPipeline", "LatentConsistencyModelImg2ImgPipeline"),
        "LatentConsistencyModelImg2ImgPipeline", "strength", steps=4, all_steps=True, side_px=768, grid_px=8,
        negative=False,
    ),
    Family(
        "Stable Diffusion image variation", ("StableDiffusionImageVariationPipeline",),
        "StableDiffusionImageVariationPipeline", "guidance", steps=25, side_px=512, grid_px=8, prompt=False,
        negative=False, batches=True,
    ),
    Family(
        "Stable unCLIP", ("StableUnCLIPImg2ImgPipeline",), "StableUnCLIPImg2ImgPipeline", "noise_level", steps=20,
        side_px=768, grid_px=8,
    ),
    Family(
        "FLUX.1", _of("Flux"), "FluxImg2ImgPipeline", "strength", "FluxInpaintPipeline",
    ),
    Family(
        "FLUX.1 Redux", ("FluxPriorReduxPipeline",), "FluxPipeline", "scale", prompt=False, negative=False,
    ),
    Family(
        "FLUX.1 Kontext", ("FluxKontextPipeline", "FluxKontextInpaintPipeline"), "FluxKontextPipeline", "wording",
        "FluxKontextInpaintPipeline",
    ),
    Family(
        "FLUX.2 klein", ("Flux2KleinPipeline", "Flux2KleinInpaintPipeline"), "Flux2KleinPipeline", "wording",
        "Flux2KleinInpaintPipeline", negative=False,
    ),
    Family(
        "FLUX.2 klein KV", ("Flux2KleinKVPipeline",), "Flux2KleinKVPipeline", "wording", steps=4, few_steps=True,
        negative=False,
    ),
    Family("FLUX.2", ("Flux2Pipeline",), "Flux2Pipeline", "wording", negative=False),
    Family(
        "Z-Image", _of("ZImage"), "ZImageImg2ImgPipeline", "strength", "ZImageInpaintPipeline", steps=9,
        few_steps=True, guidance=0.0,
    ),
    Family(
        "Qwen-Image-Edit", ("QwenImageEditPipeline", "QwenImageEditPlusPipeline", "QwenImageEditInpaintPipeline"),
        "QwenImageEditPlusPipeline", "wording", "QwenImageEditInpaintPipeline", steps=40,
    ),
    Family("Qwen-Image-2.1", ("QwenImage21Pipeline",), "QwenImage21Pipeline", "wording", steps=40),
    Family(
        "Qwen-Image", _of("QwenImage"), "QwenImageImg2ImgPipeline", "strength", "QwenImageInpaintPipeline", steps=40,
    ),
    Family(
        "Chroma", _of("Chroma"), "ChromaImg2ImgPipeline", "strength", "ChromaInpaintPipeline", steps=35,
    ),
    Family("Kolors", ("KolorsPipeline", "KolorsImg2ImgPipeline"), "KolorsImg2ImgPipeline", "strength", grid_px=8),
    Family(
        "SANA-Sprint", ("SanaSprintPipeline", "SanaSprintImg2ImgPipeline"), "SanaSprintImg2ImgPipeline", "strength",
        steps=2, few_steps=True, grid_px=32, negative=False,
    ),
)  # fmt: skip

_BY_CLASS: Final = {each: family for family in FAMILIES for each in family.classes}


def family_of(class_name: str) -> Family | None:
    """Return the family of a class by name; None for a class that the table lacks."""
    return _BY_CLASS.get(class_name)
