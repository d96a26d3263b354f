"""Placement of a pipeline's weights: all on the device, or part of them at a time.

References
----------
https://huggingface.co/docs/diffusers/optimization/memory
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ipy_imgvar.engines.diffusers.device.machine import free_bytes
from ipy_imgvar.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ipy_imgvar.engines.diffusers.device.machine import Machine

__all__ = ["OFFLOADS", "is_out_of_memory", "module_bytes", "place", "set_tiling"]

#: The words of the option `offload`, from the fastest to the one that needs the least memory.
OFFLOADS: Final = ("auto", "none", "model", "group")
#: The share of the free memory that weights may take; the rest is for activations.
_WEIGHTS_SHARE: Final = 0.9
#: Pixels above which the autoencoder works in tiles, 1.2 million: below, tiles save little and may leave seams.
_TILING_ABOVE_PX: Final = 1_200_000


def module_bytes(pipe: Any) -> dict[str, int]:
    """Return the bytes of each component's weights by name."""
    sizes = {}
    for name, component in pipe.components.items():
        if hasattr(component, "parameters"):
            tensors = [*component.parameters(), *component.buffers()]
            sizes[name] = sum(each.numel() * each.element_size() for each in tensors)
    return sizes


def choose(sizes: Mapping[str, int], free: int | None) -> str:
    """Return the offload for weights of these bytes: "none" if all fit, "model" if the largest does, else "group"."""
    if free is None or sum(sizes.values()) < _WEIGHTS_SHARE * free:
        return "none"
    return "model" if max(sizes.values()) < _WEIGHTS_SHARE * free else "group"


def place(pipe: Any, machine: Machine, offload: str) -> str:
    """Bring a pipeline to the device, and return the offload in use.

    Parameters
    ----------
    pipe
        A pipeline whose weights are in main memory.
    machine
        The device.
    offload
        One of `OFFLOADS`. "model" holds one component on the GPU at a time, "group" a few layers.

    Raises
    ------
    InvalidRequestError
        For an offload on a device whose memory is the main memory.
    """
    if machine.kind != "cuda":
        if offload not in ("auto", "none"):
            raise InvalidRequestError(
                f"offload is {offload}, and the device is {machine.device}; allowed there: auto, none; only a GPU with "
                "memory of its own can offload",
                field="options",
            )
        pipe.to(machine.device)
        return "none"
    if offload == "auto":
        offload = choose(module_bytes(pipe), free_bytes(machine))
    if offload == "none":
        pipe.to(machine.device)
    elif offload == "model":
        pipe.enable_model_cpu_offload(device=machine.device)
    else:
        import torch

        pipe.enable_group_offload(onload_device=torch.device(machine.device), offload_type="leaf_level")
    return offload


def set_tiling(pipe: Any, pixels: int) -> None:
    """Let the autoencoder work in tiles for a picture of more than 1.2 million pixels, and whole below that."""
    vae = getattr(pipe, "vae", None)
    switch = "enable_tiling" if pixels > _TILING_ABOVE_PX else "disable_tiling"
    if hasattr(vae, switch):
        getattr(vae, switch)()


def is_out_of_memory(exc: BaseException) -> bool:
    """Return whether an exception says that the device's memory is full; CPU and Apple raise a plain RuntimeError."""
    import torch

    if isinstance(exc, (torch.OutOfMemoryError, MemoryError)):
        return True
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(exc, RuntimeError) and any(each in str(exc).lower() for each in words)
