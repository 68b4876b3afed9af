"""Pictures to condition maps, through diffusers' own ControlNet pipeline."""

from collections.abc import Sequence

import numpy as np
import torch
from diffusers import (
    ControlNetModel,
    DPMSolverMultistepScheduler,
    StableDiffusionControlNetPipeline,
)
from numpy.typing import NDArray
from PIL import Image

from training.stages.shipped import load_shipped


def controlled_pipeline(
    model: str, controlnets: Sequence[ControlNetModel]
) -> StableDiffusionControlNetPipeline:
    """The shipped model with one or several ControlNets, float32, sampled by DPM-Solver++."""
    parts = load_shipped(model).components
    scheduler = DPMSolverMultistepScheduler.from_config(parts["scheduler"].config)
    chosen = controlnets[0] if len(controlnets) == 1 else list(controlnets)
    pipeline = StableDiffusionControlNetPipeline(
        **parts | {"scheduler": scheduler}, controlnet=chosen, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def generate_to_maps(
    pipeline: StableDiffusionControlNetPipeline,
    captions: Sequence[str],
    maps: Sequence[NDArray[np.uint8]],
    seed: int = 0,
    steps: int = 20,
    guidance_scale: float = 5.0,
    strength: float = 1.0,
    batch: int = 16,
) -> list[Image.Image]:
    """One picture a caption; picture i starts from the noise of seed + i.

    Args:
        maps: for each ControlNet, one map a caption, (N, H, W, 3).
        strength: of all ControlNets; 0 draws without them.
    """
    pictures: list[Image.Image] = []
    several = len(maps) > 1
    for start in range(0, len(captions), batch):
        end = min(start + batch, len(captions))
        chunks = [[Image.fromarray(one) for one in kind[start:end]] for kind in maps]
        # Of several ControlNets diffusers wants the maps of each caption together.
        each = [list(own) for own in zip(*chunks, strict=True)]
        pictures += pipeline(
            list(captions[start:end]),
            image=each if several else chunks[0],
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            controlnet_conditioning_scale=[strength] * len(maps) if several else strength,
            generator=[torch.Generator("cpu").manual_seed(seed + i) for i in range(start, end)],
        ).images
    return pictures
