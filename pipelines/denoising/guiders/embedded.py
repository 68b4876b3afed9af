"""Embedded guidance: networks that take guidance as an input (LCM; FLUX, distilled)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.denoising.guiders.base import Guider, Prediction, Step, Text, scale_at

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.request.request import Request


@dataclass(frozen=True, slots=True)
class Embedded:
    """Embedded guidance: the network takes the guidance scale as an input, in one row.

    Attributes:
        scale: what the network is told; 1 outside the window.
        start, stop: share of the steps between which it acts.
    Source: Meng et al. 2022, arXiv:2210.03142; Luo et al. 2023 (LCM), arXiv:2310.04378.
    """

    scale: float
    start: float = 0.0
    stop: float = 1.0

    @classmethod
    def of(cls, request: Request) -> Embedded:
        """The guider that a Request asks for."""
        return cls(request.guidance_scale, request.guidance_start, request.guidance_stop)

    @property
    def texts(self) -> frozenset[Text]:
        return frozenset(("prompt",))

    def predictions(self, index: int, total: int) -> tuple[Prediction, ...]:
        scale = scale_at(self.scale, self.start, self.stop, index, total)
        return (Prediction("cond", guidance=scale),)

    def combine(self, outputs: Mapping[str, Tensor], step: Step) -> Tensor:
        return outputs["cond"]


@dataclass(frozen=True, slots=True)
class Distilled:
    """Distilled guidance beside another guider: the network is told one number at every step.

    Attributes:
        guidance: what it is told, in each of the inner guider's predictions.
    Source: FLUX.1 dev's `guidance`, github.com/black-forest-labs/flux.
    """

    inner: Guider
    guidance: float

    @classmethod
    def around(cls, inner: Guider, request: Request) -> Guider:
        """A guider whose network is told what a Request says, if that is told anything."""
        guidance = request.distilled_guidance
        return inner if guidance is None else cls(inner, guidance)

    @property
    def texts(self) -> frozenset[Text]:
        return self.inner.texts

    def predictions(self, index: int, total: int) -> tuple[Prediction, ...]:
        asked = self.inner.predictions(index, total)
        return tuple(replace(one, guidance=self.guidance) for one in asked)

    def combine(self, outputs: Mapping[str, Tensor], step: Step) -> Tensor:
        return self.inner.combine(outputs, step)
