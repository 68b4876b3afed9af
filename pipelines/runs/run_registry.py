"""Run registry: finds runs by id, those in memory and those that the store recorded."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace

from pipelines.runs.null_store import AnyStore
from pipelines.runs.run import Run
from pipelines.runs.store import RunSummary

KEPT_RUNS = 50
"""Finished runs that stay in memory; older ones come back from the store."""


class RunRegistry:
    """Registry of runs. All methods may be called from any thread."""

    def __init__(self, store: AnyStore) -> None:
        self._store = store
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, run: Run) -> None:
        """Keep a new run; the oldest finished ones give way to it."""
        with self._lock:
            self._runs[run.id] = run
            finished = [id for id, one in self._runs.items() if one.snapshot().finished]
            for id in finished[: max(0, len(self._runs) - KEPT_RUNS)]:
                del self._runs[id]

    def in_memory(self) -> list[Run]:
        """List the runs in memory, oldest first."""
        with self._lock:
            return list(self._runs.values())

    def find(self, id: str) -> Run | None:
        """Find a run by its id, live or from the store; None if there is none."""
        with self._lock:
            if id in self._runs:
                return self._runs[id]
        run = self._store.restore(id)
        if run is None:
            return None
        with self._lock:
            return self._runs.setdefault(id, run)

    def pick_winner(self, id: str, cell: int | None) -> bool:
        """Keep which finished cell of a run the user likes best; None takes it back.

        Returns: whether there is such a run and such a picture.
        """
        run = self.find(id)
        if run is None:
            return False
        cells = run.snapshot().cells
        if cell is not None and not (0 <= cell < len(cells) and cells[cell].status == "done"):
            return False
        run.winner = cell
        self._store.pick_winner(id, cell)
        return True

    def recent(self, limit: int) -> list[RunSummary]:
        """List the newest runs in the store, newest first, with what is known of live ones."""
        found = self._store.recent(limit)
        live = {run.id: run.snapshot().status for run in self.in_memory()}
        return [replace(one, status=live.get(one.id, one.status)) for one in found]
