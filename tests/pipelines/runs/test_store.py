"""The folder of finished work: whole files or none, and a history that survives a crash."""

from __future__ import annotations

import threading

import pytest
from PIL import Image, ImageChops

from pipelines.errors import InvalidRequest
from pipelines.request.request import Request
from pipelines.request.sheet import Axis, Sheet
from pipelines.runs.events import Stats
from pipelines.runs.png_metadata import read_request, write_png
from pipelines.runs.store import Store

ADDRESS = "ab" + "0" * 30
REQUEST = Request(model="m", prompt='größe, "q"', seed=4, width=8, height=8)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "outputs")
    yield store
    store.close()


def picture(colour="red"):
    return Image.new("RGB", (8, 8), colour)


def equal(one, other):
    return ImageChops.difference(one, other).getbbox() is None


def files(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and "sqlite" not in p.name)


def test_a_picture_comes_back_with_its_settings(store):
    assert store.picture(ADDRESS) is None
    path = store.save_picture(ADDRESS, picture(), REQUEST)
    assert path == store.path(ADDRESS) and path.parent.name == "ab"
    assert equal(store.picture(ADDRESS), picture())
    with Image.open(path) as image:
        assert read_request(image) == REQUEST and image.format == "PNG"
    assert files(store.folder) == [f"{ADDRESS}.png"], "no draft is left"


@pytest.mark.parametrize("damage", [lambda b: b[:-40], lambda b: b"", lambda b: b"text" * 50])
def test_a_damaged_picture_counts_as_not_made(store, damage, caplog):
    assert store.picture(ADDRESS) is None and not caplog.records, "nothing is there to be damaged"
    path = store.save_picture(ADDRESS, picture(), REQUEST)
    path.write_bytes(damage(path.read_bytes()))
    assert store.picture(ADDRESS) is None
    (said,) = caplog.records
    assert said.levelname == "WARNING"
    assert said.getMessage().startswith(f"{path} is damaged and counts as not made: ")
    store.save_picture(ADDRESS, picture("blue"), REQUEST)
    assert equal(store.picture(ADDRESS), picture("blue"))


def test_a_picture_without_settings_is_not_ours(store, caplog):
    store.path(ADDRESS).parent.mkdir(parents=True)
    picture().save(store.path(ADDRESS))
    assert store.picture(ADDRESS) is None
    assert caplog.messages == [
        f"{store.path(ADDRESS)} is damaged and counts as not made: it carries no settings"
    ]


def test_a_failed_write_leaves_nothing(tmp_path):
    folder = tmp_path / "taken.png"
    folder.mkdir()
    with pytest.raises(InvalidRequest, match=r"taken\.png cannot be written"):
        write_png(folder, picture(), REQUEST)
    assert files(tmp_path) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidRequest, match="cannot be written"):
        write_png(tmp_path / "file" / "a.png", picture(), REQUEST)
    assert files(tmp_path) == ["file"]


class Breaks(Image.Image):
    """A picture whose encoder gives up half-way."""

    def save(self, file, *args, **options):
        file.write(b"\x89PNG")
        raise RuntimeError("no")


def test_a_write_that_breaks_half_way_keeps_the_old_picture(tmp_path):
    path = write_png(tmp_path / "a.png", picture(), REQUEST)
    before = path.read_bytes()
    with pytest.raises(RuntimeError):
        write_png(path, Breaks(), REQUEST)
    assert path.read_bytes() == before and files(tmp_path) == ["a.png"]


def test_many_threads_write_one_picture(store):
    threads = [
        threading.Thread(target=store.save_picture, args=(ADDRESS, picture(), REQUEST))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert equal(store.picture(ADDRESS), picture())
    assert files(store.folder) == [f"{ADDRESS}.png"]


SHEET = Sheet(base=REQUEST, axes=(Axis(field="seed", values=(1, 2)),))
STATS = Stats(2, 1, 40, 20, 3, 1.25)


def test_a_run_comes_back(store):
    store.begin("one", SHEET, SHEET.expand())
    store.cell_done("one", 0, address=ADDRESS, seconds=0.5, cached=True)
    store.cell_done("one", 1, address=None, seconds=0.0, cached=False, error="too dark")
    store.end("one", "done", STATS, None)
    run = store.run("one")
    assert (run.id, run.status, run.sheet, run.stats) == ("one", "done", SHEET, STATS)
    first, second = run.cells
    assert first.request == REQUEST.replace(seed=1)
    assert (first.address, first.seconds, first.cached, first.error) == (ADDRESS, 0.5, True, None)
    assert (second.address, second.cached, second.error) == (None, False, "too dark")
    assert store.run("none") is None


def test_a_run_is_restored_with_its_pictures(store):
    store.begin("one", SHEET, SHEET.expand())
    store.save_picture(ADDRESS, picture(), SHEET.expand()[0])
    store.cell_done("one", 0, address=ADDRESS, seconds=0.5, cached=True)
    store.cell_done("one", 1, address=None, seconds=0.0, cached=False, error="too dark")
    store.end("one", "done", STATS, None)
    store.pick_winner("one", 0)
    found = store.restore("one").snapshot()
    assert (found.id, found.status, found.stats, found.winner) == ("one", "done", STATS, 0)
    made, failed = found.cells
    assert (made.status, made.file, made.cached) == ("done", store.path(ADDRESS), True)
    assert equal(made.image, picture())
    assert (failed.status, failed.error) == ("failed", "too dark")
    assert store.restore("none") is None


def test_a_run_that_was_cut_off_counts_as_stopped(tmp_path):
    store = Store(tmp_path)
    store.begin("cut", SHEET, SHEET.expand())
    store.cell_done("cut", 0, address=ADDRESS, seconds=0.5, cached=False)
    store.close()
    later = Store(tmp_path)
    run = later.run("cut")
    assert run.status == "stopped"
    assert [cell.address for cell in run.cells] == [ADDRESS, None]
    later.close()


@pytest.mark.parametrize("status", ["done", "failed", "stopped"])
def test_every_ending_is_kept(store, status):
    store.begin("one", SHEET, SHEET.expand())
    store.end("one", status, STATS, "why")
    assert (store.run("one").status, store.run("one").error) == (status, "why")


def test_recent_runs_newest_first(store):
    for name in ("a", "b", "c"):
        store.begin(name, Sheet(base=REQUEST), [REQUEST.replace(prompt=f"prompt {name}")])
    store.begin("d", SHEET, SHEET.expand())
    store.end("a", "done", STATS, None)
    recent = store.recent(3)
    assert [run.id for run in recent] == ["d", "c", "b"]
    assert [run.cells for run in recent] == [2, 1, 1]
    assert recent[1].prompt == "prompt c" and recent[0].prompt == REQUEST.prompt
    assert recent[0].created > recent[1].created > recent[2].created
    assert store.recent(0) == [] and len(store.recent(10)) == 4


def test_a_summary_knows_the_first_picture_and_how_the_run_ended(store):
    store.begin("cut", SHEET, SHEET.expand())
    store.cell_done("cut", 0, address=None, seconds=0.0, cached=False, error="too large")
    (summary,) = store.recent(1)
    assert (summary.status, summary.shown) == ("stopped", None)
    store.cell_done("cut", 1, address="ab" * 16, seconds=1.0, cached=False)
    store.end("cut", "failed", STATS, "x")
    (summary,) = store.recent(1)
    assert (summary.status, summary.shown) == ("failed", 1)


def test_a_summary_of_prompts_has_that_of_its_picture(store):
    sheet = Sheet(base=REQUEST, axes=(Axis(field="prompt", values=("a cat", "a dog")),))
    store.begin("one", sheet, sheet.expand())
    assert store.recent(1)[0].prompt == "a cat"
    store.cell_done("one", 1, address=ADDRESS, seconds=1.0, cached=False)
    assert (store.recent(1)[0].shown, store.recent(1)[0].prompt) == (1, "a dog")


def test_two_stores_on_one_folder(store):
    other = Store(store.folder)
    store.begin("mine", SHEET, SHEET.expand())
    other.begin("theirs", SHEET, SHEET.expand())
    assert {run.id for run in store.recent(5)} == {run.id for run in other.recent(5)}
    other.close()


@pytest.mark.parametrize("name", ["file/outputs", "file"])
def test_unwritable_folders(tmp_path, name):
    (tmp_path / "file").write_text("a file")
    with pytest.raises(InvalidRequest, match=f"outputs folder .*{name} cannot be written"):
        Store(tmp_path / name)
    assert (tmp_path / "file").read_text() == "a file"


def test_a_foreign_database_is_an_error(tmp_path):
    (tmp_path / "contact-sheet.sqlite").write_text("this is no database" * 100)
    with pytest.raises(InvalidRequest, match="cannot be written: file is not a database"):
        Store(tmp_path)
