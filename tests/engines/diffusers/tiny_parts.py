"""Tokenizers, encoders, autoencoders and networks of random weights: the components of the pipelines of `tiny`."""

import diffusers
import torch
import transformers
from tokenizers.pre_tokenizers import ByteLevel

#: Width of text and image embeddings. Every model's inner width is this or a small multiple of it.
WIDTH = 32
#: Pixels a side of the picture that the image encoders look at. Real ones: 224.
LOOK_PX = 32
#: Levels of every autoencoder. Four levels halve three times: a latent is 8 pixels wide, as in real ones.
LEVELS = 4
#: As in FLUX.1 and Z-Image, whose pipelines need a shift.
FLOW_LATENTS = {"shift_factor": 0.1, "use_quant_conv": False, "use_post_quant_conv": False}
CHAT_TEMPLATE = """{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>{% endif %}"""


def alphabet(*special):
    """Return a vocabulary of single bytes, with a form for a word's end, and the special tokens."""
    letters = sorted(ByteLevel.alphabet())
    return {
        token: number
        for number, token in enumerate([*letters, *(f"{each}</w>" for each in letters), *special])
    }


def clip_tokenizer():
    vocabulary = alphabet("<|startoftext|>", "<|endoftext|>")
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def qwen_tokenizer():
    vocabulary = alphabet("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer = transformers.Qwen2Tokenizer(vocab=vocabulary, merges=[], model_max_length=512)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def clip_text(kind=transformers.CLIPTextModel, width=WIDTH):
    tokens = len(alphabet("<|startoftext|>", "<|endoftext|>"))
    settings = {
        "hidden_size": width,
        "intermediate_size": width,
        "projection_dim": width,
        "vocab_size": tokens,
    }
    ends = {"bos_token_id": tokens - 2, "eos_token_id": tokens - 1, "pad_token_id": tokens - 1}
    config = transformers.CLIPTextConfig(**settings, **ends, num_hidden_layers=2, num_attention_heads=4)
    return kind(config)


def clip_vision_config():
    settings = {"hidden_size": WIDTH, "intermediate_size": WIDTH, "projection_dim": WIDTH, "patch_size": 8}
    return transformers.CLIPVisionConfig(
        **settings, image_size=LOOK_PX, num_hidden_layers=2, num_attention_heads=4
    )


def clip_vision():
    return transformers.CLIPVisionModelWithProjection(clip_vision_config())


def clip_processor():
    return transformers.CLIPImageProcessor(size=LOOK_PX, crop_size=LOOK_PX)


def qwen_text(layers, width=16):
    config = transformers.Qwen3Config(
        hidden_size=width,
        intermediate_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=8,
        vocab_size=len(alphabet("<|endoftext|>", "<|im_start|>", "<|im_end|>")),
        max_position_embeddings=1024,
        initializer_range=0.5,  # at the usual 0.02, a prompt of a tiny model changes no pixel
    )
    return transformers.Qwen3ForCausalLM(config)


def autoencoder(kind=diffusers.AutoencoderKL, latents=4, **settings):
    return kind(
        block_out_channels=[8] * LEVELS,
        down_block_types=["DownEncoderBlock2D"] * LEVELS,
        up_block_types=["UpDecoderBlock2D"] * LEVELS,
        layers_per_block=1,
        latent_channels=latents,
        norm_num_groups=4,
        sample_size=64,
        **settings,
    )


def unet(channels=4, **settings):
    return diffusers.UNet2DConditionModel(
        in_channels=channels,
        out_channels=4,
        block_out_channels=[16, 32],
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=8,
        **{"attention_head_dim": 4, "cross_attention_dim": WIDTH, **settings},
    )


def scheduler(kind=diffusers.DDIMScheduler):
    betas = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    return kind(**betas, clip_sample=False, set_alpha_to_one=False, steps_offset=1)


def flow_scheduler(**settings):
    return diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, **settings)


def louder(model, factor):
    """Return the model with its weights multiplied: what it looks at shall change pixels by more than one."""
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(factor)
    return model
