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
from pipelines.samplers.course import PLAIN, Course, chart
from pipelines.samplers.registry import SAMPLERS, SCHEDULES, Sampler, check
from pipelines.samplers.scheduler import Scheduler


def build(
    sampler: str,
    schedule: str,
    config: Mapping[str, Any],
    steps: int,
    seed: int,
    spacing: Mapping[str, Any] | None = None,
    as_diffusers: bool = False,
) -> Scheduler:
    """A fresh scheduler with its timesteps set, for one trajectory only (it keeps state).

    Args:
        config: the checkpoint's own, pristine scheduler config.
        steps: number of inference steps.
        seed: for the one scheduler that seeds its own noise instead of taking a generator.
        spacing: what the model's family tells `set_timesteps` besides.
        as_diffusers: whether diffusers' own numbers are wanted where the source has others.
    Raises: InvalidRequest: if the scheduler cannot do this number of steps, in its own words.
    """
    row = SAMPLERS[sampler]
    check(sampler, schedule)
    options = tuple(_options(row, schedule, config).items())
    told = dict(spacing or {})
    course = PLAIN
    if not as_diffusers:
        course = chart(sampler, schedule, config, steps, "sigmas" in told)
    elif row.kind == "flow" and schedule == "sgm_uniform":
        told.setdefault("sigmas", [1 - i / steps for i in range(steps)])
    key = json.dumps(dict(config), sort_keys=True)
    spacing_json = json.dumps(told, default=lambda array: array.tolist())
    try:
        made = prototype(row.scheduler, key, options, steps, spacing_json, course)
        scheduler = copy.deepcopy(made)
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise InvalidRequest(f"sampler {sampler!r} cannot do {steps} steps: {error}") from error
    if row.seed_option:
        scheduler.register_to_config(**{row.seed_option: seed})
        setattr(scheduler, row.seed_option, seed)
    return scheduler


@lru_cache(maxsize=256)
def prototype(
    scheduler: str,
    config: str,
    options: tuple[tuple[str, Any], ...],
    steps: int,
    spacing: str,
    course: Course = PLAIN,
) -> Scheduler:
    """A scheduler to copy, its timesteps set: working them out may take fifty times as long.

    Args:
        config, spacing: as JSON, so that equal ones are one key.
    """
    from pipelines.samplers.fast_schedulers import build_fast

    return build_fast(
        scheduler, json.loads(config), dict(options), steps, json.loads(spacing), course
    )


def _options(row: Sampler, schedule: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a scheduler: its row's, and the flags of its schedule.

    A schedule that is asked for replaces the one in the checkpoint's config.
    """
    flags = dict(SCHEDULES[schedule])
    if row.kind == "flow":
        flags.pop("timestep_spacing", None)  # its levels are told to `set_timesteps`
    if schedule != "default":
        others = {flag for one in SCHEDULES.values() for flag in one if flag.startswith("use_")}
        flags |= {flag: False for flag in others - flags.keys() if config.get(flag)}
    if "sde" in str(config.get("algorithm_type")) and row.scheduler in _DETERMINISTIC:
        # The checkpoint's own sampler is a stochastic one; this one is asked for.
        flags["algorithm_type"] = "dpmsolver++"
    return {**flags, **row.options}


_DETERMINISTIC = ("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler")
