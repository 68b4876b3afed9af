"""Scheduler construction: builds a sampler's diffusers scheduler for one trajectory.

Nothing here imports torch or diffusers until a scheduler is built.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pipelines.errors import InvalidRequest
from pipelines.samplers.registry import SAMPLERS, SCHEDULES, check
from pipelines.samplers.scheduler import Scheduler


def build(
    sampler: str,
    schedule: str,
    config: Mapping[str, Any],
    steps: int,
    seed: int,
    spacing: Mapping[str, Any] | None = None,
) -> Scheduler:
    """A fresh scheduler with its timesteps set, for one trajectory only (it keeps state).

    Args:
        config: the checkpoint's own, pristine scheduler config.
        steps: number of inference steps.
        seed: for the one scheduler that seeds its own noise instead of taking a generator.
        spacing: what the model's family tells `set_timesteps` besides.
    Raises: InvalidRequest: if the scheduler cannot do this number of steps, in its own words.
    """
    row = SAMPLERS[sampler]
    check(sampler, schedule)
    options = tuple({**row.options, **SCHEDULES[schedule]}.items())
    key = json.dumps(dict(config), sort_keys=True)
    spacing_json = json.dumps(dict(spacing or {}), default=lambda array: array.tolist())
    try:
        scheduler = copy.deepcopy(prototype(row.scheduler, key, options, steps, spacing_json))
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise InvalidRequest(f"sampler {sampler!r} cannot do {steps} steps: {error}") from error
    if row.seed_option:
        scheduler.register_to_config(**{row.seed_option: seed})
        setattr(scheduler, row.seed_option, seed)
    return scheduler


@lru_cache(maxsize=256)
def prototype(
    scheduler: str, config: str, options: tuple[tuple[str, Any], ...], steps: int, spacing: str
) -> Scheduler:
    """A scheduler to copy, its timesteps set: working them out may take fifty times as long.

    Args:
        config, spacing: as JSON, so that equal ones are one key.
    """
    from pipelines.samplers.fast_schedulers import build_fast

    return build_fast(scheduler, json.loads(config), dict(options), steps, json.loads(spacing))
