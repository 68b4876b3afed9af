"""Noise table: the signal-to-noise ratio of every timestep that a network was trained at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

LEAST_ALPHA = 2.0**-24
"""ᾱ where there is nothing but noise, as diffusers' σ-schedulers have it, so that σ is finite."""


def log_snr(config: Mapping[str, Any]) -> Tensor:
    """Look up log(ᾱ/(1 − ᾱ)) of every training timestep, (T,) float64.

    Args:
        config: the checkpoint's own scheduler config.
    """
    return _log_snr(json.dumps(dict(config), sort_keys=True))


@lru_cache(maxsize=8)
def _log_snr(config: str) -> Tensor:
    from diffusers import DDIMScheduler

    # It knows every way to say betas, zero terminal SNR included.
    made: Any = DDIMScheduler.from_config(json.loads(config))
    alphas = torch.cumprod(1.0 - made.betas.double(), 0).clamp(min=LEAST_ALPHA)
    return torch.log(alphas / (1.0 - alphas))
