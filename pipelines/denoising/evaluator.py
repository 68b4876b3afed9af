"""Evaluator protocol: computes batches of denoiser rows for the engine, and sizes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from pipelines.denoising.row import Row


@dataclass(slots=True)
class Tally:
    """Counts of what was computed so far; each is what `runs.events.Stats` says under its name."""

    rows_naive: int = 0
    rows_computed: int = 0
    batches: int = 0
    control_rows_naive: int = 0
    control_rows: int = 0


class Evaluator(Protocol):
    """Computes rows. `rendering.batch_evaluator` has the one that runs use."""

    tally: Tally
    """Counts: rows and batches are the engine's to count, rows of ControlNets the evaluator's."""

    def evaluate(self, rows: Sequence[Row]) -> Tensor:
        """Compute the outputs of a batch of rows of one kind, (rows, C, h, w)."""

    def begin(self, rows: Sequence[Row]) -> None:
        """Learn the rows of a round before its batches; equal x are one object there."""

    @property
    def most(self) -> int:
        """Rows in a batch at most. Cells for four such batches are in work at a time."""

    def take(self, rows: int) -> int:
        """How many of so many rows go into the next batch, from 1 to `rows`."""

    def took(self, rows: int, seconds: float) -> None:
        """Learn that a batch of so many rows took so long."""

    def shrink(self, rows: int) -> None:
        """Learn that so many rows do not fit in memory: `most` becomes less than that."""
