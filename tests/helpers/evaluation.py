"""Evaluation of rows by torch as it is, without batches or backends."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pipelines.denoising.row import Row
from pipelines.families.base import Family, LoadedModel


def evaluate(family: Family, model: LoadedModel, rows: Sequence[Row]) -> Tensor:
    """Model outputs of rows that skip the same layers, (rows, C, h, w)."""
    network = family.network(model, rows[0].skip)
    output: Tensor = network(*family.inputs(model, rows))
    return output
