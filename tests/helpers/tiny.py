"""Tiny random pipelines, built offline in a second: real diffusers classes, random weights."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

BETAS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def tokenizer() -> CLIPTokenizer:
    """A CLIP tokenizer that spells words out in characters."""
    characters = sorted(set(string.ascii_lowercase + string.digits + string.punctuation))
    tokens = ["<|startoftext|>", "<|endoftext|>", *characters, *(f"{c}</w>" for c in characters)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def text_encoder(dim: int = 16) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=256, hidden_size=dim, intermediate_size=dim, num_hidden_layers=2,
        num_attention_heads=2, projection_dim=dim, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    return CLIPTextModel(config).eval()


def vae(**overrides: Any) -> diffusers.AutoencoderKL:
    """Two downsamples, so pictures are four times as wide as latents."""
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4, norm_num_groups=4, layers_per_block=1, sample_size=32, **overrides,
    ).eval()  # fmt: skip


def unet(**overrides: Any) -> diffusers.UNet2DConditionModel:
    options: dict[str, Any] = {
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "sample_size": 8,
        "in_channels": 4,
        "out_channels": 4,
        "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": 4,
        "cross_attention_dim": 16,
    }
    return diffusers.UNet2DConditionModel(**{**options, **overrides}).eval()


def sd(prediction_type: str = "epsilon", seed: int = 0) -> diffusers.StableDiffusionPipeline:
    """A tiny SD 1.5; with `v_prediction`, a tiny SD 2 (768) in its habits.

    The UNet's last layer is scaled down: at full size an untrained prediction sends the latents
    of one stochastic sampler to 140, where 1e-4 is eight float32 steps and no measure of parity.
    """
    torch.manual_seed(seed)
    noise_model = unet()
    noise_model.conv_out.weight.data *= 0.25
    return diffusers.StableDiffusionPipeline(
        vae=vae(), text_encoder=text_encoder(), tokenizer=tokenizer(), unet=noise_model,
        scheduler=diffusers.DDIMScheduler(**BETAS, prediction_type=prediction_type),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def save_sd(folder: Path, prediction_type: str = "epsilon", seed: int = 0) -> Path:
    """A tiny SD as a diffusers folder of safetensors; returns the folder."""
    sd(prediction_type, seed).save_pretrained(folder, safe_serialization=True)
    return folder


def controlnet(seed: int = 1, **overrides: Any) -> diffusers.ControlNetModel:
    """A ControlNet for `unet()`. Its outputs are random: fresh ones are 0, and steer nothing."""
    options: dict[str, Any] = {
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "in_channels": 4,
        "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "attention_head_dim": 4,
        "cross_attention_dim": 16,
        "conditioning_embedding_out_channels": (8, 16, 16),
    }
    torch.manual_seed(seed)
    net = diffusers.ControlNetModel(**{**options, **overrides}).eval()
    zeroed = [*net.controlnet_down_blocks, net.controlnet_mid_block]
    for module in [*zeroed, net.controlnet_cond_embedding.conv_out]:
        torch.nn.init.normal_(module.weight, std=0.2)
    return net
