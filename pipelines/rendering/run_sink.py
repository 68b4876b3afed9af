"""Run sink: records in the store, and publishes to watchers, what becomes of a run's cells."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import StorageUnavailable
from pipelines.rendering.cell_errors import explain
from pipelines.rendering.disk_errors import is_disk_full
from pipelines.request.labels import cell_text
from pipelines.runs.events import (
    CellDone,
    CellFailed,
    CellPreview,
    CellProgress,
    RunFinished,
    RunStatus,
    Stats,
    Warnings,
)
from pipelines.runs.null_store import AnyStore
from pipelines.runs.run import Run
from pipelines.runs.storage.database import PATIENCE

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image


log = logging.getLogger(__name__)

MADE_AGAIN = "The outputs folder was deleted meanwhile; it was made again, with this run in it"


@dataclass(frozen=True, slots=True)
class _Ended:
    """How a cell ended."""

    address: str | None
    seconds: float
    cached: bool
    error: str | None
    warnings: Warnings


class RunSink:
    """Takes what is made of one run.

    A record that cannot be written is kept and tried again, at the latest when the run ends; a
    record that has gone with its folder is written anew, its pictures too.

    Args:
        addresses: where the pictures of cells belong in the store; others are not kept.
    Attributes:
        spent: seconds of each cell that was made.
        errors: of the cells that failed, in their order.
        full: why nothing more can be kept, once the disk is full; else None.
    """

    def __init__(self, run: Run, store: AnyStore, addresses: Mapping[int, str]) -> None:
        self._run = run
        self._requests = run.requests
        self._store = store
        self._addresses = addresses
        self._ended: dict[int, _Ended] = {}
        self._unrecorded: set[int] = set()
        self.spent: list[float] = []
        self.errors: list[str] = []
        self.full: str | None = None
        self._first: dict[bytes, int] = {}

    @property
    def ended(self) -> frozenset[int]:
        """Cells that have ended, however they did."""
        return frozenset(self._ended)

    def begin(self) -> None:
        """Record that the run is being made; one that could not be recorded before is now."""
        if self._run.listed:
            try:
                self._begin(PATIENCE)
                self._store.started(self._run.id)
            except Exception as error:
                log.warning("run %s is not recorded yet: %r", self._run.id, error)

    def progress(self, cell: int, step: int, steps: int) -> None:
        """Publish how many of its evaluations a cell has finished."""
        self._run.publish(CellProgress(self._run.id, cell, step, steps))

    def preview(self, cell: int, step: int, image: Image) -> None:
        """Publish what a cell would look like if denoising ended here."""
        self._run.publish(CellPreview(self._run.id, cell, step, image))

    def save(self, cell: int, image: Image) -> Path | None:
        """Store a finished picture. Returns its file, or None if nothing is kept."""
        address = self._addresses.get(cell)
        if address is None:
            return None
        try:
            return self._store.save_picture(address, image, self._requests[cell])
        except Exception as error:
            folder, size = self._store.folder, 3 * image.width * image.height
            if folder is not None and is_disk_full(folder, size):
                self.full = f"{error}; free some room and run it again"
            raise

    def done(self, cell: int, image: Image, file: Path | None, seconds: float) -> None:
        """Record and publish the picture of a cell that was made."""
        self.spent.append(seconds)
        self._done(cell, image, file, seconds, cached=False)

    def found(self, cell: int, image: Image) -> None:
        """Record and publish the picture of a cell that was in the store already."""
        self._done(cell, image, self._store.path(self._addresses[cell]), 0.0, cached=True)

    def failed(self, cell: int, error: str) -> None:
        """Record and publish why a cell could not be made."""
        self.errors.append(error)
        warnings = self._run.warnings.get(cell, ())
        self._end_cell(cell, _Ended(None, 0.0, False, error, warnings))
        self._run.publish(CellFailed(self._run.id, cell, self._requests[cell], error, warnings))

    def finish(self, status: RunStatus, stats: Stats, error: str | None) -> None:
        """Record and publish how the run ended.

        A run whose record is lost has failed, whatever its pictures are: nobody would find them.
        """
        lost = self._record_all(status, stats, error) if self._run.listed else None
        if lost is not None and status == "done":
            status, error = "failed", f"it was made, but could not be recorded: {lost}"
        self._run.publish(RunFinished(self._run.id, status, stats, error))

    def _done(
        self, cell: int, image: Image, file: Path | None, seconds: float, *, cached: bool
    ) -> None:
        warnings = (*self._run.warnings.get(cell, ()), *self._same(cell, image))
        self._end_cell(cell, _Ended(self._addresses.get(cell), seconds, cached, None, warnings))
        self._run.publish(
            CellDone(
                run=self._run.id,
                cell=cell,
                request=self._requests[cell],
                image=image,
                file=file,
                seconds=seconds,
                cached=cached,
                warnings=warnings,
            )
        )

    def _end_cell(self, cell: int, how: _Ended) -> None:
        """Record a cell, and those whose records had to wait; a locked database is for later."""
        self._ended[cell] = how
        if not self._run.listed:
            return
        patience = 0.0 if self._unrecorded else 1.0
        self._unrecorded.add(cell)
        try:
            self._record_cells(patience)
        except Exception as error:  # whatever it is, watchers must see how the cell ended
            log.warning("cell %d of run %s could not be recorded: %r", cell, self._run.id, error)
            self._run.tell(f"Records wait: {explain(error)}")

    def _record_cells(self, patience: float) -> None:
        for cell in sorted(self._unrecorded):
            if not self._record(cell, patience):
                self._record_anew(patience)
                return
            self._unrecorded.discard(cell)
        if self._run.snapshot().notice not in (None, MADE_AGAIN):
            self._run.tell(None)

    def _record(self, cell: int, patience: float) -> bool:
        how = self._ended[cell]
        return self._store.cell_done(
            self._run.id,
            cell,
            address=how.address,
            seconds=how.seconds,
            cached=how.cached,
            error=how.error,
            warnings=how.warnings,
            patience=patience,
            told=self._run.tell,
        )

    def _begin(self, patience: float) -> None:
        run = self._run
        self._store.begin(run.id, run.sheet, self._requests, patience, self._run.tell)

    def _record_anew(self, patience: float) -> None:
        """Write the whole record again: it went, with its folder or by another hand."""
        self._begin(patience)
        self._store.started(self._run.id, patience)
        for cell in sorted(self._ended):
            self._record(cell, patience)
            self._unrecorded.discard(cell)
        self._run.tell(MADE_AGAIN)

    def _save_again(self) -> None:
        """Write pictures whose files have gone since they were made."""
        cells = self._run.snapshot().cells
        for cell, how in self._ended.items():
            picture = cells[cell].picture
            if not how.address or picture is None or self._store.has(how.address):
                continue
            if picture.held is None:
                raise StorageUnavailable("pictures were deleted meanwhile; run it again")
            self._store.save_picture(how.address, picture.held, self._requests[cell])
            self._run.tell(MADE_AGAIN)

    def _record_all(self, status: RunStatus, stats: Stats, error: str | None) -> str | None:
        """Record what is not recorded yet, and the end. Returns: what kept that from being."""
        patience = 5.0 if self._run.stop_asked else PATIENCE
        try:
            self._record_cells(patience)
            run = self._run.id
            if not self._store.end(run, status, stats, error, patience, self._run.tell):
                self._record_anew(patience)
                self._store.end(run, status, stats, error, patience, self._run.tell)
            self._save_again()
        except Exception as lost:
            log.error("what became of run %s could not be recorded: %r", self._run.id, lost)
            return explain(lost)
        return None

    def _same(self, cell: int, image: Image) -> Iterator[str]:
        """Say whose picture is the same as this one, if that has another label."""
        try:
            pixels = hashlib.sha256(image.tobytes()).digest()
            other = self._first.setdefault(pixels, cell)
            label = cell_text(self._run.sheet, other)
            if label != cell_text(self._run.sheet, cell):
                yield f"the same picture, to the bit, as {label}: what differs was not read"
        except Exception:  # such as no memory; the picture is there all the same
            log.exception("cell %d of run %s is compared with no other", cell, self._run.id)
