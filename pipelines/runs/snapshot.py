"""Snapshot: a run and its cells as they are at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines.request.request import Request
from pipelines.request.sheet import Sheet
from pipelines.runs.events import RunStatus, Stats, Warnings
from pipelines.runs.held_picture import HeldPicture

if TYPE_CHECKING:
    from PIL.Image import Image

CellStatus = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class CellView:
    """View of one cell. `picture` is the picture, or the newest preview, or None."""

    request: Request
    status: CellStatus = "waiting"
    step: int = 0
    steps: int = 0
    picture: HeldPicture | None = None
    file: Path | None = None
    seconds: float = 0.0
    cached: bool = False
    error: str | None = None
    warnings: Warnings = ()

    @property
    def image(self) -> Image | None:
        """The picture, read from its file where it is no longer in memory; or None."""
        return None if self.picture is None else self.picture.image


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Snapshot of a run at one moment.

    Attributes:
        version: grows with every change; equal versions mean nothing changed.
        evaluations: denoiser evaluations finished, over all cells; `evaluations_total` in all.
        rate: cell evaluations a second since denoising began; 0 until known.
        seconds_left: None until a rate is known.
        winner: the cell that the user likes best.
        left_out: combinations that could not be made and were to be left out, a line each; known
            to the program that planned the run.
        notice: what the run waits for, or what befell its records; None if all is well.
    """

    id: str
    sheet: Sheet
    status: RunStatus
    cells: tuple[CellView, ...]
    stats: Stats
    error: str | None
    version: int
    evaluations: int
    evaluations_total: int
    seconds: float
    rate: float
    seconds_left: float | None
    winner: int | None = None
    left_out: tuple[str, ...] = ()
    notice: str | None = None

    @property
    def rows(self) -> list[Sequence[CellView]]:
        """Cells as a table has them: one row for each of `labels.row_texts`."""
        width = len(self.sheet.axes[-1].values) if self.sheet.axes else 1
        return [self.cells[i : i + width] for i in range(0, len(self.cells), width)]

    @property
    def finished(self) -> bool:
        """Whether the run has ended, however it did."""
        return self.status in ("done", "stopped", "failed")
