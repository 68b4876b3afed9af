"""Events of a run, as frozen values that watchers receive, and the run's statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.request.request import Request


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics of a run: cells, denoiser rows, batches and seconds.

    Attributes:
        rows_naive: denoiser rows that a cell-by-cell loop would compute.
        rows_computed: rows that were computed, equal ones once.
        batches: calls of the denoiser.
        seconds: wall time from the first load to the last picture.
        control_rows_naive: ControlNet rows that a loop would compute that leaves out those
            outside their window or at strength 0; `control_rows` were computed.
    """

    cells: int = 0
    cells_cached: int = 0
    rows_naive: int = 0
    rows_computed: int = 0
    batches: int = 0
    seconds: float = 0.0
    control_rows_naive: int = 0
    control_rows: int = 0


Warnings: TypeAlias = tuple[str, ...]
"""What of a cell is not carried out, a line each."""
RunStatus: TypeAlias = Literal["queued", "running", "done", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """Start of a run, whose model is there; `cells` are complete Requests, in axis order.

    `warnings` has what of a cell is not carried out, by its number.
    """

    run: str
    cells: Sequence[Request]
    warnings: Mapping[int, Warnings] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CellProgress:
    """Progress of a cell: `step` of `steps` denoiser evaluations (cell: position in `cells`)."""

    run: str
    cell: int
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class CellPreview:
    """Preview of a cell: `denoised`, decoded, as if denoising ended here."""

    run: str
    cell: int
    step: int
    image: Image


@dataclass(frozen=True, slots=True)
class CellDone:
    """End of a cell: its picture. `file` is its PNG in the store; None without a store.

    `seconds` is the cell's share of the device's time, by its rows in each batch. `warnings` has
    what of its Request was not carried out, and whose picture is the same to the bit.
    """

    run: str
    cell: int
    request: Request
    image: Image
    file: Path | None
    seconds: float
    cached: bool
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True)
class CellFailed:
    """Failure of a cell that could not be made; the other cells go on."""

    run: str
    cell: int
    request: Request
    error: str
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True)
class RunNotice:
    """Notice of what a run waits for, or of what befell its records; None takes it back."""

    run: str
    text: str | None


@dataclass(frozen=True, slots=True)
class RunFinished:
    """End of a run, its last event. `error` tells why no cell could be made, if so."""

    run: str
    status: RunStatus
    stats: Stats
    error: str | None = None


Event = RunStarted | CellProgress | CellPreview | CellDone | CellFailed | RunNotice | RunFinished
