"""Run of a sheet: records events for any number of watching threads, owned by none of them.

The worker thread writes (`publish`), pages and the command line read (`events`, `snapshot`).
Whoever watches may come late, leave or come back: every watcher sees all events from the
first, except previews that a newer preview of the same cell has replaced.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pipelines.request.request import Request
from pipelines.request.sheet import Sheet
from pipelines.runs.events import (
    CellDone,
    CellFailed,
    CellPreview,
    CellProgress,
    Event,
    RunFinished,
    RunStarted,
    RunStatus,
    Stats,
    Warnings,
)
from pipelines.samplers import SAMPLERS

if TYPE_CHECKING:
    from PIL.Image import Image


CellStatus = Literal["waiting", "running", "done", "failed"]


@dataclass(frozen=True, slots=True)
class CellView:
    """View of one cell. `image` is the picture, or the newest preview, or None."""

    request: Request
    status: CellStatus = "waiting"
    step: int = 0
    steps: int = 0
    image: Image | None = None
    file: Path | None = None
    seconds: float = 0.0
    cached: bool = False
    error: str | None = None
    warnings: Warnings = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Snapshot of a run at one moment.

    Attributes:
        version: grows with every change; equal versions mean nothing changed.
        evaluations: denoiser evaluations finished, over all cells; `evaluations_total` in all.
        rate: cell evaluations a second since denoising began; 0 until known.
        seconds_left: None until a rate is known.
        winner: the cell that the user likes best.
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

    @property
    def rows(self) -> list[Sequence[CellView]]:
        """Cells as a table has them: one row for each of `labels.row_texts`."""
        width = len(self.sheet.axes[-1].values) if self.sheet.axes else 1
        return [self.cells[i : i + width] for i in range(0, len(self.cells), width)]

    @property
    def finished(self) -> bool:
        """Whether the run has ended, however it did."""
        return self.status in ("done", "stopped", "failed")


class Run:
    """Handle of one run. All methods may be called from any thread."""

    def __init__(
        self,
        sheet: Sheet,
        cells: list[Request],
        id: str | None = None,
        filmed: frozenset[int] = frozenset(),
        warnings: Mapping[int, Warnings] | None = None,
    ) -> None:
        self.id = id or uuid.uuid4().hex[:12]
        self.sheet = sheet
        self.filmed = filmed
        self.winner: int | None = None
        self._films: dict[int, dict[int, Image]] = {cell: {} for cell in filmed}
        self.warnings = dict(warnings or {})
        self._cells = [
            CellView(request, warnings=self.warnings.get(i, ())) for i, request in enumerate(cells)
        ]
        self._events: list[Event | None] = []
        self._preview_at: dict[int, int] = {}
        self._status: RunStatus = "queued"
        self._stats = Stats()
        self._error: str | None = None
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._started: float | None = None
        self._first_step: float | None = None
        self._ended: float | None = None

    @property
    def requests(self) -> list[Request]:
        """Requests of all cells, in axis order."""
        return [cell.request for cell in self._cells]

    def film(self, cell: int) -> dict[int, Image]:
        """Look up a cell's previews by evaluation: the picture had denoising ended there.

        Only for cells that were submitted to be filmed, and only while the run is in memory.
        """
        with self._changed:
            return dict(self._films.get(cell, {}))

    @property
    def stop_asked(self) -> bool:
        """Whether someone asked for a stop."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Ask the worker to stop before its next batch. Finished cells stay."""
        self._stop.set()

    def publish(self, event: Event) -> None:
        """Record an event and wake all who watch. Only the worker calls this."""
        with self._changed:
            self._apply(event)
            if isinstance(event, CellPreview):
                older = self._preview_at.get(event.cell)
                if older is not None:
                    self._events[older] = None
                self._preview_at[event.cell] = len(self._events)
            self._events.append(event)
            self._changed.notify_all()

    def _apply(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._status, self._started = "running", time.monotonic()
            case CellProgress(cell=i, step=step, steps=steps):
                self._first_step = self._first_step or time.monotonic()
                self._cells[i] = replace(self._cells[i], status="running", step=step, steps=steps)
            case CellPreview(cell=i, step=step, image=image):
                if i in self._films:
                    self._films[i][step] = image
                self._cells[i] = replace(self._cells[i], image=image)
            case CellDone(cell=i):
                # A run read back from the store has had no progress events.
                steps = self._cells[i].steps or _evaluations(event.request)
                self._cells[i] = replace(
                    self._cells[i],
                    request=event.request,
                    status="done",
                    step=steps,
                    steps=steps,
                    image=event.image,
                    file=event.file,
                    seconds=event.seconds,
                    cached=event.cached,
                    warnings=event.warnings,
                )
            case CellFailed(cell=i, error=error):
                self._cells[i] = replace(self._cells[i], status="failed", error=error)
            case RunFinished(status=status, stats=stats, error=error):
                self._status, self._stats, self._error = status, stats, error
                self._ended = time.monotonic()

    def events(self) -> Iterator[Event]:
        """Yield every event from the first, waiting for more until the run has finished."""
        position = 0
        while True:
            with self._changed:
                while position >= len(self._events):
                    self._changed.wait()
                event = self._events[position]
            position += 1
            if event is None:
                continue
            yield event
            if isinstance(event, RunFinished):
                return

    def watch(self) -> Iterator[Event]:
        """Yield events as `events` does; leaving early, as Ctrl+C does, stops the run."""
        try:
            yield from self.events()
        finally:
            self.stop()

    def wait_for_change(self, version: int, timeout: float) -> Snapshot:
        """Wait for a snapshot newer than `version`, at most `timeout` seconds."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._events) > version, timeout)
        return self.snapshot()

    def snapshot(self) -> Snapshot:
        """Take a snapshot of the run as it stands now."""
        with self._changed:
            total = sum(
                cell.steps or _evaluations(cell.request) for cell in self._cells if not cell.cached
            )
            done = sum(cell.step for cell in self._cells if not cell.cached)
            now = self._ended or time.monotonic()
            rate = 0.0
            if self._first_step is not None and done > 1 and now > self._first_step:
                rate = (done - 1) / (now - self._first_step)
            return Snapshot(
                id=self.id,
                sheet=self.sheet,
                status=self._status,
                cells=tuple(self._cells),
                stats=self._stats,
                error=self._error,
                version=len(self._events),
                evaluations=done,
                evaluations_total=total,
                seconds=0.0 if self._started is None else now - self._started,
                rate=rate,
                seconds_left=(total - done) / rate if rate else None,
                winner=self.winner,
            )


def _evaluations(request: Request) -> int:
    """Denoiser evaluations a cell takes."""
    return SAMPLERS[request.sampler].evaluations(request.steps)
