"""A sheet as files: the right picture in the right place, under the right words."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image
from sd_parsers import ParserManager

from pipelines import ContactSheetError, InvalidRequest, Request, Sheet
from pipelines.request.axis_grammar import parse_axis
from pipelines.request.labels import axis_title, column_texts, file_stem, row_texts
from pipelines.runs.contact_sheet import FAILED, GAP, draw_grid
from pipelines.runs.events import CellDone, CellFailed, Stats
from pipelines.runs.metadata.carriers.texts import SHEET, read_texts
from pipelines.runs.png_metadata import read_request, read_settings, read_sheet
from pipelines.runs.sheet_folder import Finished, SheetFolder, SheetRecord, check_folder

CELL = 48


def sheet(*axes: str) -> Sheet:
    base = Request(prompt="an apple", width=CELL, height=CELL)
    return Sheet(base=base, axes=tuple(parse_axis(axis) for axis in axes))


def colour(number: int) -> Image.Image:
    return Image.new("RGB", (CELL, CELL), (10 * number, 255 - 10 * number, 128))


def found(page: Image.Image, size: int = CELL) -> list[tuple[int, tuple[int, int]]]:
    """Number and place of every coloured cell in a page, by its pixels."""
    places = {}
    for y in range(page.height):
        for x in range(page.width):
            r, g, b = page.getpixel((x, y))  # type: ignore[misc]
            if (r + g, b) == (255, 128) and r % 10 == 0:
                places.setdefault(r // 10, (x, y))
    return sorted(places.items())


def test_headers_name_what_varies() -> None:
    two = sheet("sampler=ddim,DPM++ 2M Karras", "steps=5,10 & guidance_scale=1.50,3")
    assert row_texts(two) == ["DDIM", "DPM++ 2M Karras"]
    assert column_texts(two) == ["steps 5, guidance 1.5", "steps 10, guidance 3"]
    assert axis_title(two.axes[1]) == "steps and guidance"
    three = sheet("seed=1,2", "steps=5,10", 'prompt="a pear, cut",""')
    assert row_texts(three)[1] == "seed 1 · steps 10"
    assert column_texts(three) == ["a pear, cut", "(empty)"]
    assert column_texts(Sheet()) == [""] and row_texts(Sheet()) == [""]
    loras = Sheet(axes=(parse_axis("lora=none,emoji-lcm & lora_scale=1,0.5"),))
    assert column_texts(loras) == ["no LoRA, LoRA scale 1", "LoRA emoji-lcm, LoRA scale 0.5"]


def test_every_cell_stands_in_its_row_and_column() -> None:
    two = sheet("seed=1,2", "steps=5,6,7")
    places = dict(found(draw_grid(two, [colour(i) for i in range(6)])))
    assert len(places) == 6
    step = CELL + GAP
    left, top = places[0]
    assert left > 0 and top > 0, "there must be room for headers"
    for number, (x, y) in places.items():
        assert (x, y) == (left + number % 3 * step, top + number // 3 * step)


def test_pictures_stand_pixel_for_pixel() -> None:
    noise = Image.effect_noise((CELL, CELL), 90).convert("RGB")
    page = draw_grid(sheet("seed=1,2"), [noise, noise])
    box = (page.width - CELL, page.height - CELL, page.width, page.height)
    assert page.crop(box).tobytes() == noise.tobytes()


def test_a_long_single_axis_is_wrapped() -> None:
    places = dict(found(draw_grid(sheet("seed=0-11"), [colour(i) for i in range(12)])))
    assert places[7][1] == places[0][1] and places[8][0] == places[0][0]
    assert places[8][1] > places[0][1] + CELL


def test_a_failed_cell_is_tinted_and_the_count_must_match() -> None:
    page = draw_grid(sheet("seed=1,2"), [colour(1), None])
    assert page.getpixel((page.width - 2, page.height - 2)) == FAILED
    with pytest.raises(ValueError, match="3 pictures"):
        draw_grid(sheet("seed=1,2"), [None] * 3)


def test_file_names_are_safe_and_differ() -> None:
    wild = sheet('prompt="../../etc/passwd","a/b\\c:d*?", "ü — 猫"')
    stems = [file_stem(wild, (i,), i) for i in range(3)]
    assert len(set(stems)) == 3
    for stem in stems:
        assert "/" not in stem and "\\" not in stem and not stem.startswith(".")


def test_the_folder_holds_the_sheet(tmp_path: Path) -> None:
    two = sheet("seed=1,2")
    cells = two.expand()
    folder = SheetFolder(tmp_path / "new", two)
    assert not (tmp_path / "new").exists(), "nothing is written before there is something"
    folder.add(CellDone("r", 0, cells[0], colour(3), None, 1.25, cached=True))
    folder.add(CellFailed("r", 1, cells[1], "too large"))
    folder.finish(Stats(cells=2, cells_cached=1))
    contents = json.loads((tmp_path / "new" / "sheet.json").read_text())
    one, other = contents["cells"]
    assert one["index"] == [0] and one["request"]["seed"] == 1
    assert (one["seconds"], one["cached"], one["error"]) == (1.25, True, None)
    assert (other["file"], other["error"]) == (None, "too large")
    with Image.open(tmp_path / "new" / one["file"]) as picture:
        assert picture.getpixel((0, 0)) == (30, 225, 128)
        assert read_request(picture) == cells[0]
    assert Sheet(**contents["sheet"]) == two
    assert contents["stats"]["cells_cached"] == 1
    assert (tmp_path / "new" / "sheet.png").is_file()


def test_a_place_that_cannot_be_written_is_refused_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for bad in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InvalidRequest, match="is a file"):
            check_folder(bad)
    check_folder(tmp_path / "to" / "be" / "made")


def test_the_winner_is_named_by_its_place() -> None:
    record = SheetRecord(sheet("seed=1,2", "steps=5,6,7"))
    assert json.loads(record.text(Stats(), winner=4))["winner"] == [1, 1]
    assert json.loads(record.text(Stats()))["winner"] is None


def filled(folder: SheetFolder, sheet: Sheet, ended: Sequence[int]) -> None:
    cells = sheet.expand()
    for i in ended:
        folder.add(CellDone("r", i, cells[i], colour(i), None, 1.0, cached=False))


def test_the_grid_carries_the_sheet(tmp_path: Path) -> None:
    """For us as a whole, for other tools as its base."""
    two = sheet("seed=1,2", 'prompt="a pear, cut",яблоко')
    folder = SheetFolder(tmp_path, two)
    filled(folder, two, range(4))
    assert folder.finish(Stats()) == Finished()
    told = read_settings(tmp_path / "sheet.png")
    contents = json.loads((tmp_path / "sheet.json").read_text("utf-8"))
    assert told.pop("sheet") == contents["sheet"] and told == two.base.model_dump()
    texts = read_texts(tmp_path / "sheet.png")
    assert read_sheet(texts) == two and read_sheet({}) is None
    assert ParserManager().parse(tmp_path / "sheet.png").full_prompt == "an apple"
    with Image.open(tmp_path / "sheet.png") as grid:
        assert read_request(grid) == two.base


@pytest.mark.parametrize("text", ["", "[]", "{", '{"axes": 3}', '{"axes": [{"field": "nosuch"}]}'])
def test_a_sheet_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(ContactSheetError):
        read_sheet({SHEET: text})


def test_a_stopped_sheet_leaves_what_is_finished(tmp_path: Path) -> None:
    two = sheet("seed=1,2", "steps=5,6,7")
    folder = SheetFolder(tmp_path, two)
    filled(folder, two, [4, 1])
    folder.finish(Stats(cells=6))
    contents = json.loads((tmp_path / "sheet.json").read_text())
    assert [cell["index"] for cell in contents["cells"]] == [[0, 1], [1, 1]]
    with Image.open(tmp_path / "sheet.png") as grid:
        assert [number for number, _ in found(grid.convert("RGB"))] == [1, 4]
    filled(folder, two, [0, 2, 3, 5])
    folder.finish(Stats(cells=6))
    with Image.open(tmp_path / "sheet.png") as grid:
        assert len(found(grid.convert("RGB"))) == 6
    assert len(json.loads((tmp_path / "sheet.json").read_text())["cells"]) == 6


def test_without_a_grid_json_and_cells_are_whole(tmp_path: Path) -> None:
    """Its place is taken by a folder, which stands for every reason why it cannot be written."""
    (tmp_path / "sheet.png").mkdir()
    two = sheet("seed=1,2")
    folder = SheetFolder(tmp_path, two)
    filled(folder, two, [0, 1])
    error = folder.finish(Stats()).error
    assert "sheet.png" in error and "\n" not in error and "irectory" in error
    contents = json.loads((tmp_path / "sheet.json").read_text())
    assert all((tmp_path / cell["file"]).is_file() for cell in contents["cells"])
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".part")]


SHORT = """
import resource, sys, json
from pathlib import Path
from PIL import Image
from pipelines import Axis, Request, Sheet
from pipelines.runs.contact_sheet import draw_grid
from pipelines.runs.events import CellDone, Stats
from pipelines.runs.sheet_folder import SheetFolder

two = Sheet(base=Request(), axes=tuple(
    Axis(field=name, values=tuple(range(1, 11))) for name in ("seed", "steps")
))
draw_grid(Sheet(), [Image.new("RGB", (64, 64))])
folder = SheetFolder(Path(sys.argv[1]), two)
picture = Image.new("RGB", (1024, 1024), (200, 30, 60))
for i, request in enumerate(two.expand()):
    folder.add(CellDone("r", i, request, picture, None, 1.0, cached=False))
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]) * 2**20,) * 2)
finished = folder.finish(Stats(cells=100))
print(json.dumps([finished.note, finished.error]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are Linux'")
@pytest.mark.parametrize("megabytes", [900, 150, 8])
def test_a_grid_is_as_large_as_memory_allows(tmp_path: Path, megabytes: int) -> None:
    """Whole it would take 320 MB; with 150 it is scaled down, with 8 there may be none."""
    done = subprocess.run(
        [sys.executable, "-c", SHORT, str(tmp_path), str(megabytes)],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    note, error = json.loads(done.stdout)
    contents = json.loads((tmp_path / "sheet.json").read_text())
    assert len(contents["cells"]) == 100 and "\n" not in note + error
    if megabytes == 900:
        assert (note, error) == ("", "")
    elif megabytes == 150:
        assert "its cells at " in note and not error
    if not error:
        with Image.open(tmp_path / "sheet.png") as grid:
            assert (grid.width > 10_000) == (not note)
            assert grid.reduce(8).getpixel((grid.width // 16, grid.height // 16)) is not None
    else:
        assert "memory" in error and not (tmp_path / "sheet.png").exists()
