"""Where the weights go: by their size and the free memory."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ipy_imgvar.engines.diffusers.device.machine import Machine
from ipy_imgvar.engines.diffusers.device.placement import choose, is_out_of_memory, module_bytes, place
from ipy_imgvar.engines.diffusers.pipelines.families import family_of
from ipy_imgvar.engines.diffusers.pipelines.loading import Recipe, load
from ipy_imgvar.errors import InvalidRequestError
from ipy_imgvar.images import codec

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


@pytest.mark.parametrize("offload", ["model", "group"])
@pytest.mark.parametrize("name", ["stable", "z-image"])
def test_pipelines_of_one_model_share_what_moves_its_weights(torch, tiny_pipeline, name, offload):
    """With hooks that move the weights, image and inpainting pipelines make the pictures that they make without.

    The hooks are real, and the device is the CPU, since no GPU can be counted on.
    """
    folder = tiny_pipeline(name)
    index = json.loads((folder / "model_index.json").read_text())
    family = family_of(index["_class_name"])
    picture = codec.from_array(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), "picture")
    mask = codec.from_array(np.arange(64 * 64).reshape(64, 64) > 2000, "mask")
    pictures = {}
    for chosen in ("none", offload):
        machine = replace(CPU, kind="cuda")
        loaded = load(Recipe(name, folder, index["_class_name"], family, machine, "float32", chosen))
        assert loaded.offload == chosen
        for class_name in (loaded.family.image, loaded.family.inpaint, loaded.family.image):
            more = {"mask_image": mask} if class_name == loaded.family.inpaint else {}
            pipe = loaded.pipeline(class_name)
            made = pipe(
                prompt="", image=picture, strength=0.6, num_inference_steps=4, **more,
                generator=torch.Generator().manual_seed(0),
            ).images[0]  # fmt: skip
            loaded.rest()
            assert pictures.setdefault(class_name, made.tobytes()) == made.tobytes()


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
