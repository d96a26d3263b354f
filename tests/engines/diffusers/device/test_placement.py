"""Where the weights go: by their size and the free memory."""

from types import SimpleNamespace

import pytest

from ipy_imgvar.engines.diffusers.device.machine import Machine
from ipy_imgvar.engines.diffusers.device.placement import choose, is_out_of_memory, module_bytes, place
from ipy_imgvar.errors import InvalidRequestError

GB = 10**9
KLEIN = {"transformer": 8 * GB, "text_encoder": 8 * GB, "vae": GB // 5}
CPU = Machine("cpu", "cpu", "CPU", 8 * GB)


@pytest.mark.parametrize(
    ("free", "offload"), [(24 * GB, "none"), (16 * GB, "model"), (8 * GB, "group"), (None, "none")]
)
def test_weights_stay_on_the_gpu_if_they_fit_and_move_in_parts_if_not(free, offload):
    """All on the GPU below nine tenths of the free memory, else one component at a time, else a few layers."""
    assert choose(KLEIN, free) == offload


@pytest.mark.usefixtures("torch")
def test_only_a_gpu_with_its_own_memory_offloads():
    """On a CPU the weights are where they would go, so the option is refused and not ignored."""
    with pytest.raises(InvalidRequestError, match="offload is model, and the device is cpu"):
        place(None, CPU, "model")


def test_the_bytes_of_weights_are_counted_by_component(torch):
    """Parameters and buffers count, each by the bytes of its number format."""
    unet = torch.nn.Linear(10, 10, dtype=torch.float16)
    pipe = SimpleNamespace(components={"unet": unet, "scheduler": object()})
    assert module_bytes(pipe) == {"unet": 220}


def test_full_memory_is_told_from_other_failures(torch):
    """Torch has a class for CUDA; the CPU and Apple's GPU say it in words."""
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
