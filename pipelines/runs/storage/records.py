"""Run records: what the database of the outputs folder has of runs and their cells."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from pipelines.errors import ContactSheetError, StorageUnavailable
from pipelines.request.request import Request
from pipelines.request.sheet import Sheet
from pipelines.runs.events import RunStatus, Stats, Warnings
from pipelines.runs.storage.database import PATIENCE, Database, Told
from pipelines.runs.storage.stored_run import RunSummary, StoredCell, StoredRun
from pipelines.runs.storage.studio_lock import StudioLock

log = logging.getLogger(__name__)


class RunRecords:
    """Records of runs in one database. All methods may be called from any thread.

    Args:
        studio: the lock of the studio that writes; what others write is theirs.
    """

    def __init__(self, database: Database, studio: StudioLock) -> None:
        self._db = database
        self._studio = studio

    def begin(
        self,
        run: str,
        sheet: Sheet,
        cells: Sequence[Request],
        patience: float = PATIENCE,
        told: Told | None = None,
    ) -> None:
        """Record a run that was asked for; one that is recorded already stays as it is.

        Args:
            patience: seconds that a locked database is waited for.
            told: is told of the wait.
        Raises: StorageUnavailable: if it cannot be recorded now.
        """
        stats = json.dumps(asdict(Stats()))

        def insert(db: sqlite3.Connection) -> None:
            with self._db.errors():
                self._studio.hold()
            found = db.execute(
                "INSERT OR IGNORE INTO runs (id, created, status, sheet, stats, error) "
                "VALUES (?, ?, 'queued', ?, ?, NULL)",
                (run, time.time(), sheet.model_dump_json(), stats),
            )
            if not found.rowcount:
                return
            db.execute(
                "INSERT OR REPLACE INTO owners (run, studio) VALUES (?, ?)",
                (run, self._studio.name),
            )
            db.executemany(
                "INSERT INTO cells (run, cell, request) VALUES (?, ?, ?)",
                [(run, i, request.to_json()) for i, request in enumerate(cells)],
            )

        self._db.write(insert, patience, told)

    def started(self, run: str, patience: float = PATIENCE) -> None:
        """Record that a run is being made. Raises: StorageUnavailable."""
        self._db.write(
            lambda db: db.execute("UPDATE runs SET status = 'running' WHERE id = ?", (run,)),
            patience,
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
        patience: float = PATIENCE,
        told: Told | None = None,
        warnings: Warnings = (),
    ) -> bool:
        """Record how a cell ended. Returns: whether there is a record of the run.

        Raises: StorageUnavailable: if it cannot be recorded now.
        """
        values = (address, seconds, cached, error, run, cell)
        said = [(run, cell, text) for text in warnings]

        def update(db: sqlite3.Connection) -> bool:
            found = db.execute(
                "UPDATE cells SET address = ?, seconds = ?, cached = ?, error = ? "
                "WHERE run = ? AND cell = ?",
                values,
            ).rowcount
            if found and said:
                db.executemany("INSERT OR IGNORE INTO warnings VALUES (?, ?, ?)", said)
            return found > 0

        return self._db.write(update, patience, told)

    def end(
        self,
        run: str,
        status: RunStatus,
        stats: Stats,
        error: str | None,
        patience: float = PATIENCE,
        told: Told | None = None,
    ) -> bool:
        """Record how a run ended. Returns: whether there is a record of the run.

        Raises: StorageUnavailable: if it cannot be recorded now.
        """
        values = (status, json.dumps(asdict(stats)), error, run)
        return self._db.write(
            lambda db: (
                db.execute(
                    "UPDATE runs SET status = ?, stats = ?, error = ? WHERE id = ?", values
                ).rowcount
                > 0
            ),
            patience,
            told,
        )

    def pick_winner(self, run: str, cell: int | None) -> None:
        """Record which cell the user likes best; None takes it back.

        Raises: StorageUnavailable: if it cannot be recorded now.
        """

        def replace(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM winners WHERE run = ?", (run,))
            if cell is not None:
                db.execute("INSERT INTO winners (run, cell) VALUES (?, ?)", (run, cell))

        self._db.write(replace, patience=5.0)

    def run(self, id: str) -> StoredRun | None:
        """Read a run as it was recorded; one that was cut off counts as stopped.

        Raises: StorageUnavailable: if it cannot be read.
        """

        def select(db: sqlite3.Connection) -> tuple[Any, Any, Any, Any]:
            return (
                db.execute(
                    "SELECT status, sheet, stats, error, "
                    "(SELECT studio FROM owners WHERE run = runs.id) FROM runs WHERE id = ?",
                    (id,),
                ).fetchone(),
                db.execute(
                    "SELECT cell, request, address, seconds, cached, error FROM cells "
                    "WHERE run = ? ORDER BY cell",
                    (id,),
                ).fetchall(),
                db.execute("SELECT cell FROM winners WHERE run = ?", (id,)).fetchone(),
                db.execute(
                    "SELECT cell, text FROM warnings WHERE run = ? ORDER BY rowid", (id,)
                ).fetchall(),
            )

        row, cells, winner, told = self._db.read(select)
        if row is None:
            return None
        status, sheet, stats, error, studio = row
        try:
            asked = Sheet.model_validate_json(sheet)
            return StoredRun(
                id=id,
                status=self._status(status, studio),
                sheet=asked,
                stats=Stats(**json.loads(stats)),
                error=error,
                cells=_stored_cells(asked, cells, told),
                winner=None if winner is None else winner[0],
            )
        except (ValueError, TypeError, ContactSheetError) as unreadable:
            log.warning("run %s cannot be read: %s", id, unreadable)
            raise StorageUnavailable(
                f"run {id[:40]} cannot be read: its record is damaged, or another version's"
            ) from None

    def cell_record(self, run: str, cell: int) -> tuple[Request, str | None] | None:
        """Read one cell's Request and its picture's address, without the rest of its run.

        Returns: None if there is no such cell, or its record cannot be read.
        """
        row = self._db.read(
            lambda db: db.execute(
                "SELECT request, address FROM cells WHERE run = ? AND cell = ?", (run, cell)
            ).fetchone()
        )
        if row is None:
            return None
        with suppress(ValueError, TypeError, ContactSheetError):
            return Request.from_json(row[0]), _checked(row[1])
        return None

    def recent(self, limit: int) -> list[RunSummary]:
        """List the newest runs, newest first; records that cannot be read are left out.

        Raises: StorageUnavailable: if the database cannot be read.
        """
        # By the order in which they came, not by their times: clocks are set back.
        rows = self._db.read(
            lambda db: db.execute(
                "SELECT id, created, status, "
                "(SELECT request FROM cells WHERE run = runs.id "
                "ORDER BY address IS NULL, cell LIMIT 1), "
                "(SELECT count(*) FROM cells WHERE run = runs.id), "
                "(SELECT min(cell) FROM cells WHERE run = runs.id AND address IS NOT NULL), "
                "(SELECT studio FROM owners WHERE run = runs.id) "
                "FROM runs ORDER BY rowid DESC LIMIT ?",
                (limit,),
            ).fetchall()
        )
        found = []
        for id, created, status, request, cells, shown, studio in rows:
            try:
                prompt = str(json.loads(request)["prompt"])
                status = self._status(status, studio)
                found.append(RunSummary(str(id), float(created), status, prompt, cells, shown))
            except (ValueError, TypeError, KeyError) as error:
                log.warning("run %s is left out, its record cannot be read: %r", id, error)
        return found

    def _status(self, status: str, studio: str | None) -> RunStatus:
        """How a recorded run ended; one without an end was cut off, unless another studio that
        still works here makes it."""
        mine = studio == self._studio.name
        if (
            status in ("queued", "running")
            and studio
            and not mine
            and self._studio.is_alive(studio)
        ):
            return "queued" if status == "queued" else "running"
        return "done" if status == "done" else "failed" if status == "failed" else "stopped"


_ADDRESS = re.compile(r"[0-9a-f]{32}")
_UNREADABLE = "its record cannot be read; run it again"


def _stored_cells(
    sheet: Sheet, rows: Sequence[tuple[Any, ...]], told: Sequence[tuple[Any, ...]]
) -> list[StoredCell]:
    """The cells of a sheet from their rows; one that cannot be read is as the sheet has it."""
    known: dict[int, StoredCell] = {}
    said: dict[Any, Warnings] = {}
    for number, text in told:
        said[number] = (*said.get(number, ()), str(text))
    for cell, request, address, seconds, cached, why in rows:
        with suppress(ValueError, TypeError, ContactSheetError):
            made = Request.from_json(request)
            known[cell] = StoredCell(
                made,
                _checked(address),
                float(seconds or 0.0),
                bool(cached),
                why,
                said.get(cell, ()),
            )
    numbers = range(len(sheet.indices()))
    asked = [] if all(number in known for number in numbers) else sheet.expand()
    return [
        known[number]
        if number in known
        else StoredCell(asked[number], None, 0.0, False, _UNREADABLE)
        for number in numbers
    ]


def _checked(address: Any) -> str | None:
    """An address as it is. Raises: ValueError: if it is none, and could name any file."""
    if address is None or (isinstance(address, str) and _ADDRESS.fullmatch(address)):
        return address
    raise ValueError(f"{address!r} is no address")
