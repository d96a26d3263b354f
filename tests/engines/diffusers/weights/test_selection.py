"""The files that are chosen from lists like those of real repositories, with their sizes in MB."""

import json

import pytest
from hubserver import pipeline
from hypothesis import given
from hypothesis import strategies as st

from ipy_imgvar.engines.diffusers.weights.selection import (
    RepoFile,
    choose,
    choose_adapter,
    is_complete,
    listing_of,
)
from ipy_imgvar.errors import InvalidRequestError

MB = 1_000_000


def index(name, **parts):
    return {"_class_name": name, "_diffusers_version": "0.42.1", **parts}


def listing(text):
    """Return the files of a list with a folder a line: `folder: name size, ...`; sizes are in MB, 0.001 without."""
    files = []
    for line in text.strip().splitlines():
        folder, _, names = line.strip().partition(":")
        for each in names.split(","):
            name, _, size = each.strip().partition(" ")
            path = name if folder == "." else f"{folder}/{name}"
            files.append(RepoFile(path, int(float(size or 0.001) * MB)))
    return files


CLIP = ["transformers", "CLIPTextModel"]
TOKENIZER = ["transformers", "CLIPTokenizer"]
VAE = ["diffusers", "AutoencoderKL"]
UNET = ["diffusers", "UNet2DConditionModel"]

SD15_INDEX = index(
    "StableDiffusionPipeline",
    feature_extractor=["transformers", "CLIPImageProcessor"],
    safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
    scheduler=["diffusers", "PNDMScheduler"],
    text_encoder=CLIP,
    tokenizer=TOKENIZER,
    unet=UNET,
    vae=VAE,
)
SD15 = listing("""
    .: .gitattributes, README.md, model_index.json, v1-5-pruned.ckpt 7700, v1-5-pruned.safetensors 7700
    .: v1-5-pruned-emaonly.ckpt 4270, v1-5-pruned-emaonly.safetensors 4270, v1-inference.yaml
    feature_extractor: preprocessor_config.json
    safety_checker: config.json, model.fp16.safetensors 608, model.safetensors 1216
    safety_checker: pytorch_model.bin 1216, pytorch_model.fp16.bin 608
    scheduler: scheduler_config.json
    text_encoder: config.json, model.fp16.safetensors 246, model.safetensors 492
    text_encoder: pytorch_model.bin 492, pytorch_model.fp16.bin 246
    tokenizer: merges.txt, special_tokens_map.json, tokenizer_config.json, vocab.json
    unet: config.json, diffusion_pytorch_model.bin 3440, diffusion_pytorch_model.fp16.bin 1720
    unet: diffusion_pytorch_model.fp16.safetensors 1720, diffusion_pytorch_model.non_ema.bin 3440
    unet: diffusion_pytorch_model.non_ema.safetensors 3440, diffusion_pytorch_model.safetensors 3440
    vae: config.json, diffusion_pytorch_model.bin 335, diffusion_pytorch_model.fp16.bin 167
    vae: diffusion_pytorch_model.fp16.safetensors 167, diffusion_pytorch_model.safetensors 335
""")

SDXL_INDEX = index(
    "StableDiffusionXLPipeline",
    force_zeros_for_empty_prompt=True,
    scheduler=["diffusers", "EulerDiscreteScheduler"],
    text_encoder=CLIP,
    text_encoder_2=["transformers", "CLIPTextModelWithProjection"],
    tokenizer=TOKENIZER,
    tokenizer_2=TOKENIZER,
    unet=UNET,
    vae=VAE,
)
SDXL = listing("""
    .: LICENSE.md, README.md, model_index.json, sd_xl_base_1.0.safetensors 6940, sd_xl_base_1.0_0.9vae.safetensors 6940
    .: sd_xl_offset_example-lora_1.0.safetensors 50, 01.png 1
    scheduler: scheduler_config.json
    text_encoder: config.json, flax_model.msgpack 492, model.fp16.safetensors 246, model.onnx 492
    text_encoder: model.safetensors 492, openvino_model.bin 492, openvino_model.xml 1
    text_encoder_2: config.json, flax_model.msgpack 2780, model.fp16.safetensors 1390, model.onnx 1
    text_encoder_2: model.onnx_data 2780, model.safetensors 2780, openvino_model.bin 2780, openvino_model.xml 3
    tokenizer: merges.txt, special_tokens_map.json, tokenizer_config.json, vocab.json
    tokenizer_2: merges.txt, special_tokens_map.json, tokenizer_config.json, vocab.json
    unet: config.json, diffusion_flax_model.msgpack 10300, diffusion_pytorch_model.fp16.safetensors 5140
    unet: diffusion_pytorch_model.safetensors 10300, model.onnx 7, model.onnx_data 10300, openvino_model.bin 10300
    vae: config.json, diffusion_flax_model.msgpack 335, diffusion_pytorch_model.fp16.safetensors 167
    vae: diffusion_pytorch_model.safetensors 335
    vae_1_0: config.json, diffusion_pytorch_model.fp16.safetensors 167, diffusion_pytorch_model.safetensors 335
    vae_decoder: config.json, model.onnx 198
    vae_encoder: config.json, model.onnx 137
""")

KLEIN_INDEX = index(
    "Flux2KleinPipeline",
    is_distilled=True,
    scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"],
    text_encoder=["transformers", "Qwen3ForCausalLM"],
    tokenizer=["transformers", "Qwen2TokenizerFast"],
    transformer=["diffusers", "Flux2Transformer2DModel"],
    vae=["diffusers", "AutoencoderKLFlux2"],
)
KLEIN = listing("""
    .: LICENSE.md, README.md, flux-2-klein-4b.safetensors 7750, model_index.json, teaser.jpg 2
    scheduler: scheduler_config.json
    text_encoder: config.json, generation_config.json, model-00001-of-00002.safetensors 4970
    text_encoder: model-00002-of-00002.safetensors 3080, model.safetensors.index.json 0.03
    tokenizer: added_tokens.json, chat_template.jinja, merges.txt 1.7, special_tokens_map.json, tokenizer.json 11.4
    tokenizer: tokenizer_config.json, vocab.json 2.8
    transformer: config.json, diffusion_pytorch_model.safetensors 7750
    vae: config.json, diffusion_pytorch_model.safetensors 168
""")

Z_IMAGE_INDEX = index(
    "ZImagePipeline",
    scheduler=["diffusers", "FlowMatchEulerDiscreteScheduler"],
    text_encoder=["transformers", "Qwen3Model"],
    tokenizer=["transformers", "Qwen2Tokenizer"],
    transformer=["diffusers", "ZImageTransformer2DModel"],
    vae=VAE,
)
Z_IMAGE = listing("""
    .: README.md, model_index.json
    assets: showcase.jpg 10, Z-Image-Gallery.pdf 15
    scheduler: scheduler_config.json
    text_encoder: config.json, generation_config.json, model-00001-of-00003.safetensors 3960
    text_encoder: model-00002-of-00003.safetensors 3990, model-00003-of-00003.safetensors 99.6
    text_encoder: model.safetensors.index.json 0.03
    tokenizer: merges.txt 1.67, tokenizer.json 11.4, tokenizer_config.json, vocab.json 2.78
    transformer: config.json, diffusion_pytorch_model-00001-of-00003.safetensors 9970
    transformer: diffusion_pytorch_model-00002-of-00003.safetensors 9970
    transformer: diffusion_pytorch_model-00003-of-00003.safetensors 4670
    transformer: diffusion_pytorch_model.safetensors.index.json 0.05
    vae: config.json, diffusion_pytorch_model.safetensors 168
""")

REPOS = {
    "sd15": (SD15_INDEX, SD15, 2741, 5483, "fp16"),
    "sdxl": (SDXL_INDEX, SDXL, 6943, 13907, "fp16"),
    "klein": (KLEIN_INDEX, KLEIN, 15984, 15984, None),
    "z-image": (Z_IMAGE_INDEX, Z_IMAGE, 32844, 32844, None),
}


@pytest.mark.parametrize("name", REPOS)
@pytest.mark.parametrize("half", [True, False])
def test_real_lists(name, half):
    """From each repository one set of weights, all settings and nothing else is chosen."""
    parts, files, half_mb, full_mb, variant = REPOS[name]
    choice = choose(parts, files, name, half=half)
    paths = [file.path for file in choice.files]
    assert choice.size / MB == pytest.approx(half_mb if half else full_mb, abs=1)
    assert choice.variant == (variant if half else None)
    assert len(paths) == len(set(paths))
    assert "model_index.json" in paths
    assert {path.partition("/")[0] for path in paths} == {"model_index.json"} | {
        part for part, value in parts.items() if isinstance(value, list)
    }
    assert {path.rpartition(".")[2] for path in paths} <= {"json", "txt", "jinja", "safetensors"}
    assert is_complete(parts, choice)


def test_the_names_of_one_choice():
    """Of Stable Diffusion 1.5 in 16 bits exactly these files are fetched."""
    choice = choose(SD15_INDEX, SD15, "sd15", half=True)
    assert sorted(file.path for file in choice.files) == [
        "feature_extractor/preprocessor_config.json",
        "model_index.json",
        "safety_checker/config.json",
        "safety_checker/model.fp16.safetensors",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.fp16.safetensors",
        "tokenizer/merges.txt",
        "tokenizer/special_tokens_map.json",
        "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    ]


@pytest.mark.parametrize(
    "names",
    [
        ["model.fp16-00001-of-00002.safetensors", "model.fp16-00002-of-00002.safetensors"],
        ["model-00001-of-00002.fp16.safetensors", "model-00002-of-00002.fp16.safetensors"],
    ],
)
@pytest.mark.parametrize(
    "numbers", ["model.safetensors.index.fp16.json", "model.safetensors.fp16.index.json"]
)
def test_sixteen_bits_in_pieces(names, numbers):
    """The variant in 16 bits is found in numbered pieces, by diffusers' names and by its older ones."""
    plain = ["model-00001-of-00001.safetensors", "model.safetensors.index.json"]
    pickles = ["pytorch_model.bin.index.json", "pytorch_model-00001-of-00001.bin"]
    files = [RepoFile(f"part/{name}") for name in [*names, numbers, *plain, *pickles]]
    choice = choose({"part": CLIP}, files, "a-name", half=True)
    assert sorted(file.path for file in choice.files) == sorted(f"part/{name}" for name in [*names, numbers])
    choice = choose({"part": CLIP}, files, "a-name", half=False)
    assert sorted(file.path for file in choice.files) == sorted(f"part/{name}" for name in plain)


def test_a_part_without_sixteen_bits():
    """A component that has no variant in 16 bits comes in full beside those that have one."""
    files = [file for file in SD15 if file.path != "vae/diffusion_pytorch_model.fp16.safetensors"]
    choice = choose(SD15_INDEX, files, "sd15", half=True)
    paths = {file.path for file in choice.files}
    assert {
        "vae/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
    } <= paths
    assert choice.variant == "fp16"


def test_sixteen_bits_alone():
    """A repository that has only the variant is read with it, whatever was preferred."""
    files = [file for file in SD15 if "fp16" in file.path or not file.path.endswith(".safetensors")]
    assert choose(SD15_INDEX, files, "sd15", half=False).variant == "fp16"


def test_one_file_before_pieces():
    """Where weights are there in one file and in pieces, the one file is taken, without the pieces' index."""
    names = ["model.safetensors", "model-00001-of-00001.safetensors", "model.safetensors.index.json"]
    choice = choose({"part": CLIP}, [RepoFile(f"part/{name}") for name in names], "a-name", half=False)
    assert [file.path for file in choice.files] == ["part/model.safetensors"]


def test_pickles_alone():
    """A component whose weights are pickles alone is refused by its file's name."""
    files = [
        file for file in SD15 if not (file.path.startswith("vae/") and file.path.endswith(".safetensors"))
    ]
    with pytest.raises(
        InvalidRequestError, match=r"model sd15 can't be loaded: vae/diffusion_pytorch_model\.bin"
    ):
        choose(SD15_INDEX, files, "sd15", half=True)


@given(
    st.lists(
        st.builds(
            RepoFile,
            st.from_regex(
                r"(unet/|vae/|x/|)[a-z]{0,3}(model|\.\.|/)?[a-z0-9-]{0,6}\.(safetensors|json|py|bin|ckpt|so)"
            ),
        )
    ),
    st.booleans(),
)
def test_no_code_ever(files, half):
    """Whatever a list holds, no code, pickle or file outside the components is chosen."""
    parts = {"unet": UNET, "vae": VAE}
    try:
        choice = choose(parts, files, "a-name", half=half)
    except InvalidRequestError:
        return
    for file in choice.files:
        assert file.path == "model_index.json" or file.path.startswith(("unet/", "vae/"))
        assert file.path.endswith((".safetensors", ".json"))


@pytest.mark.parametrize(
    ("lost", "complete"),
    [
        ("unet/diffusion_pytorch_model.safetensors", False),
        ("unet/config.json", True),
        ("scheduler/scheduler_config.json", False),
        ("README.md", True),
    ],
)
def test_complete_folders(folder, lost, complete):
    """A folder that lacks a model's weights or a component isn't complete."""
    root = folder(pipeline(**{lost: None, "unet/diffusion_pytorch_model.bin": None}))
    parts = json.loads((root / "model_index.json").read_text())
    assert is_complete(parts, choose(parts, listing_of(root), "a-name", half=True)) is complete


@pytest.mark.parametrize(
    "lost", ["text_encoder/model-00002-of-00003.safetensors", "transformer/", "index.json"]
)
def test_complete_pieces(lost):
    """Weights in pieces are complete with all pieces and their index."""
    files = [file for file in Z_IMAGE if lost not in file.path]
    choice = choose(Z_IMAGE_INDEX, files, "z-image", half=True)
    assert not is_complete(Z_IMAGE_INDEX, choice)


def test_adapters_in_a_large_repository():
    """Of the repository of IP-Adapters one adapter and one encoder are chosen."""
    files = listing("""
        .: README.md
        models: ip-adapter_sd15.bin 45, ip-adapter_sd15.safetensors 45, ip-adapter-plus_sd15.safetensors 98
        models/image_encoder: config.json, model.safetensors 2530, pytorch_model.bin 2530
        sdxl_models: ip-adapter_sdxl.safetensors 703, ip-adapter_sdxl_vit-h.safetensors 698
        sdxl_models/image_encoder: config.json, model.safetensors 3690, pytorch_model.bin 3690
    """)
    choice = choose_adapter(
        "sdxl_models/ip-adapter_sdxl_vit-h.safetensors", "models/image_encoder", files, "h94/IP-Adapter"
    )
    assert [file.path for file in choice.files] == [
        "sdxl_models/ip-adapter_sdxl_vit-h.safetensors",
        "models/image_encoder/config.json",
        "models/image_encoder/model.safetensors",
    ]
    with pytest.raises(InvalidRequestError, match=r"has no other/config\.json"):
        choose_adapter("models/ip-adapter_sd15.safetensors", "other", files, "h94/IP-Adapter")
