"""Convergence of deterministic samplers to their limit. Part of `training.evaluate`.

The reference is DDIM at 1000 steps: every timestep the model was trained on. The distance is the
root mean square of the latents' difference, relative to the reference's own size, over a few
captions; all start from the same noise. `sgm_uniform` begins at the last timestep, like the
reference; `default` is the checkpoint's own spacing, which begins short of it with few steps;
`karras` ends near the least noise, where the others leave σ = 0.2 to the last of 20 steps.
"""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from pipelines.samplers import SAMPLERS, build

REFERENCE_STEPS = 1000
STEPS = (5, 10, 20, 50)
SCHEDULES = ("default", "sgm_uniform", "karras")
# LCM and TCD are made for distilled models.
LEFT_OUT = ("lcm", "tcd")
CAPTIONS = (
    "a red apple", "a dog", "a castle, flat style, on an orange background",
    "a person waving, red shirt, blue trousers", "a red cube and a blue sphere",
    "a rocket, noto style, on a purple background",
)  # fmt: skip


@torch.no_grad()
def latents(
    pipeline: StableDiffusionPipeline, captions: Sequence[str], sampler: str, schedule: str,
    steps: int, guidance: float, config: dict[str, Any],
) -> Tensor:  # fmt: skip
    """Final latents of a sampler, (captions, 4, 16, 16); row i starts from the noise of seed i."""
    pipeline.scheduler = build(sampler, schedule, config, steps, 0)
    seeds = [torch.Generator("cpu").manual_seed(i) for i in range(len(captions))]
    found: Tensor = pipeline(
        list(captions), num_inference_steps=steps, guidance_scale=guidance, generator=seeds,
        output_type="latent",
    ).images  # fmt: skip
    return found


def distance(found: Tensor, reference: Tensor) -> float:
    """‖x − r‖/‖r‖ over all rows together."""
    return float((found - reference).norm() / reference.norm())


def convergence_table(
    pipeline: StableDiffusionPipeline, guidance: float, captions: Sequence[str] = CAPTIONS,
    steps: Sequence[int] = STEPS, reference_steps: int = REFERENCE_STEPS,
) -> list[dict[str, Any]]:  # fmt: skip
    """A row for each deterministic sampler: its distance to the reference at each step count."""
    pipeline.set_progress_bar_config(disable=True)
    own = pipeline.scheduler
    how = guidance, dict(own.config)
    # Spaced to the last timestep: the default spacing has an offset that leads past it.
    reference = latents(pipeline, captions, "ddim", "sgm_uniform", reference_steps, *how)
    rows = []
    for row in SAMPLERS.values():
        if row.stochastic or row.kind == "flow" or row.id in LEFT_OUT:
            continue
        for schedule in (name for name in SCHEDULES if name in row.schedules):
            ends = [latents(pipeline, captions, row.id, schedule, n, *how) for n in steps]
            far = [round(distance(end, reference), 4) for end in ends]
            named = {f"steps_{n}": value for n, value in zip(steps, far, strict=True)}
            rows.append({"sampler": row.id, "schedule": schedule, **named})
    pipeline.scheduler = own
    return rows
