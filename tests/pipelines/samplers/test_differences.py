"""Both sides of every difference from diffusers: what it does, and what is done instead."""

from __future__ import annotations

from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch

from pipelines import samplers
from pipelines.samplers import SAMPLERS, SCHEDULES
from pipelines.samplers.differences import DIFFERENCES, acting, table, version_mark
from pipelines.samplers.noise_levels import noise_levels
from tests.helpers.exact_denoisers import CONFIGS, ExactModel, run

DOCUMENT = Path(__file__).parents[3] / "docs" / "differences.md"
SDXL, SD15, ZERO, COSINE, SD3 = (
    CONFIGS[name] for name in ("sdxl", "sd 1.5", "zero-snr v", "cosine", "sd 3")
)
BETA = [999, 959, 876, 765, 637, 500, 362, 234, 123, 40]
HAVE_BETA = [row.id for row in SAMPLERS.values() if "beta" in row.schedules]


def times(sampler, schedule, config, steps, as_diffusers=False):
    """Timesteps of a sampler's steps, without those between and without repeated ones."""
    built = samplers.build(sampler, schedule, config, steps, 0, as_diffusers=as_diffusers)
    asked = built.timesteps.tolist()
    return asked[:1] + asked[SAMPLERS[sampler].calls_per_step :: SAMPLERS[sampler].calls_per_step]


def theirs(sampler, schedule, config, steps):
    """Diffusers' own scheduler, built without anything of ours."""
    row = SAMPLERS[sampler]
    options = {**row.options, **SCHEDULES[schedule]}
    scheduler = getattr(diffusers, row.scheduler).from_config(config, **options)
    scheduler.set_timesteps(steps)
    return scheduler


def test_the_document_is_made_of_the_rows():
    assert table() in DOCUMENT.read_text("utf-8")
    for row in DIFFERENCES.values():
        assert f"def test_{row.id.replace('-', '_')}" in Path(__file__).read_text("utf-8")


@pytest.mark.parametrize("sampler", [s for s in HAVE_BETA if SAMPLERS[s].kind == "diffusion"])
@pytest.mark.parametrize("config", [SDXL, SD15, ZERO, COSINE], ids=["xl", "1.5", "zero", "cos"])
def test_beta_timesteps(sampler, config):
    ours = samplers.build(sampler, "beta", config, 10, 0)
    calls = SAMPLERS[sampler].calls_per_step
    asked = ours.timesteps.tolist()
    listed = [asked[0], *asked[2::2]] if calls == 2 else asked
    if sampler == "heun":  # asks at the end of a step, where the next one starts, twice
        listed = [asked[0], *asked[1::2]]
    assert listed == BETA
    beside = ["zero-snr"] if _needs_zero(sampler, config) else []
    beside += ["ancestral-split"] if sampler == "dpm2_a" and config in (ZERO, COSINE) else []
    assert acting(sampler, "beta", config, 10) == ("beta-timesteps", *beside)
    if not _needs_zero(sampler, config):
        # Diffusers' own: the fifth of ten steps still stands at σ over a third of the strongest.
        own = noise_levels(sampler, "beta", config, 10, as_diffusers=True)
        assert own[4] > own[0] / 3
        np.testing.assert_allclose(own, _levels(theirs(sampler, "beta", config, 10), calls))


def _needs_zero(sampler, config):
    takes = samplers.noise_process.TAKES[SAMPLERS[sampler].scheduler]
    return bool(config.get("rescale_betas_zero_snr")) and "rescale_betas_zero_snr" not in takes


def _levels(scheduler, calls):
    listed = scheduler.sigmas.tolist()
    return [listed[0], *listed[1::calls]][:10]


@pytest.mark.parametrize("steps", [1, 2, 5, 10, 100, 999, 1000])
def test_beta_timesteps_are_as_many_different_ones(steps):
    found = times("dpmpp_2m", "beta", SDXL, steps)
    assert found == sorted(set(found), reverse=True) and len(found) == steps
    assert found[0] == 999 and found[-1] >= 0


@pytest.mark.parametrize("sampler", ["ddim", "pndm"])
@pytest.mark.parametrize(
    ("config", "schedule", "steps"),
    [(SDXL, "sgm_uniform", n) for n in (3, 350, 499, 600, 999)]
    + [({**SDXL, "timestep_spacing": "linspace"}, "default", n) for n in (3, 350, 499, 600)],
)
def test_next_timestep(sampler, config, schedule, steps):
    """Far fewer than the last of 255 levels from the limit; diffusers' many of them."""
    assert "next-timestep" in acting(sampler, schedule, config, steps)
    model = ExactModel(config)
    ours, diffusers_own = (
        run(model, sampler, schedule, steps, as_diffusers=them).distance for them in (False, True)
    )
    if steps in (350, 600) or (steps == 499 and schedule == "sgm_uniform"):
        assert ours < 0.01 < diffusers_own
    elif steps > 3:
        assert ours <= diffusers_own
    built = samplers.build(sampler, schedule, config, steps, 0)
    first = float(built.timesteps[0])
    x = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    stepped = built.step(torch.zeros_like(x), built.timesteps[0], x, return_dict=False)[0]
    # Without noise to take away, x is scaled from the first timestep's √ᾱ to the next one's.
    second = float(built.timesteps[1])
    scale = (built.alphas_cumprod[int(second)] / built.alphas_cumprod[int(first)]) ** 0.5
    torch.testing.assert_close(stepped, x * scale.double(), rtol=1e-5, atol=0)


@pytest.mark.parametrize("steps", [1, 10, 20, 25, 50, 100])
def test_next_timestep_is_diffusers_own_where_that_is_the_next(steps):
    for schedule in ("default", "sgm_uniform"):
        assert "next-timestep" not in acting("ddim", schedule, SDXL, steps)
        if steps > 1 or schedule == "sgm_uniform":
            built = samplers.build("ddim", schedule, SDXL, steps, 0)
            assert type(built) is diffusers.DDIMScheduler


STARTS = [
    # sampler, steps, where diffusers starts, where we start
    ("ddim", 1, 1, 999), ("ddim", 2, 501, 999), ("euler", 1, 1, 999), ("euler", 334, 667, 998),
    ("ddim", 334, 667, 998), ("ddim", 600, 600, 999), ("dpmpp_2m", 1, 501, 999),
    ("dpmpp_2m", 500, 501, 999), ("dpmpp_2m", 600, 601, 999), ("unipc", 500, 501, 999),
    ("heun", 600, 600, 999), ("dpm2", 334, 667, 998), ("lms", 600, 600, 999),
    ("euler_a", 334, 667, 998), ("ddpm", 600, 600, 999), ("pndm", 334, 667, 998),
    ("dpmpp_sde", 334, 667, 998), ("dpm2_a", 600, 600, 999), ("dpmpp_2m_sde", 500, 501, 999),
]  # fmt: skip


@pytest.mark.parametrize(("sampler", "steps", "before", "after"), STARTS)
def test_late_start(sampler, steps, before, after):
    assert times(sampler, "default", SDXL, steps, as_diffusers=True)[0] == before
    assert times(sampler, "default", SDXL, steps)[0] == after
    assert "late-start" in acting(sampler, "default", SDXL, steps)


@pytest.mark.parametrize(("sampler", "steps", "before", "after"), STARTS)
def test_late_start_touches_no_other_number_of_steps(sampler, steps, before, after):
    for usual in (3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 28, 30, 40):
        assert acting(sampler, "default", SDXL, usual) == ()
        assert times(sampler, "default", SDXL, usual) == times(
            sampler, "default", SDXL, usual, as_diffusers=True
        )


@pytest.mark.parametrize("spacing", ["leading", "linspace", "trailing"])
def test_one_step_starts_in_noise(spacing):
    for row in SAMPLERS.values():
        if row.kind == "diffusion":
            config = {**SDXL, "timestep_spacing": spacing}
            assert times(row.id, "default", config, 1)[0] == pytest.approx(999, abs=1e-3), row.id


@pytest.mark.parametrize(
    ("sampler", "config", "steps"),
    [("ddim", SDXL, 1000), ("euler", SDXL, 1000), ("dpmpp_2m", SDXL, 999),
     ("dpmpp_2m", SDXL, 1000), ("dpmpp_2m", SD15, 1000), ("dpmpp_2s", SD15, 1000),
     ("unipc", SDXL, 1000), ("unipc", SD15, 1000), ("dpmpp_2m_sde", SDXL, 1000)],
)  # fmt: skip
def test_step_count(sampler, config, steps):
    """Diffusers' list has timesteps twice, or one that the training had not."""
    assert acting(sampler, "default", config, steps)[:1] in (("step-count",), ("late-start",))
    before = theirs(sampler, "default", config, steps).timesteps.tolist()
    assert len(set(before)) < steps or max(before) > 999
    after = times(sampler, "default", config, steps)
    assert len(set(after)) == steps and max(after) <= 999 and min(after) >= 0
    model = ExactModel(config)
    latents = run(model, sampler, "default", steps).latents
    assert torch.isfinite(latents).all()


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "dpmpp_2s", "unipc"])
def test_whole_timesteps(sampler):
    assert acting(sampler, "exponential", COSINE, 1) == ("whole-timesteps",)
    model = ExactModel(COSINE)
    before = run(model, sampler, "exponential", 1, as_diffusers=True)
    after = run(model, sampler, "exponential", 1)
    assert (before.times, after.times) == ([998.0], [999.0])
    assert after.distance < 1 < before.distance


@pytest.mark.parametrize("sampler", ["euler_a", "dpm2_a"])
def test_ancestral_split(sampler):
    """What is left of σ_down in float32 is NaN here: no picture, or no list at all."""
    steps = {"euler_a": 4, "dpm2_a": 10}[sampler]
    model = ExactModel(COSINE)
    try:
        theirs = run(model, sampler, "default", steps, as_diffusers=True).latents
    except IndexError:
        pass
    else:
        assert not torch.isfinite(theirs).all()
    assert torch.isfinite(run(model, sampler, "default", steps).latents).all()
    assert acting(sampler, "default", COSINE, steps) == ("ancestral-split",)
    assert acting(sampler, "default", SDXL, 20) == ()


@pytest.mark.parametrize("schedule", ["default", "sgm_uniform"])
def test_flow_levels(schedule):
    """σ = linspace(1, 1/n, n), shifted; diffusers' last level is the training's least."""
    built = samplers.build("flow_euler", schedule, SD3, 4, 0)
    levels = np.array([1, 0.75, 0.5, 0.25])
    assert built.sigmas.tolist() == pytest.approx([*(3 * levels / (1 + 2 * levels)), 0], abs=1e-6)
    before = theirs("flow_euler", "default", SD3, 4)
    assert 0 < before.sigmas[-2] < 0.01
    own = samplers.build("flow_euler", "default", SD3, 4, 0, as_diffusers=True)
    assert torch.equal(own.sigmas, before.sigmas)


@pytest.mark.parametrize("schedule", ["default", "karras", "exponential"])
def test_flow_levels_come_nearer(schedule):
    assert acting("flow_euler", schedule, SD3, 4) == ("flow-levels",)
    model = ExactModel(SD3)
    for steps in (2, 3, 4, 5, 8, 10):
        old = run(model, "flow_euler", schedule, steps, as_diffusers=True).distance
        assert run(model, "flow_euler", schedule, steps).distance < old
    assert acting("flow_euler", schedule, SD3, 1) == acting("flow_heun", "default", SD3, 4) == ()


def test_flow_levels_that_the_family_gives_are_diffusers_own():
    spacing = {"mu": 0.8, "sigmas": [1 - i / 5 for i in range(5)]}
    for schedule in ("default", "karras", "exponential"):
        assert acting("flow_euler", schedule, CONFIGS["flux"], 5, spacing) == ()


ZEROED = ["lms", "heun", "dpm2", "dpm2_a", "dpmpp_2s", "dpmpp_sde"]


@pytest.mark.parametrize("sampler", ZEROED)
def test_zero_snr(sampler):
    assert "zero-snr" in acting(sampler, "default", ZERO, 10)
    before = samplers.build(sampler, "default", ZERO, 10, 0, as_diffusers=True)
    after = samplers.build(sampler, "default", ZERO, 10, 0)
    assert float(before.alphas_cumprod[-1]) == pytest.approx(0.0047, abs=1e-4)
    # As Euler, which takes the option, has it.
    euler = diffusers.EulerDiscreteScheduler.from_config(ZERO)
    # The last of all, 2⁻²⁴, is a difference of numbers near 1, of which float32 has 24 bits.
    torch.testing.assert_close(
        after.alphas_cumprod[:-1], euler.alphas_cumprod[:-1], atol=1e-7, rtol=1e-3
    )
    assert 0 < float(after.alphas_cumprod[-1]) < 1e-6


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_unclipped(sampler):
    """Diffusers clips latents where the model's own scheduler knows no clipping."""
    config = {k: v for k, v in SDXL.items() if k != "clip_sample"}
    assert samplers.build(sampler, "default", config, 10, 0, as_diffusers=True).config[
        "clip_sample"
    ]
    assert not samplers.build(sampler, "default", config, 10, 0).config["clip_sample"]
    assert "unclipped" in acting(sampler, "default", config, 10)
    own = {**config, "_class_name": "DDIMScheduler", "clip_sample": True}
    assert samplers.build(sampler, "default", own, 10, 0).config["clip_sample"], "asked for"


def test_addresses_change_only_where_pictures_do():
    for row in SAMPLERS.values():
        config = SD3 if row.kind == "flow" else SDXL
        marked = version_mark(row.id, "default", config, 20)
        assert bool(marked) == (row.id == "flow_euler"), row.id
    assert version_mark("euler", "default", SDXL, 334).startswith(" source 1: late-start")
    assert version_mark("dpmpp_2m", "beta", SDXL, 20) != version_mark(
        "dpmpp_2m", "karras", SDXL, 20
    )
