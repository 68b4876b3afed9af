"""Run sink: records in the store, and publishes to watchers, what becomes of a run's cells."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipelines.request.labels import cell_text
from pipelines.runs.events import CellDone, CellFailed, CellPreview, CellProgress
from pipelines.runs.null_store import AnyStore
from pipelines.runs.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image


log = logging.getLogger(__name__)


@contextmanager
def recording(run: str) -> Iterator[None]:
    """Log what the store cannot record, such as on a full disk.

    Watchers are told all the same, and the worker must outlive it.
    """
    try:
        yield
    except (OSError, sqlite3.Error):
        log.exception("what became of run %s could not be recorded", run)


class RunSink:
    """Takes what is made of one run.

    Args:
        addresses: where the pictures of cells belong in the store; others are not kept.
    Attributes:
        spent: seconds of each cell that was made.
        errors: of the cells that failed, in their order.
    """

    def __init__(self, run: Run, store: AnyStore, addresses: Mapping[int, str]) -> None:
        self._run = run
        self._requests = run.requests
        self._store = store
        self._addresses = addresses
        self.spent: list[float] = []
        self.errors: list[str] = []
        self._first: dict[bytes, int] = {}

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
        return self._store.save_picture(address, image, self._requests[cell])

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
        with recording(self._run.id):
            self._store.cell_done(
                self._run.id, cell, address=None, seconds=0.0, cached=False, error=error,
                warnings=warnings,
            )  # fmt: skip
        self._run.publish(CellFailed(self._run.id, cell, self._requests[cell], error, warnings))

    def _done(
        self, cell: int, image: Image, file: Path | None, seconds: float, *, cached: bool
    ) -> None:
        run = self._run
        address = self._addresses.get(cell)
        warnings = (*run.warnings.get(cell, ()), *self._same(cell, image))
        with recording(run.id):
            self._store.cell_done(
                run.id, cell, address=address, seconds=seconds, cached=cached, warnings=warnings
            )
        run.publish(
            CellDone(
                run=run.id,
                cell=cell,
                request=self._requests[cell],
                image=image,
                file=file,
                seconds=seconds,
                cached=cached,
                warnings=warnings,
            )
        )

    def _same(self, cell: int, image: Image) -> Iterator[str]:
        """Say whose picture is the same as this one, if that has another label."""
        pixels = hashlib.sha256(image.tobytes()).digest()
        other = self._first.setdefault(pixels, cell)
        label = cell_text(self._run.sheet, other)
        if label != cell_text(self._run.sheet, cell):
            yield f"the same picture, to the bit, as {label}: what differs was not read"
