"""The registry of samplers: one row each, read by the UI, the command line, docs and tests.

A sampler is a diffusers scheduler built from the checkpoint's own scheduler config plus the
options of its row. To add one, add a row. Nothing here imports torch or diffusers until a
scheduler is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from pipelines.errors import InvalidRequest, UnknownName

Kind = Literal["diffusion", "flow"]
Lists = Literal["steps", "levels", "intervals", "own"]

SCHEDULES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "default": {},
        "karras": {"use_karras_sigmas": True},
        "exponential": {"use_exponential_sigmas": True},
        "beta": {"use_beta_sigmas": True},
        "sgm_uniform": {"timestep_spacing": "trailing"},
    }
)
"""Schedule id to the scheduler flags it sets. `default` leaves the checkpoint's own."""

_ALL = ("default", "karras", "exponential", "beta", "sgm_uniform")
_SIGMAS = ("default", "karras", "exponential", "beta")
_SPACING = ("default", "sgm_uniform")


@dataclass(frozen=True, slots=True)
class Sampler:
    """One sampler: how it is built, what it costs and where it was published.

    Attributes:
        order: order of convergence of the solver; for a stochastic sampler that of its
            deterministic part.
        calls_per_step: denoiser evaluations in every step but the last, which takes one.
        extra_calls: evaluations on top of that, once a run of more than one step (PNDM repeats
            one to start).
        seed_option: scheduler option that takes the seed, where a generator is not taken.
        v_prediction: whether it is right for models that predict v.
        lists: what it starts from: `steps` are whole timesteps, one a step; `levels` are
            timesteps that may lie between two; `intervals` are whole ones at the ends of as many
            intervals as there are steps, of which the last is left out; `own` is none of these.
        spacing: of its timesteps where a checkpoint's config names none.
    """

    id: str
    label: str
    scheduler: str
    order: int
    paper: str
    aliases: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    schedules: tuple[str, ...] = ("default",)
    calls_per_step: int = 1
    extra_calls: int = 0
    stochastic: bool = False
    kind: Kind = "diffusion"
    seed_option: str | None = None
    v_prediction: bool = True
    lists: Lists = "levels"
    spacing: str = "linspace"

    def evaluations(self, steps: int) -> int:
        """How often a cell of `steps` steps asks the denoiser (rows: twice that if guided)."""
        return self.calls_per_step * (steps - 1) + 1 + (self.extra_calls if steps > 1 else 0)


_DPMPP = "Lu et al. 2022, DPM-Solver++, arXiv:2211.01095"
_EDM = "Karras et al. 2022, arXiv:2206.00364"
_KDIFF = "Crowson, k-diffusion; Karras et al. 2022, arXiv:2206.00364"

_ROWS = (
    Sampler("ddpm", "DDPM", "DDPMScheduler", 1, "Ho et al. 2020, arXiv:2006.11239",
            schedules=_SPACING, stochastic=True, lists="steps", spacing="leading"),
    Sampler("ddim", "DDIM", "DDIMScheduler", 1, "Song et al. 2020, arXiv:2010.02502",
            schedules=_SPACING, lists="steps", spacing="leading"),
    Sampler("pndm", "PNDM", "PNDMScheduler", 2, "Liu et al. 2022, arXiv:2202.09778",
            aliases=("PLMS",), options={"skip_prk_steps": True}, schedules=_SPACING,
            extra_calls=1, v_prediction=False, lists="steps", spacing="leading"),
    Sampler("lms", "LMS", "LMSDiscreteScheduler", 4, _KDIFF, schedules=_ALL),
    Sampler("euler", "Euler", "EulerDiscreteScheduler", 1, _EDM, schedules=_ALL),
    Sampler("euler_a", "Euler a", "EulerAncestralDiscreteScheduler", 1, _KDIFF,
            aliases=("Euler ancestral",), schedules=_SPACING, stochastic=True),
    Sampler("heun", "Heun", "HeunDiscreteScheduler", 2, _EDM, schedules=_ALL,
            calls_per_step=2),
    Sampler("dpm2", "DPM2", "KDPM2DiscreteScheduler", 2, _EDM, schedules=_ALL,
            calls_per_step=2),
    Sampler("dpm2_a", "DPM2 a", "KDPM2AncestralDiscreteScheduler", 2, _KDIFF,
            aliases=("DPM2 ancestral",), schedules=_ALL, calls_per_step=2, stochastic=True),
    Sampler("dpmpp_2m", "DPM++ 2M", "DPMSolverMultistepScheduler", 2, _DPMPP, schedules=_ALL,
            lists="intervals"),
    Sampler("dpmpp_2m_sde", "DPM++ 2M SDE", "DPMSolverMultistepScheduler", 2, _DPMPP,
            options={"algorithm_type": "sde-dpmsolver++"}, schedules=_ALL, stochastic=True,
            lists="intervals"),
    Sampler("dpmpp_2s", "DPM++ 2S", "DPMSolverSinglestepScheduler", 2, _DPMPP,
            schedules=_SIGMAS, lists="intervals"),
    Sampler("dpmpp_sde", "DPM++ SDE", "DPMSolverSDEScheduler", 2, _KDIFF, schedules=_ALL,
            calls_per_step=2, stochastic=True, seed_option="noise_sampler_seed"),
    Sampler("unipc", "UniPC", "UniPCMultistepScheduler", 3, "Zhao et al. 2023, arXiv:2302.04867",
            schedules=_ALL, lists="intervals"),
    Sampler("lcm", "LCM", "LCMScheduler", 1, "Luo et al. 2023, arXiv:2310.04378",
            stochastic=True, lists="own"),
    Sampler("tcd", "TCD", "TCDScheduler", 1, "Zheng et al. 2024, arXiv:2402.19159", lists="own"),
    Sampler("flow_euler", "Flow Euler", "FlowMatchEulerDiscreteScheduler", 1,
            "Lipman et al. 2022, arXiv:2210.02747; Esser et al. 2024, arXiv:2403.03206",
            schedules=_ALL, kind="flow", lists="own"),
    Sampler("flow_heun", "Flow Heun", "FlowMatchHeunDiscreteScheduler", 2,
            "Lipman et al. 2022, arXiv:2210.02747", schedules=_SPACING, calls_per_step=2,
            kind="flow", lists="own"),
)  # fmt: skip

SAMPLERS: Mapping[str, Sampler] = MappingProxyType({row.id: row for row in _ROWS})
"""Sampler id to its row, in the order menus show."""


def _fold(name: str) -> str:
    """A spelling in which `DPM++ 2M`, `dpm++ 2m` and `dpmpp_2m` are the same."""
    return "".join(name.lower().replace("++", "pp").replace("_", " ").replace("-", " ").split())


_BY_SPELLING = {_fold(name): row.id for row in _ROWS for name in (row.id, row.label, *row.aliases)}
_SCHEDULE_BY_SPELLING = {_fold(name): name for name in SCHEDULES}
_WHERE = "python app.py samplers lists them"


def parse(name: str) -> tuple[str, str | None]:
    """Sampler id, and the schedule when the name carries one, as `DPM++ 2M Karras` does.

    Raises: UnknownName: with the closest known name.
    """
    folded = _fold(name)
    if folded in _BY_SPELLING:
        return _BY_SPELLING[folded], None
    for spelling, schedule in _SCHEDULE_BY_SPELLING.items():
        stem = folded.removesuffix(spelling)
        if stem != folded and stem in _BY_SPELLING:
            return _BY_SPELLING[stem], schedule
    raise UnknownName.of("sampler", name, SAMPLERS, _WHERE)


def parse_schedule(name: str) -> str:
    """Schedule id. Raises: UnknownName: with the closest known name."""
    try:
        return _SCHEDULE_BY_SPELLING[_fold(name)]
    except KeyError:
        known = SCHEDULES
        raise UnknownName.of("schedule", name, known, f"known: {', '.join(known)}") from None


def check(sampler: str, schedule: str) -> None:
    """Raises: InvalidRequest: if this sampler has no such schedule."""
    row = SAMPLERS[sampler]
    if schedule not in row.schedules:
        raise InvalidRequest(
            f"sampler {sampler!r} has no schedule {schedule!r}; it has {', '.join(row.schedules)}"
        )


def steps_within(sampler: str, evaluations: int) -> int:
    """The most steps that cost at most so many denoiser evaluations.

    Raises: InvalidRequest: if not even one step does, or the number is not a whole one.
    """
    if not isinstance(evaluations, int) or evaluations < 1:
        raise InvalidRequest(f"evaluations is {evaluations!r}; it must be a whole number from 1")
    row = SAMPLERS[sampler]
    steps = (evaluations - 1 - row.extra_calls) // row.calls_per_step + 1
    return max(1, steps)
