"""Differences from diffusers: where a method's source says otherwise, and the source is followed.

Each row has a test of both sides in `tests/pipelines/samplers/test_differences.py`; the table in
`docs/differences.md` is made of these rows. `Request.as_diffusers` gives diffusers' numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pipelines.samplers.course import chart

VERSION = "1"
"""Of all that departs from diffusers: raised when it gives other pictures."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where diffusers does not follow the method's source.

    Attributes:
        where: samplers, schedules and numbers of steps that it touches.
        theirs: what diffusers does.
        ours: what is done instead.
        source: what says so.
    """

    id: str
    where: str
    theirs: str
    ours: str
    source: str


_ROWS = (
    Difference(
        "beta-timesteps",
        "schedule `beta`, every sampler of diffusion models that has it",
        "spaces noise levels σ by a beta distribution, so that nearly all steps fall on strong "
        "noise, and ends on the least level, where the last step does nothing",
        "spaces timesteps: round((T − 1)·F⁻¹(1 − i/n; 0.6, 0.6))",
        "Lee et al. 2024, Beta Sampling is All You Need, arXiv:2407.12173, Sec. 4",
    ),
    Difference(
        "next-timestep",
        "`ddim` and `pndm` where T // n is not the distance to the next listed timestep: "
        "`sgm_uniform` and linspace models when n does not divide T; leading above 500 steps",
        "steps to t − T // n",
        "steps to the next timestep of its list; after the last, to the picture",
        "Song et al. 2020, arXiv:2010.02502, Eq. 12 (τ_{i−1}); CompVis' ddim.py and plms.py take "
        "ᾱ of the next listed timestep",
    ),
    Difference(
        "late-start",
        "models with leading spacing (and one step with any): every sampler that heeds it, where "
        "T // n leaves a large rest: 1, 2, 334, 600 steps; 1 and from 50 on for DPM++ and UniPC",
        "multiplies by the whole number T // n, so that the first timestep may be 500 or 667, or "
        "1 for one step, though what it is given is noise",
        "multiplies by T / n; where that starts below two thirds of T, trailing timesteps",
        "Song et al. 2020, arXiv:2010.02502, D.2: c is such that the last τ is close to T; Lin et "
        "al. 2023, arXiv:2305.08891, Sec. 3.3",
    ),
    Difference(
        "step-count",
        "999 and 1000 steps",
        "lists timesteps twice, or one beyond the training's last, and ends in an IndexError or "
        "NaN",
        "lists as many different timesteps as there are steps",
        "every timestep of the training once, as in Ho et al. 2020, arXiv:2006.11239, Alg. 2",
    ),
    Difference(
        "whole-timesteps",
        "`karras` and `exponential` on cosine models: DPM++ 2M, 2M SDE, 2S and UniPC",
        "cuts timesteps down to whole numbers: the network is told 998 at the level of 999, which "
        "is another by far on a cosine schedule",
        "rounds them to the nearest",
        "k-diffusion's DiscreteSchedule.sigma_to_t takes the nearest",
    ),
    Difference(
        "ancestral-split",
        "`euler_a` and `dpm2_a` on cosine models and those with `rescale_betas_zero_snr`",
        "takes σ_down = √(σ_to² − σ_up²) in float32, which is NaN or mere rounding where one level "
        "is thousands of times the next: NaN pictures, an IndexError, or a wrong second slope",
        "σ_down = σ_to² / σ_from, the same without the difference",
        "k-diffusion's get_ancestral_step, in Python's float64; Karras et al. 2022, "
        "arXiv:2206.00364",
    ),
    Difference(
        "flow-levels",
        "`flow_euler`, every schedule, 2 steps and more, on models whose pipeline passes no levels",
        "takes levels from 1 to the training's least, so that the last evaluation changes nothing "
        "and n steps look like n − 1",
        "σ = linspace(1, 1/n, n), then shifted and spaced by the schedule; `sgm_uniform` is that "
        "list too",
        "FLUX' own sampling.get_schedule, linspace(1, 0, n + 1); diffusers' FluxPipeline passes "
        "the same",
    ),
    Difference(
        "zero-snr",
        "models with `rescale_betas_zero_snr`: LMS, Heun, DPM2, DPM2 a, DPM++ 2S, DPM++ SDE",
        "drops the option: ᾱ_T is 0.0047, not 0",
        "rescales the betas before the scheduler is built",
        "Lin et al. 2023, arXiv:2305.08891, Alg. 1",
    ),
    Difference(
        "unclipped",
        "`ddpm` and `ddim` on models whose own scheduler has no `clip_sample` and whose "
        "config does not name it",
        "clips latents to −1..1, its default for pictures",
        "does not clip, as the model's own scheduler does not",
        "the config of the model's own scheduler class",
    ),
)

DIFFERENCES: Mapping[str, Difference] = MappingProxyType({row.id: row for row in _ROWS})
"""Every difference by its id."""


def acting(
    sampler: str,
    schedule: str,
    config: Mapping[str, Any],
    steps: int,
    spacing: Mapping[str, Any] | None = None,
) -> tuple[str, ...]:
    """Ids of the differences that touch a picture; none for most.

    Args: as `build`.
    Raises: InvalidRequest: if there are fewer timesteps than steps.
    """
    return chart(sampler, schedule, config, steps, "sigmas" in (spacing or {})).differences


def version_mark(
    sampler: str,
    schedule: str,
    config: Mapping[str, Any],
    steps: int,
    spacing: Mapping[str, Any] | None = None,
) -> str:
    """What stands in a picture's address beside the engine's version; "" where nothing differs.

    Args, Raises: as `acting`.
    """
    found = acting(sampler, schedule, config, steps, spacing)
    return f" source {VERSION}: {' '.join(found)}" if found else ""


def table() -> str:
    """Write all differences as a table in Markdown."""
    lines = ["| | where | diffusers | Contact Sheet | source |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row.id} | {row.where} | {row.theirs} | {row.ours} | {row.source} |" for row in _ROWS
    ]
    return "\n".join(lines)
