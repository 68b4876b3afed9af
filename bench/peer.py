"""Reference pipeline of diffusers, called once a cell, for figures and parity tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipelines.samplers import SAMPLERS, SCHEDULES

if TYPE_CHECKING:
    from pipelines import Request


class Peer:
    """A diffusers pipeline whose scheduler is built anew for each Request.

    Args:
        pipe: its scheduler's config, as it is now, is what all others are derived from.
    """

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe
        self._config = pipe.scheduler.config
        pipe.set_progress_bar_config(disable=True)

    @classmethod
    def load(cls, folder: Path) -> Peer:
        """The pipeline of a model folder, in float32 on the CPU."""
        import diffusers

        return cls(
            diffusers.StableDiffusionPipeline.from_pretrained(
                folder, safety_checker=None, torch_dtype=torch.float32
            )
        )

    def make(self, request: Request, **call: Any) -> Any:
        """The picture of a complete Request in a list; its latents with `output_type="latent"`."""
        import diffusers

        row = SAMPLERS[request.sampler]
        options = {**row.options, **SCHEDULES[request.schedule]}
        if row.seed_option:
            options[row.seed_option] = request.seed
        # Each from the pristine config: overrides stick to a config derived from another.
        scheduler = getattr(diffusers, row.scheduler).from_config(self._config, **options)
        self.pipe.scheduler = scheduler
        if request.guidance_rescale:  # which the ControlNet pipelines do not have
            call["guidance_rescale"] = request.guidance_rescale
        return self.pipe(
            request.prompt,
            # No negative prompt is not always an empty one: SDXL takes zeros.
            negative_prompt=request.negative_prompt or None,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seed),
            width=request.width,
            height=request.height,
            **call,
        ).images
