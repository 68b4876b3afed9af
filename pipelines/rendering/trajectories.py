"""Guided trajectories: encodes prompts, and starts the trajectory of one cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipelines.denoising.guided_trajectory import GuidedTrajectory
from pipelines.denoising.guiders.base import Guider, Text
from pipelines.denoising.row import Condition, ScheduledControl
from pipelines.denoising.trajectory import Eval, initial_noise, trajectory
from pipelines.families import weighted_prompts
from pipelines.families.base import Family, LoadedModel, build_scheduler
from pipelines.families.capabilities import Capabilities
from pipelines.request.request import Request

if TYPE_CHECKING:
    from torch import Tensor


def guidance_for(request: Request, supports: Capabilities) -> Guider:
    """Build the guider of one trajectory, from what its Request asks for and its model takes.

    Raises: UnknownName, InvalidRequest: if the Request names a guider that is not here.
    """
    acting: dict[str, float] = {}
    if supports.guidance == "negative_prompt" and not request.negative_prompt:
        acting["guidance_scale"] = 1.0
    if supports.distilled_guidance is not None and request.distilled_guidance is None:
        acting["distilled_guidance"] = supports.distilled_guidance
    return supports.guider(request).guider(request.model_copy(update=acting))


def guided_trajectory(
    family: Family,
    model: LoadedModel,
    request: Request,
    conditions: Mapping[str | None, Condition],
    controls: Sequence[ScheduledControl] = (),
) -> GuidedTrajectory:
    """Start the guided trajectory of one cell, with its own scheduler and generator.

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
    guider = guidance_for(request, family.spec.capabilities(model.configs))
    texts: dict[Text, str | None] = {
        "prompt": request.prompt,
        "negative": request.negative_prompt or (None if None in conditions else ""),
        "empty": "",
    }

    def denoised(asked: Eval, output: Tensor) -> Tensor:
        return family.denoised(model, asked.x, asked.t, output)

    seen = {text: conditions[texts[text]] for text in guider.texts}
    return GuidedTrajectory(walk, guider, seen, controls, denoised)


def encode_prompts(
    family: Family, model: LoadedModel, requests: Sequence[Request], alone: bool = False
) -> dict[str | None, Condition]:
    """Encode every text in use once; one by one if `alone`. Returns conditions by text."""
    supports = family.spec.capabilities(model.configs)
    prompts: set[str] = set()
    negatives: set[str] = set()
    for request in requests:
        texts = guidance_for(request, supports).texts
        prompts |= {request.prompt} | ({""} if "empty" in texts else set())
        negatives |= {request.negative_prompt} if "negative" in texts else set()
    conditions = weighted_prompts.conditions(family, model, sorted(prompts | negatives), alone)
    if "" in negatives:
        conditions[None] = family.without_negative(model, conditions[""])
    return conditions
