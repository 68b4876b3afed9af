"""Stored runs: what the records of runs and of their cells hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.request.request import Request
from pipelines.request.sheet import Sheet
from pipelines.runs.events import RunStatus, Stats, Warnings


@dataclass(frozen=True, slots=True)
class RunSummary:
    """Summary of a run for a list.

    Attributes:
        created: Unix seconds.
        status: a run that was cut off counts as stopped.
        prompt: of the cell that is shown, else of the first: prompts may be an axis.
        shown: number of the first cell that has a picture; None if none has.
    """

    id: str
    created: float
    status: RunStatus
    prompt: str
    cells: int
    shown: int | None


@dataclass(frozen=True, slots=True)
class StoredCell:
    """Record of one cell; `address` is None where it has no picture."""

    request: Request
    address: str | None
    seconds: float
    cached: bool
    error: str | None
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True)
class StoredRun:
    """Record of one run with its cells; `winner` is the number of the cell liked best."""

    id: str
    status: RunStatus
    sheet: Sheet
    stats: Stats
    error: str | None
    cells: Sequence[StoredCell]
    winner: int | None = None
