"""Guided trajectories: encodes prompts, and starts the trajectory of one cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipelines.denoising.guidance import Guidance, GuidedTrajectory
from pipelines.denoising.row import Condition, Steer
from pipelines.denoising.trajectory import initial_noise, trajectory
from pipelines.families import weighted_prompts
from pipelines.families.base import Family, Model, build_scheduler
from pipelines.request.request import Request


def start(
    family: Family,
    model: Model,
    request: Request,
    conditions: Mapping[str | None, Condition],
    steers: Sequence[Steer] = (),
) -> GuidedTrajectory:
    """The guided trajectory of one cell, with its own scheduler and generator.

    Args:
        conditions: by text; that of no negative prompt by None, where it differs from an empty
            text's.
    Raises: InvalidRequest: if the scheduler cannot do what is asked.
    """
    assert request.width and request.height, "a cell's size is resolved before it is made"
    scheduler = build_scheduler(family, model.configs, request)
    shape = family.latent_shape(model, request.width, request.height)
    noise, generator = initial_noise(shape, request.seed)
    walk = trajectory(scheduler, noise.to(model.device, model.dtype), generator)
    guidance = Guidance.of(request, family.spec.capabilities(model.configs))
    negative = request.negative_prompt or (None if None in conditions else "")
    return GuidedTrajectory(
        walk,
        guidance,
        conditions[request.prompt],
        conditions[negative] if guidance.needs_negative else None,
        steers,
    )


def encode(
    family: Family, model: Model, requests: Sequence[Request], alone: bool = False
) -> dict[str | None, Condition]:
    """The condition of every text in use, each encoded once; one by one if `alone`."""
    supports = family.spec.capabilities(model.configs)
    negatives = {r.negative_prompt for r in requests if Guidance.of(r, supports).needs_negative}
    texts = sorted({r.prompt for r in requests} | negatives)
    conditions = weighted_prompts.conditions(family, model, texts, alone)
    if "" in negatives:
        conditions[None] = family.without_negative(model, conditions[""])
    return conditions
