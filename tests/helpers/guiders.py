"""Guiders for tests: guided outputs without a trajectory, and a toy in the registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from pipelines.denoising.guiders import skip_layer
from pipelines.denoising.guiders.base import COND, UNCOND, Guider, Prediction, Step, Text
from pipelines.denoising.guiders.classifier_free import ClassifierFree, Rescaled
from pipelines.denoising.guiders.registry import GuiderSpec, register
from pipelines.denoising.guiders.skip_layer import SkipLayer
from pipelines.denoising.trajectory import Eval
from pipelines.preprocessors.base import Parameter
from pipelines.samplers import build


def step_at(x: Tensor, index: int = 1, total: int = 3) -> Step:
    """A step in the middle, where clean latents are what the network said."""
    scheduler = build("ddim", "default", {}, total, 0)
    return Step(Eval(x, torch.tensor(500.0), index, total, scheduler), lambda output: output)


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
        outputs[skip_layer.NAME] = skipped
        guider = SkipLayer(guider, (0,), skip_scale, 0.0, 3.0)
    if rescale:
        guider = Rescaled(guider, rescale)
    return guider.combine(outputs, step_at(cond))


class Pushed:
    """A toy with all that a guider may have: state, three texts, and clean latents.

    Math: g = e + s·(c − u) + p·m;  m is the mean of what was predicted clean so far
    Attributes:
        seen: what it was shown, one entry an evaluation.
    """

    texts: frozenset[Text] = frozenset(("prompt", "negative", "empty"))

    def __init__(self, scale: float, push: float) -> None:
        self.scale = scale
        self.push = push
        self.seen: list[tuple[int, float, Tensor]] = []

    def predictions(self, index: int, total: int) -> tuple[Prediction, ...]:
        return (COND, UNCOND, Prediction("empty", "empty"))

    def combine(self, outputs: Mapping[str, Tensor], step: Step) -> Tensor:
        asked = step.asked
        self.seen.append((asked.index, asked.sigma, step.denoised(outputs["cond"])))
        mean = torch.stack([clean for _, _, clean in self.seen]).mean(0)
        pull = self.scale * (outputs["cond"] - outputs["uncond"])
        return outputs["empty"] + pull + self.push * mean


def plain_cfg(outputs: Mapping[str, Tensor], step: Step) -> Tensor:
    """Classifier-free guidance of scale 3, of the first two predictions."""
    cond, uncond = list(outputs.values())[:2]
    return uncond + 3.0 * (cond - uncond)


@dataclass(frozen=True)
class Toy:
    """A guider of given parts, any of which may break the contract."""

    asked: Callable[[int, int], tuple[Prediction, ...]] = lambda index, total: (COND, UNCOND)
    mix: Callable[[Mapping[str, Tensor], Step], Tensor] = plain_cfg
    texts: frozenset[Text] = frozenset(("prompt", "negative"))

    def predictions(self, index: int, total: int) -> tuple[Prediction, ...]:
        return self.asked(index, total)

    def combine(self, outputs: Mapping[str, Tensor], step: Step) -> Tensor:
        return self.mix(outputs, step)

    def row(self, id: str = "toy") -> GuiderSpec:
        """Its row in the registry: it is the one object in all trajectories."""
        return GuiderSpec(id, "Toy", "none", 2, build=lambda request, values: self)


PUSHED = GuiderSpec(
    id="pushed",
    label="Pushed",
    paper="none",
    rows=3,
    build=lambda request, values: Pushed(request.guidance_scale, float(values["push"])),
    fields=("guidance_scale",),
    parameters=(Parameter("push", "Push", "float", 0.0, "How hard", low=-1.0, high=1.0),),
)


@contextmanager
def registered(row: GuiderSpec = PUSHED) -> Iterator[None]:
    """A guider in the registry, while the block runs."""
    undo = register(row)
    try:
        yield
    finally:
        undo()
