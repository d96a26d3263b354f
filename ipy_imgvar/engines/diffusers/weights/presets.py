"""The models that have a short name, with the facts that a person needs before 16 GB are fetched.

Facts only: licences, gates, sizes and memory are as the model's card and file list state them. No quality is promised.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PRESETS", "Adapter", "Preset", "default_preset"]

#: Bytes of GPU memory from which klein runs with its parts moved in and out ("as little as 13 GB", its card). A card
#: sold with 12 GB stays below: it reports at most 12.9e9 bytes.
_KLEIN_CUDA_BYTES: Final = 13_000_000_000
#: Bytes of GPU memory from which SDXL runs with its parts moved in and out: the UNet alone has 5.1 GB in 16 bits, and
#: making 1024x1024 pixels takes about 2 GB more. A card sold with 8 GB reports 8.2e9 or more.
_SDXL_CUDA_BYTES: Final = 7_500_000_000
#: Bytes of a Mac's memory, which its GPU shares, from which all 16 GB of klein and the system have room.
_KLEIN_MPS_BYTES: Final = 24_000_000_000


@dataclass(frozen=True, slots=True)
class Adapter:
    """An IP-Adapter: small weights through which a pipeline takes an image where it takes a prompt.

    Parameters
    ----------
    repo, revision
        Its place on the hub.
    subfolder, weight_name
        The folder inside the repository and the file in it, always `.safetensors`.
    image_encoder
        The folder inside the repository that holds the encoder.
    """

    repo: str
    revision: str | None
    subfolder: str
    weight_name: str
    image_encoder: str


@dataclass(frozen=True, slots=True)
class Preset:
    """One row of the table of presets.

    Parameters
    ----------
    name
        What `model=` and `--model` take.
    repo, revision
        The place on the hub; the revision is a commit, so that a name means the same files on every day.
    pipeline
        The class that the repository's index names.
    steps
        Denoising steps that the model was made for, or is commonly run with.
    side_px
        The side of the square that it was trained on, in pixels.
    licence
        The name of the licence, as the card has it.
    disk_gb
        Bytes that are fetched, in units of 10^9, adapter and image encoder included.
    memory_gb
        GPU memory that the card states, or that the weights in 16 bits need, in units of 10^9 bytes.
    summary
        One line for a list.
    adapter
        The adapter that makes an image-to-image model take the source as a prompt; None without.
    base
        The pipeline that makes the picture, as `model=` takes it, if `repo` only encodes the source; None otherwise.
    gated
        The hub wants an account that has accepted the terms.
    commercial
        The licence allows commercial use, with the restrictions that it names.
    """

    name: str
    repo: str
    revision: str | None
    pipeline: str
    steps: int
    side_px: int
    licence: str
    disk_gb: float
    memory_gb: float
    summary: str
    adapter: Adapter | None = None
    base: str | None = None
    gated: bool = False
    commercial: bool = True


def _ip_adapter(subfolder: str, weight_name: str) -> Adapter:
    # Apache-2.0. Both use the encoder ViT-H (632 M parameters); that of `sdxl_models` has 1.8 G and changes little.
    return Adapter(
        "h94/IP-Adapter",
        "018e402774aeeddd60609b4ecdb7e298259dc729",
        subfolder,
        weight_name,
        "models/image_encoder",
    )


_ROWS: Final = (
    Preset(
        name="klein",
        repo="black-forest-labs/FLUX.2-klein-4B",
        revision="e7b7dc27f91deacad38e78976d1f2b499d76a294",
        pipeline="Flux2KleinPipeline",
        steps=4,
        side_px=1024,
        licence="Apache-2.0",
        # Transformer 7.75, text encoder 8.05, autoencoder 0.17.
        disk_gb=16.0,
        memory_gb=13.0,
        summary="edits the source by an instruction in 4 steps; Apache-2.0, 16 GB, a GPU with 13 GB",
    ),
    Preset(
        name="klein-base",
        repo="black-forest-labs/FLUX.2-klein-base-4B",
        revision="a3b4f4849157f664bdbc776fd7453c2783562f4d",
        pipeline="Flux2KleinPipeline",
        steps=28,
        side_px=1024,
        licence="Apache-2.0",
        disk_gb=16.0,
        memory_gb=13.0,
        summary="klein before distillation: slower, more varied; Apache-2.0, 16 GB, a GPU with 13 GB",
    ),
    Preset(
        name="z-image",
        repo="Tongyi-MAI/Z-Image-Turbo",
        revision="f332072aa78be7aecdf3ee76d5c247082da564a6",
        pipeline="ZImagePipeline",
        steps=9,
        side_px=1024,
        licence="Apache-2.0",
        # Transformer 24.6, in 32 bits; text encoder 8.05; autoencoder 0.17.
        disk_gb=32.8,
        memory_gb=16.0,
        summary="redraws the source from noise in 9 steps; Apache-2.0, 33 GB, a GPU with 16 GB",
    ),
    Preset(
        name="qwen-edit",
        repo="Qwen/Qwen-Image-Edit-2511",
        revision="6f3ccc0b56e431dc6a0c2b2039706d7d26f22cb9",
        pipeline="QwenImageEditPlusPipeline",
        steps=40,
        side_px=1024,
        licence="Apache-2.0",
        disk_gb=57.7,
        # Its weights in 16 bits; only one part is on the GPU at a time with offload.
        memory_gb=57.7,
        summary="edits the source by an instruction in 40 steps; Apache-2.0, 58 GB, a GPU with 60 GB",
    ),
    Preset(
        name="sdxl",
        repo="stabilityai/stable-diffusion-xl-base-1.0",
        revision="462165984030d82259a11f4367a4eed129e94a7b",
        pipeline="StableDiffusionXLPipeline",
        steps=30,
        side_px=1024,
        licence="OpenRAIL++-M",
        # 3.47 G parameters in 16 bits, 6.9; adapter 0.7; its image encoder 2.5.
        disk_gb=10.2,
        memory_gb=9.0,
        summary="takes the source as a prompt and redraws it; OpenRAIL++, 10 GB, a GPU with 8 GB",
        adapter=_ip_adapter("sdxl_models", "ip-adapter_sdxl_vit-h.safetensors"),
    ),
    Preset(
        name="sd15",
        repo="stable-diffusion-v1-5/stable-diffusion-v1-5",
        revision="451f4fe16113bff5a5d2269ed5ad43b0592e9a14",
        pipeline="StableDiffusionPipeline",
        steps=25,
        side_px=512,
        licence="CreativeML OpenRAIL-M",
        # 1.37 G parameters in 16 bits, 2.7; adapter 0.04; its image encoder 2.5.
        disk_gb=5.3,
        memory_gb=4.0,
        summary="takes the source as a prompt and redraws it; OpenRAIL-M, 5 GB, a GPU with 4 GB",
        adapter=_ip_adapter("models", "ip-adapter_sd15.safetensors"),
    ),
    Preset(
        name="lcm",
        repo="SimianLuo/LCM_Dreamshaper_v7",
        revision="a85df6a8bd976cdd08b4fd8f3b73f229c9e54df5",
        pipeline="LatentConsistencyModelPipeline",
        steps=4,
        # Distilled at 768 from a model of 512; at 512 a CPU needs less than half the time.
        side_px=512,
        licence="MIT",
        disk_gb=5.5,
        memory_gb=4.0,
        summary="redraws the source in 4 steps, the quickest on a CPU; MIT, 5.5 GB, no GPU needed",
    ),
    Preset(
        name="redux",
        repo="black-forest-labs/FLUX.1-Redux-dev",
        revision="1282f955f706b5240161278f2ef261d2a29ad649",
        pipeline="FluxPriorReduxPipeline",
        steps=4,
        side_px=1024,
        licence="FLUX.1 [dev] Non-Commercial License",
        # The prior 1.0 with its image encoder; transformer 23.8, text encoders 9.8, autoencoder 0.2.
        disk_gb=34.8,
        memory_gb=24.0,
        summary="new pictures of the source's subject; non-commercial, gated, 35 GB, a GPU with 24 GB",
        # Apache-2.0, but gated as well.
        base="black-forest-labs/FLUX.1-schnell@741f7c3ce8b383c54771c7003378a50191e9efe9",
        gated=True,
        commercial=False,
    ),
)

#: The presets by name, in the order in which lists show them.
PRESETS: Final[Mapping[str, Preset]] = MappingProxyType({row.name: row for row in _ROWS})


def default_preset(memory_bytes: int | None, kind: Literal["cuda", "mps", "cpu"]) -> Preset:
    """Return the preset for a machine when no model is named.

    A GPU with 13 GB or more gets `klein`: it is new, under Apache-2.0, takes an instruction, needs 4 steps and has an
    inpainting class. Below that its largest part, the text encoder of 8 GB, leaves no room, and the 4-bit libraries
    that would shrink it can't be counted on; `sdxl` runs in 8 GB with its parts moved in and out. Smaller and unknown
    GPUs get `sd15`. A Mac's GPU shares the machine's memory, so moving parts frees nothing: `klein` from 24 GB, else
    `sd15`. A CPU gets `lcm`: 4 steps at 512x512 take 1 to 2 minutes on 2 cores, 25 steps of `sd15` 10 to 20.

    Parameters
    ----------
    memory_bytes
        Bytes of the GPU's memory in all, or of the Mac's; None if unknown.
    kind
        The device that pictures are made on.
    """
    memory = memory_bytes or 0
    if kind == "cpu":
        return PRESETS["lcm"]
    if kind == "mps":
        return PRESETS["klein" if memory >= _KLEIN_MPS_BYTES else "sd15"]
    if memory >= _KLEIN_CUDA_BYTES:
        return PRESETS["klein"]
    return PRESETS["sdxl" if memory >= _SDXL_CUDA_BYTES else "sd15"]
