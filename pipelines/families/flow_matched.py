"""Flow matching: shifts noise levels by picture size, predicts clean latents, decodes them.

Math: x_σ = (1 − σ)·x_0 + σ·noise; the network predicts v = noise − x_0; its timestep is 1000·σ.
Source: Esser et al. 2024, arXiv:2403.03206.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pipelines.denoising.row import Condition
from pipelines.families.base import LoadedModel, decode_latents
from pipelines.families.spec import FamilySpec


def shift_of_size(tokens: int, scheduler: Mapping[str, Any], most: float) -> float:
    """Compute μ, by which schedules of larger pictures are moved towards noise.

    Math: linear in the number of tokens, from `base_shift` to `max_shift`.
    Args:
        most: `max_shift` where the scheduler's config has none; diffusers' pipelines differ.
    """
    low, high = scheduler.get("base_image_seq_len", 256), scheduler.get("max_image_seq_len", 4096)
    base, most = scheduler.get("base_shift", 0.5), scheduler.get("max_shift", most)
    slope = (most - base) / (high - low)
    return float(tokens * slope + (base - slope * low))


@dataclass(frozen=True, slots=True)
class FlowMatched:
    """Flow-matching family: implements what all of them do alike, for others to build on."""

    spec: FamilySpec

    def without_negative(self, model: LoadedModel, empty: Condition) -> Condition:
        return empty

    def denoised(self, model: LoadedModel, x: Tensor, t: Tensor, model_output: Tensor) -> Tensor:
        """x_0 = x − σ·v."""
        sigma = float(t) / model.configs["scheduler"].get("num_train_timesteps", 1000)
        clean: Tensor = x - sigma * model_output
        return clean

    def decode(self, model: LoadedModel, latents: Tensor) -> Tensor:
        return decode_latents(model, latents, ("shift_factor",))
