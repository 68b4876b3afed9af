"""UNet for 256 px: the shipped one's levels, with one cheap outer level on 32×32 latents.

The inner levels have the shapes of the shipped UNet and may start with its weights: what they know
of a thing at 16×16 is what a 256 px picture shows at half its size.
"""

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from training.data.tokenizer import tokenizer_of_length

CHANNELS = (32, 64, 128, 256)
HEADS = 4
TIME_WIDTH = 256
TOKENS = 77
TIMES = 1000
RIDGE = 1e-2


def build_enlarged(
    latent_channels: int = 4, size: int = 32, channels: tuple[int, ...] = CHANNELS
) -> UNet2DConditionModel:
    """An untrained UNet; attention on the two inner levels, as the shipped one has it.

    The last layer of every residual branch starts at zero, so that each block starts as identity.
    """
    plain, inner = len(channels) - 2, 2
    unet = UNet2DConditionModel(
        sample_size=size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",) * inner,
        up_block_types=("CrossAttnUpBlock2D",) * inner + ("UpBlock2D",) * plain,
        block_out_channels=channels,
        layers_per_block=1,
        cross_attention_dim=256,
        attention_head_dim=HEADS,
        time_embedding_dim=TIME_WIDTH,
        addition_embed_type="text",
        addition_embed_type_num_heads=HEADS,
    )
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "proj_out", "conv_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return unet


def _counterpart(name: str, levels: int) -> str | None:
    """The shipped UNet's parameter that has this one's place; None for the outer level's own.

    Args:
        levels: of the larger UNet, one more than the shipped one has.
    """
    parts = name.split(".")
    if parts[0] == "down_blocks":
        level = int(parts[1]) - 1
    elif parts[0] == "up_blocks":
        level = int(parts[1]) if int(parts[1]) < levels - 1 else -1
    else:
        return name
    return None if level < 0 else ".".join([parts[0], str(level), *parts[2:]])


@torch.no_grad()
def take_shipped(
    unet: UNet2DConditionModel, shipped: UNet2DConditionModel, times: Tensor
) -> list[str]:
    """Copy what fits from the shipped UNet into the inner levels.

    Where a convolution has other channels, the common ones are taken.

    Args:
        times: the shipped UNet's time for each of ours, (TIMES,), see `alignment.shipped_times`.
    Returns: the names of the parameters that got nothing.
    """
    source, levels = shipped.state_dict(), len(unet.config.block_out_channels)
    larger = levels > len(shipped.config.block_out_channels)
    left = []
    for name, own in unet.state_dict().items():
        other = source.get(_counterpart(name, levels) if larger else name)
        if other is None or own.ndim != other.ndim or name.startswith("time_embedding.linear_1"):
            left.append(name)
        elif own.shape == other.shape:
            own.copy_(other)
        elif name.startswith(("conv_in", "conv_out", "conv_norm_out")):
            left.append(name)
        else:
            both = tuple(slice(0, min(a, b)) for a, b in zip(own.shape, other.shape, strict=True))
            own[both] = other[both]
    _fit_time(unet, shipped, times)
    return left


def _fit_time(unet: UNet2DConditionModel, shipped: UNet2DConditionModel, times: Tensor) -> None:
    """The first layer of the time embedding, so that it answers every t as the shipped one does.

    The sinusoids are nearly dependent: without the last term the best weights are huge and cancel
    each other, which bfloat16 cannot hold.

    Math: min over W, b of Σ_t ‖W·s(t) + b − (W'·s'(t') + b')‖² + λ‖W‖², s and s' the sinusoids,
        t' = times
    """
    features = unet.time_proj(torch.arange(TIMES)).double()
    wanted = shipped.time_embedding.linear_1(shipped.time_proj(times)).double()
    features = torch.cat([features, torch.ones(TIMES, 1, dtype=torch.float64)], 1)
    ridge = RIDGE * TIMES * torch.eye(features.shape[1], dtype=torch.float64)
    solved: Tensor = torch.linalg.solve(features.T @ features + ridge, features.T @ wanted)
    unet.time_embedding.linear_1.weight.copy_(solved[:-1].T)
    unet.time_embedding.linear_1.bias.copy_(solved[-1])


@torch.no_grad()
def longer_text(
    text: CLIPTextModel, tokenizer: CLIPTokenizer
) -> tuple[CLIPTextModel, CLIPTokenizer]:
    """The same text encoder and tokenizer for `TOKENS` tokens; the new places start as the last."""
    from transformers import CLIPTextConfig

    config = CLIPTextConfig.from_dict(text.config.to_dict() | {"max_position_embeddings": TOKENS})
    found = CLIPTextModel(config)
    kept = text.state_dict()
    key = next(name for name in kept if name.endswith("position_embedding.weight"))
    old = kept[key]
    new = old[-1:].repeat(TOKENS, 1)
    new[: len(old)] = old
    found.load_state_dict(kept | {key: new})
    return found, tokenizer_of_length(tokenizer, TOKENS)
