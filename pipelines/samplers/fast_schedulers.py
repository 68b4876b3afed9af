"""Fast scheduler construction: builds diffusers' schedulers without work that is thrown away.

They are the same objects to the bit, in a millisecond or two.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipelines.samplers.course import PLAIN, Course
from pipelines.samplers.scheduler import Scheduler
from pipelines.samplers.source_levels import set_source_timesteps, zero_snr_betas


def build_fast(
    scheduler: str,
    config: Mapping[str, Any],
    options: Mapping[str, Any],
    steps: int,
    spacing: Mapping[str, Any],
    course: Course = PLAIN,
) -> Scheduler:
    """Build a scheduler of this diffusers class, with its timesteps set.

    Args:
        config: the checkpoint's own; `options` go before it.
        spacing: what `set_timesteps` is told beside the steps.
        course: where it is to depart from diffusers.
    Raises: ValueError, IndexError, ZeroDivisionError: if it cannot do so many steps.
    """
    # Here, since it opens a socket; and so, since `import` in a second thread would hand out the
    # module as it was before diffusers put a lazy one in its place.
    diffusers = import_module("diffusers")
    kind = getattr(diffusers, scheduler)
    instead = {
        "set_timesteps": _skip_constructor_timesteps,
        "_sigma_to_t": _time_of_level,
        "_get_init_keys": staticmethod(lambda cls: set(_arguments(cls.__init__))),
    }
    quick: Any = type(scheduler, (kind,), instead)
    # Overrides go in as keywords: from_config drops those it finds inside the dict when the
    # dict also lists them under `_use_default_values`.
    told = dict(options)
    if course.zero_snr:
        told["trained_betas"] = zero_snr_betas(config)
    if course.unclipped:
        told["clip_sample"] = False
    made: Any = quick.from_config(dict(config), **told)
    made.__class__ = set_source_timesteps(made, kind, steps, spacing, course)
    if hasattr(made, "set_begin_index"):
        # Without it the scheduler searches its position by value, which fails when two
        # neighbouring timesteps round to the same one.
        made.set_begin_index(0)
    ready: Scheduler = made
    return ready


@cache
def _arguments(init: Any) -> frozenset[str]:
    """Names of a constructor's arguments, which diffusers looks up for every compatible class."""
    return frozenset(signature(init).parameters)


def _skip_constructor_timesteps(made: Any, *_: Any) -> None:
    """Instead of `set_timesteps`, as constructors call it: some ask for all timesteps of the
    training, one by one (KDPM2: 0.1 s), which are then set anew."""
    super(type(made), made).set_timesteps(2)


def _time_of_level(made: Any, sigma: Any, *levels: Any) -> Any:
    """The timestep of a noise level, as KDPM2 asks for it: a level in a tensor at a time, which
    diffusers takes through numpy and back at every operation.

    Math: linear in log σ between the two timesteps around it.
    """
    if len(levels) != 1 or len(np.shape(sigma)):
        return super(type(made), made)._sigma_to_t(sigma, *levels)
    (log_sigmas,) = levels
    if isinstance(sigma, Tensor):
        if log_sigmas.dtype != torch.float32 or sigma.dtype != torch.float32:
            return super(type(made), made)._sigma_to_t(sigma, log_sigmas)
        below, share = _between(sigma.numpy(), log_sigmas.numpy())
        return torch.tensor((1 - share) * below + share * (below + 1), dtype=torch.float32)
    below, share = _between(sigma, log_sigmas)
    whole = np.int64(below)  # as diffusers counts in numpy, which makes the result a float64
    return (1 - share) * whole + share * (whole + 1)


def _between(sigma: Any, log_sigmas: Any) -> tuple[int, Any]:
    """The timestep below a noise level, and the level's share of the way to the next one."""
    # numpy's logarithm, which differs from torch's in the last bit; the rest does not.
    level = np.log(np.maximum(sigma, 1e-10))
    found = int(np.searchsorted(log_sigmas, level, side="right")) - 1
    below = min(max(found, 0), len(log_sigmas) - 2)
    low, high = log_sigmas[below], log_sigmas[below + 1]
    # Not np.clip, which takes several times as long for one number.
    return below, np.minimum(np.maximum((low - level) / (low - high), 0), 1)
