"""Every sampler, schedule and number of steps on exact denoisers of the configs people run."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
import torch

from pipelines import samplers
from pipelines.errors import InvalidRequest
from pipelines.families.capabilities import compatible_samplers
from pipelines.samplers import SAMPLERS
from tests.helpers.exact_denoisers import CONFIGS, MEANS, STDS, ExactModel, run

STEPS = (1, 2, 3, 4, 5, 10, 50, 100, 334, 500, 999, 1000)
SLOW = ("lms", "dpmpp_sde")
"""Their steps cost milliseconds: an integral each, a Brownian tree. Walked up to 100."""
EVERY = bool(os.environ.get("CONTACT_SHEET_EVERY_WALK"))
"""Whether all schedules are walked at large numbers of steps, which takes five minutes; otherwise
those of two configs are, and one of every other config and sampler, by turns."""
LEVEL = 1 / 255
"""Half a level of 255, on pixels from −1 to 1: what rounding to whole timesteps may cost."""
FEW = ("lcm", "tcd")
"""Samplers of distilled models, which have `original_inference_steps`, 50, and say so."""
CASES = [
    (name, sampler, schedule)
    for name, config in CONFIGS.items()
    for sampler in compatible_samplers("flow" if "shift" in config else "diffusion", config)
    for schedule in SAMPLERS[sampler].schedules
]
METHOD = {
    # Few steps at which the method itself, as its source has it and `test_methods.py` works out
    # again, overshoots: a second-order step
    # from strong noise to nearly none. Heun and DPM2 there take a slope at the lower end, which
    # is divided by a level near 0; where the noise has no end (cosine, zero terminal SNR) the
    # multistep methods feel it too. What is allowed is the most steps that may be farther off.
    ("heun", "sd 1.5"): 3,
    ("dpm2", "sd 1.5"): 3,
    ("heun", "sd 2.1-v"): 3,
    ("dpm2", "sd 2.1-v"): 3,
    ("heun", "zero-snr v"): 3,
    ("dpm2", "zero-snr v"): 3,
    ("heun", "cosine"): 3,
    ("dpm2", "cosine"): 3,
    ("pndm", "cosine"): 3,
    ("dpmpp_2m", "cosine"): 4,
    ("unipc", "cosine"): 4,
    # Two steps start at 999, four at 751, as in diffusers: a leading list is that coarse.
    ("heun", "sdxl"): 4,
}


def counts(name: str, sampler: str, schedule: str) -> list[int]:
    """The numbers of steps that are walked."""
    row, turn = SAMPLERS[sampler], list(CONFIGS).index(name)
    whole = EVERY or row.schedules[turn % len(row.schedules)] == schedule
    if name in ("sdxl", "sd 3") and not row.stochastic:
        whole = True
    most = 50 if sampler in FEW or not whole else 1000
    if sampler in SLOW:
        most = min(most, 100)
    return [steps for steps in STEPS if steps <= most]


@pytest.mark.parametrize(("name", "sampler", "schedule"), CASES)
def test_more_steps_are_never_farther_off(name, sampler, schedule):
    """Finite, evaluations as stated, and never farther from the limit than half as many steps."""
    row, model = SAMPLERS[sampler], ExactModel(CONFIGS[name])
    off = {}
    for steps in counts(name, sampler, schedule):
        walked = run(model, sampler, schedule, steps)
        assert len(walked.times) == row.evaluations(steps)
        assert torch.isfinite(walked.latents).all(), steps
        off[steps] = walked.distance
    if row.stochastic:
        return
    allowed = METHOD.get((sampler, name), 0)
    for steps, distance in off.items():
        halves = [fewer for fewer in off if 2 * fewer <= steps]
        if halves and steps > allowed:
            assert distance <= off[halves[-1]] + LEVEL, (halves[-1], steps, off)


@pytest.mark.parametrize(("name", "sampler", "schedule"), CASES)
def test_every_number_of_steps_can_be_laid_out(name, sampler, schedule):
    row, config = SAMPLERS[sampler], CONFIGS[name]
    for steps in STEPS:
        spacing = None
        if config.get("use_dynamic_shifting"):
            spacing = {"mu": 0.8, "sigmas": [1 - i / steps for i in range(steps)]}
        if sampler in FEW and steps > 50:
            with pytest.raises(InvalidRequest, match=f"cannot do {steps} steps"):
                samplers.build(sampler, schedule, config, steps, 0, spacing)
            continue
        scheduler = samplers.build(sampler, schedule, config, steps, 0, spacing)
        times = scheduler.timesteps.tolist()
        assert len(times) == row.evaluations(steps)
        # 999 and up in diffusion; flow matching's times are 1000·σ.
        assert min(times) >= 0 and max(times) <= (1000 if row.kind == "flow" else 999)
        sigmas = getattr(scheduler, "sigmas", None)
        if sigmas is not None:
            levels = list(dict.fromkeys(sigmas.tolist()))
            assert len(levels) == steps + 1, "as many different levels as steps, and the picture"
            assert all(high > low for high, low in pairwise(levels))


@pytest.mark.parametrize("name", ["sdxl", "sd 1.5", "turbo", "zero-snr v"])
@pytest.mark.parametrize("sampler", [row.id for row in SAMPLERS.values() if row.lists != "own"])
def test_walks_start_where_there_is_noise(name, sampler):
    """Near 999 whatever the number of steps; a leading list is as coarse as its steps."""
    if sampler not in compatible_samplers("diffusion", CONFIGS[name]):
        return
    for schedule in SAMPLERS[sampler].schedules:
        for steps in (1, 2, 30, 50, 100, 333, 334, 350, 499, 500, 501, 600, 750, 998, 999, 1000):
            first = float(samplers.build(sampler, schedule, CONFIGS[name], steps, 0).timesteps[0])
            near = 999 if steps == 1 else 999 - min(2 * (1000 / steps), 1000 / 3)
            assert first >= near - 1, (schedule, steps, first)


def test_more_steps_than_the_training_had_are_refused():
    short = {**CONFIGS["sdxl"], "num_train_timesteps": 100}
    samplers.build("euler", "default", short, 100, 0)
    with pytest.raises(InvalidRequest, match=r"steps is 101; .* trained with 100 timesteps"):
        samplers.build("euler", "default", short, 101, 0)


@pytest.mark.parametrize("sampler", ["ddpm", "euler_a", "dpmpp_2m_sde", "dpm2_a"])
@pytest.mark.parametrize("name", ["sdxl", "zero-snr v", "cosine"])
def test_noise_that_is_added_gives_the_pictures_their_own_spread(sampler, name):
    """A thousand steps draw from the pixels' distribution: means, and deviations where they show.

    The last step takes the mean of all that may lie under the schedule's least level, σ 0.03, so
    pixels that deviate by no more than that deviate less: left out here.
    """
    tile, steps = 32, 1000
    latents = run(ExactModel(CONFIGS[name], tile), sampler, "default", steps).latents
    drawn = latents.double().reshape(tile, 4, tile, 4).permute(1, 3, 0, 2).reshape(4, 4, -1)
    error = 1 / tile  # of a mean of so many, in deviations
    assert float(((drawn.mean(-1) - MEANS).abs() / STDS).max()) <= 4 * error
    spread = (drawn.std(-1) / STDS)[STDS >= 0.2]
    assert float((spread - 1).abs().max()) <= 4 * error / 2**0.5
