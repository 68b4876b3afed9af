"""Timestep lists: where the steps of a schedule stand, as its source has them and as diffusers.

Both are worked out here, so that it is known without building a scheduler whether they differ.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pipelines.samplers.registry import Sampler

BETA = 0.6
"""Both parameters of the beta distribution. Source: Lee et al. 2024, arXiv:2407.12173."""
Times = tuple[float, ...]


def training_steps(config: Mapping[str, Any]) -> int:
    """Number of timesteps of the training."""
    return int(config.get("num_train_timesteps") or 1000)


def listed(row: Sampler, spacing: str, steps: int, config: Mapping[str, Any]) -> Times:
    """List the timesteps of a spacing, descending, as diffusers does.

    Args:
        row: its `counts` says whether the list has a step more, of which the last is left out.
        spacing: `leading`, `linspace` or `trailing`.
        steps: how many, at least 1.
        config: the checkpoint's own scheduler config.
    """
    import numpy as np

    total, offset = training_steps(config), int(config.get("steps_offset", 0))
    more = int(row.lists == "intervals")
    if spacing == "linspace":
        rising = np.linspace(0, total - 1, steps + more)
        rising = rising if row.lists == "levels" else rising.round()
    elif spacing == "leading":
        rising = np.arange(steps + more) * float(total // (steps + more)) + offset
    else:
        return tuple(map(float, np.arange(total, 0, -total / steps).round() - 1))
    return tuple(map(float, rising[more:][::-1]))


def spaced(row: Sampler, spacing: str, steps: int, config: Mapping[str, Any]) -> Times:
    """List the timesteps of a spacing, descending, as its source means them.

    Math: leading: ⌊i·T/n⌋ + offset with a real T/n, so that the first is within the last
        interval; linspace: from T − 1 to 0; trailing: round(T − i·T/n) − 1. Where diffusers'
        list says the same, or starts within two of its own intervals of T, it is kept. So few
        steps that a leading list starts below two thirds of T are trailing ones, since what
        they start from is noise.
    Args: as `listed`.
    Returns: `steps` different timesteps from T − 1 to 0.
    Source: Song et al. 2020, arXiv:2010.02502, D.2; Lin et al. 2023, arXiv:2305.08891, Tab. 2.
    """
    theirs = listed(row, spacing, steps, config)
    total, offset = training_steps(config), int(config.get("steps_offset", 0))
    parts = steps + int(row.lists == "intervals")
    if _is_whole(theirs, steps, total) and _starts_in_noise(spacing, theirs, parts, total):
        return theirs
    if spacing == "leading":
        times = [i * total // parts for i in range(parts)][-steps:]
        offset = min(offset, total - 1 - times[-1])
        ours = tuple(float(time + offset) for time in reversed(times))
        if _starts_in_noise(spacing, ours, parts, total):
            return ours
    return tuple(float(round(total - i * total / steps) - 1) for i in range(steps))


def _is_whole(times: Times, steps: int, total: int) -> bool:
    """Whether a list has as many different timesteps as it should, all of the training's."""
    return len(times) == len(set(times)) == steps and times[0] < total and times[-1] >= 0


def _starts_in_noise(spacing: str, times: Times, parts: int, total: int) -> bool:
    """Whether a list starts where nearly nothing but noise is left."""
    rest = total - times[0]
    if spacing == "leading":
        return rest <= 2 * (total // parts) and rest <= total / 3
    return rest <= 1


@lru_cache(maxsize=256)
def beta_quantiles(steps: int) -> tuple[float, ...]:
    """Quantiles of the beta distribution, descending from 1, one a step.

    Math: F⁻¹(1 − i/n; 0.6, 0.6), i = 0 … n − 1
    """
    import numpy as np
    from scipy.stats import beta

    return tuple(map(float, beta.ppf(1 - np.arange(steps) / steps, BETA, BETA)))


def beta_spaced(steps: int, config: Mapping[str, Any]) -> Times:
    """List timesteps at the quantiles of a beta distribution, descending.

    Math: round((T − 1)·F⁻¹(1 − i/n; 0.6, 0.6)); what falls on one timestep moves to the next
        that is free.
    Source: Lee et al. 2024, arXiv:2407.12173, Sec. 4.
    """
    last = training_steps(config) - 1
    times: list[float] = []
    for i, share in enumerate(beta_quantiles(steps)):
        below = times[-1] - 1 if times else last
        # Not so low that the steps still to come have no room.
        times.append(float(max(min(round(share * last), below), steps - 1 - i)))
    return tuple(times)
