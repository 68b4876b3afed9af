"""Guided outputs without a trajectory: what guiders make of given outputs, for tests."""

from __future__ import annotations

import torch
from torch import Tensor

from pipelines.denoising.guiders.base import Guider, Step
from pipelines.denoising.guiders.classifier_free import ClassifierFree, Rescaled
from pipelines.denoising.guiders.skip_layer import SkipLayer
from pipelines.denoising.trajectory import Eval


def step_at(x: Tensor, index: int = 1, total: int = 3) -> Step:
    """A step in the middle, where clean latents are what the network said."""
    return Step(Eval(x, torch.tensor(500.0), index, total, 1.0), lambda output: output)


def combine(
    cond: Tensor,
    uncond: Tensor,
    scale: float,
    rescale: float,
    skipped: Tensor | None = None,
    skip_scale: float = 0.0,
) -> Tensor:
    """The output of classifier-free guidance, with skip-layer guidance and rescale if asked."""
    outputs = {"cond": cond, "uncond": uncond}
    guider: Guider = ClassifierFree(scale)
    if skipped is not None:
        outputs["skip"] = skipped
        guider = SkipLayer(guider, (0,), skip_scale, 0.0, 3.0)
    if rescale:
        guider = Rescaled(guider, rescale)
    return guider.combine(outputs, step_at(cond))
