"""Random model of SD 1.5's size, to measure what batching does to a large network.

The UNet is diffusers' default with SD 1.5's settings, 860M parameters; the small parts around it
come from the shipped model, since they hardly count. Its pictures are noise.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

ID = "random-sd15"
TEXT_WIDTH = 768


def build(shipped: Path, folder: Path) -> Path:
    """Write the model below `folder` in half precision (1.7 GB) and return its folder.

    Args:
        shipped: the folder of a Stable Diffusion model with an 8× autoencoder.
    """
    target = folder / ID
    torch.manual_seed(0)
    pipe = StableDiffusionPipeline.from_pretrained(shipped, use_safetensors=True)
    unet = UNet2DConditionModel(
        sample_size=32, cross_attention_dim=TEXT_WIDTH, attention_head_dim=8
    )
    length = pipe.tokenizer.model_max_length
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(pipe.tokenizer), hidden_size=TEXT_WIDTH, num_hidden_layers=1,
            intermediate_size=TEXT_WIDTH, num_attention_heads=12, max_position_embeddings=length,
            bos_token_id=0, eos_token_id=1, pad_token_id=1,
        )
    )  # fmt: skip
    parts = {**pipe.components, "unet": unet.half(), "text_encoder": text}
    StableDiffusionPipeline(**parts, requires_safety_checker=False).save_pretrained(
        target, safe_serialization=True
    )
    return target
