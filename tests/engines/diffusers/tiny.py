"""Tiny pipelines of random weights, saved as real ones are, so that the real loading code reads them.

`python tests/engines/diffusers/tiny.py OUT` makes all of `MAKERS` below OUT, a folder each. Their pictures are coloured
noise; they show all that doesn't depend on trained weights: seeds, sizes, masks, cancelling, errors. The weights are
the same in each run of one version of torch.
"""

import sys
from pathlib import Path

import diffusers
import torch
import transformers
from safetensors.torch import save_file
from tokenizers.pre_tokenizers import ByteLevel

#: Width of text and image embeddings. Every model's inner width is this or a small multiple of it.
_WIDTH = 32
#: Pixels a side of the picture that the image encoders look at. Real ones: 224.
_LOOK_PX = 32
#: Levels of every autoencoder. Four levels halve three times: a latent is 8 pixels wide, as in real ones.
_LEVELS = 4
#: As in FLUX.1 and Z-Image, whose pipelines need a shift.
_FLOW_LATENTS = {"shift_factor": 0.1, "use_quant_conv": False, "use_post_quant_conv": False}
_CHAT_TEMPLATE = """{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}"""


def _alphabet(*special):
    """Return a vocabulary of single bytes, with a form for a word's end, and the special tokens."""
    letters = sorted(ByteLevel.alphabet())
    return {
        token: number
        for number, token in enumerate([*letters, *(f"{each}</w>" for each in letters), *special])
    }


def _clip_tokenizer():
    vocabulary = _alphabet("<|startoftext|>", "<|endoftext|>")
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def _qwen_tokenizer():
    vocabulary = _alphabet("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer = transformers.Qwen2Tokenizer(vocab=vocabulary, merges=[], model_max_length=512)
    tokenizer.chat_template = _CHAT_TEMPLATE
    return tokenizer


def _clip_text(kind=transformers.CLIPTextModel, width=_WIDTH):
    tokens = len(_alphabet("<|startoftext|>", "<|endoftext|>"))
    settings = {
        "hidden_size": width,
        "intermediate_size": width,
        "projection_dim": width,
        "vocab_size": tokens,
    }
    ends = {"bos_token_id": tokens - 2, "eos_token_id": tokens - 1, "pad_token_id": tokens - 1}
    config = transformers.CLIPTextConfig(**settings, **ends, num_hidden_layers=2, num_attention_heads=4)
    return kind(config)


def _clip_vision_config():
    settings = {"hidden_size": _WIDTH, "intermediate_size": _WIDTH, "projection_dim": _WIDTH, "patch_size": 8}
    return transformers.CLIPVisionConfig(
        **settings, image_size=_LOOK_PX, num_hidden_layers=2, num_attention_heads=4
    )


def _clip_vision():
    return transformers.CLIPVisionModelWithProjection(_clip_vision_config())


def _clip_processor():
    return transformers.CLIPImageProcessor(size=_LOOK_PX, crop_size=_LOOK_PX)


def _qwen_text(layers, width=16):
    config = transformers.Qwen3Config(
        hidden_size=width,
        intermediate_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=len(_alphabet("<|endoftext|>", "<|im_start|>", "<|im_end|>")),
        max_position_embeddings=1024,
        initializer_range=0.5,  # at the usual 0.02, a prompt of a tiny model changes no pixel
    )
    return transformers.Qwen3ForCausalLM(config)


def _autoencoder(kind=diffusers.AutoencoderKL, latents=4, **settings):
    return kind(
        block_out_channels=[8] * _LEVELS,
        down_block_types=["DownEncoderBlock2D"] * _LEVELS,
        up_block_types=["UpDecoderBlock2D"] * _LEVELS,
        layers_per_block=1,
        latent_channels=latents,
        norm_num_groups=4,
        sample_size=64,
        **settings,
    )


def _unet(channels=4, **settings):
    return diffusers.UNet2DConditionModel(
        in_channels=channels,
        out_channels=4,
        block_out_channels=[16, 32],
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=8,
        **{"attention_head_dim": 4, "cross_attention_dim": _WIDTH, **settings},
    )


def _scheduler(kind=diffusers.DDIMScheduler):
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return kind(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1)


def _flow_scheduler(**settings):
    return diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, **settings)


def _stable_parts(**replaced):
    parts = {
        "vae": _autoencoder(),
        "text_encoder": _clip_text(),
        "tokenizer": _clip_tokenizer(),
        "unet": _unet(),
        "scheduler": _scheduler(),
        "safety_checker": None,
        "feature_extractor": None,
    }
    return {**parts, **replaced}


def _stable():
    return diffusers.StableDiffusionPipeline(**_stable_parts(), requires_safety_checker=False)


def _stable_inpainting():
    """Make one whose network takes latents, mask and masked latents: 4 + 1 + 4 channels."""
    return diffusers.StableDiffusionInpaintPipeline(
        **_stable_parts(unet=_unet(9)), requires_safety_checker=False
    )


def _flagged():
    """Make one whose safety checker calls every picture unsafe: a cosine is above the threshold of -2 always."""
    settings = {"vision_config": _clip_vision_config().to_dict(), "projection_dim": _WIDTH}
    checker = diffusers.pipelines.stable_diffusion.StableDiffusionSafetyChecker(
        transformers.CLIPConfig(**settings)
    )
    checker.concept_embeds_weights.data.fill_(-2)
    parts = _stable_parts(safety_checker=checker, feature_extractor=_clip_processor())
    return diffusers.StableDiffusionPipeline(**parts, requires_safety_checker=True)


def _stable_xl():
    clip = transformers.CLIPTextModelWithProjection
    return diffusers.StableDiffusionXLPipeline(
        vae=_autoencoder(),
        text_encoder=_clip_text(),
        text_encoder_2=_clip_text(clip),
        tokenizer=_clip_tokenizer(),
        tokenizer_2=_clip_tokenizer(),
        unet=_unet(
            cross_attention_dim=2 * _WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            # Six numbers of size and crop, 8 values each, beside the text's embedding.
            projection_class_embeddings_input_dim=6 * 8 + _WIDTH,
        ),
        scheduler=_scheduler(),
        add_watermarker=False,
    )


def _consistency():
    """Make a latent consistency model: it takes a guidance embedding, and 4 steps."""
    parts = _stable_parts(unet=_unet(time_cond_proj_dim=16), scheduler=_scheduler(diffusers.LCMScheduler))
    return diffusers.LatentConsistencyModelPipeline(**parts, requires_safety_checker=False)


def _image_variation():
    return diffusers.StableDiffusionImageVariationPipeline(
        vae=_autoencoder(),
        image_encoder=_clip_vision(),
        unet=_unet(),
        scheduler=_scheduler(),
        safety_checker=None,
        feature_extractor=_clip_processor(),
        requires_safety_checker=False,
    )


def _stable_unclip():
    normalizer = diffusers.pipelines.stable_diffusion.StableUnCLIPImageNormalizer(embedding_dim=_WIDTH)
    return diffusers.StableUnCLIPImg2ImgPipeline(
        feature_extractor=_clip_processor(),
        image_encoder=_clip_vision(),
        image_normalizer=normalizer,
        image_noising_scheduler=diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        tokenizer=_clip_tokenizer(),
        text_encoder=_clip_text(),
        # The image's embedding and, as wide, that of its noise level.
        unet=_unet(class_embed_type="projection", projection_class_embeddings_input_dim=2 * _WIDTH),
        scheduler=_scheduler(),
        vae=_autoencoder(),
    )


def _louder(model, factor):
    """Return the model with its weights multiplied: what it looks at shall change pixels by more than one."""
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(factor)
    return model


def _klein():
    # The pipeline reads the hidden layers 9, 18 and 27 of the text encoder, and joins them.
    transformer = diffusers.Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=3 * 16,
        timestep_guidance_channels=16,
        axes_dims_rope=[4, 4, 4, 4],
        guidance_embeds=False,
    )
    return diffusers.Flux2KleinPipeline(
        scheduler=_flow_scheduler(use_dynamic_shifting=True),
        vae=_autoencoder(diffusers.AutoencoderKLFlux2),
        text_encoder=_qwen_text(28),
        tokenizer=_qwen_tokenizer(),
        transformer=_louder(transformer, 2),
        is_distilled=True,
    )


def _z_image():
    transformer = diffusers.ZImageTransformer2DModel(
        dim=_WIDTH,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[8, 4, 4],
        axes_lens=[1024, 64, 64],
    )
    return diffusers.ZImagePipeline(
        scheduler=_flow_scheduler(shift=3.0),
        vae=_autoencoder(latents=16, **_FLOW_LATENTS),
        text_encoder=_qwen_text(2),
        tokenizer=_qwen_tokenizer(),
        transformer=transformer,
    )


def _text_only():
    """Make one that has no sister which takes an image."""
    glm = transformers.GlmConfig(
        hidden_size=_WIDTH,
        intermediate_size=_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        vocab_size=len(_alphabet("<|endoftext|>", "<|im_start|>", "<|im_end|>")),
        pad_token_id=0,
    )
    transformer = diffusers.CogView4Transformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        text_embed_dim=_WIDTH,
        time_embed_dim=16,
        condition_dim=8,
        rope_axes_dim=[64, 64],
    )
    return diffusers.CogView4Pipeline(
        tokenizer=_qwen_tokenizer(),
        text_encoder=transformers.GlmModel(glm),
        vae=_autoencoder(),
        transformer=transformer,
        scheduler=_flow_scheduler(use_dynamic_shifting=True),
    )


class FutureImagePipeline(diffusers.DiffusionPipeline):
    """A pipeline that no table can know: it takes image, prompt and strength, and what every pipeline takes.

    `announce_future` places it into diffusers, where a version of tomorrow would have it. Each step moves the image
    towards noise, by the strength; a prompt's length shifts its brightness.
    """

    model_cpu_offload_seq = "unet"

    def __init__(self, unet, scheduler):
        super().__init__()
        self.register_modules(unet=unet, scheduler=scheduler)

    @torch.no_grad()
    def __call__(self, image, prompt, strength=0.8, num_inference_steps=10, generator=None):
        processor = diffusers.image_processor.VaeImageProcessor(vae_scale_factor=8)
        start = processor.preprocess(image).to(self.device, self.unet.dtype)
        noise = torch.randn(start.shape, generator=generator).to(self.device, self.unet.dtype)
        taken = max(1, round(num_inference_steps * strength))
        for _ in self.progress_bar(range(taken)):
            drawn = self.unet(noise, 1).sample
            start = start + strength / taken * (noise + drawn - start) + len(prompt) / 1000
        return diffusers.ImagePipelineOutput(images=processor.postprocess(start))


class FutureBarePipeline(FutureImagePipeline):
    """The same with nothing but image, prompt and strength: no generator, no number of steps."""

    def __call__(self, image, prompt, strength=0.8):
        return super().__call__(image, prompt, strength)


def announce_future():
    """Place the pipelines of tomorrow into diffusers, in this process only."""
    for kind in (FutureImagePipeline, FutureBarePipeline):
        setattr(diffusers, kind.__name__, kind)


def _future(kind=FutureImagePipeline):
    announce_future()
    unet = diffusers.UNet2DModel(
        block_out_channels=[16],
        down_block_types=["DownBlock2D"],
        up_block_types=["UpBlock2D"],
        norm_num_groups=8,
    )
    return kind(unet=unet, scheduler=_scheduler())


def _redux(folder):
    """Make the prior and the pipeline that it serves, below `folder`: 0.2 GB, for the prior's widths are fixed."""
    vision = transformers.SiglipVisionConfig(
        hidden_size=_WIDTH,
        intermediate_size=_WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=_LOOK_PX,
        patch_size=8,
    )
    prior = diffusers.FluxPriorReduxPipeline(
        image_encoder=transformers.SiglipVisionModel(vision),
        feature_extractor=transformers.SiglipImageProcessor(size={"height": _LOOK_PX, "width": _LOOK_PX}),
        image_embedder=diffusers.pipelines.flux.modeling_flux.ReduxImageEncoder(redux_dim=_WIDTH),
    )
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=4096,
        pooled_projection_dim=768,
        axes_dims_rope=[4, 4, 8],
    )
    base = diffusers.FluxPipeline(
        scheduler=_flow_scheduler(),
        vae=_autoencoder(**_FLOW_LATENTS),
        text_encoder=_clip_text(width=768),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=_louder(transformer, 2),
    )
    prior.save_pretrained(folder / "prior")
    base.save_pretrained(folder / "base")


def _adapter(folder):
    """Write an IP-Adapter for the pipeline "stable", laid out as in h94/IP-Adapter."""
    unet = _unet()
    crossings = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    weights = {
        # Four tokens of one image.
        "image_proj.proj.weight": torch.randn(4 * _WIDTH, _WIDTH) / 4,
        "image_proj.proj.bias": torch.zeros(4 * _WIDTH),
        "image_proj.norm.weight": torch.ones(_WIDTH),
        "image_proj.norm.bias": torch.zeros(_WIDTH),
    }
    for place, name in enumerate(crossings):
        width = unet.get_submodule(name.removesuffix(".processor")).to_q.out_features
        for part in ("to_k_ip", "to_v_ip"):
            weights[f"ip_adapter.{2 * place + 1}.{part}.weight"] = torch.randn(width, _WIDTH) / 4
    models = folder / "models"
    _clip_vision().save_pretrained(models / "image_encoder")
    save_file(weights, models / "ip-adapter_tiny.safetensors")


def _saved(make):
    return lambda folder: make().save_pretrained(folder)


#: What each name makes: a function of the folder to write to.
MAKERS = {
    "stable": _saved(_stable),
    "stable-inpainting": _saved(_stable_inpainting),
    "stable-xl": _saved(_stable_xl),
    "flagged": _saved(_flagged),
    "consistency": _saved(_consistency),
    "adapter": _adapter,
    "image-variation": _saved(_image_variation),
    "stable-unclip": _saved(_stable_unclip),
    "klein": _saved(_klein),
    "z-image": _saved(_z_image),
    "text-only": _saved(_text_only),
    "future": _saved(_future),
    "future-bare": _saved(lambda: _future(FutureBarePipeline)),
    "redux": _redux,
}


def make(name, folder):
    """Write what `name` names to `folder`, a `Path`, and return it; torch's random numbers stay as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        MAKERS[name](folder)
    return folder


def main(out):
    """Make all below the folder `out`, and print where."""
    for name in MAKERS:
        print(make(name, Path(out) / name))  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
