"""What happens in a run, as frozen values: Stats and the events that watchers receive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.request.request import Request


@dataclass(frozen=True, slots=True)
class Stats:
    """What a run cost.

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


RunStatus = Literal["queued", "running", "done", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run has its model and begins; `cells` are complete Requests, in axis order."""

    run: str
    cells: Sequence[Request]


@dataclass(frozen=True, slots=True)
class CellProgress:
    """A cell has finished `step` of `steps` denoiser evaluations (cell: position in `cells`)."""

    run: str
    cell: int
    step: int
    steps: int


@dataclass(frozen=True, slots=True)
class CellPreview:
    """What the cell would look like if denoising ended here: `denoised`, decoded."""

    run: str
    cell: int
    step: int
    image: Image


@dataclass(frozen=True, slots=True)
class CellDone:
    """A finished picture. `file` is its PNG in the store; None when the studio keeps no store.

    `seconds` is the cell's share of the device's time, by its rows in each batch.
    """

    run: str
    cell: int
    request: Request
    image: Image
    file: Path | None
    seconds: float
    cached: bool


@dataclass(frozen=True, slots=True)
class CellFailed:
    """A cell that could not be made; the other cells go on."""

    run: str
    cell: int
    request: Request
    error: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last event of every run. `error` tells why no cell could be made, if so."""

    run: str
    status: RunStatus
    stats: Stats
    error: str | None = None


Event = RunStarted | CellProgress | CellPreview | CellDone | CellFailed | RunFinished
