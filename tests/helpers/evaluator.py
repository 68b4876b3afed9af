"""An evaluator of rows for tests: a plain function, and batches of at most so many rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from pipelines.denoising.batch_sizes import FixedBatches
from pipelines.denoising.evaluator import Tally
from pipelines.denoising.row import Row


class FunctionEvaluator(FixedBatches):
    """Computes rows with a function, in batches as equal as can be."""

    def __init__(self, function: Callable[[Sequence[Row]], Tensor], most: int) -> None:
        super().__init__(most)
        self.tally = Tally()
        self.evaluate = function

    def begin(self, rows: Sequence[Row]) -> None:
        """Nothing to prepare."""
