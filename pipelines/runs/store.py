"""Run store: keeps pictures as PNG files named by content, and runs in one SQLite file.

A picture's address is a hash of its Request and of the model, so the same cell is never made twice.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InvalidRequest
from pipelines.request.request import Request
from pipelines.request.sheet import Sheet
from pipelines.runs.events import (
    CellDone,
    CellFailed,
    RunFinished,
    RunStarted,
    RunStatus,
    Stats,
    Warnings,
)
from pipelines.runs.png_metadata import read_request, write_png
from pipelines.runs.run import Run

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, created REAL NOT NULL, status TEXT NOT NULL,
    sheet TEXT NOT NULL, stats TEXT NOT NULL, error TEXT);
CREATE INDEX IF NOT EXISTS runs_created ON runs (created);
CREATE TABLE IF NOT EXISTS cells (
    run TEXT NOT NULL REFERENCES runs (id), cell INTEGER NOT NULL, request TEXT NOT NULL,
    address TEXT, seconds REAL, cached INTEGER, error TEXT,
    PRIMARY KEY (run, cell));
CREATE TABLE IF NOT EXISTS winners (
    run TEXT PRIMARY KEY REFERENCES runs (id), cell INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS warnings (
    run TEXT NOT NULL REFERENCES runs (id), cell INTEGER NOT NULL, text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS warnings_run ON warnings (run);
"""


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


class Store:
    """Store of finished pictures and runs. All methods may be called from any thread.

    Raises: InvalidRequest: if the folder cannot be written.
    """

    keeps = True
    """Whether anything stays; a `NullStore` keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._lock = threading.Lock()
        try:
            (self.folder / "pictures").mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self.folder / "contact-sheet.sqlite", check_same_thread=False, timeout=30
            )
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise InvalidRequest(f"outputs folder {folder} cannot be written: {error}") from None

    def close(self) -> None:
        """Close the database; pictures can still be read."""
        with self._lock:
            self._db.close()

    def path(self, address: str) -> Path:
        """Compute where the picture of this address lies, or would lie."""
        return self.folder / "pictures" / address[:2] / f"{address}.png"

    def has(self, address: str) -> bool:
        """Whether there is a picture of this address."""
        return self.path(address).is_file()

    def picture(self, address: str) -> Image | None:
        """Read a finished picture; None if it was not made yet, or its file is damaged."""
        from PIL import Image

        path = self.path(address)
        try:
            with Image.open(path) as image:
                image.load()
                if read_request(image) is not None:
                    return image.copy()
            damage: object = "it carries no settings"
        except FileNotFoundError:
            return None
        except (OSError, SyntaxError, ValueError, InvalidRequest) as error:
            damage = error
        log.warning("%s is damaged and counts as not made: %s", path, damage)
        return None

    def save_picture(self, address: str, image: Image, request: Request) -> Path:
        """Write a picture with its settings; whole or not at all."""
        return write_png(self.path(address), image, request)

    def begin(self, run: str, sheet: Sheet, cells: Sequence[Request]) -> None:
        """Record a run that was asked for."""
        with self._write() as db:
            db.execute(
                "INSERT INTO runs VALUES (?, ?, 'queued', ?, ?, NULL)",
                (run, time.time(), sheet.model_dump_json(), json.dumps(asdict(Stats()))),
            )
            db.executemany(
                "INSERT INTO cells (run, cell, request) VALUES (?, ?, ?)",
                [(run, i, request.to_json()) for i, request in enumerate(cells)],
            )

    def cell_done(
        self,
        run: str,
        cell: int,
        *,
        address: str | None,
        seconds: float,
        cached: bool,
        error: str | None = None,
        warnings: Warnings = (),
    ) -> None:
        """Record how a cell ended."""
        with self._write() as db:
            db.execute(
                "UPDATE cells SET address = ?, seconds = ?, cached = ?, error = ? "
                "WHERE run = ? AND cell = ?",
                (address, seconds, cached, error, run, cell),
            )
            db.execute("DELETE FROM warnings WHERE run = ? AND cell = ?", (run, cell))
            db.executemany(
                "INSERT INTO warnings VALUES (?, ?, ?)", [(run, cell, text) for text in warnings]
            )

    def end(self, run: str, status: RunStatus, stats: Stats, error: str | None) -> None:
        """Record how a run ended."""
        with self._write() as db:
            db.execute(
                "UPDATE runs SET status = ?, stats = ?, error = ? WHERE id = ?",
                (status, json.dumps(asdict(stats)), error, run),
            )

    def pick_winner(self, run: str, cell: int | None) -> None:
        """Record which cell the user likes best; None takes it back."""
        with self._write() as db:
            db.execute("DELETE FROM winners WHERE run = ?", (run,))
            if cell is not None:
                db.execute("INSERT INTO winners VALUES (?, ?)", (run, cell))

    def run(self, id: str) -> StoredRun | None:
        """Read a run as it was recorded; one that was cut off counts as stopped."""
        with self._lock:
            row = self._db.execute(
                "SELECT status, sheet, stats, error FROM runs WHERE id = ?", (id,)
            ).fetchone()
            cells = self._db.execute(
                "SELECT request, address, seconds, cached, error FROM cells "
                "WHERE run = ? ORDER BY cell",
                (id,),
            ).fetchall()
            winner = self._db.execute("SELECT cell FROM winners WHERE run = ?", (id,)).fetchone()
            told = self._db.execute(
                "SELECT cell, text FROM warnings WHERE run = ? ORDER BY rowid", (id,)
            ).fetchall()
        if row is None:
            return None
        status, sheet, stats, error = row
        said: dict[int, Warnings] = {}
        for number, text in told:
            said[number] = (*said.get(number, ()), text)
        return StoredRun(
            id=id,
            status=_ended(status),
            sheet=Sheet.model_validate_json(sheet),
            stats=Stats(**json.loads(stats)),
            error=error,
            cells=[
                StoredCell(
                    Request.from_json(text), at, took or 0.0, bool(was), why, said.get(i, ())
                )
                for i, (text, at, took, was, why) in enumerate(cells)
            ],
            winner=None if winner is None else winner[0],
        )

    def restore(self, id: str) -> Run | None:
        """Rebuild a recorded run with its pictures; it is over, whatever it was before."""
        stored = self.run(id)
        if stored is None:
            return None
        warnings = {i: cell.warnings for i, cell in enumerate(stored.cells) if cell.warnings}
        requests = [cell.request for cell in stored.cells]
        run = Run(stored.sheet, requests, stored.id, warnings=warnings)
        run.winner = stored.winner
        run.publish(RunStarted(run.id, run.requests, warnings))
        for number, cell in enumerate(stored.cells):
            image = self.picture(cell.address) if cell.address else None
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
        run.publish(RunFinished(run.id, stored.status, stored.stats, stored.error))
        return run

    def recent(self, limit: int) -> list[RunSummary]:
        """List the newest runs, newest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, created, status, "
                "(SELECT json_extract(request, '$.prompt') FROM cells WHERE run = runs.id "
                "ORDER BY address IS NULL, cell LIMIT 1), "
                "(SELECT count(*) FROM cells WHERE run = runs.id), "
                "(SELECT min(cell) FROM cells WHERE run = runs.id AND address IS NOT NULL) "
                "FROM runs ORDER BY created DESC LIMIT ?",
                (limit,),
            ).fetchall()
        return [
            RunSummary(id, created, _ended(status), prompt, cells, shown)
            for id, created, status, prompt, cells, shown in rows
        ]

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._db:
            yield self._db


def _ended(status: str) -> RunStatus:
    """How a recorded run ended; one without an end was cut off."""
    return "done" if status == "done" else "failed" if status == "failed" else "stopped"
