"""Trajectory: denoises one cell as a generator, which yields what it needs evaluated.

The walk knows its scheduler and nothing else: no network, no batch, no guidance. Whoever
drives it evaluates what it yields and sends the network's answer back.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.samplers import Scheduler
from pipelines.samplers.noise_table import LEAST_ALPHA


@dataclass(frozen=True, slots=True)
class Eval:
    """Evaluation that a trajectory asks for next.

    Attributes:
        x: the network's input, (1, C, h, w), already scaled by the scheduler.
        t: the network's timestep, a 0-d tensor.
        index: position of this evaluation in the trajectory, from 0.
        total: evaluations in the whole trajectory.
        scheduler: the trajectory's own.
    """

    x: Tensor
    t: Tensor
    index: int
    total: int
    scheduler: Scheduler

    @property
    def sigma(self) -> float:
        """The noise level at t; see `noise_level`."""
        return noise_level(self.scheduler, float(self.t))


def initial_noise(shape: tuple[int, int, int], seed: int) -> tuple[Tensor, torch.Generator]:
    """Draw a cell's noise, (1, C, h, w) float32 on the CPU; also the generator to go on with.

    The same draw as diffusers makes when given this generator, whatever the device.
    """
    generator = torch.Generator("cpu").manual_seed(seed)
    return torch.randn((1, *shape), generator=generator, dtype=torch.float32), generator


def trajectory(
    scheduler: Scheduler, noise: Tensor, generator: torch.Generator
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
        network_input = x if scale is None else scale(x, t)
        model_output = yield Eval(network_input, t, index, total, scheduler)
        x = scheduler.step(model_output, t, x, **extra, return_dict=False)[0]
    return x


def noise_level(scheduler: Scheduler, t: float) -> float:
    """Noise level that the network is told by a timestep, which may lie between two.

    Math: σ = √((1 − ᾱ_t)/ᾱ_t), in units of the clean latents, interpolated in log σ; flow
        matching: the share of noise in the mixture, 0..1.
    """
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        return t / float(scheduler.config["num_train_timesteps"])
    low = min(int(t), len(alphas) - 2)
    # At zero terminal SNR the last ᾱ is 0 in some schedulers, and this least one in others.
    pair = (max(float(alphas[low + i]), LEAST_ALPHA) for i in (0, 1))
    below, above = (0.5 * math.log(1.0 / alpha - 1.0) for alpha in pair)
    return math.exp(below + (t - low) * (above - below))


def _step_arguments(
    scheduler: Scheduler, generator: torch.Generator
) -> dict[str, float | torch.Generator]:
    """What diffusers' pipelines pass to `step`: eta = 0 and the generator, where it takes them."""
    accepted = inspect.signature(scheduler.step).parameters
    available: dict[str, float | torch.Generator] = {"eta": 0.0, "generator": generator}
    return {name: value for name, value in available.items() if name in accepted}
