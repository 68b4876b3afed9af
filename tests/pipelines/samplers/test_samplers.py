"""The registry against diffusers, and every sampler against exact solutions."""

from __future__ import annotations

import inspect

import diffusers
import numpy as np
import pytest
import torch

from pipelines import samplers
from pipelines.errors import InvalidRequest, UnknownName
from pipelines.samplers import SAMPLERS, SCHEDULES
from pipelines.samplers.differences import acting
from tests.helpers.analytic import BETAS, FLOW, Gaussian, walk

diffusers.logging.set_verbosity_error()

DATA = Gaussian()
EVERY = [(row.id, schedule) for row in SAMPLERS.values() for schedule in row.schedules]
THEIRS = [pair for pair in EVERY if pair != ("flow_euler", "sgm_uniform")]
"""Those that diffusers has too."""

FIVE = (20, 25, 40, 50, 100)
GRIDS = {
    # Which schedule and step counts show the order. Schedulers that round timesteps to whole
    # numbers stop converging near that rounding, so they are measured above it; those that
    # space timesteps evenly need step counts that divide 1000.
    "ddim": ("default", FIVE, {}),
    "pndm": ("default", (100, 125, 200, 250, 500), {}),
    "lms": ("beta", FIVE, {}),
    "euler": ("karras", FIVE, {}),
    "heun": ("karras", FIVE, {}),
    "dpm2": ("karras", FIVE, {}),
    "dpmpp_2m": ("karras", FIVE, {}),
    "dpmpp_2s": ("karras", (20, 30, 40, 60, 80), {}),
    "unipc": ("karras", FIVE, {}),
    "tcd": ("default", (50, 100, 125, 200, 250), {"original_inference_steps": 1000}),
    "flow_euler": ("default", FIVE, {}),
    "flow_heun": ("default", FIVE, {}),
}


def network(sampler: str):
    return DATA.velocity if SAMPLERS[sampler].kind == "flow" else DATA.epsilon


def destination(sampler: str):
    return DATA.flow_clean if SAMPLERS[sampler].kind == "flow" else DATA.clean


def test_every_deterministic_sampler_has_its_order_measured():
    assert set(GRIDS) == {row.id for row in SAMPLERS.values() if not row.stochastic}


@pytest.mark.parametrize("sampler", GRIDS)
def test_order_of_convergence(sampler):
    """log-error falls with log-steps at the rate the registry states.

    The error is taken before the last step, which leaves the smallest noise level for zero and
    has an error of its own that does not depend on the number of steps. Levels are diffusers',
    some of which are smoother than whole timesteps: they are no part of a solver's order.
    """
    schedule, grid, extra = GRIDS[sampler]
    clean = destination(sampler)
    errors = []
    for steps in grid:
        config = {**BETAS, **extra} if extra else None
        evals, _ = walk(
            sampler, steps, network(sampler), schedule=schedule, config=config, as_diffusers=True
        )
        exact, reached = (clean(e.x, e.t) for e in (evals[0], evals[-1]))
        errors.append(float((reached - exact).abs().max()))
    slope = -np.polyfit(np.log(grid), np.log(errors), 1)[0]
    assert abs(slope - SAMPLERS[sampler].order) < 0.3, f"slope {slope:.2f}, errors {errors}"


@pytest.mark.parametrize(
    ("sampler", "schedule"), [pair for pair in EVERY if not SAMPLERS[pair[0]].stochastic]
)
def test_deterministic_samplers_reach_the_exact_solution(sampler, schedule):
    """At 50 steps within what the order promises, under every schedule the registry offers."""
    evals, latents = walk(sampler, 50, network(sampler), schedule=schedule)
    error = float((latents - destination(sampler)(evals[0].x, evals[0].t)).abs().max())
    # beta spends few steps where this data changes most, hence the wider bound for first order.
    assert error < (0.14 if SAMPLERS[sampler].order == 1 else 0.08), error


@pytest.mark.parametrize(
    ("sampler", "schedule"), [pair for pair in EVERY if SAMPLERS[pair[0]].stochastic]
)
def test_stochastic_samplers_draw_from_the_data(sampler, schedule):
    """Mean and spread of 65,536 independent pixels are the data's."""
    if sampler == "lcm":
        # A consistency model predicts the ODE's end, not the mean; with the exact one every
        # step count gives the exact distribution.
        def ask(x, t):
            sigma = torch.exp(torch.as_tensor(_log_sigma(t)))
            alpha = 1 / (1 + sigma**2).sqrt()
            return (x - alpha * DATA.clean(x, t)) / (alpha * sigma)

        steps = 4
    else:
        ask, steps = DATA.epsilon, 100
    _, latents = walk(sampler, steps, ask, schedule=schedule, size=256)
    assert abs(float(latents.mean()) - DATA.mean) < 0.02
    assert abs(float(latents.std()) / DATA.std - 1) < 0.05


def _log_sigma(t):
    from tests.helpers.analytic import log_sigma

    return log_sigma(t)


@pytest.mark.parametrize(("sampler", "schedule"), EVERY)
@pytest.mark.parametrize("steps", [1, 2, 3, 10, 25])
def test_evaluations_are_as_stated(sampler, schedule, steps):
    evals, latents = walk(sampler, steps, network(sampler), schedule=schedule, size=2)
    assert len(evals) == SAMPLERS[sampler].evaluations(steps) == evals[0].total
    assert [e.index for e in evals] == list(range(len(evals)))
    assert torch.isfinite(latents).all()


def flags_of(row, schedule):
    """Flow matching's schedulers have no spacing: their levels are told to `set_timesteps`."""
    return {} if row.kind == "flow" and schedule == "sgm_uniform" else SCHEDULES[schedule]


@pytest.mark.parametrize("row", SAMPLERS.values(), ids=list(SAMPLERS))
def test_options_and_schedules_are_what_the_scheduler_takes(row):
    """A flag the scheduler does not know would be ignored silently."""
    accepted = inspect.signature(getattr(diffusers, row.scheduler).__init__).parameters
    flags = [flag for schedule in row.schedules for flag in flags_of(row, schedule)]
    for option in [*row.options, *flags, *([row.seed_option] if row.seed_option else [])]:
        assert option in accepted


@pytest.mark.parametrize(("sampler", "schedule"), EVERY)
def test_options_reach_the_scheduler(sampler, schedule):
    row = SAMPLERS[sampler]
    base = FLOW if row.kind == "flow" else BETAS
    scheduler = samplers.build(sampler, schedule, base, 10, seed=7)
    for name, value in {**row.options, **flags_of(row, schedule)}.items():
        assert scheduler.config[name] == value
    if row.seed_option:
        assert scheduler.config[row.seed_option] == 7


@pytest.mark.parametrize(("sampler", "schedule"), THEIRS)
def test_schedulers_are_diffusers_own_to_the_bit(sampler, schedule):
    """Built the short way, they hold what diffusers' constructor and `set_timesteps` leave.

    So do ours where nothing departs from diffusers, which 25 and 20 steps of most do not.
    """
    row = SAMPLERS[sampler]
    base = FLOW if row.kind == "flow" else BETAS
    options = {**row.options, **flags_of(row, schedule)}
    if row.seed_option:
        options[row.seed_option] = 5
    plain = getattr(diffusers, row.scheduler).from_config(base, **options)
    for steps in (1, 7, 25):
        plain.set_timesteps(steps)
        if hasattr(plain, "set_begin_index"):
            plain.set_begin_index(0)
        built = samplers.build(sampler, schedule, base, steps, seed=5, as_diffusers=True)
        assert type(built) is type(plain) and vars(built).keys() == vars(plain).keys()
        for name, value in vars(plain).items():
            assert _equal(vars(built)[name], value), (name, steps)
        if not acting(sampler, schedule, base, steps):
            ours = samplers.build(sampler, schedule, base, steps, seed=5)
            assert type(ours) is type(plain)
            assert all(_equal(vars(ours)[name], value) for name, value in vars(plain).items())


def _equal(one, other):
    if isinstance(one, torch.Tensor):
        same = one.dtype == other.dtype and one.shape == other.shape
        return same and torch.equal(one.nan_to_num(), other.nan_to_num())
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(one, dict):  # which of its settings were given is said in no fixed order
        one, other = ({k: v for k, v in d.items() if k[0] != "_"} for d in (one, other))
    return type(one) is type(other) and one == other


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("DPM++ 2M Karras", ("dpmpp_2m", "karras")),
        ("dpm++ 2m", ("dpmpp_2m", None)),
        ("Euler a", ("euler_a", None)),
        ("PLMS", ("pndm", None)),
        ("DPM++ 2M SDE exponential", ("dpmpp_2m_sde", "exponential")),
        ("euler sgm_uniform", ("euler", "sgm_uniform")),
        *((row.label, (row.id, None)) for row in SAMPLERS.values()),
        *((row.id, (row.id, None)) for row in SAMPLERS.values()),
    ],
)
def test_names_people_use(said, meant):
    assert samplers.parse(said) == meant


def test_unknown_names_suggest_the_closest():
    with pytest.raises(UnknownName, match="unknown sampler 'eulr'; did you mean 'euler'"):
        samplers.parse("eulr")
    with pytest.raises(UnknownName, match="did you mean 'karras'"):
        samplers.parse_schedule("karas")


def test_a_schedule_the_sampler_lacks_is_refused():
    with pytest.raises(InvalidRequest, match="'ddim' has no schedule 'karras'; it has default"):
        samplers.build("ddim", "karras", BETAS, 10, seed=0)


def test_step_limits_of_schedulers_are_bad_input():
    with pytest.raises(InvalidRequest, match="'lcm' cannot do 51 steps"):
        samplers.build("lcm", "default", BETAS, 51, seed=0)
