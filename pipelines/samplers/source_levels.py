"""Source levels: sets a diffusers scheduler's timesteps as the method's source has them.

Diffusers' own `set_timesteps` lays them out wherever it can be told which ones; only where they
start from is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from functools import cache, partial, wraps
from typing import Any

import numpy as np
import torch

from pipelines.samplers.course import Course
from pipelines.samplers.noise_table import LEAST_ALPHA

_FLAGS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")


def set_source_timesteps(
    made: Any, kind: Any, steps: int, spacing: Mapping[str, Any], course: Course
) -> Any:
    """Set the timesteps of a scheduler that departs from diffusers; the class it is to have.

    Args:
        made: of a subclass of `kind`, diffusers' class.
        spacing: what `set_timesteps` is told beside the steps.
    """
    with _asked(made, _time_of_number if course.split else None):
        _set_timesteps(made, kind, steps, spacing, course)
    if course.split:
        _split(made)
    return stepping_to_next(kind) if course.to_next else kind


def _set_timesteps(
    made: Any, kind: Any, steps: int, spacing: Mapping[str, Any], course: Course
) -> None:
    if course.flow_levels:
        # So every evaluation counts; the scheduler shifts and spaces them.
        levels = [1 - i / steps for i in range(steps)]
        kind.set_timesteps(made, steps, **{**spacing, "sigmas": levels})
    elif course.rounded:
        with _asked(made, lambda to_time, *given: to_time(*given).round()):
            kind.set_timesteps(made, steps, **spacing)
    elif course.times is None:
        kind.set_timesteps(made, steps, **spacing)
    elif hasattr(kind, "_convert_to_exponential"):
        _set_levels(made, kind, steps, course)
    else:
        kind.set_timesteps(made, steps)
        _set_times(made, course)


@contextmanager
def _asked(made: Any, answer: Callable[..., Any] | None) -> Iterator[None]:
    """Let a scheduler ask for the timestep of a level by a function, of its own and the level."""
    if answer is None:
        yield
        return
    kept = vars(made).get("_sigma_to_t")
    # An instance's own functions go before those of its class.
    made._sigma_to_t = partial(answer, made._sigma_to_t)
    try:
        yield
    finally:
        del made._sigma_to_t
        if kept is not None:
            made._sigma_to_t = kept


def _time_of_number(to_time: Callable[..., Any], sigma: Any, *more: Any) -> Any:
    """Ask for the timestep of 0 in place of NaN's; `_split` sets those anew."""
    return to_time(sigma if np.isfinite(sigma).all() else np.nan_to_num(sigma), *more)


def zero_snr_betas(config: Mapping[str, Any]) -> list[float]:
    """Rescale a config's betas so that nothing is left of the picture at the last timestep.

    Math: √ᾱ is shifted and scaled to end at 0; the last ᾱ is then `LEAST_ALPHA`.
    Source: Lin et al. 2023, arXiv:2305.08891, Alg. 1.
    """
    from diffusers import DDIMScheduler
    from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

    plain: Any = DDIMScheduler.from_config({**config, "rescale_betas_zero_snr": False})
    betas = rescale_zero_terminal_snr(plain.betas)
    before = torch.cumprod(1.0 - betas, dim=0)[-2]
    betas[-1] = 1.0 - LEAST_ALPHA / before
    return [float(beta) for beta in betas]


def _set_levels(made: Any, kind: Any, steps: int, course: Course) -> None:
    """Let diffusers lay out levels that we list, by way of its branch for exponential ones."""
    flags = {name: bool(made.config[name]) for name in _FLAGS}
    levels = _levels_at(made, course)
    if not course.beta and flags["use_karras_sigmas"]:
        levels = np.linspace(levels[0] ** (1 / _RHO), levels[-1] ** (1 / _RHO), steps) ** _RHO
    elif not course.beta and flags["use_exponential_sigmas"]:
        levels = np.geomspace(levels[0], levels[-1], steps)
    made._convert_to_exponential = lambda *_, **__: levels
    made.register_to_config(**{name: name == "use_exponential_sigmas" for name in _FLAGS})
    try:
        with _asked(made, lambda to_time, *given: _whole(to_time(*given))):
            kind.set_timesteps(made, steps)
    finally:
        del made._convert_to_exponential
        made.register_to_config(**flags)


def _split(made: Any) -> None:
    """Set what an ancestral sampler goes down to, where diffusers' difference is mere rounding.

    Math: σ_up² = σ_to² (σ_from² − σ_to²) / σ_from², so σ_down² = σ_to² − σ_up² = σ_to⁴ / σ_from².
    """
    if not hasattr(made, "sigmas_interpol"):
        made.sigmas = made.sigmas.double()  # the difference is taken of these, at each step
        return
    if len(made.timesteps) == 1:
        return
    levels = torch.cat([made.sigmas[:1], made.sigmas[1:-1:2]]).double()
    after = torch.cat([levels[1:], levels.new_zeros(1)])
    down = after**2 / levels  # 0 at the end
    between = (levels * down).sqrt()
    between[-2:] = 0.0
    made.sigmas_down, made.sigmas_interpol = (
        torch.cat([one[:1], one[1:].repeat_interleave(2), one[-1:]]).float()
        for one in (down, between)
    )
    times = [float(made._sigma_to_t(one, made.log_sigmas)) for one in between[:-2].float()]
    made.timesteps[1::2] = torch.tensor(times, dtype=made.timesteps.dtype)


_RHO = 7.0
"""Source: Karras et al. 2022, arXiv:2206.00364, Eq. 5."""


def _levels_at(made: Any, course: Course) -> Any:
    """σ at the timesteps of a course, float64."""
    alphas = made.alphas_cumprod
    table = np.array(((1 - alphas) / alphas) ** 0.5)
    return np.interp(np.array(course.times), np.arange(len(table)), table)


def _whole(time: Any) -> Any:
    """A timestep that was found from its level, rid of the rounding on the way."""
    near = time.round()
    return near if abs(time - near) < 1e-3 else time


def _set_times(made: Any, course: Course) -> None:
    """Set the timesteps of schedulers that have no levels to convert."""
    times = np.array(course.times)
    if hasattr(made, "sigmas"):
        levels = np.append(_levels_at(made, course), 0.0)
        made.sigmas = torch.from_numpy(levels.astype(np.float32))
        made.timesteps = torch.from_numpy(times.astype(np.float32))
        return
    if hasattr(made, "plms_timesteps"):
        # The second evaluation stands where the first step ends, and is taken twice.
        times = np.concatenate([times[:1], times[1:2], times[1:]])
        made.plms_timesteps = times.astype(np.int64)
    made.timesteps = torch.from_numpy(times.astype(np.int64))


@cache
def stepping_to_next(kind: Any) -> Any:
    """Make a class of DDIM's or PNDM's scheduler that steps to the next timestep in its list.

    Diffusers' step to t − T // n. With T over the distance in place of n that is the next one.
    """

    @wraps(kind.step)
    def step(made: Any, model_output: Any, timestep: Any, *given: Any, **options: Any) -> Any:
        steps, total = made.num_inference_steps, made.config["num_train_timesteps"]
        times = list(dict.fromkeys(made.timesteps.tolist()))
        times.append(-1)  # after the last there is nothing but the picture
        # PNDM counts its evaluations, and takes the first step twice, from where it ends.
        at = max(made.counter - 1, 0) if hasattr(made, "counter") else times.index(int(timestep))
        made.num_inference_steps = Fraction(total, times[at] - times[at + 1])
        try:
            return kind.step(made, model_output, timestep, *given, **options)
        finally:
            made.num_inference_steps = steps

    return type(f"{kind.__name__}ToNext", (kind,), {"step": step})
