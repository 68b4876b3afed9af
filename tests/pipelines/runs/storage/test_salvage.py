"""A damaged database: noticed at once, put aside, and what can be read of it kept."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

from pipelines import (
    Axis,
    ContactSheetError,
    InvalidRequest,
    Request,
    Sheet,
    StorageUnavailable,
)
from pipelines.runs.events import Stats
from pipelines.runs.store import Store

BASE = Request(model="m", prompt="an apple", width=8, height=8)
SHEET = Sheet(base=BASE, axes=(Axis(field="seed", values=tuple(range(20))),))


def address(number: int) -> str:
    return f"{number:02x}" + f"{number:030d}"


def fill(folder: Path, runs: int = 30) -> Path:
    """A folder with runs of twenty cells; the first cell of each has a picture."""
    store = Store(folder)
    for number in range(runs):
        store.begin(f"run{number:02d}", SHEET, SHEET.expand())
        store.save_picture(address(number), Image.new("RGB", (8, 8), (number, 0, 0)), BASE)
        store.cell_done(f"run{number:02d}", 0, address=address(number), seconds=1.0, cached=False)
        store.end(f"run{number:02d}", "done", Stats(cells=20), None)
    store.close()
    return folder / "contact-sheet.sqlite"


def write_at(file: Path, place: int, content: bytes) -> None:
    with file.open("rb+") as opened:
        opened.seek(place)
        opened.write(content)


def middle(file: Path) -> None:
    pages = file.stat().st_size // 4096
    for page in range(pages // 3, pages // 2):
        write_at(file, page * 4096, b"\xa5" * 4096)


def cut_off(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2 // 4096 * 4096])


def zeroed_head(file: Path) -> None:
    write_at(file, 0, bytes(4096))


def text(file: Path) -> None:
    file.write_text("this was a database once\n" * 1000)


@pytest.mark.parametrize("damage", [middle, cut_off, zeroed_head, text])
def test_a_damaged_database_is_put_aside_and_its_pictures_come_back(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    file = fill(tmp_path)
    damage(file)
    bad = file.read_bytes()
    store = Store(tmp_path)
    (notice,) = store.notices
    (aside,) = tmp_path.glob("contact-sheet-damaged-*.sqlite")
    assert aside.name in notice and "damaged" in notice and aside.read_bytes() == bad
    shown = set()
    for one in store.recent(100):
        run = store.restore(one.id)
        assert run is not None
        shown |= {cell.file.stem for cell in run.snapshot().cells if cell.file is not None}
    assert shown == {address(number) for number in range(30)}, "every picture, once"
    named = [one.id.startswith("run") for one in store.recent(100)]
    assert named == sorted(named, reverse=True), "runs first, then pictures that belong to none"
    store.begin("new", SHEET, SHEET.expand())
    assert store.recent(1)[0].id == "new"
    store.close()
    again = Store(tmp_path)
    assert not again.notices and again.recent(1)[0].id == "new"
    again.close()


def test_runs_that_can_be_read_are_kept_in_their_order(tmp_path: Path) -> None:
    file = fill(tmp_path)
    middle(file)
    store = Store(tmp_path)
    kept = [one.id for one in store.recent(100) if one.id.startswith("run")]
    assert len(kept) >= 5 and kept == sorted(kept, reverse=True)
    store.close()


def test_it_is_not_taken_away_from_another_studio(tmp_path: Path) -> None:
    file = fill(tmp_path)
    other = Store(tmp_path)
    middle(file)
    with pytest.raises(StorageUnavailable, match=r"damaged.*another studio uses it"):
        Store(tmp_path)
    assert file.exists() and not list(tmp_path.glob("*damaged*"))
    other.close()


def test_an_old_schema_is_put_aside_with_what_it_has(tmp_path: Path) -> None:
    file = fill(tmp_path, 3)
    with sqlite3.connect(file) as db:
        db.execute("ALTER TABLE runs DROP COLUMN stats")
        db.execute("ALTER TABLE cells DROP COLUMN cached")
    store = Store(tmp_path)
    assert "no stats" in store.notices[0] or "no cached" in store.notices[0]
    assert [one.id for one in store.recent(9)] == ["run02", "run01", "run00"]
    run = store.restore("run01")
    assert run is not None and run.snapshot().cells[0].status == "done"
    store.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE cells SET request = 'no JSON' WHERE run = 'run01'",
        "UPDATE cells SET request = '{}' WHERE run = 'run01'",
        "UPDATE cells SET request = '[1]' WHERE run = 'run01'",
        "UPDATE runs SET sheet = '{' WHERE id = 'run01'",
        "UPDATE runs SET stats = '{\"moons\": 3}' WHERE id = 'run01'",
        "UPDATE runs SET created = 'yesterday' WHERE id = 'run01'",
        "UPDATE runs SET status = 'unheard of' WHERE id = 'run01'",
        "UPDATE cells SET seconds = 'long' WHERE run = 'run01'",
        "UPDATE cells SET address = x'00ff' WHERE run = 'run01' AND cell = 0",
        "UPDATE cells SET cell = cell + 100 WHERE run = 'run01'",
        "DELETE FROM cells WHERE run = 'run01'",
    ],
)
def test_one_unreadable_row_hides_no_other(tmp_path: Path, change: str) -> None:
    file = fill(tmp_path, 3)
    with sqlite3.connect(file) as db:
        db.execute(change)
    store = Store(tmp_path)
    assert {"run00", "run02"} <= {one.id for one in store.recent(9)}
    for name in ("run00", "run01", "run02"):
        try:
            run = store.restore(name)
        except StorageUnavailable as error:
            assert name == "run01" and "run01 cannot be read" in str(error)
        else:
            assert run is not None and run.snapshot().finished
    assert store.cell("run00", 0) is not None
    store.cell("run01", 0)
    store.close()


def test_runs_without_cells_and_cells_without_runs_are_left_out(tmp_path: Path) -> None:
    file = fill(tmp_path, 3)
    with sqlite3.connect(file) as db:
        db.execute("DELETE FROM cells WHERE run = 'run00'")
        db.execute("DELETE FROM runs WHERE id = 'run01'")
        db.execute("ALTER TABLE runs DROP COLUMN stats")
    Store(tmp_path).close()
    with sqlite3.connect(file) as db:
        runs = {row[0] for row in db.execute("SELECT id FROM runs")}
        cells = {row[0] for row in db.execute("SELECT run FROM cells")}
    assert runs == cells and "run02" in runs and not {"run00", "run01"} & runs


def test_what_is_written_ahead_is_not_lost(tmp_path: Path) -> None:
    """A killed process leaves its last runs in the file beside the database."""
    store = Store(tmp_path / "old")
    store.begin("run", SHEET, SHEET.expand())
    store.end("run", "done", Stats(), None)
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "new" / "contact-sheet.sqlite-wal").stat().st_size
    store.close()
    found = Store(tmp_path / "new")
    assert not found.notices and [one.id for one in found.recent(3)] == ["run"]
    found.close()


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    (tmp_path / "contact-sheet.sqlite").touch()
    store = Store(tmp_path)
    assert store.recent(3) == [] and not store.notices
    store.close()


def test_a_folder_of_its_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "contact-sheet.sqlite").mkdir()
    with pytest.raises(InvalidRequest, match="cannot be written"):
        Store(tmp_path)
    assert not list(tmp_path.glob("*studio*")), "the lock is let go"


def test_another_program_s_database_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "contact-sheet.sqlite"
    with sqlite3.connect(file) as db:
        db.execute("CREATE TABLE runs (distance REAL, shoes TEXT)")
        db.execute("INSERT INTO runs VALUES (42.2, 'red')")
    with suppress(ContactSheetError):
        Store(tmp_path).close()
    kept = [file, *tmp_path.glob("*damaged*.sqlite")]
    found = []
    for one in kept:
        with sqlite3.connect(one) as db, suppress(sqlite3.Error):
            found += db.execute("SELECT shoes FROM runs").fetchall()
    assert found == [("red",)]


def test_a_newer_schema_is_used_with_what_it_has_more(tmp_path: Path) -> None:
    file = fill(tmp_path, 3)
    with sqlite3.connect(file) as db:
        db.execute("ALTER TABLE runs ADD COLUMN mood TEXT DEFAULT 'good'")
        db.execute("CREATE TABLE moons (name TEXT)")
    store = Store(tmp_path)
    assert not store.notices and len(store.recent(9)) == 3
    store.begin("new", SHEET, SHEET.expand())
    assert store.restore("run01") is not None and store.recent(1)[0].id == "new"
    store.close()


def test_one_unreadable_cell_hides_no_other_of_its_run(tmp_path: Path) -> None:
    file = fill(tmp_path, 1)
    with sqlite3.connect(file) as db:
        db.execute("UPDATE cells SET request = 'no JSON' WHERE cell = 7")
    store = Store(tmp_path)
    run = store.run("run00")
    assert run is not None and len(run.cells) == 20 and run.cells[0].address == address(0)
    assert [i for i, cell in enumerate(run.cells) if cell.error] == [7]
    store.close()


def test_a_database_that_breaks_while_it_is_open_gives_our_errors(tmp_path: Path) -> None:
    file = fill(tmp_path)
    store = Store(tmp_path)
    content = file.read_bytes()
    write_at(file, 100, b"\xa5" * (len(content) - 100))
    for call in (
        lambda: store.recent(100),
        lambda: store.run("run03"),
        lambda: store.begin("x", SHEET, SHEET.expand()),
        lambda: store.pick_winner("run03", 0),
        lambda: store.end("run03", "done", Stats(), None),
    ):
        with pytest.raises(StorageUnavailable, match="contact-sheet"):
            call()
    store.close()
