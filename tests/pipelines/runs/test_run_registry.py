"""Old runs in memory: a thumbnail brings none back, and what comes back has a budget."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from pipelines import Axis, Request, Sheet
from pipelines.runs.events import Stats
from pipelines.runs.run_registry import RunRegistry
from pipelines.runs.store import Store

SIDE, CELLS = 64, 10
RUN_BYTES = SIDE * SIDE * 3 * CELLS
BASE = Request(model="m", prompt="an apple", width=SIDE, height=SIDE)
SHEET = Sheet(base=BASE, axes=(Axis(field="seed", values=tuple(range(CELLS))),))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Twelve runs of ten pictures."""
    store = Store(tmp_path)
    for run in range(12):
        store.begin(f"run{run}", SHEET, SHEET.expand())
        for cell, request in enumerate(SHEET.expand()):
            address = f"{run:016x}{cell:016x}"
            store.save_picture(address, Image.new("RGB", (SIDE, SIDE), (run, cell, 0)), request)
            store.cell_done(f"run{run}", cell, address=address, seconds=1.0, cached=False)
        store.end(f"run{run}", "done", Stats(cells=CELLS), None)
    yield store
    store.close()


def test_a_thumbnail_restores_no_run(store: Store) -> None:
    registry = RunRegistry(store)
    for run in range(12):
        found = registry.cell(f"run{run}", 3)
        assert found is not None and found[1] is not None
        assert found[0].seed == 3 and found[1].is_file()
    assert registry.in_memory() == []
    assert registry.cell("run0", CELLS) is None and registry.cell("run0", -1) is None
    assert registry.cell("none", 0) is None


def test_runs_that_come_back_keep_within_the_budget(store: Store) -> None:
    registry = RunRegistry(store, kept_bytes=3 * RUN_BYTES)
    for run in range(12):
        found = registry.find(f"run{run}")
        assert found is not None and found.picture_bytes == RUN_BYTES
    assert [run.id for run in registry.in_memory()] == ["run9", "run10", "run11"]
    registry.find("run9")
    registry.find("run0")
    assert [run.id for run in registry.in_memory()] == ["run11", "run9", "run0"]


def test_the_run_in_use_stays_whatever_it_takes(store: Store) -> None:
    registry = RunRegistry(store, kept_bytes=1)
    for name in ("run1", "run2"):
        run = registry.find(name)
        assert run is not None and registry.find(name) is run
        assert registry.in_memory() == [run]
