"""Run plan: a sheet with its complete cells, and what rendering them would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipelines.rendering.misfits import LeftOut
from pipelines.request.request import Request
from pipelines.request.sheet import Sheet
from pipelines.runs.events import Warnings
from pipelines.runs.warning_lines import at_most, warning_lines


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """What a sheet would cost.

    Attributes:
        cells: in all; `cached` of them are in the store.
        rows: denoiser rows of the others, at most (equal ones are computed once).
        seconds: estimated from the last run of about so many cells at this model and size; None
            before the first.
    """

    cells: int
    cached: int
    rows: int
    seconds: float | None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A sheet that was checked; `Studio.submit` takes it as it is.

    Addresses are no part of it: weights may change on disk before the run begins, and a picture
    belongs where the weights that made it say.

    Attributes:
        requests: the complete Request of every cell, in axis order.
        warnings: what of a cell is not carried out, by its number.
        left_out: combinations that cannot be made, where these were to be left out.
    """

    sheet: Sheet
    requests: Sequence[Request]
    cost: CostEstimate
    warnings: Mapping[int, Warnings] = field(default_factory=dict)
    left_out: Sequence[LeftOut] = ()

    @property
    def warning_lines(self) -> list[str]:
        """The warnings for people, a line each."""
        return at_most([*self.left_out_lines, *warning_lines(self.sheet, self.warnings)])

    @property
    def left_out_lines(self) -> list[str]:
        """What was left out, for people, a line each."""
        return [f"left out: {one.label} ({one.reason})" for one in self.left_out]
