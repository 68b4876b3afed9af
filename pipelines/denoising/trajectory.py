"""One cell's walk from noise to picture, as a generator that asks for what it needs.

The walk knows its scheduler and nothing else: no network, no batch, no guidance. Whoever
drives it evaluates what it yields and sends the network's answer back.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Eval:
    """What a trajectory wants evaluated next.

    Attributes:
        x: the network's input, (1, C, h, w), already scaled by the scheduler.
        t: the network's timestep, a 0-d tensor.
        sigma: the noise level there, in the scheduler's terms (`noise_level`).
        index: position of this evaluation in the trajectory, from 0.
        total: evaluations in the whole trajectory.
    """

    x: Tensor
    t: Tensor
    index: int
    total: int
    sigma: float


def initial_noise(shape: tuple[int, int, int], seed: int) -> tuple[Tensor, torch.Generator]:
    """A cell's noise, (1, C, h, w) float32 on the CPU, and the generator to go on drawing from.

    The same draw as diffusers makes when given this generator, whatever the device.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn((1, *shape), generator=generator, dtype=torch.float32), generator


def trajectory(
    scheduler: Any, noise: Tensor, generator: torch.Generator
) -> Generator[Eval, Tensor, Tensor]:
    """Denoise with one diffusers scheduler, which must belong to this trajectory alone.

    Math: x ← noise · σ_init; then for every t: x ← step(model_output(scale(x), t), t, x)
    Args:
        scheduler: with its timesteps set.
        noise: unit Gaussian, (1, C, h, w), in the network's dtype and on its device.
        generator: feeds the noise of stochastic steps.
    Yields: an Eval; expects the model output, shape and dtype of `Eval.x`.
    Returns: latents, same shape and dtype.
    """
    x = noise * getattr(scheduler, "init_noise_sigma", 1.0)
    scale = getattr(scheduler, "scale_model_input", None)
    extra = _step_arguments(scheduler, generator)
    total = len(scheduler.timesteps)
    for index, t in enumerate(scheduler.timesteps):
        sigma = noise_level(scheduler, index, t)
        model_output = yield Eval(x if scale is None else scale(x, t), t, index, total, sigma)
        x = scheduler.step(model_output, t, x, **extra, return_dict=False)[0]
    return x


def noise_level(scheduler: Any, index: int, t: Tensor) -> float:
    """Noise level at one evaluation.

    Math: σ = √((1 − ᾱ_t)/ᾱ_t), in units of the clean latents; flow matching: the share of noise
        in the mixture, 0..1.
    """
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is not None:
        return float(sigmas[index])
    alpha = float(scheduler.alphas_cumprod[int(t)])
    return float(((1.0 - alpha) / alpha) ** 0.5)


def _step_arguments(scheduler: Any, generator: torch.Generator) -> dict[str, Any]:
    """What diffusers' pipelines pass to `step`: eta = 0 and the generator, where it takes them."""
    accepted = inspect.signature(scheduler.step).parameters
    available: dict[str, Any] = {"eta": 0.0, "generator": generator}
    return {name: value for name, value in available.items() if name in accepted}
