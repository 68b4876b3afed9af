"""Classifier-free guidance: says which rows an evaluation needs, combines their outputs."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from pipelines.denoising.row import Condition, Row, Steer, inside
from pipelines.denoising.trajectory import Eval
from pipelines.families.capabilities import Supports
from pipelines.request.request import Request


@dataclass(frozen=True, slots=True)
class Skip:
    """What one cell skips, how strongly that counts, and when.

    Attributes:
        first, last: evaluations between which it acts, both left out.
    """

    layers: tuple[int, ...]
    scale: float
    first: float
    last: float

    @classmethod
    def of(cls, request: Request) -> Skip | None:
        """None where nothing is skipped.

        The window is a share of the steps, in evaluations, as diffusers counts: a sampler that
        evaluates twice a step comes to its end after half as many steps.
        """
        if not request.skip_layers:
            return None
        first, last = request.skip_layer_start, request.skip_layer_stop
        steps = request.steps
        return cls(request.skip_layers, request.skip_layer_scale, steps * first, steps * last)

    def at(self, index: int) -> bool:
        """Whether it acts at an evaluation."""
        return self.first < index < self.last


@dataclass(frozen=True, slots=True)
class Guidance:
    """How strongly a cell is pulled to its prompt, and during which share of its steps.

    Attributes:
        embedded: the network takes the scale as an input, so that one row is enough.
        distilled: what a network that was distilled with guidance is told, at every step.
        skip: skip-layer guidance; it acts where two rows are mixed.
    """

    scale: float = 1.0
    rescale: float = 0.0
    start: float = 0.0
    stop: float = 1.0
    embedded: bool = False
    distilled: float | None = None
    skip: Skip | None = None

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
            Skip.of(request),
        )

    @property
    def needs_negative(self) -> bool:
        """Whether any row is made with the negative prompt."""
        return self.scale != 1.0 and not self.embedded

    def scale_at(self, index: int, total: int) -> float:
        """The scale of one evaluation: `scale` inside the window, 1 outside."""
        return self.scale if inside(self.start, self.stop, index, total) else 1.0

    def mixes(self, index: int, total: int) -> bool:
        """Whether an evaluation needs a row with the prompt and one without."""
        return not self.embedded and self.scale_at(index, total) not in (0.0, 1.0)

    def skip_at(self, index: int, total: int) -> Skip | None:
        """Skip-layer guidance of one evaluation; None where it does not act."""
        if self.skip is None or not self.skip.at(index):
            return None
        return self.skip if self.mixes(index, total) else None

    def rows(self, total: int) -> int:
        """Rows a whole trajectory of `total` evaluations asks for."""
        return sum(
            1 + self.mixes(index, total) + (self.skip_at(index, total) is not None)
            for index in range(total)
        )


def combine(
    cond: Tensor,
    uncond: Tensor,
    scale: float,
    rescale: float,
    skipped: Tensor | None = None,
    skip_scale: float = 0.0,
) -> Tensor:
    """The guided output.

    Math: g = u + s·(c − u) + k·(c − c′);  with rescale φ: φ·g·std(c)/std(g) + (1 − φ)·g
    Args:
        cond: output with the prompt, c, (1, C, h, w).
        uncond: output with the negative prompt, u, same shape.
        skipped: output with the prompt and without some layers, c′, same shape; None: k = 0.
    Source: Ho & Salimans 2022, arXiv:2207.12598; rescale: Lin et al. 2023, Sec. 3.4,
        arXiv:2305.08891.
    """
    guided = uncond + scale * (cond - uncond)
    if skipped is not None:
        guided = guided + (cond - skipped) * skip_scale
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
        cond: Condition,
        uncond: Condition | None,
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
        if len(outputs) == 1:
            model_output = outputs[0]
        else:
            guidance = self._guidance
            cond, uncond, *skipped = outputs
            model_output = combine(
                cond, uncond, self._scale(self._eval), guidance.rescale,
                skipped[0] if skipped else None, guidance.skip.scale if guidance.skip else 0.0,
            )  # fmt: skip
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
        rows = tuple(self._row(asked, cond, told) for cond in sides)
        skip = self._guidance.skip_at(asked.index, asked.total)
        return rows if skip is None else (*rows, replace(rows[0], skip=skip.layers))

    def _row(self, asked: Eval, cond: bool, told: float | None) -> Row:
        found = [steer.at(asked.index, asked.total, cond) for steer in self._steers]
        pulls = tuple(pull for pull in found if pull is not None)
        condition = self._cond if cond else self._uncond
        assert condition is not None, "`needs_negative` asked for it"
        prompted = not cond and any(pull.source.prompted for pull in pulls)
        return Row(
            asked.x,
            asked.t,
            condition,
            pulls=pulls,
            guidance=told,
            prompt=self._cond if prompted else None,
        )
