"""Noise levels: lists σ at the start of every step of a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from pipelines.samplers import SAMPLERS, build


def noise_levels(
    sampler: str,
    schedule: str,
    config: Mapping[str, Any],
    steps: int,
    spacing: Mapping[str, Any] | None = None,
    as_diffusers: bool = False,
) -> tuple[float, ...]:
    """σ at the start of every step, descending, one a step.

    Math: σ = √((1 − ᾱ)/ᾱ), the standard deviation of the noise in units of the clean latents,
        for schedulers that speak of timesteps; the others list it themselves. Flow matching has
        its own σ, the share of noise in the mixture, 0..1.
    Args:
        config: the checkpoint's own scheduler config.
        spacing, as_diffusers: as `build` takes them.
    Raises: InvalidRequest: as `build`.
    Source: Karras et al. 2022, arXiv:2206.00364, Tab. 1.
    """
    from pipelines.samplers.noise_table import LEAST_ALPHA

    # Which of these lists one has depends on its class.
    scheduler: Any = build(sampler, schedule, config, steps, 0, spacing, as_diffusers)
    if getattr(scheduler, "sigmas", None) is not None:
        listed = [float(sigma) for sigma in scheduler.sigmas]
        # Samplers that evaluate twice a step list the level between two steps twice.
        calls = SAMPLERS[sampler].calls_per_step
        return tuple([listed[0], *listed[1::calls]][:steps])
    # PNDM repeats a timestep to start.
    times = [int(t) for t, _ in groupby(scheduler.timesteps.tolist())]
    # At zero terminal SNR the last ᾱ is 0; the schedulers that list σ take this least one.
    alphas = [max(float(scheduler.alphas_cumprod[t]), LEAST_ALPHA) for t in times]
    return tuple(((1 - alpha) / alpha) ** 0.5 for alpha in alphas)
