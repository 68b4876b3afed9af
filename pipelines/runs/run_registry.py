"""Run registry: finds runs by id, those in memory and those that the store recorded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

from pipelines.request.request import Request
from pipelines.runs.null_store import AnyStore
from pipelines.runs.run import Run
from pipelines.runs.store import RunSummary

KEPT_RUNS = 50
"""Finished runs that stay in memory; older ones come back from the store."""

KEPT_BYTES = 512 * 2**20
"""Bytes that the pictures of finished runs may take there together."""


class RunRegistry:
    """Registry of runs. All methods may be called from any thread.

    Args:
        kept_bytes: what the pictures of finished runs may take; the one used last stays whatever
            it takes.
    """

    def __init__(self, store: AnyStore, kept_bytes: int = KEPT_BYTES) -> None:
        self._store = store
        self._kept_bytes = kept_bytes
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, run: Run) -> None:
        """Keep a new run; finished ones that were not used for longest give way to it."""
        with self._lock:
            self._runs[run.id] = run
            self._make_room(run)

    def in_memory(self) -> list[Run]:
        """List the runs in memory, the one used last at the end."""
        with self._lock:
            return list(self._runs.values())

    def live(self, id: str) -> Run | None:
        """Find a run in memory by its id."""
        with self._lock:
            return self._runs.get(id)

    def find(self, id: str) -> Run | None:
        """Find a run by its id, live or from the store; None if there is none.

        Raises: StorageUnavailable: if its record cannot be read.
        """
        with self._lock:
            run = self._runs.get(id)
            if run is not None:
                self._runs.move_to_end(id)
        if run is None:
            restored = self._store.restore(id)
            if restored is None:
                return None
            with self._lock:
                run = self._runs.setdefault(id, restored)
                self._make_room(run)
        run.look()
        return run

    def cell(self, id: str, cell: int) -> tuple[Request, Path | None] | None:
        """Find a cell's Request and the file of its picture; no run is restored for this.

        Returns: None if there is no such cell.
        Raises: StorageUnavailable: if the database cannot be read.
        """
        run = self.live(id)
        if run is None:
            return self._store.cell(id, cell)
        cells = run.snapshot().cells
        return (cells[cell].request, cells[cell].file) if 0 <= cell < len(cells) else None

    def pick_winner(self, id: str, cell: int | None) -> bool:
        """Keep which finished cell of a run the user likes best; None takes it back.

        Returns: whether there is such a run and such a picture.
        Raises: StorageUnavailable: if it cannot be read or recorded.
        """
        run = self.find(id)
        if run is None:
            return False
        cells = run.snapshot().cells
        if cell is not None and not (0 <= cell < len(cells) and cells[cell].status == "done"):
            return False
        self._store.pick_winner(id, cell)
        run.winner = cell
        return True

    def recent(self, limit: int) -> list[RunSummary]:
        """List the newest runs in the store, newest first, with what is known of live ones.

        Raises: StorageUnavailable: if the database cannot be read.
        """
        found = self._store.recent(limit)
        live = {run.id: run.snapshot().status for run in self.in_memory() if not run.elsewhere}
        return [replace(one, status=live.get(one.id, one.status)) for one in found]

    def _make_room(self, newest: Run) -> None:
        """Let finished runs go, those not used for longest first, until the rest fits."""
        over = [run for run in self._runs.values() if run is not newest and run.snapshot().finished]
        taken = {run.id: run.picture_bytes for run in [*over, newest]}
        total = sum(taken.values())
        for run in over:
            if len(self._runs) <= KEPT_RUNS and total <= self._kept_bytes:
                return
            del self._runs[run.id]
            total -= taken[run.id]
