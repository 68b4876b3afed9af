"""Downloads of a sheet: the files that the command line writes, from a run as it is now."""

from __future__ import annotations

import io
import json
import zipfile

import pytest
from PIL import Image

from pipelines import Sheet, Studio
from pipelines.request.axis_grammar import parse_axis
from pipelines.request.request import Request
from pipelines.runs.png_metadata import read_settings, read_sheet
from ui.run_view.downloads import sheet_json, sheet_png, sheet_zip

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def run(models):
    studio = Studio(models, device="cpu")
    base = Request(model="basic", prompt="яблоко", steps=2)
    run = studio.submit(Sheet(base=base, axes=(parse_axis("seed=1,2"),)))
    list(run.watch())
    yield run
    studio.close()


def test_the_png_carries_the_sheet(run, tmp_path):
    file = tmp_path / "sheet.png"
    file.write_bytes(sheet_png(run.snapshot()))
    told = read_settings(file)
    assert told["prompt"] == "яблоко"
    assert told["sheet"] == json.loads(sheet_json(run.snapshot()))["sheet"]
    with Image.open(file) as grid:
        assert read_sheet(grid.text) == run.sheet


def test_the_zip_holds_the_same_png_as_is_downloaded(run):
    with zipfile.ZipFile(io.BytesIO(sheet_zip(run.snapshot()))) as archive:
        assert "problem.txt" not in archive.namelist()
        with (
            Image.open(io.BytesIO(archive.read("sheet.png"))) as one,
            Image.open(io.BytesIO(sheet_png(run.snapshot()))) as other,
        ):
            assert one.tobytes() == other.tobytes()
            assert one.text == other.text
