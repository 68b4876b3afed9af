"""Guidance against theory, diffusers' own rescale, and its own window."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import rescale_noise_cfg
from hypothesis import given
from hypothesis import strategies as st

from pipelines.denoising.guided_trajectory import GuidedTrajectory
from pipelines.denoising.guiders.base import row_count
from pipelines.denoising.guiders.classifier_free import ClassifierFree
from pipelines.denoising.trajectory import initial_noise, trajectory
from pipelines.samplers import build
from tests.helpers.analytic import BETAS, log_sigma
from tests.helpers.guiders import combine

MEANS = (-1.0, 1.0)
SPREAD = 0.15
TEXTS = {"prompt": "c", "negative": "u"}


def mixture_epsilon(x, t, weight):
    """E[ε | x] for data that is near −1 or, with probability `weight`, near 1."""
    sigma = log_sigma(t).exp()
    z = x.double() * (1 + sigma**2).sqrt()
    variance = SPREAD**2 + sigma**2
    logits = torch.stack(
        [
            math.log(share) - (z - mean) ** 2 / (2 * variance)
            for share, mean in zip((1 - weight, weight), MEANS, strict=True)
        ]
    )
    duty = logits.softmax(0)
    clean = sum(
        part * (mean + SPREAD**2 / variance * (z - mean))
        for part, mean in zip(duty, MEANS, strict=True)
    )
    return ((z - clean) / sigma).to(x.dtype)


def share_of_right(scale, prior=0.3, conditional=0.75):
    """Share of pixels that end near 1 when guided from `prior` towards `conditional`."""
    scheduler = build("heun", "karras", BETAS, 40, seed=0)
    noise, generator = initial_noise((1, 128, 128), 5)
    walk = GuidedTrajectory(
        trajectory(scheduler, noise.double(), generator),
        ClassifierFree(scale),
        {"prompt": conditional, "negative": prior},
    )
    rows = walk.start()
    while rows:
        rows = walk.advance([mixture_epsilon(row.x, row.t, row.condition) for row in rows])
    return float((walk.result > 0).double().mean())


def test_guidance_moves_mixture_weights_as_theory_says():
    """Scale 0 gives the prior's weights, 1 the prompt's, more gives more; 16,384 samples."""
    error = 4 * math.sqrt(0.25 / 128**2)
    assert abs(share_of_right(0.0) - 0.3) < error
    assert abs(share_of_right(1.0) - 0.75) < error
    rising = [share_of_right(scale) for scale in (0.0, 0.5, 1.0, 2.0, 4.0)]
    assert rising == sorted(rising)
    assert rising[3] > 0.75 + 4 * error


def test_combine_is_the_textbook_formula():
    cond, uncond = torch.randn(2, 1, 4, 8, 8, dtype=torch.float64).unbind(0)
    assert torch.equal(combine(cond, uncond, 0.0, 0.0), uncond)
    assert torch.allclose(combine(cond, uncond, 1.0, 0.0), cond, atol=1e-14)
    assert torch.allclose(combine(cond, uncond, 3.0, 0.0), 3 * cond - 2 * uncond, atol=1e-14)


@given(rescale=st.floats(0.01, 1.0), scale=st.floats(1.1, 20.0), seed=st.integers(0, 99))
def test_rescale_is_diffusers_rescale(rescale, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    cond, uncond = torch.randn(2, 1, 4, 8, 8, generator=generator).unbind(0)
    guided = uncond + scale * (cond - uncond)
    theirs = rescale_noise_cfg(guided, cond, guidance_rescale=rescale)
    assert float((combine(cond, uncond, scale, rescale) - theirs).abs().max()) < 1e-6


@given(
    total=st.integers(1, 60), start=st.floats(0, 1), stop=st.floats(0, 1), scale=st.floats(0, 20)
)
def test_window_and_rows_agree(total, start, stop, scale):
    guidance = ClassifierFree(scale, start, stop)
    scales = [guidance.scale_at(i, total) for i in range(total)]
    inside = [i for i in range(total) if i / total >= start and (i + 1) / total <= stop]
    assert [i for i, s in enumerate(scales) if s == scale] == (
        inside if scale != 1.0 else list(range(total))
    )
    double = len(inside) if scale not in (0.0, 1.0) else 0
    assert row_count(guidance, total) == total + double


@pytest.mark.parametrize(
    ("scale", "conditions"), [(1.0, ["c"]), (0.0, ["u"]), (5.0, ["c", "u"]), (0.5, ["c", "u"])]
)
def test_no_row_is_asked_for_in_vain(scale, conditions):
    scheduler = build("ddim", "default", BETAS, 3, seed=0)
    noise, generator = initial_noise((1, 2, 2), 0)
    walk = GuidedTrajectory(trajectory(scheduler, noise, generator), ClassifierFree(scale), TEXTS)
    assert [row.condition for row in walk.start()] == conditions


def test_outside_the_window_only_the_prompt_is_asked():
    scheduler = build("ddim", "default", BETAS, 4, seed=0)
    noise, generator = initial_noise((1, 2, 2), 0)
    guidance = ClassifierFree(5.0, 0.25, 0.75)
    walk = GuidedTrajectory(trajectory(scheduler, noise, generator), guidance, TEXTS)
    asked, rows = [], walk.start()
    while rows:
        asked.append(len(rows))
        rows = walk.advance([torch.zeros_like(row.x) for row in rows])
    assert asked == [1, 2, 2, 1]
