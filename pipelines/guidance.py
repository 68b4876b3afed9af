"""Classifier-free guidance: which rows an evaluation needs, and how their outputs combine."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pipelines.families.supports import Supports
from pipelines.steering import Pull, Steer, inside
from pipelines.trajectory import Eval
from pipelines.types import Request


@dataclass(frozen=True, slots=True)
class Row:
    """One input of the denoiser.

    Attributes:
        x: (1, C, h, w).
        t: 0-d tensor.
        condition: what the family encoded; equal conditions are one object, so rows can be
            compared by its identity.
        pulls: what ControlNets add to it.
        guidance: what the network is told of it; None where it takes none.
        prompt: the condition that ControlNets see instead; None where it is the row's own.
    """

    x: Tensor
    t: Tensor
    condition: Any
    pulls: tuple[Pull, ...] = ()
    guidance: float | None = None
    prompt: Any = None

    @property
    def texts(self) -> tuple[int, int]:
        """What tells its texts from those of other rows."""
        return id(self.condition), id(self.prompt)

    @property
    def text_shape(self) -> tuple[int, ...]:
        """Of its condition: only rows of one shape, hence of as many tokens, share a batch."""
        condition = self.condition
        states = condition[0] if isinstance(condition, tuple) else condition
        return tuple(states.shape)


def alike(rows: Sequence[Row]) -> int:
    """How many of the first rows have texts of one length."""
    first = rows[0].text_shape
    return next((i for i, row in enumerate(rows) if row.text_shape != first), len(rows))


@dataclass(frozen=True, slots=True)
class Guidance:
    """How strongly a cell is pulled to its prompt, and during which share of its steps.

    Attributes:
        embedded: the network takes the scale as an input, so that one row is enough.
        distilled: what a network that was distilled with guidance is told, at every step.
    """

    scale: float = 1.0
    rescale: float = 0.0
    start: float = 0.0
    stop: float = 1.0
    embedded: bool = False
    distilled: float | None = None

    @classmethod
    def of(cls, request: Request, supports: Supports) -> Guidance:
        off = supports.guidance == "negative_prompt" and not request.negative_prompt
        told = request.distilled_guidance
        return cls(
            1.0 if off else request.guidance_scale,
            request.guidance_rescale,
            request.guidance_start,
            request.guidance_stop,
            supports.guidance == "embedded",
            supports.distilled_guidance if told is None else told,
        )

    @property
    def needs_negative(self) -> bool:
        """Whether any row is made with the negative prompt."""
        return self.scale != 1.0 and not self.embedded

    def scale_at(self, index: int, total: int) -> float:
        """The scale of one evaluation: `scale` inside the window, 1 outside."""
        return self.scale if inside(self.start, self.stop, index, total) else 1.0

    def rows(self, total: int) -> int:
        """Rows a whole trajectory of `total` evaluations asks for."""
        if self.embedded:
            return total
        scales = [self.scale_at(index, total) for index in range(total)]
        return sum(1 if scale in (0.0, 1.0) else 2 for scale in scales)


def combine(cond: Tensor, uncond: Tensor, scale: float, rescale: float) -> Tensor:
    """The guided output.

    Math: g = u + s·(c − u);  with rescale φ: φ·g·std(c)/std(g) + (1 − φ)·g
    Args:
        cond: output with the prompt, (1, C, h, w).
        uncond: output with the negative prompt, same shape.
    Source: Ho & Salimans 2022, arXiv:2207.12598; rescale: Lin et al. 2023, Sec. 3.4,
        arXiv:2305.08891.
    """
    guided = uncond + scale * (cond - uncond)
    if rescale > 0.0:
        dims = list(range(1, cond.ndim))
        std_cond = cond.std(dim=dims, keepdim=True)
        std_guided = guided.std(dim=dims, keepdim=True)
        guided = rescale * (guided * (std_cond / std_guided)) + (1.0 - rescale) * guided
    return guided


class GuidedTrajectory:
    """A trajectory under guidance: a small machine that asks for rows and takes their outputs.

    Args:
        steers: its controls, ready to act.
    Attributes:
        last: the newest evaluation and its guided output, for previews; None before the first.
        result: the latents, once there are no more rows to ask for.
    """

    def __init__(
        self,
        walk: Generator[Eval, Tensor, Tensor],
        guidance: Guidance,
        cond: Any,
        uncond: Any,
        steers: Sequence[Steer] = (),
    ) -> None:
        self._walk = walk
        self._guidance = guidance
        self._cond = cond
        self._uncond = uncond
        self._steers = tuple(steers)
        self._eval: Eval | None = None
        self.last: tuple[Eval, Tensor] | None = None
        self.result: Tensor | None = None

    def start(self) -> tuple[Row, ...]:
        """The rows of the first evaluation."""
        return self._ask(next(self._walk))

    def advance(self, outputs: Sequence[Tensor]) -> tuple[Row, ...]:
        """Take the outputs of the rows asked for last; the next rows, or () at the end."""
        assert self._eval is not None, "advance() before start()"
        scale = self._scale(self._eval)
        if len(outputs) == 1:
            model_output = outputs[0]
        else:
            cond, uncond = outputs
            model_output = combine(cond, uncond, scale, self._guidance.rescale)
        self.last = (self._eval, model_output)
        try:
            return self._ask(self._walk.send(model_output))
        except StopIteration as finished:
            self.result = finished.value
            return ()

    def _scale(self, asked: Eval) -> float:
        return self._guidance.scale_at(asked.index, asked.total)

    def _ask(self, asked: Eval) -> tuple[Row, ...]:
        self._eval = asked
        scale = self._scale(asked)
        if self._guidance.embedded:
            return (self._row(asked, True, scale),)
        told = self._guidance.distilled
        sides = {1.0: (True,), 0.0: (False,)}.get(scale, (True, False))
        return tuple(self._row(asked, cond, told) for cond in sides)

    def _row(self, asked: Eval, cond: bool, told: float | None) -> Row:
        found = [steer.at(asked.index, asked.total, cond) for steer in self._steers]
        pulls = tuple(pull for pull in found if pull is not None)
        prompted = not cond and any(pull.source.prompted for pull in pulls)
        return Row(
            asked.x,
            asked.t,
            self._cond if cond else self._uncond,
            pulls=pulls,
            guidance=told,
            prompt=self._cond if prompted else None,
        )
