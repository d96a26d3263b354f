"""A tiny real pipeline: fetched from a hub over loopback and loaded by diffusers, in both precisions."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

if importlib.util.find_spec("torch") is None or importlib.util.find_spec("diffusers") is None:
    pytest.skip("torch and diffusers are not installed", allow_module_level=True)

#: Makes a Stable Diffusion of 0.3 MB with random weights, in 32 bits and, but for the autoencoder, in 16; puts it on a
#: hub; fetches and loads it in both. A process of its own, since the imports take seconds and print warnings.
CODE = """
import json, os, sys, torch
from pathlib import Path
from diffusers import AutoencoderKL, DiffusionPipeline, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from hubserver import Hub, Repo
from ipy_imgvar.engine import Job
from ipy_imgvar.engines.diffusers.weights.download import fetch
from ipy_imgvar.engines.diffusers.weights.reference import reference

root = Path(sys.argv[1])
torch.manual_seed(0)
letters = [chr(code) for code in range(33, 127)]
words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
vocabulary = {word: number for number, word in enumerate(words)}
tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[])
text = CLIPTextModel(CLIPTextConfig(vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
                                    num_attention_heads=2, eos_token_id=len(words) - 1))
unet = UNet2DConditionModel(sample_size=8, in_channels=4, out_channels=4, block_out_channels=(8, 16),
                            layers_per_block=1, cross_attention_dim=16, norm_num_groups=4, attention_head_dim=4,
                            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
                            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"))
vae = AutoencoderKL(block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
                    up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4)
pipeline = StableDiffusionPipeline(vae=vae, text_encoder=text, tokenizer=tokenizer, unet=unet,
                                   scheduler=PNDMScheduler(), safety_checker=None, feature_extractor=None,
                                   requires_safety_checker=False)
made = root / "made"
pipeline.save_pretrained(made)
unet.half().save_pretrained(made / "unet", variant="fp16")
text.half().save_pretrained(made / "text_encoder", variant="fp16")

hub = Hub()
files = {path.relative_to(made).as_posix(): path.read_bytes() for path in made.rglob("*") if path.is_file()}
hub.repos["some/model"] = Repo(files)
os.environ["HF_ENDPOINT"] = hub.url
job, found = Job(), {}
for half in (True, False):
    os.environ["HF_HUB_CACHE"] = str(root / str(half))
    local = fetch(reference("some/model"), half=half, local_files_only=False, job=job, check=job.check)
    loaded = DiffusionPipeline.from_pretrained(local.folder, variant=local.variant, use_safetensors=True,
                                               local_files_only=True, trust_remote_code=False)
    found["half" if half else "full"] = {
        "class": type(loaded).__name__,
        "variant": local.variant,
        "files": sorted(path.name for path in local.folder.rglob("*.safetensors")),
        "weights": sum(float(each.double().sum()) for each in loaded.unet.parameters()),
    }
print("RESULT", json.dumps(found))
"""


def test_what_was_fetched_can_be_loaded(tmp_path):
    """A pipeline's chosen files are enough for diffusers, in 32 bits and, with the variant, in a mixture of both."""
    tests = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CODE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), str(tests.parent)])},
    )
    assert "RESULT" in done.stdout, done.stderr
    found = json.loads(done.stdout.rpartition("RESULT")[2])
    half, full = found["half"], found["full"]
    assert (half["class"], half["variant"]) == ("StableDiffusionPipeline", "fp16")
    assert (full["class"], full["variant"]) == ("StableDiffusionPipeline", None)
    assert half["files"] == [
        "diffusion_pytorch_model.fp16.safetensors",
        "diffusion_pytorch_model.safetensors",
        "model.fp16.safetensors",
    ]
    assert half["weights"] == pytest.approx(full["weights"], abs=0.1)
