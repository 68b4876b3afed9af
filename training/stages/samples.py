"""Pictures from the parts under training, through diffusers' own pipeline."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from PIL import Image
from transformers import CLIPTextModel, CLIPTokenizer

from training.optim import ddpm

PROMPTS = (
    "a red apple",
    "a grinning face",
    "a dog",
    "a cat face, flat style",
    "a red heart, noto style",
    "a rocket, flat style, on a blue background",
    "a pizza, 3d style, on a green background",
    "a sunflower on a purple background",
    "a green apple, noto style",
    "a penguin, on a yellow background",
    "a car",
    "a house, flat style",
    "a strawberry, on a black background",
    "a guitar, noto style, on a pink background",
    "a fish, 3d style, on a red background",
    "a castle, on an orange background",
)


def make_scheduler() -> DDIMScheduler:
    """The scheduler the model is shipped with: DDIM over the training noise levels."""
    return DDIMScheduler(
        num_train_timesteps=ddpm.STEPS,
        beta_start=ddpm.BETA_START,
        beta_end=ddpm.BETA_END,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def make_pipeline(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    vae: AutoencoderKL,
) -> StableDiffusionPipeline:
    """The parts as a Stable Diffusion pipeline without a safety checker."""
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@torch.no_grad()
def generate(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    seed: int = 0,
    steps: int = 20,
    guidance_scale: float = 4.0,
    batch: int = 16,
    sampler: Any = DPMSolverMultistepScheduler,
) -> list[Image.Image]:
    """One picture a prompt, by DPM-Solver++ or another of diffusers' schedulers.

    Picture i starts from the noise of seed + i. Any of diffusers' pipelines will do.
    """
    pipeline.scheduler = sampler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    pictures: list[Image.Image] = []
    for start in range(0, len(prompts), batch):
        chunk = list(prompts[start : start + batch])
        seeds = range(seed + start, seed + start + len(chunk))
        pictures += pipeline(
            chunk,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            generator=[torch.Generator("cpu").manual_seed(s) for s in seeds],
        ).images
    return pictures


def tile(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """Pictures of one size in rows of `columns`."""
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    grid = Image.new("RGB", (columns * width, rows * height), "white")
    for index, picture in enumerate(pictures):
        grid.paste(picture, (index % columns * width, index // columns * height))
    return grid


def sample_grid(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    vae: AutoencoderKL,
) -> Image.Image:
    """The fixed prompts, eight a row."""
    pipeline = make_pipeline(unet.eval(), text_encoder.eval(), tokenizer, vae)
    return tile(generate(pipeline, PROMPTS, steps=12), 8)
