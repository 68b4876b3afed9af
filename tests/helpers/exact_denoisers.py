"""Exact denoisers of the configs that people run, on pixels of several Gaussians.

One Gaussian has one error, which may pass through zero by chance; sixteen do not all at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pipelines import samplers
from pipelines.denoising.trajectory import initial_noise, trajectory

_SD: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "trained_betas": None,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "sd 1.5": {**_SD, "_class_name": "PNDMScheduler", "skip_prk_steps": True},
    "sd 2.1-v": {**_SD, "_class_name": "DDIMScheduler", "prediction_type": "v_prediction"},
    "sdxl": {
        **_SD, "_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading",
        "interpolation_type": "linear", "use_karras_sigmas": False, "prediction_type": "epsilon",
    },
    "turbo": {
        **_SD, "_class_name": "EulerAncestralDiscreteScheduler", "timestep_spacing": "trailing",
        "prediction_type": "epsilon", "rescale_betas_zero_snr": False,
    },
    "zero-snr v": {
        **_SD, "_class_name": "DDIMScheduler", "timestep_spacing": "trailing",
        "prediction_type": "v_prediction", "rescale_betas_zero_snr": True,
    },
    "cosine": {**_SD, "_class_name": "DDIMScheduler", "beta_schedule": "squaredcos_cap_v2"},
    "sd 3": {
        "_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000,
        "shift": 3.0,
    },
    "flux": {
        "_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000,
        "shift": 3.0, "use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15,
        "base_image_seq_len": 256, "max_image_seq_len": 4096,
    },
}  # fmt: skip
"""Scheduler configs as they are published, by what they are known as."""

MEANS = torch.linspace(-0.8, 0.8, 4, dtype=torch.float64)[:, None].expand(4, 4)
STDS = torch.tensor([0.05, 0.2, 0.5, 1.0], dtype=torch.float64)[None, :].expand(4, 4)


@dataclass(frozen=True)
class ExactModel:
    """A network that is right about pixels N(MEANS, STDS²), under one scheduler config."""

    config: Mapping[str, Any]
    tile: int = 1

    @cached_property
    def means(self) -> Tensor:
        return MEANS.repeat(self.tile, self.tile)

    @cached_property
    def stds(self) -> Tensor:
        return STDS.repeat(self.tile, self.tile)

    @property
    def flow(self) -> bool:
        return "shift" in self.config

    @cached_property
    def log_sigma(self) -> Tensor:
        """log √((1 − ᾱ)/ᾱ) of every timestep, worked out by the papers' formulas."""
        total = self.config["num_train_timesteps"]
        if self.config["beta_schedule"] == "scaled_linear":
            ends = self.config["beta_start"] ** 0.5, self.config["beta_end"] ** 0.5
            alphas = (1 - torch.linspace(*ends, total, dtype=torch.float64) ** 2).cumprod(0)
        else:  # Nichol & Dhariwal 2021, Eq. 17, betas clipped at 0.999
            at = (torch.arange(total + 1, dtype=torch.float64) / total + 0.008) / 1.008
            curve = torch.cos(at * torch.pi / 2) ** 2
            alphas = (1 - (1 - curve[1:] / curve[:-1]).clamp(max=0.999)).cumprod(0)
        if self.config.get("rescale_betas_zero_snr"):  # Lin et al. 2023, Alg. 1
            root = alphas.sqrt()
            alphas = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
            alphas[-1] = 2.0**-24
        return 0.5 * (torch.log1p(-alphas) - torch.log(alphas))

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """What the network says of its input, (…, 4, 4), at a timestep."""
        x, mean, variance = x.double(), self.means, self.stds**2
        if self.flow:
            sigma = t.double() / 1000
            share = variance * (1 - sigma) / ((1 - sigma) ** 2 * variance + sigma**2)
            clean = mean + share * (x - (1 - sigma) * mean)
            return (x - clean) / sigma
        table, t = self.log_sigma, t.double().clamp(0, len(self.log_sigma) - 1)
        low = t.floor().long().clamp(max=len(table) - 2)
        sigma = torch.lerp(table[low], table[low + 1], t - low).exp()
        alpha = 1 / (1 + sigma**2).sqrt()
        noise = sigma * alpha
        clean = (alpha * variance * x + noise**2 * mean) / (alpha**2 * variance + noise**2)
        eps = (x - alpha * clean) / noise
        v = self.config.get("prediction_type") == "v_prediction"
        return alpha * eps - noise * clean if v else eps

    def limit(self, noise: Tensor) -> Tensor:
        """Where the probability-flow ODE takes noise: as many deviations from the mean."""
        if self.flow:
            return self.means + self.stds * noise
        sigma = self.log_sigma[-1].exp()
        x = noise * (1 + sigma**2).sqrt()
        return self.means + (x - self.means) * self.stds / (self.stds**2 + sigma**2).sqrt()


@dataclass(frozen=True)
class Walked:
    """One trajectory: the timesteps asked for, the latents, and their distance from the limit."""

    times: list[float]
    latents: Tensor
    distance: float


def run(
    model: ExactModel, sampler: str, schedule: str, steps: int, as_diffusers: bool = False
) -> Walked:
    """Walk one trajectory in float64. The limit is only that of samplers without noise."""
    spacing: dict[str, Any] | None = None
    if model.config.get("use_dynamic_shifting"):  # as the family tells it
        spacing = {"mu": 0.8, "sigmas": [1 - i / steps for i in range(steps)]}
    scheduler = samplers.build(
        sampler, schedule, model.config, steps, 3, spacing, as_diffusers=as_diffusers
    )
    noise, generator = initial_noise((1, *model.means.shape), seed=3)
    noise = noise.double()
    walk = trajectory(scheduler, noise, generator)
    asked, times = next(walk), []
    while True:
        times.append(float(asked.t))
        try:
            asked = walk.send(model(asked.x, asked.t))
        except StopIteration as end:
            gap = end.value.double() - model.limit(noise)
            return Walked(times, end.value, float(gap.square().mean().sqrt()))
