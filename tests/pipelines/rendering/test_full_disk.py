"""A disk that is full, a database that is locked, a folder that is gone: runs say so and go on."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

import app
from pipelines import Axis, Request, Sheet, StorageUnavailable, Studio
from pipelines.runs.events import RunNotice
from pipelines.runs.run import Run
from pipelines.runs.storage.database import PATIENCE
from tests.helpers.disks import full_files, locked

BASE = Request(model="tiny", prompt="an apple", sampler="ddim", steps=2, seed=5)
SEEDS = Sheet(base=BASE, axes=(Axis(field="seed", values=tuple(range(40))),))


@pytest.fixture
def studio(models: Path, tmp_path: Path, one_thread: None) -> Iterator[Studio]:
    studio = Studio(models, tmp_path / "outputs", device="cpu")
    yield studio
    studio.close()


def ended(run: Run, seconds: float = 60.0) -> Run:
    """The run, once it has ended: a dead worker must not hang the test."""
    end = time.monotonic() + seconds
    while not run.snapshot().finished:
        assert time.monotonic() < end, "it never ends"
        time.sleep(0.02)
    return run


def notices(run: Run) -> list[str | None]:
    return [event.text for event in run.events() if isinstance(event, RunNotice)]


def room_beside_the_database(studio: Studio, more: int) -> int:
    """Bytes to which no file but the database grows, which may grow so much more."""
    assert studio.store.folder is not None
    file = studio.store.folder / "contact-sheet.sqlite"
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return max(file.stat().st_size, Path(f"{file}-wal").stat().st_size) + more


@pytest.mark.parametrize("room", [100, 5_000, 40_000])
def test_a_run_that_cannot_be_recorded_is_refused_and_the_next_one_works(
    studio: Studio, room: int
) -> None:
    studio.image(BASE.replace(seed=100))
    with full_files(room), pytest.raises(StorageUnavailable, match=r"contact-sheet\.sqlite"):
        studio.submit(SEEDS)
    assert len(studio.recent(9)) == 1, "nothing is queued"
    assert ended(studio.submit(SEEDS)).snapshot().status == "done"


def test_a_run_whose_pictures_find_no_room_ends_at_once_with_one_line(studio: Studio) -> None:
    studio.image(BASE.replace(seed=100))
    # The first is finished long before the others, and larger than a small probe.
    axes = (Axis(field="steps", values=(1, 9, 10, 11)),)
    sheet = Sheet(base=BASE.replace(width=512, height=512), axes=axes)
    with full_files(room_beside_the_database(studio, 400_000)):
        run = ended(studio.submit(sheet))
    now = run.snapshot()
    assert now.status == "failed" and now.error and "\n" not in now.error
    assert now.error.endswith("free some room and run it again")
    assert now.evaluations <= 8, "what could not be kept is not made"
    assert all(cell.error == now.error for cell in now.cells[1:]) and now.cells[0].error
    assert studio.alive and studio.recent(1)[0].status == "failed"
    assert ended(studio.submit(SEEDS)).snapshot().status == "done"


def test_a_record_that_finds_no_room_fails_its_run(studio: Studio) -> None:
    studio.image(BASE.replace(seed=100))
    with full_files(room_beside_the_database(studio, 90_000)):
        run = studio.submit(SEEDS)
        assert studio.store.folder is not None
        grown = Path(f"{studio.store.folder}/contact-sheet.sqlite-wal").stat().st_size
        with full_files(grown + 8_000):
            now = ended(run).snapshot()
    assert now.status == "failed" and "could not be recorded" in str(now.error)
    assert [cell.status for cell in now.cells] == ["done"] * 40
    assert ended(studio.submit(SEEDS)).snapshot().stats.cells_cached == 40
    assert studio.recent(1)[0].status == "done"


def test_a_disk_that_is_really_full(models: Path, tmp_path: Path, one_thread: None) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting needs rights")
    try:
        studio = Studio(models, disk / "outputs", device="cpu")
        studio.image(BASE.replace(seed=100))
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file:
            with pytest.raises(OSError, match="No space"):
                while True:
                    file.write(bytes(4096))
            file.truncate(file.tell() - 64 * 1024)
        run = ended(studio.submit(Sheet(base=BASE.replace(width=128, height=128), axes=SEEDS.axes)))
        now = run.snapshot()
        assert now.status == "failed" and "No space left" in str(now.error)
        assert 0 < sum(cell.error is not None for cell in now.cells) <= 40
        filler.unlink()
        assert ended(studio.submit(SEEDS)).snapshot().status == "done"
        studio.close()
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_the_command_line_ends_with_one_line(
    models: Path, tmp_path: Path, one_thread: None
) -> None:
    words = ["sheet", "an apple", "--model", "tiny", "--sampler", "ddim", "--steps", "2",
             "--device", "cpu", "--models", str(models), "--axis", "seed=0-20",
             "--out", str(tmp_path / "sheet"), "--outputs", str(tmp_path / "outputs")]  # fmt: skip
    Studio(models, tmp_path / "outputs", device="cpu").close()
    with full_files(3_000):
        result = CliRunner().invoke(app.app, words)
    assert result.exit_code == 1, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.output
    assert CliRunner().invoke(app.app, words).exit_code == 0


def test_a_locked_database_is_waited_for(studio: Studio) -> None:
    studio.image(BASE.replace(seed=100))
    database = studio.store.folder / "contact-sheet.sqlite" if studio.store.folder else Path()
    with locked(database) as other:
        run = studio.submit(Sheet(base=BASE))
        end = time.monotonic() + 30
        while run.snapshot().notice is None:
            assert time.monotonic() < end, "nothing is said"
            time.sleep(0.02)
        assert "another process has locked" in str(run.snapshot().notice)
        assert not run.snapshot().finished
        assert other.stdin is not None
        other.stdin.close()
        now = ended(run).snapshot()
    assert now.status == "done" and now.notice is None
    assert notices(run)[-1] is None
    assert [one.status for one in studio.recent(1)] == ["done"]
    assert PATIENCE >= 60


def test_a_database_that_is_locked_while_a_run_is_made(studio: Studio) -> None:
    studio.image(BASE.replace(seed=100))
    assert studio.store.folder is not None
    # All of different length, so that they finish one by one.
    axis = Axis(field="steps", values=tuple(range(10, 410, 10)))
    large = Sheet(base=BASE, axes=(axis,))
    run = studio.submit(large)
    while not any(cell.status == "done" for cell in run.snapshot().cells):
        time.sleep(0.01)
    with locked(studio.store.folder / "contact-sheet.sqlite") as other:
        threading.Timer(4.0, lambda: other.stdin and other.stdin.close()).start()
        now = ended(run).snapshot()
    assert now.status == "done"
    assert any("locked" in str(text) for text in notices(run))
    found = studio.store.run(run.id) if studio.store.keeps else None  # type: ignore[union-attr]
    assert found is not None and all(cell.address for cell in found.cells)


def test_an_outputs_folder_that_is_deleted_in_mid_run_is_made_again(
    studio: Studio, tmp_path: Path
) -> None:
    assert studio.store.folder is not None
    run = studio.submit(Sheet(base=BASE.replace(steps=60), axes=SEEDS.axes))
    end = time.monotonic() + 60
    while not any(cell.status == "done" for cell in run.snapshot().cells):
        assert time.monotonic() < end
        time.sleep(0.005)
    studio.store.folder.rename(tmp_path / "gone")  # at once, while pictures are being written
    now = ended(run).snapshot()
    assert now.status == "done" and "made again" in str(now.notice)
    assert studio.recent(1)[0].id == run.id
    with sqlite3.connect(studio.store.folder / "contact-sheet.sqlite") as db:
        rows = db.execute("SELECT address FROM cells WHERE run = ?", (run.id,)).fetchall()
    assert len(rows) == 40
    assert all(address and studio.store.has(address) for (address,) in rows)


def test_deleted_pictures_are_written_again_at_the_end(studio: Studio, tmp_path: Path) -> None:
    assert studio.store.folder is not None
    run = studio.submit(Sheet(base=BASE.replace(steps=60), axes=SEEDS.axes))
    end = time.monotonic() + 60
    while not any(cell.status == "done" for cell in run.snapshot().cells):
        assert time.monotonic() < end
        time.sleep(0.005)
    (studio.store.folder / "pictures").rename(tmp_path / "gone")
    now = ended(run).snapshot()
    assert now.status == "done"
    assert all(cell.file is not None and cell.file.is_file() for cell in now.cells)
