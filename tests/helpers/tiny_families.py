"""Tiny random pipelines of the larger families: real diffusers classes, random weights."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import (
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from tests.helpers.tiny import BETAS, text_encoder, tokenizer, unet, vae

XL: dict[str, Any] = {
    "cross_attention_dim": 32,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "transformer_layers_per_block": (1, 1),
    "projection_class_embeddings_input_dim": 16 + 6 * 8,
}
FLOW_VAE: dict[str, Any] = {
    "use_quant_conv": False, "use_post_quant_conv": False, "shift_factor": 0.9,
}  # fmt: skip

FLUX_SIZES: dict[str, Any] = {
    "patch_size": 1,
    "in_channels": 16,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "pooled_projection_dim": 16,
    "axes_dims_rope": (4, 4, 8),
}


def t5_tokenizer() -> T5Tokenizer:
    """A T5 tokenizer that spells words out in characters."""
    characters = sorted(set(string.ascii_letters + string.digits + string.punctuation))
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    vocabulary = [*special, *((c, -3.0) for c in characters)]
    return T5Tokenizer(vocab=vocabulary, extra_ids=0, model_max_length=77)


def t5_encoder(width: int = 32) -> T5EncoderModel:
    config = T5Config(
        vocab_size=256, d_model=width, d_kv=8, d_ff=width, num_layers=2, num_heads=4,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return T5EncoderModel(config).eval()


def projecting_encoder() -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(text_encoder().config).eval()


def lcm(pipeline: str = "LatentConsistencyModelPipeline") -> Any:
    """A tiny SD whose UNet is told the guidance."""
    torch.manual_seed(3)
    noise_model = unet(time_cond_proj_dim=8)
    noise_model.conv_out.weight.data *= 0.25
    # Random weights start with a projection of nothing: the guidance would not be seen.
    torch.nn.init.normal_(noise_model.time_embedding.cond_proj.weight)
    return getattr(diffusers, pipeline)(
        vae=vae(), text_encoder=text_encoder(), tokenizer=tokenizer(), unet=noise_model,
        scheduler=diffusers.LCMScheduler(**BETAS),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sdxl(
    *, prediction_type: str = "epsilon", zeros: bool = True, told: bool = False
) -> diffusers.StableDiffusionXLPipeline:
    """A tiny SDXL.

    Args:
        zeros: whether no negative prompt means zeros, as in SDXL base.
        told: whether its UNet is told the guidance, as in LCM-SDXL.
    """
    torch.manual_seed(4)
    noise_model = unet(**XL, **({"time_cond_proj_dim": 8} if told else {}))
    noise_model.conv_out.weight.data *= 0.25
    if told:
        torch.nn.init.normal_(noise_model.time_embedding.cond_proj.weight)
    betas = {name: BETAS[name] for name in ("beta_start", "beta_end", "beta_schedule")}
    return diffusers.StableDiffusionXLPipeline(
        vae=vae(), text_encoder=text_encoder(), text_encoder_2=projecting_encoder(),
        tokenizer=tokenizer(), tokenizer_2=tokenizer(), unet=noise_model,
        scheduler=diffusers.EulerDiscreteScheduler(
            **betas, prediction_type=prediction_type, timestep_spacing="leading", steps_offset=1
        ),
        force_zeros_for_empty_prompt=zeros, add_watermarker=False,
    )  # fmt: skip


def sure(vae: diffusers.AutoencoderKL) -> diffusers.AutoencoderKL:
    """A VAE that gives a picture's latents almost no variance, as trained ones do."""
    half = vae.config.latent_channels
    vae.encoder.conv_out.weight.data[half:] = 0.0
    vae.encoder.conv_out.bias.data[half:] = -30.0
    return vae


def sd3(
    *, t5: bool = True, dynamic: bool = False, layers: int = 2
) -> diffusers.StableDiffusion3Pipeline:
    """A tiny SD 3, with or without T5, its shift fixed or depending on the picture's size."""
    torch.manual_seed(5)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=16, patch_size=2, in_channels=4, out_channels=4, num_layers=layers,
        attention_head_dim=8, num_attention_heads=4, caption_projection_dim=32,
        joint_attention_dim=32, pooled_projection_dim=32, pos_embed_max_size=16,
    )  # fmt: skip
    return diffusers.StableDiffusion3Pipeline(
        transformer=transformer.eval(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(
            shift=3.0, use_dynamic_shifting=dynamic
        ),
        vae=sure(vae(**FLOW_VAE)),
        text_encoder=projecting_encoder(), tokenizer=tokenizer(),
        text_encoder_2=projecting_encoder(), tokenizer_2=tokenizer(),
        text_encoder_3=t5_encoder() if t5 else None, tokenizer_3=t5_tokenizer() if t5 else None,
    )  # fmt: skip


def flux(*, dev: bool = True, layers: int = 1) -> diffusers.FluxPipeline:
    """A tiny FLUX.1: dev is told the guidance and shifts by size, schnell does neither."""
    torch.manual_seed(6)
    transformer = diffusers.FluxTransformer2DModel(
        num_layers=layers, num_single_layers=layers, guidance_embeds=dev, **FLUX_SIZES
    )
    return diffusers.FluxPipeline(
        transformer=transformer.eval(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(
            shift=3.0 if dev else 1.0, use_dynamic_shifting=dev
        ),
        vae=sure(vae(**FLOW_VAE)), text_encoder=text_encoder(), tokenizer=tokenizer(),
        text_encoder_2=t5_encoder(), tokenizer_2=t5_tokenizer(),
    )  # fmt: skip


def sd3_controlnet(seed: int = 1, **overrides: Any) -> diffusers.SD3ControlNetModel:
    """A ControlNet for `sd3()`. Its outputs are random: fresh ones are 0, and steer nothing."""
    options: dict[str, Any] = {
        "sample_size": 16,
        "in_channels": 4,
        "num_layers": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 4,
        "joint_attention_dim": 32,
        "caption_projection_dim": 32,
        "pooled_projection_dim": 32,
        "out_channels": 4,
        "pos_embed_max_size": 16,
    }
    torch.manual_seed(seed)
    net = diffusers.SD3ControlNetModel(**{**options, **overrides}).eval()
    return _loud(net, *net.controlnet_blocks, net.pos_embed_input.proj)


def flux_controlnet(seed: int = 1, **overrides: Any) -> diffusers.FluxControlNetModel:
    """A ControlNet for `flux()`, its outputs as random."""
    torch.manual_seed(seed)
    options = {**FLUX_SIZES, "num_layers": 2, "num_single_layers": 2, **overrides}
    net = diffusers.FluxControlNetModel(**options).eval()
    return _loud(
        net, *net.controlnet_blocks, *net.controlnet_single_blocks, net.controlnet_x_embedder
    )


def _loud(net: Any, *zeroed: torch.nn.Module) -> Any:
    for module in zeroed:
        torch.nn.init.normal_(module.get_parameter("weight"), std=0.2)
    return net


MAKERS: dict[str, Any] = {
    "sdxl": lambda: sdxl(),
    "sdxl-v": lambda: sdxl(prediction_type="v_prediction", zeros=False),
    "sdxl-lcm": lambda: sdxl(told=True),
    "lcm": lambda: lcm(),
    "lcm-sd": lambda: lcm("StableDiffusionPipeline"),
    "sd3": lambda: sd3(),
    "sd3-no-t5": lambda: sd3(t5=False),
    "sd3-dynamic": lambda: sd3(dynamic=True),
    "flux-dev": lambda: flux(),
    "flux-schnell": lambda: flux(dev=False),
}
"""Name of a folder to what makes its pipeline."""


def save_all(folder: Path) -> Path:
    """Every family as diffusers folders of safetensors below `folder`."""
    for name, make in MAKERS.items():
        make().save_pretrained(folder / name, safe_serialization=True)
    return folder
