"""Upper bounds of speed: FLOPs of a row, FLOP/s of this machine's matrix products."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from pipelines.utils.threads import run_in_short_lived_thread

if TYPE_CHECKING:
    from diffusers import StableDiffusionPipeline

SIDE = 2048
TRIES = 8


def limits(pipe: StableDiffusionPipeline, width: int, height: int) -> tuple[int, float]:
    """FLOPs of a row, and FLOP/s of this machine's matrix products; computed in passing."""
    return run_in_short_lived_thread(lambda: (row_flops(pipe, width, height), matmul_rate()))


def matmul_rate() -> float:
    """FLOP/s of this machine's float32 matrix products, at its best of several tries."""
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    seconds = []
    for _ in range(TRIES):
        started = time.perf_counter()
        torch.mm(a, b)
        seconds.append(time.perf_counter() - started)
    return 2 * SIDE**3 / min(seconds)


@torch.inference_mode()
def row_flops(pipe: StableDiffusionPipeline, width: int, height: int) -> int:
    """FLOPs of one row of the pipeline's UNet, as torch counts them: products, no elementwise."""
    config: Any = pipe.unet.config
    scale = pipe.vae_scale_factor
    latent = torch.zeros(1, config.in_channels, height // scale, width // scale)
    text = torch.zeros(1, pipe.tokenizer.model_max_length, config.cross_attention_dim)
    with FlopCounterMode(display=False) as counter:
        pipe.unet(latent, torch.zeros(1), text)
    return int(counter.get_total_flops())
