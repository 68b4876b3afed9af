"""Skip-layer guidance (SLG): away from what the network says without some of its layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.denoising.guiders.base import COND, Guider, Prediction, Step, Text, require_cond

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.request.request import Request

NAME = "skip_layer:skipped"
"""The prediction with the prompt and without the layers; no guider's own can have such a name."""


@dataclass(frozen=True, slots=True)
class SkipLayer:
    """Skip-layer guidance on top of another guider, where that mixes several outputs.

    Math: g + k·(c − c′);  c′ is the output with the prompt and without the layers
    Attributes:
        scale: k.
        first, last: evaluations between which it acts, both left out.
    Source: stability.ai's SD 3.5 reference, github.com/Stability-AI/sd3.5; diffusers counts the
        window as here.
    """

    inner: Guider
    layers: tuple[int, ...]
    scale: float
    first: float
    last: float

    @classmethod
    def around(cls, inner: Guider, request: Request) -> Guider:
        """A guider with the skip-layer guidance that a Request asks for, if any.

        The window is a share of the steps, in evaluations, as diffusers counts: a sampler that
        evaluates twice a step comes to its end after half as many steps.
        """
        if not request.skip_layers:
            return inner
        first, last = request.skip_layer_start, request.skip_layer_stop
        steps = request.steps
        scale = request.skip_layer_scale
        return cls(inner, request.skip_layers, scale, steps * first, steps * last)

    @property
    def texts(self) -> frozenset[Text]:
        return self.inner.texts

    def predictions(self, index: int, total: int) -> tuple[Prediction, ...]:
        asked = self.inner.predictions(index, total)
        if len(asked) == 1 or not self.first < index < self.last:
            return asked
        require_cond(asked, "skip_layers")
        cond = next(one for one in asked if one.name == COND.name)
        return (*asked, replace(cond, name=NAME, skip=self.layers))

    def combine(self, outputs: Mapping[str, Tensor], step: Step) -> Tensor:
        inner = {name: output for name, output in outputs.items() if name != NAME}
        guided = self.inner.combine(inner, step)
        if NAME not in outputs:
            return guided
        return guided + (outputs["cond"] - outputs[NAME]) * self.scale
