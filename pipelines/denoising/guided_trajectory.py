"""Guided trajectory: turns one evaluation into the rows that its guider asks for, and back."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence

from torch import Tensor

from pipelines.denoising.condition_schedule import AnyCondition, condition_at
from pipelines.denoising.guiders.base import COND, Guider, Prediction, Step, Text
from pipelines.denoising.row import Condition, Row, ScheduledControl
from pipelines.denoising.trajectory import Eval

Denoised = Callable[[Eval, Tensor], Tensor]
"""Predicts the clean latents of an evaluation from an output of the network."""


class GuidedTrajectory:
    """A trajectory under guidance: a small machine that asks for rows and takes their outputs.

    Args:
        guider: made for this trajectory alone; it may hold state.
        conditions: by what the guider's predictions see (`Guider.texts`).
        controls: its controls, ready to act.
        denoised: for guiders that look at clean latents.
        clauses: conditions of the prompt's further clauses, behind the first in `conditions`.
    Attributes:
        last: the newest evaluation and its guided output, for previews; None before the first.
        result: the latents, once there are no more rows to ask for.
    """

    def __init__(
        self,
        walk: Generator[Eval, Tensor, Tensor],
        guider: Guider,
        conditions: Mapping[Text, AnyCondition],
        controls: Sequence[ScheduledControl] = (),
        denoised: Denoised | None = None,
        clauses: Sequence[AnyCondition] = (),
    ) -> None:
        self._walk = walk
        self._guider = guider
        self._conditions = conditions
        self._controls = tuple(controls)
        self._denoised = denoised
        self._clauses = tuple(clauses)
        self._eval: Eval | None = None
        self._names: tuple[str, ...] = ()
        self.last: tuple[Eval, Tensor] | None = None
        self.result: Tensor | None = None

    def start(self) -> tuple[Row, ...]:
        """The rows of the first evaluation."""
        return self._ask(next(self._walk))

    def advance(self, outputs: Sequence[Tensor]) -> tuple[Row, ...]:
        """Take the outputs of the rows asked for last; the next rows, or () at the end."""
        asked = self._eval
        assert asked is not None, "advance() before start()"
        named = dict(zip(self._names, outputs, strict=True))
        model_output = self._guider.combine(named, Step(asked, self._clean))
        self.last = (asked, model_output)
        try:
            return self._ask(self._walk.send(model_output))
        except StopIteration as finished:
            self.result = finished.value
            return ()

    def _clean(self, output: Tensor) -> Tensor:
        assert self._eval is not None and self._denoised is not None, "made without `denoised`"
        return self._denoised(self._eval, output)

    def _ask(self, asked: Eval) -> tuple[Row, ...]:
        self._eval = asked
        predictions = self._guider.predictions(asked.index, asked.total)
        self._names = tuple(one.name for one in predictions)
        return tuple(self._row(asked, one) for one in predictions)

    def _row(self, asked: Eval, prediction: Prediction) -> Row:
        cond = prediction.text == "prompt"
        found = [control.at(asked.index, asked.total, cond) for control in self._controls]
        terms = tuple(term for term in found if term is not None)
        prompted = not cond and any(term.source.prompted for term in terms)
        return Row(
            asked.x,
            asked.t,
            self._condition(asked, prediction),
            terms=terms,
            guidance=prediction.guidance,
            prompt=self._condition(asked, COND) if prompted else None,
            skip=prediction.skip,
        )

    def _condition(self, asked: Eval, prediction: Prediction) -> Condition:
        found = self._conditions[prediction.text]
        if prediction.clause:
            found = self._clauses[prediction.clause - 1]
        return condition_at(found, asked.index, asked.total)
