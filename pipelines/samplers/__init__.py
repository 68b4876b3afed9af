"""Samplers: the registry of samplers and schedules, and the way to build one's scheduler."""

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
    "SAMPLERS",
    "SCHEDULES",
    "Kind",
    "Sampler",
    "Scheduler",
    "build",
    "check",
    "parse",
    "parse_schedule",
    "steps_within",
]
