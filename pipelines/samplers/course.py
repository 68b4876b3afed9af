"""Course: what a sampler does for a checkpoint and a number of steps otherwise than diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pipelines.errors import InvalidRequest
from pipelines.samplers import noise_process
from pipelines.samplers.registry import SAMPLERS, Sampler
from pipelines.samplers.timesteps import Times, beta_spaced, listed, spaced, training_steps


@dataclass(frozen=True, slots=True)
class Course:
    """Course of one trajectory, where it is not diffusers' own.

    Attributes:
        differences: ids of what differs from diffusers, rows of `differences.DIFFERENCES`.
        times: timesteps that the levels start from, descending; None: diffusers' own.
        beta: whether they are the quantiles of a beta distribution.
        to_next: whether each step must be told where the next timestep is.
        zero_snr: whether the noise is rescaled here, since the class does not do it.
        unclipped: whether the class must be told not to clip.
        rounded: whether timesteps are rounded, which the class would cut down to whole ones.
        flow_levels: whether the levels of flow matching go from 1 to 1/n.
        split: whether σ_down is worked out so that rounding leaves something of it.
    """

    differences: tuple[str, ...] = ()
    times: Times | None = None
    beta: bool = False
    to_next: bool = False
    zero_snr: bool = False
    unclipped: bool = False
    rounded: bool = False
    flow_levels: bool = False
    split: bool = False


PLAIN = Course()
"""Diffusers' own."""


def chart(
    sampler: str,
    schedule: str,
    config: Mapping[str, Any],
    steps: int,
    levels_given: bool = False,
) -> Course:
    """Work out where a sampler departs from diffusers, and to what.

    Args:
        config: the checkpoint's own scheduler config.
        levels_given: whether the family hands the levels of flow matching to the scheduler.
    Raises: InvalidRequest: if there are fewer timesteps than steps.
    """
    row = SAMPLERS[sampler]
    if row.kind == "flow":
        return _flow(row, steps, levels_given)
    if steps > training_steps(config):
        raise InvalidRequest(
            f"steps is {steps}; this model was trained with {training_steps(config)} timesteps, "
            "and no sampler takes more steps than that"
        )
    found: dict[str, bool] = {}
    times: Times | None = None
    spacing = _spacing(row, schedule, config)
    theirs = listed(row, spacing, steps, config) if row.lists != "own" else ()
    lambda_clipped = config.get("lambda_min_clipped", -float("inf"))
    if lambda_clipped not in noise_process.NEUTRAL["lambda_min_clipped"]:
        spacing = ""  # the checkpoint itself says where to start
    elif schedule == "beta":
        times = beta_spaced(steps, config)
        found["beta-timesteps"] = True
    elif theirs and (row.lists != "intervals" or schedule in ("default", "sgm_uniform")):
        ours = spaced(row, spacing, steps, config)
        if ours != theirs:
            times = ours
            late = len(theirs) == len(set(theirs)) == steps and 0 <= theirs[0] < ours[0]
            found["late-start" if late else "step-count"] = True
    to_next = row.id in STEPPED_BY_RATIO and _misses_next(times or theirs, steps, config)
    found["next-timestep"] = to_next
    zero = "rescale_betas_zero_snr" in noise_process.dropped(row.scheduler, config)
    found["zero-snr"] = zero
    unclipped = noise_process.unclipped(row.scheduler, config)
    found["unclipped"] = unclipped
    cosine = config.get("beta_schedule") == "squaredcos_cap_v2"
    rounded = cosine and row.lists == "intervals" and schedule in ("karras", "exponential")
    found["whole-timesteps"] = rounded
    split = row.id in ANCESTRAL and (cosine or noise_process.zero_snr(config))
    found["ancestral-split"] = split
    return Course(
        tuple(name for name, acts in found.items() if acts),
        times,
        schedule == "beta" and times is not None,
        to_next,
        zero,
        unclipped,
        rounded,
        split=split,
    )


ANCESTRAL = ("euler_a", "dpm2_a")
"""Samplers that split a step into one down to less noise and noise that is added."""
STEPPED_BY_RATIO = ("ddim", "pndm")
"""Samplers whose scheduler steps to t − T // n, whatever the next timestep in its list is."""


def _spacing(row: Sampler, schedule: str, config: Mapping[str, Any]) -> str:
    if "timestep_spacing" not in noise_process.TAKES[row.scheduler]:
        return row.spacing
    if schedule == "sgm_uniform":
        return "trailing"
    return str(config.get("timestep_spacing") or row.spacing)


def _misses_next(times: Times, steps: int, config: Mapping[str, Any]) -> bool:
    """Whether t − T // n is another place than the next timestep (after the last: below 0)."""
    gap = training_steps(config) // steps
    return times[-1] - gap >= 0 or any(time - gap != after for time, after in pairwise(times))


def _flow(row: Sampler, steps: int, levels_given: bool) -> Course:
    # Heun's last step is of first order: the shorter it is the better, as diffusers has it.
    acts = row.id == "flow_euler" and not levels_given and steps > 1
    return Course(("flow-levels",), flow_levels=True) if acts else PLAIN
