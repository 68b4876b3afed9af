"""Orders, tolerances and noise levels, against curves and schedules that are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines import Axis, Request, Sheet
from pipelines.analysis.convergence import fit_order, is_comparison, needed, reference
from pipelines.request.axis_grammar import parse_axis
from pipelines.samplers import SAMPLERS, build
from pipelines.samplers.noise_levels import noise_levels

CONFIG = json.loads(
    (Path(__file__).parents[3] / "models/emoji/scheduler/scheduler_config.json").read_text()
)


@pytest.mark.parametrize("order", [1.0, 2.0, 3.0])
def test_the_order_of_a_power_is_its_exponent(order: float) -> None:
    counts = (2, 4, 8, 16)
    assert fit_order(counts, [900 * n**-order for n in counts]) == pytest.approx(order)


def test_no_order_where_there_is_none() -> None:
    assert fit_order((2, 4), (8.0, 4.0)) is None, "two points lie on every line"
    assert fit_order((2, 4, 8, 16), (9.0, 9.5, 9.0, 9.4)) is None, "it does not fall"
    assert fit_order((2, 4, 8, 16), (40.0, 9.0, 30.0, 8.0)) is None, "no line"
    assert fit_order((2, 4, 8), (8.0, 4.0, 0.9)) is None, "rounding hides the third"
    curve = (64.0, 32.0, 16.0, 0.8, 0.8)
    assert fit_order((1, 2, 4, 80, 160), curve) == pytest.approx(1.0), "the floor is left out"


def test_what_is_needed_lies_between_two_points() -> None:
    counts, distances = (4, 8, 16), (32.0, 16.0, 8.0)
    assert needed(counts, distances, 16.0) == pytest.approx(8)
    assert needed(counts, distances, 32 / 2**1.5) == pytest.approx(4 * 2**1.5)
    assert needed(counts, distances, 40.0) == 4
    assert needed(counts, distances, 7.0) is None
    assert needed((2, 4, 8, 16), (20.0, 5.0, 20.0, 5.0), 10.0) == pytest.approx(8 * 2**0.5), (
        "coming within it once is not enough"
    )


def test_only_samplers_against_budgets_are_a_comparison() -> None:
    def sheet(*axes: str) -> Sheet:
        return Sheet(axes=tuple(parse_axis(axis) for axis in axes))

    assert is_comparison(sheet("sampler=ddim,euler", "steps=5,10"))
    assert is_comparison(sheet("sampler=ddim,euler & schedule=default,karras", "evaluations=5,9"))
    assert not is_comparison(sheet("steps=5,10", "sampler=ddim,euler"))
    assert not is_comparison(sheet("sampler=ddim,euler & seed=1,2", "steps=5,10"))
    assert not is_comparison(sheet("schedule=default,karras", "steps=5,10"))
    assert not is_comparison(Sheet(axes=(Axis(field="seed", values=(1, 2)),)))


def test_the_reference_keeps_everything_but_the_sampling() -> None:
    request = Request(prompt="a pear", sampler="euler", schedule="karras", steps=5, seed=9)
    wanted = reference(request)
    assert (wanted.sampler, wanted.schedule, wanted.steps) == ("dpmpp_2m", "karras", 250)
    assert wanted.replace(sampler="euler", schedule="karras", steps=5) == request
    assert reference(Request(sampler="flow_heun")).sampler == "flow_euler"


@pytest.mark.parametrize(
    ("sampler", "schedule"),
    [(row.id, schedule) for row in SAMPLERS.values() for schedule in row.schedules],
)
def test_one_noise_level_a_step_and_they_fall(sampler: str, schedule: str) -> None:
    levels = noise_levels(sampler, schedule, CONFIG, 12)
    assert len(levels) == 12
    assert list(levels) == sorted(levels, reverse=True) and levels[-1] > 0


@pytest.mark.parametrize("sampler", ["ddim", "pndm", "euler", "heun", "dpm2", "dpmpp_sde"])
def test_equal_timesteps_mean_equal_noise(sampler: str) -> None:
    alphas = build("ddim", "default", CONFIG, 8, 0).alphas_cumprod
    times = build("ddim", "default", CONFIG, 8, 0).timesteps
    wanted = [float(((1 - alphas[t]) / alphas[t]) ** 0.5) for t in times]
    assert noise_levels(sampler, "default", CONFIG, 8) == pytest.approx(wanted, rel=1e-3)
