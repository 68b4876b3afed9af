"""Run store: keeps pictures as PNG files named by content, and runs in one SQLite file.

A picture's address is a hash of its Request and of the model, so the same cell is never made twice.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InvalidRequest, StorageUnavailable
from pipelines.request.request import Request
from pipelines.runs.events import (
    CellDone,
    CellFailed,
    RunFinished,
    RunStarted,
)
from pipelines.runs.run import Run
from pipelines.runs.storage.database import finds_no_room, reason
from pipelines.runs.storage.picture_files import PictureFiles, sweep_drafts
from pipelines.runs.storage.records import RunRecords
from pipelines.runs.storage.salvage import FILE, open_database
from pipelines.runs.storage.stored_run import RunSummary as RunSummary
from pipelines.runs.storage.stored_run import StoredRun
from pipelines.runs.storage.studio_lock import StudioLock

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)


class Store(RunRecords):
    """Store of finished pictures and runs. All methods may be called from any thread.

    Attributes:
        notices: what befell the folder when it was opened, a line each, for people.
    Raises: InvalidRequest: if the folder cannot be written. StorageUnavailable: if its database is
        damaged while other studios use it, or stays locked, or finds no room on the disk.
    """

    keeps = True
    """Whether anything stays; a `NullStore` keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.pictures = PictureFiles(self.folder / "pictures")
        self.notices: list[str] = []
        opened = time.time()
        try:
            self.pictures.folder.mkdir(parents=True, exist_ok=True)
            studio = StudioLock(self.folder)
            others = list(studio.others())
            try:
                database = open_database(
                    self.folder / FILE, self.pictures, bool(others), self.notices
                )
            except BaseException:
                studio.release()
                raise
        except (OSError, sqlite3.Error) as error:
            if finds_no_room(error):
                raise StorageUnavailable(
                    f"outputs folder {folder} takes nothing: {reason(error)}; free some room"
                ) from None
            raise InvalidRequest(f"outputs folder {folder} cannot be written: {error}") from None
        super().__init__(database, studio)
        swept = sweep_drafts(
            [self.pictures.folder, self.folder / "sources"], min(others, default=opened)
        )
        if swept:
            log.info("%s: %d drafts of studios that are gone were deleted", self.folder, swept)

    def close(self) -> None:
        """Close the database; pictures can still be read."""
        self._db.close()
        self._studio.release()

    def path(self, address: str) -> Path:
        """Compute where the picture of this address lies, or would lie."""
        return self.pictures.path(address)

    def has(self, address: str) -> bool:
        """Whether there is a picture of this address."""
        return self.path(address).is_file()

    def picture(self, address: str, request: Request | None = None) -> Image | None:
        """Read a finished picture; None if it was not made yet, or its file is damaged.

        Args:
            request: what it must have been made from; None takes whatever it says.
        """
        return self.pictures.read(address, request)

    def save_picture(self, address: str, image: Image, request: Request) -> Path:
        """Write a picture with its settings; whole or not at all."""
        return self.pictures.write(address, image, request)

    def cell(self, run: str, cell: int) -> tuple[Request, Path | None] | None:
        """Read one cell's Request and the file of its picture, without the rest of its run.

        Returns: None if there is no such cell, or its record cannot be read.
        """
        record = self.cell_record(run, cell)
        if record is None:
            return None
        request, address = record
        return request, self.path(address) if address else None

    def restore(self, id: str) -> Run | None:
        """Rebuild a recorded run with its pictures.

        It is over, whatever it was before, unless another studio makes it: then it can be looked
        at as it grows.
        Raises: StorageUnavailable: if it cannot be read.
        """
        stored = self.run(id)
        if stored is None:
            return None
        over = stored.status not in ("queued", "running")
        warnings = {i: cell.warnings for i, cell in enumerate(stored.cells) if cell.warnings}
        requests = [cell.request for cell in stored.cells]
        run = Run(
            stored.sheet,
            requests,
            stored.id,
            look=None if over else self._look,
            warnings=warnings,
        )
        run.winner = stored.winner
        if stored.status != "queued":
            run.publish(RunStarted(run.id, run.requests, warnings))
        self._tell(run, stored)
        return run

    def _look(self, run: Run) -> None:
        """Tell a run what another studio has made of it since."""
        with suppress(StorageUnavailable):
            stored = self.run(run.id)
            if stored is not None:
                if stored.status != "queued" and run.snapshot().status == "queued":
                    run.publish(RunStarted(run.id, run.requests))
                self._tell(run, stored)

    def _tell(self, run: Run, stored: StoredRun) -> None:
        """Publish what is recorded of a run and was not published yet."""
        known = run.snapshot().cells
        for number, cell in enumerate(stored.cells):
            if known[number].status in ("done", "failed"):
                continue
            image = self.picture(cell.address, cell.request) if cell.address else None
            if cell.address and image is not None:
                file = self.path(cell.address)
                run.publish(
                    CellDone(
                        run=run.id,
                        cell=number,
                        request=cell.request,
                        image=image,
                        file=file,
                        seconds=cell.seconds,
                        cached=cell.cached,
                        warnings=cell.warnings,
                    )
                )
            elif cell.error:
                run.publish(CellFailed(run.id, number, cell.request, cell.error, cell.warnings))
        if stored.status not in ("queued", "running"):
            run.publish(RunFinished(run.id, stored.status, stored.stats, stored.error))
