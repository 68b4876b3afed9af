"""Two studios on one outputs folder: each sees what the other makes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import Axis, Request, Sheet, Studio
from pipelines.runs.events import RunFinished
from pipelines.runs.store import Store
from tests.helpers.gates import loads_wait

BASE = Request(model="tiny", prompt="an apple", sampler="ddim", steps=3, seed=5)
SHEET = Sheet(base=BASE, axes=(Axis(field="seed", values=(1, 2, 3)),))


@pytest.fixture
def two(models: Path, tmp_path: Path, one_thread: None) -> Iterator[tuple[Studio, Studio]]:
    studios = Studio(models, tmp_path, device="cpu"), Studio(models, tmp_path, device="cpu")
    yield studios
    for studio in studios:
        studio.close()


def test_each_sees_the_other_s_run_wait_grow_and_end(two: tuple[Studio, Studio]) -> None:
    mine, other = two
    with loads_wait():
        run = mine.submit(SHEET)
        behind = mine.submit(Sheet(base=BASE.replace(seed=9)))
        while run.snapshot().status == "queued":
            time.sleep(0.01)
        time.sleep(0.3)
        seen = {one.id: one.status for one in other.recent()}
        assert seen == {run.id: "running", behind.id: "queued"}
        watched = other.find(run.id)
        assert watched is not None and watched.snapshot().status == "running"
        watched.stop()
        assert "stop it there" in str(watched.snapshot().notice)
    events = list(watched.events())
    assert isinstance(events[-1], RunFinished) and events[-1].status == "done"
    assert [cell.status for cell in watched.snapshot().cells] == ["done"] * 3
    list(behind.events())
    assert {one.status for one in other.recent()} == {"done"}


def test_none_of_twelve_runs_is_seen_as_stopped(two: tuple[Studio, Studio]) -> None:
    mine, other = two
    with loads_wait():
        runs = [mine.submit(Sheet(base=BASE.replace(seed=seed))) for seed in range(12)]
        seen = {one.id: one.status for one in other.recent()}
        assert set(seen) == {run.id for run in runs}
        assert set(seen.values()) <= {"queued", "running"}
    for run in runs:
        list(run.events())
    assert [one.status for one in other.recent()] == ["done"] * 12


CHILD = """
import sys, time
from pathlib import Path
from pipelines import Request, Sheet
from pipelines.runs.store import Store
store = Store(Path(sys.argv[1]))
sheet = Sheet(base=Request(prompt="x"))
name = sys.argv[2]
store.begin(name, sheet, sheet.expand())
store.started(name)
print("begun", flush=True)
time.sleep(100)
"""


def begun(folder: Path, run: str) -> subprocess.Popen[str]:
    """A process that works on a folder and has begun a run."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), run], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[4])},
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "begun\n"
    return process


def test_of_three_processes_only_the_killed_one_s_run_is_stopped(tmp_path: Path) -> None:
    processes = {name: begun(tmp_path, name) for name in ("a", "b", "c")}
    store = Store(tmp_path)
    try:
        assert {one.status for one in store.recent(5)} == {"running"}
        processes["b"].kill()
        processes["b"].wait()
        found = {one.id: one.status for one in store.recent(5)}
        assert found == {"a": "running", "b": "stopped", "c": "running"}
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
        store.close()


def test_a_killed_process_is_seen_to_be_gone(tmp_path: Path) -> None:
    process = begun(tmp_path, "theirs")
    store = Store(tmp_path)
    assert [one.status for one in store.recent(5)] == ["running"]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [one.status for one in store.recent(5)] == ["stopped"]
    store.close()
    Store(tmp_path).close()
    assert [path.name for path in tmp_path.iterdir() if "studio" in path.name] == []


def test_a_clock_that_is_set_back_hides_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, sheet = Store(tmp_path), Sheet(base=BASE)
    for name, now in (("first", 5e9), ("second", 4e9), ("third", 4.5e9)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        store.begin(name, sheet, sheet.expand())
    assert [one.id for one in store.recent(2)] == ["third", "second"]
    store.close()


def test_drafts_of_the_dead_are_swept_and_those_of_the_living_stay(tmp_path: Path) -> None:
    for folder in ("pictures/ab", "sources/cd"):
        (tmp_path / folder).mkdir(parents=True)
    old = [
        tmp_path / "pictures" / "ab" / ".x.png.0123456789ab.part",
        tmp_path / "sources" / "cd" / ".y.png.0123456789ab.part",
    ]
    kept = tmp_path / "pictures" / "ab" / "named.part"
    for path in (*old, kept):
        path.write_bytes(b"half")
        os.utime(path, (1e9, 1e9))
    living = Store(tmp_path)
    assert not any(path.exists() for path in old) and kept.exists()
    draft = tmp_path / "pictures" / "ab" / ".z.png.0123456789ab.part"
    draft.write_bytes(b"half")
    Store(tmp_path).close()
    assert draft.exists(), "the other studio may be writing it"
    living.close()
    time.sleep(0.02)
    Store(tmp_path).close()
    assert not draft.exists()
