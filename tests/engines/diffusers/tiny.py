"""Tiny pipelines of random weights, saved as real ones are, so that the real loading code reads them.

`python tests/engines/diffusers/tiny.py OUT` makes all of `MAKERS` below OUT, a folder each. Their pictures are coloured
noise; they show all that doesn't depend on trained weights: seeds, sizes, masks, cancelling, errors. The weights are
the same in each run of one version of torch.
"""

import sys
from pathlib import Path

import diffusers
import tiny_parts as parts
import torch
import transformers
from safetensors.torch import save_file


def _stable_components(**replaced):
    components = {
        "vae": parts.autoencoder(),
        "text_encoder": parts.clip_text(),
        "tokenizer": parts.clip_tokenizer(),
        "unet": parts.unet(),
        "scheduler": parts.scheduler(),
        "safety_checker": None,
        "feature_extractor": None,
    }
    return {**components, **replaced}


def _stable():
    return diffusers.StableDiffusionPipeline(**_stable_components(), requires_safety_checker=False)


def _stable_inpainting():
    """Make one whose network takes latents, mask and masked latents: 4 + 1 + 4 channels."""
    return diffusers.StableDiffusionInpaintPipeline(
        **_stable_components(unet=parts.unet(9)), requires_safety_checker=False
    )


def _flagged():
    """Make one whose safety checker calls every picture unsafe: a cosine is above the threshold of -2 always."""
    settings = {"vision_config": parts.clip_vision_config().to_dict(), "projection_dim": parts.WIDTH}
    checker = diffusers.pipelines.stable_diffusion.StableDiffusionSafetyChecker(
        transformers.CLIPConfig(**settings)
    )
    checker.concept_embeds_weights.data.fill_(-2)
    components = _stable_components(safety_checker=checker, feature_extractor=parts.clip_processor())
    return diffusers.StableDiffusionPipeline(**components, requires_safety_checker=True)


def _stable_xl():
    clip = transformers.CLIPTextModelWithProjection
    return diffusers.StableDiffusionXLPipeline(
        vae=parts.autoencoder(),
        text_encoder=parts.clip_text(),
        text_encoder_2=parts.clip_text(clip),
        tokenizer=parts.clip_tokenizer(),
        tokenizer_2=parts.clip_tokenizer(),
        unet=parts.unet(
            cross_attention_dim=2 * parts.WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            # Six numbers of size and crop, 8 values each, beside the text's embedding.
            projection_class_embeddings_input_dim=6 * 8 + parts.WIDTH,
        ),
        scheduler=parts.scheduler(),
        add_watermarker=False,
    )


def _consistency():
    """Make a latent consistency model: it takes a guidance embedding, and 4 steps."""
    components = _stable_components(
        unet=parts.unet(time_cond_proj_dim=16), scheduler=parts.scheduler(diffusers.LCMScheduler)
    )
    return diffusers.LatentConsistencyModelPipeline(**components, requires_safety_checker=False)


def _image_variation():
    return diffusers.StableDiffusionImageVariationPipeline(
        vae=parts.autoencoder(),
        image_encoder=parts.clip_vision(),
        unet=parts.unet(),
        scheduler=parts.scheduler(),
        safety_checker=None,
        feature_extractor=parts.clip_processor(),
        requires_safety_checker=False,
    )


def _stable_unclip():
    normalizer = diffusers.pipelines.stable_diffusion.StableUnCLIPImageNormalizer(embedding_dim=parts.WIDTH)
    return diffusers.StableUnCLIPImg2ImgPipeline(
        feature_extractor=parts.clip_processor(),
        image_encoder=parts.clip_vision(),
        image_normalizer=normalizer,
        image_noising_scheduler=diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        tokenizer=parts.clip_tokenizer(),
        text_encoder=parts.clip_text(),
        # The image's embedding and, as wide, that of its noise level.
        unet=parts.unet(class_embed_type="projection", projection_class_embeddings_input_dim=2 * parts.WIDTH),
        scheduler=parts.scheduler(),
        vae=parts.autoencoder(),
    )


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
        scheduler=parts.flow_scheduler(use_dynamic_shifting=True),
        vae=parts.autoencoder(diffusers.AutoencoderKLFlux2),
        text_encoder=parts.qwen_text(28),
        tokenizer=parts.qwen_tokenizer(),
        transformer=parts.louder(transformer, 2),
        is_distilled=True,
    )


def _z_image():
    transformer = diffusers.ZImageTransformer2DModel(
        dim=parts.WIDTH,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[8, 4, 4],
        axes_lens=[1024, 64, 64],
    )
    return diffusers.ZImagePipeline(
        scheduler=parts.flow_scheduler(shift=3.0),
        vae=parts.autoencoder(latents=16, **parts.FLOW_LATENTS),
        text_encoder=parts.qwen_text(2),
        tokenizer=parts.qwen_tokenizer(),
        transformer=transformer,
    )


def _text_only():
    """Make one that has no sister which takes an image."""
    glm = transformers.GlmConfig(
        hidden_size=parts.WIDTH,
        intermediate_size=parts.WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        vocab_size=len(parts.alphabet("<|endoftext|>", "<|im_start|>", "<|im_end|>")),
        pad_token_id=0,
    )
    transformer = diffusers.CogView4Transformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        text_embed_dim=parts.WIDTH,
        time_embed_dim=16,
        condition_dim=8,
        rope_axes_dim=[64, 64],
    )
    return diffusers.CogView4Pipeline(
        tokenizer=parts.qwen_tokenizer(),
        text_encoder=transformers.GlmModel(glm),
        vae=parts.autoencoder(),
        transformer=transformer,
        scheduler=parts.flow_scheduler(use_dynamic_shifting=True),
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
        block_out_channels=[8],
        down_block_types=["DownBlock2D"],
        up_block_types=["UpBlock2D"],
        layers_per_block=1,
        norm_num_groups=8,
        add_attention=False,  # it works on pixels, of which there are too many for attention
    )
    return kind(unet=unet, scheduler=parts.scheduler())


def _redux(folder):
    """Make the prior and the pipeline that it serves, below `folder`: 0.2 GB, for the prior's widths are fixed."""
    vision = transformers.SiglipVisionConfig(
        hidden_size=parts.WIDTH,
        intermediate_size=parts.WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=parts.LOOK_PX,
        patch_size=8,
    )
    prior = diffusers.FluxPriorReduxPipeline(
        image_encoder=transformers.SiglipVisionModel(vision),
        feature_extractor=transformers.SiglipImageProcessor(
            size={"height": parts.LOOK_PX, "width": parts.LOOK_PX}
        ),
        image_embedder=diffusers.pipelines.flux.modeling_flux.ReduxImageEncoder(redux_dim=parts.WIDTH),
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
        scheduler=parts.flow_scheduler(),
        vae=parts.autoencoder(**parts.FLOW_LATENTS),
        text_encoder=parts.clip_text(width=768),
        tokenizer=parts.clip_tokenizer(),
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=parts.louder(transformer, 2),
    )
    prior.save_pretrained(folder / "prior")
    base.save_pretrained(folder / "base")


def _adapter(folder):
    """Write an IP-Adapter for the pipeline "stable", laid out as in h94/IP-Adapter."""
    unet = parts.unet()
    crossings = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    weights = {
        # Four tokens of one image.
        "image_proj.proj.weight": torch.randn(4 * parts.WIDTH, parts.WIDTH) / 4,
        "image_proj.proj.bias": torch.zeros(4 * parts.WIDTH),
        "image_proj.norm.weight": torch.ones(parts.WIDTH),
        "image_proj.norm.bias": torch.zeros(parts.WIDTH),
    }
    for place, name in enumerate(crossings):
        width = unet.get_submodule(name.removesuffix(".processor")).to_q.out_features
        for part in ("to_k_ip", "to_v_ip"):
            weights[f"ip_adapter.{2 * place + 1}.{part}.weight"] = torch.randn(width, parts.WIDTH) / 4
    models = folder / "models"
    parts.clip_vision().save_pretrained(models / "image_encoder")
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
