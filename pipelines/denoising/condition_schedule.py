"""Condition schedule: the condition of a text that changes from step to step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from pipelines.denoising.row import Condition


@dataclass(frozen=True, slots=True, eq=False)
class ConditionSchedule:
    """Conditions of one text by step.

    Attributes:
        spans: last step, the first being 1, and condition, in order.
        steps: of the whole trajectory, as the Request counts them.
    """

    spans: tuple[tuple[int, Condition], ...]
    steps: int

    def at(self, index: int, total: int) -> Condition:
        """Look up the condition of evaluation `index` of `total`, of which steps may take two."""
        step = index * self.steps // total + 1
        return next((one for last, one in self.spans if step <= last), self.spans[-1][1])


AnyCondition: TypeAlias = "Condition | ConditionSchedule"
"""What a text was encoded to: one condition, or one for each step."""


def condition_at(condition: AnyCondition, index: int, total: int) -> Condition:
    """Look up the condition of one evaluation."""
    if isinstance(condition, ConditionSchedule):
        return condition.at(index, total)
    return condition
