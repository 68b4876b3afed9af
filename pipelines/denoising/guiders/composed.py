"""Composed guidance: several prompts joined by AND, each with a weight, in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipelines.denoising.guiders.base import UNCOND, Guider, Prediction, Step, Text
from pipelines.request.prompts.prompt_schedule import split_clauses

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.request.request import Request

BESIDE = "composed:uncond"
"""The prediction without the prompt, where the guider around which it is asks for none."""


@dataclass(frozen=True, slots=True)
class Composed:
    """Composable diffusion around another guider, whose every prompt is several.

    Math: c = u + Σ wᵢ·(cᵢ − u), and the guider goes on with c, so that classifier-free guidance
        gives u + Σ wᵢ·s·(cᵢ − u). Where the weights add up to 1, u is not needed for c.
    Attributes:
        weights: w, one a clause.
    Source: Liu et al. 2022, Eq. 11, arXiv:2206.01714.
    """

    inner: Guider
    weights: tuple[float, ...]

    @classmethod
    def around(cls, inner: Guider, request: Request) -> Guider:
        """A guider that composes a Request's clauses, if there are several."""
        weights = tuple(weight for _, weight in split_clauses(request.prompt))
        return inner if len(weights) == 1 else cls(inner, weights)

    @property
    def texts(self) -> frozenset[Text]:
        texts = self.inner.texts
        return texts if self._closed or "prompt" not in texts else texts | {"negative"}

    @property
    def _closed(self) -> bool:
        return abs(sum(self.weights) - 1.0) < 1e-9

    def predictions(self, index: int, total: int) -> tuple[Prediction, ...]:
        asked = self.inner.predictions(index, total)
        found: list[Prediction] = []
        for one in asked:
            clauses = range(len(self.weights)) if one.text == "prompt" else ()
            found += [replace(one, name=_name(one, i), clause=i) for i in clauses] or [one]
        names = [one.name for one in asked]
        if len(found) > len(asked) and UNCOND.name not in names and not self._closed:
            found.append(replace(UNCOND, name=BESIDE, guidance=asked[0].guidance))
        return tuple(found)

    def combine(self, outputs: Mapping[str, Tensor], step: Step) -> Tensor:
        asked = self.inner.predictions(step.asked.index, step.asked.total)
        uncond = outputs.get(UNCOND.name, outputs.get(BESIDE))
        composed = {}
        for one in asked:
            if one.text == "prompt":
                clauses = [outputs[_name(one, i)] for i in range(len(self.weights))]
                composed[one.name] = self._compose(clauses, uncond)
            else:
                composed[one.name] = outputs[one.name]
        return self.inner.combine(composed, step)

    def _compose(self, clauses: Sequence[Tensor], uncond: Tensor | None) -> Tensor:
        base = clauses[0].new_zeros(()) if uncond is None else uncond
        total = base
        for weight, clause in zip(self.weights, clauses, strict=True):
            total = total + weight * (clause - base)
        return total


def _name(prediction: Prediction, clause: int) -> str:
    return f"{prediction.name}:{clause}"
