"""The device that runs a model: which one, how much memory it has, and the number format that suits it.

References
----------
https://docs.pytorch.org/docs/stable/cuda.html, https://docs.pytorch.org/docs/stable/mps.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from ipy_imgvar.errors import InvalidRequestError, shown

if TYPE_CHECKING:
    import torch

__all__ = ["DTYPES", "Machine", "dtype_of", "empty_cache", "find", "free_bytes"]

#: The number formats that the option `dtype` takes.
DTYPES: Final = ("float32", "float16", "bfloat16")
#: The file by which Linux shows that NVIDIA's driver runs, whether or not torch was built for it.
_NVIDIA_DRIVER: Final = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True)
class Machine:
    """The chosen device.

    Parameters
    ----------
    device
        As torch writes it: "cuda:0", "mps", "cpu".
    kind
        The device's kind; an AMD card is "cuda" for torch, too.
    name
        The device's name for a person.
    memory_bytes
        The device's memory; for "mps" and "cpu" the machine's, None where it can't be read.
    note
        A line for the user, or "".
    """

    device: str
    kind: Literal["cuda", "mps", "cpu"]
    name: str
    memory_bytes: int | None
    note: str = ""


def find(device: str | None) -> Machine:
    """Return the device that a person named, or the best one of this machine: a GPU, Apple's, the CPU.

    Raises
    ------
    InvalidRequestError
        If this machine or this build of torch lacks the named device.
    """
    import torch

    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    wanted = device or next(kind for kind in ("cuda", "mps", "cpu") if has[kind])
    kind, _, number = wanted.partition(":")
    cards = torch.cuda.device_count() if has["cuda"] else 0
    allowed = [*(f"cuda:{card}" for card in range(cards)), *(["mps"] if has["mps"] else []), "cpu"]
    if wanted not in (*allowed, "cuda" if cards else "cpu"):
        raise InvalidRequestError(
            f"device is {shown(wanted)}; this machine and this torch have {', '.join(allowed)}",
            field="options",
        )
    if kind == "cuda":
        card = int(number or 0)
        properties = torch.cuda.get_device_properties(card)
        return Machine(f"cuda:{card}", "cuda", properties.name, properties.total_memory)
    if kind == "mps":
        return Machine("mps", "mps", "Apple GPU", _main_memory())
    note = ""
    if device is None and _NVIDIA_DRIVER.exists():
        note = (
            f"this machine has an NVIDIA GPU, but torch {torch.__version__} can't use it, so the CPU is used; install "
            "a torch with CUDA: https://pytorch.org/get-started/locally"
        )
    return Machine("cpu", "cpu", "CPU", _main_memory(), note)


def dtype_of(machine: Machine, name: str | None) -> torch.dtype:
    """Return the number format of the weights: the named one, else bfloat16 where the GPU has it, float32 on a CPU.

    bfloat16 has the exponents of float32, so no activation overflows; float16 is for GPUs without it.
    """
    import torch

    if name is not None:
        chosen: torch.dtype = getattr(torch, name)
        return chosen
    if machine.kind == "cpu":
        return torch.float32
    if machine.kind == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    try:
        torch.zeros(1, dtype=torch.bfloat16, device="mps")
    except (TypeError, RuntimeError):  # macOS before 14 has no bfloat16 on its GPU.
        return torch.float16
    return torch.bfloat16


def free_bytes(machine: Machine) -> int | None:
    """Return the device's free memory in bytes; the whole of a CPU's or Apple's, which share it with all else."""
    if machine.kind != "cuda":
        return machine.memory_bytes
    import torch

    free: int = torch.cuda.mem_get_info(machine.device)[0]
    return free


def empty_cache(kind: str) -> None:
    """Give memory that torch holds for later back to the device."""
    import torch

    if kind == "cuda":
        torch.cuda.empty_cache()
    elif kind == "mps":
        torch.mps.empty_cache()


def _main_memory() -> int | None:
    try:
        import psutil
    except ImportError:  # accelerate brings it.
        return None
    total: int = psutil.virtual_memory().total
    return total
