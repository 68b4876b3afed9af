"""Samplers: the registry of samplers and schedules, and the way to build one's scheduler."""

from pipelines.samplers.differences import DIFFERENCES, version_mark
from pipelines.samplers.noise_process import misfit
from pipelines.samplers.registry import (
    SAMPLERS,
    SCHEDULES,
    Kind,
    Sampler,
    check,
    parse,
    parse_schedule,
    steps_within,
)
from pipelines.samplers.scheduler import Scheduler
from pipelines.samplers.scheduler_builder import build

__all__ = [
    "DIFFERENCES",
    "SAMPLERS",
    "SCHEDULES",
    "Kind",
    "Sampler",
    "Scheduler",
    "build",
    "check",
    "misfit",
    "parse",
    "parse_schedule",
    "steps_within",
    "version_mark",
]
