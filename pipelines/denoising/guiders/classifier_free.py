"""Classifier-free guidance (CFG) within a window of the steps, and rescale of its contrast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.denoising.guiders.base import (
    COND,
    UNCOND,
    Guider,
    Prediction,
    Step,
    Text,
    require_cond,
    scale_at,
)

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.request.request import Request


@dataclass(frozen=True, slots=True)
class ClassifierFree:
    """Classifier-free guidance: away from the output without the prompt, towards that with it.

    Math: g = u + s·(c − u);  s = 1 outside the window
    Attributes:
        scale: s. 1 needs the prompt's output alone, 0 the other alone.
        start, stop: share of the steps between which it acts.
    Source: Ho & Salimans 2022, arXiv:2207.12598; window: Kynkäänniemi et al. 2024,
        arXiv:2404.07724.
    """

    scale: float = 1.0
    start: float = 0.0
    stop: float = 1.0

    @classmethod
    def of(cls, request: Request) -> ClassifierFree:
        """The guider that a Request asks for."""
        return cls(request.guidance_scale, request.guidance_start, request.guidance_stop)

    @property
    def texts(self) -> frozenset[Text]:
        return frozenset(("prompt",) if self.scale == 1.0 else ("prompt", "negative"))

    def scale_at(self, index: int, total: int) -> float:
        """The scale of one evaluation."""
        return scale_at(self.scale, self.start, self.stop, index, total)

    def predictions(self, index: int, total: int) -> tuple[Prediction, ...]:
        alone = {1.0: (COND,), 0.0: (UNCOND,)}
        return alone.get(self.scale_at(index, total), (COND, UNCOND))

    def combine(self, outputs: Mapping[str, Tensor], step: Step) -> Tensor:
        if len(outputs) == 1:
            return next(iter(outputs.values()))
        cond, uncond = outputs["cond"], outputs["uncond"]
        return uncond + self.scale_at(step.asked.index, step.asked.total) * (cond - uncond)


@dataclass(frozen=True, slots=True)
class Rescaled:
    """Rescale of another guider: brings the contrast of its output back to the prompt's.

    Math: φ·g·std(c)/std(g) + (1 − φ)·g;  where a single output is asked for, nothing.
    Attributes:
        factor: φ, 0..1.
    Source: Lin et al. 2023, Sec. 3.4, arXiv:2305.08891.
    """

    inner: Guider
    factor: float

    @classmethod
    def around(cls, inner: Guider, request: Request) -> Guider:
        """A guider with the rescale that a Request asks for, if any."""
        factor = request.guidance_rescale
        return cls(inner, factor) if factor > 0.0 else inner

    @property
    def texts(self) -> frozenset[Text]:
        return self.inner.texts

    def predictions(self, index: int, total: int) -> tuple[Prediction, ...]:
        asked = self.inner.predictions(index, total)
        if len(asked) > 1:
            require_cond(asked, "guidance_rescale")
        return asked

    def combine(self, outputs: Mapping[str, Tensor], step: Step) -> Tensor:
        guided = self.inner.combine(outputs, step)
        if len(outputs) == 1:
            return guided
        cond = outputs["cond"]
        dims = list(range(1, cond.ndim))
        std_cond = cond.std(dim=dims, keepdim=True)
        std_guided = guided.std(dim=dims, keepdim=True)
        return self.factor * (guided * (std_cond / std_guided)) + (1.0 - self.factor) * guided
