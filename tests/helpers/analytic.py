"""Data distributions whose denoiser and probability-flow ODE are known exactly.

Pixels are independent, so one large latent is a large sample.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipelines import samplers
from pipelines.denoising.trajectory import Eval, initial_noise, trajectory

BETAS = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "steps_offset": 1,
}
FLOW = {"num_train_timesteps": 1000, "shift": 1.0}


def log_sigma(t: Tensor) -> Tensor:
    """log(√((1−ᾱ)/ᾱ)) of the schedule in BETAS at a timestep, linear between two of them."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, 0)
    table = 0.5 * torch.log((1 - alphas) / alphas)
    t = t.double().clamp(0, 999)
    low = t.floor().long().clamp(max=998)
    return torch.lerp(table[low], table[low + 1], t - low)


@dataclass(frozen=True)
class Gaussian:
    """Data N(mean, std²), seen by a network of epsilon prediction."""

    mean: float = 0.6
    std: float = 0.7

    def epsilon(self, x: Tensor, t: Tensor) -> Tensor:
        """E[ε | x] for x = α·x_0 + σ·ε."""
        sigma = log_sigma(t).exp()
        alpha = 1 / (1 + sigma**2).sqrt()
        z = x.double() / alpha  # x_0 + sigma·ε
        return (sigma * (z - self.mean) / (self.std**2 + sigma**2)).to(x.dtype)

    def clean(self, x: Tensor, t: Tensor) -> Tensor:
        """Where the ODE takes x: x(σ) = μ + (x_T − μ)·√((s² + σ²)/(s² + σ_T²)) at σ = 0."""
        sigma = log_sigma(t).exp()
        z = x.double() * (1 + sigma**2).sqrt()
        return self.mean + (z - self.mean) * self.std / (self.std**2 + sigma**2).sqrt()

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """E[ε − x_0 | x] for the flow x = (1 − σ)·x_0 + σ·ε, σ = t/1000."""
        sigma = t.double() / 1000
        centred = x.double() - (1 - sigma) * self.mean
        variance = (1 - sigma) ** 2 * self.std**2 + sigma**2
        noise = sigma / variance * centred
        data = self.mean + (1 - sigma) * self.std**2 / variance * centred
        return (noise - data).to(x.dtype)

    def flow_clean(self, x: Tensor, t: Tensor) -> Tensor:
        """Where the flow takes x: its distance from the mean in standard deviations stays."""
        sigma = t.double() / 1000
        spread = ((1 - sigma) ** 2 * self.std**2 + sigma**2).sqrt()
        return self.mean + (x.double() - (1 - sigma) * self.mean) * self.std / spread


Network = Callable[[Tensor, Tensor], Tensor]


def walk(
    sampler: str,
    steps: int,
    network: Network,
    *,
    schedule: str = "default",
    size: int = 8,
    config: dict[str, Any] | None = None,
    as_diffusers: bool = False,
) -> tuple[list[Eval], Tensor]:
    """All evaluations of one trajectory in float64, and its latents."""
    row = samplers.SAMPLERS[sampler]
    base = config or (FLOW if row.kind == "flow" else BETAS)
    scheduler = samplers.build(sampler, schedule, base, steps, 3, as_diffusers=as_diffusers)
    noise, generator = initial_noise((1, size, size), seed=3)
    machine = trajectory(scheduler, noise.double(), generator)
    evals = [next(machine)]
    while True:
        last = evals[-1]
        try:
            evals.append(machine.send(network(last.x, last.t)))
        except StopIteration as end:
            return evals, end.value
