"""Few steps end where the method itself ends: each is worked out again from its source, in float64.

`METHOD` in `test_edges.py` lists where a method overshoots. That it is the method, not its code,
is shown here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor

from pipelines import samplers
from pipelines.denoising.trajectory import initial_noise
from tests.helpers.exact_denoisers import CONFIGS, ExactModel, run

Denoise = Callable[[Tensor, float], Tensor]
"""The clean pixels for x = clean + σ · noise, and σ."""
Levels = list[float]
Draw = Callable[[], Tensor]


def told(model: ExactModel, times: Iterable[float]) -> Denoise:
    """Ask the network at these timesteps, one after another, whatever its own level is there."""
    left = iter(times)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        scale = math.sqrt(sigma**2 + 1)
        output = model(x / scale, torch.tensor(next(left)))
        if model.config.get("prediction_type") == "v_prediction":
            return x / scale**2 - sigma / scale * output
        return x - sigma * output

    return denoise


def heun(x: Tensor, levels: Levels, denoise: Denoise, draw: Draw) -> Tensor:
    """Karras et al. 2022, arXiv:2206.00364, Alg. 1."""
    for high, low in itertools.pairwise(levels):
        slope = (x - denoise(x, high)) / high
        ahead = x + (low - high) * slope
        if low:
            slope = (slope + (ahead - denoise(ahead, low)) / low) / 2
        x = x + (low - high) * slope
    return x


def midpoint(x: Tensor, high: float, low: float, denoise: Denoise) -> Tensor:
    """DPM-Solver-2 with r = 1/2: Lu et al. 2022, arXiv:2206.00927, Alg. 1, in σ."""
    middle = math.sqrt(high * low)
    ahead = x + (middle - high) * (x - denoise(x, high)) / high
    return x + (low - high) * (ahead - denoise(ahead, middle)) / middle


def dpm2(x: Tensor, levels: Levels, denoise: Denoise, draw: Draw) -> Tensor:
    for high, low in itertools.pairwise(levels):
        x = midpoint(x, high, low, denoise) if low else denoise(x, high)
    return x


def dpm2_a(x: Tensor, levels: Levels, denoise: Denoise, draw: Draw) -> Tensor:
    """k-diffusion's get_ancestral_step with η = 1, around the midpoint."""
    for high, low in itertools.pairwise(levels):
        if not low:
            return denoise(x, high)
        x = midpoint(x, high, low**2 / high, denoise) + draw() * low * math.sqrt(
            1 - (low / high) ** 2
        )
    return x


def euler_a(x: Tensor, levels: Levels, denoise: Denoise, draw: Draw) -> Tensor:
    for high, low in itertools.pairwise(levels):
        down = low**2 / high
        x = x + (down - high) * (x - denoise(x, high)) / high
        x = x + draw() * low * math.sqrt(max(0.0, 1 - (low / high) ** 2))
    return x


def dpmpp_2m(x: Tensor, levels: Levels, denoise: Denoise, draw: Draw) -> Tensor:
    """Lu et al. 2022, arXiv:2211.01095, Alg. 2; the last step is of first order."""
    before: tuple[float, Tensor] | None = None
    for high, low in itertools.pairwise(levels):
        clean = denoise(x, high)
        if not low:
            return clean
        step = math.log(high / low)
        ahead = clean
        if before is not None:
            ratio = before[0] / step
            ahead = clean + (clean - before[1]) / (2 * ratio)
        before = (step, clean)
        x = low / high * x + (1 - low / high) * ahead
    return x


def unipc(x: Tensor, levels: Levels, denoise: Denoise, draw: Draw) -> Tensor:
    """Zhao et al. 2023, arXiv:2302.04867, Alg. 1 and 2, order 2, B(h) = e^h − 1, data prediction.

    Corrected at every level that a predictor of any order led to; the last step is of first order.
    """
    cleans: list[Tensor] = []
    started: tuple[Tensor, int] | None = None  # what the last step began with, and its order
    for at, high in enumerate(levels[:-1]):
        clean = denoise(x, high)
        if started is not None:
            begun, order = started
            above = levels[at - 1]
            h = math.log(above / high)
            phi = math.expm1(-h)
            linear = high / above * begun - phi * cleans[-1]
            there = clean - cleans[-1]
            if order == 1:
                x = linear - phi * there / 2
            else:
                ratio = -math.log(levels[at - 2] / above) / h
                past = (cleans[-2] - cleans[-1]) / ratio
                one, two = solve(ratio, -h)
                x = linear - phi * (one * past + two * there)
        cleans.append(clean)
        low = levels[at + 1]
        if not low:
            return cleans[-1]
        h = math.log(high / low)
        phi = math.expm1(-h)
        ahead = low / high * x - phi * cleans[-1]
        order = 2 if len(cleans) > 1 else 1
        started = (x, order)
        if order == 2:
            ratio = -math.log(levels[at - 1] / high) / h
            ahead = ahead - phi * (cleans[-2] - cleans[-1]) / ratio / 2
        x = ahead
    return x


def solve(ratio: float, h: float) -> tuple[float, float]:
    """Weights of the corrector: Σ ρ r^(k−1) = k! φ_{k+1}(h) h^(k−1)…, k = 1, 2, over B(h)."""
    phi = math.expm1(h)
    first = (phi / h - 1) / phi
    second = ((phi / h - 1) / h - 0.5) * 2 / phi
    two = (second - ratio * first) / (1 - ratio)
    return first - two, two


METHODS = {
    "heun": heun, "dpm2": dpm2, "dpm2_a": dpm2_a, "euler_a": euler_a, "dpmpp_2m": dpmpp_2m,
    "unipc": unipc,
}  # fmt: skip


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("name", ["sd 1.5", "sd 2.1-v", "sdxl", "zero-snr v", "cosine"])
@pytest.mark.parametrize("sampler", METHODS)
def test_a_walk_ends_where_its_source_does(sampler: str, name: str, steps: int) -> None:
    model = ExactModel(CONFIGS[name])
    walked = run(model, sampler, "default", steps)
    scheduler = samplers.build(sampler, "default", CONFIGS[name], steps, 3)
    levels = list(dict.fromkeys(scheduler.sigmas.double().tolist()))
    noise, generator = initial_noise((1, *model.means.shape), seed=3)
    # DPM++ and UniPC keep x at unit variance: √(σ² + 1) is what it is divided by.
    own = float(scheduler.init_noise_sigma)
    start = noise.double() * (math.sqrt(levels[0] ** 2 + 1) if own == 1 else own)

    def draw() -> Tensor:
        return torch.randn(start.shape, generator=generator, dtype=torch.float64)

    found = METHODS[sampler](start, levels, told(model, walked.times), draw)
    scale = max(1.0, float(found.abs().max()))
    # DPM2 on the cosine schedule multiplies what float32 leaves of a middle level, 4e-6 of it, by
    # the 20,000 that the first step goes down.
    near = 5e-2 if (sampler, name) == ("dpm2", "cosine") else 2e-3
    assert float((walked.latents - found).abs().max()) <= near * scale


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("name", ["sd 1.5", "sdxl", "cosine"])
def test_plms_ends_where_its_source_does(name: str, steps: int) -> None:
    """CompVis' plms.py: each noise is a mean of the last four, the first step is taken twice."""
    model = ExactModel(CONFIGS[name])
    walked = run(model, "pndm", "default", steps)
    noise, _ = initial_noise((1, *model.means.shape), seed=3)
    alphas = 1 / (1 + (2 * model.log_sigma).exp())
    # The second of these is where the first step ends, and is asked for twice.
    times = [int(time) for time in dict.fromkeys(walked.times)]
    x, past = noise.double(), list[Tensor]()

    def go(x: Tensor, eps: Tensor, start: int, end: int | None) -> Tensor:
        high, low = alphas[start], alphas[0 if end is None else end]
        clean = (x - (1 - high).sqrt() * eps) / high.sqrt()
        return low.sqrt() * clean + (1 - low).sqrt() * eps

    for at, (start, end) in enumerate(zip(times, [*times[1:], None], strict=True)):
        eps = model(x, torch.tensor(start))
        past.append(eps)
        if at == 0 and end is not None:
            eps = (eps + model(go(x, eps, start, end), torch.tensor(end))) / 2
        weights = PLMS[min(at, 3)]
        mean = eps if at == 0 else sum(w * e for w, e in zip(weights, past[::-1], strict=False))
        x = go(x, mean, start, end)
    assert float((walked.latents - x).abs().max()) <= 2e-3 * max(1.0, float(x.abs().max()))


PLMS = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))
"""Adams and Bashforth's weights: Liu et al. 2022, arXiv:2202.09778, Eq. 12."""
