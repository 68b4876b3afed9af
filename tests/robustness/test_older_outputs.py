"""Outputs of version 46a2028 are found again: no picture is made twice, no address has changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from pipelines import Request, Sheet, Studio
from pipelines.request.axis_grammar import parse_axis
from pipelines.request.labels import axis_title, column_texts, row_texts
from pipelines.runs.events import CellDone, RunFinished
from pipelines.runs.png_metadata import read_request, read_settings, settings_text
from pipelines.runs.store import Store

WRITTEN = Path(__file__).parents[1] / "data" / "46a2028"
RUN = "322a11853e93"
AXES = ("guidance_scale=1,4", "sampler=ddim,euler_a,dpmpp_2m")
TOLD: dict[str, Any] = json.loads((WRITTEN / "requests.json").read_text("utf-8"))
RECORD: dict[str, Any] = json.loads((WRITTEN / "sheet" / "sheet.json").read_text("utf-8"))


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """A copy: a store that is opened is written to."""
    return shutil.copytree(WRITTEN / "outputs", tmp_path / "outputs")


@pytest.fixture
def studio(outputs: Path) -> Iterator[Studio]:
    studio = Studio(WRITTEN / "models", outputs, device="cpu")
    yield studio
    studio.close()


def equal(one: Image.Image, other: Image.Image) -> bool:
    return one.size == other.size and ImageChops.difference(one, other).getbbox() is None


def pictures(outputs: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in outputs.rglob("*.png")}


def test_the_same_sheet_computes_nothing(studio: Studio, outputs: Path) -> None:
    before = pictures(outputs)
    base = Request(model="tiny", prompt="a red apple", steps=4)
    events = list(studio.run(Sheet(base=base, axes=tuple(map(parse_axis, AXES)))))
    end = events[-1]
    assert isinstance(end, RunFinished) and end.status == "done"
    assert (end.stats.cells, end.stats.cells_cached, end.stats.rows_computed) == (6, 6, 0)
    done = [event for event in events if isinstance(event, CellDone)]
    assert [event.file.name for event in done if event.file] == [
        f"{cell.address}.png" for cell in stored(outputs)
    ]
    for event, cell in zip(done, RECORD["cells"], strict=True):
        assert json.loads(event.request.to_json()) == cell["request"]
        with Image.open(WRITTEN / "sheet" / cell["file"]) as image:
            assert equal(event.image, image)
    assert pictures(outputs) == before, "nothing was written either"


def stored(outputs: Path) -> list[Any]:
    store = Store(outputs)
    try:
        run = store.run(RUN)
    finally:
        store.close()
    assert run is not None
    return list(run.cells)


def test_one_more_column_computes_that_column(studio: Studio) -> None:
    base = Request(model="tiny", prompt="a red apple", steps=4, guidance_scale=4.0)
    axis = parse_axis("sampler=ddim,euler_a,dpmpp_2m,lms")
    *_, end = studio.run(Sheet(base=base, axes=(axis,)))
    assert isinstance(end, RunFinished) and end.stats.cells_cached == 3
    assert end.stats.rows_computed == 2 * 4


def test_the_run_is_restored(studio: Studio) -> None:
    (summary,) = studio.recent()
    assert (summary.id, summary.status, summary.prompt) == (RUN, "done", "a red apple")
    run = studio.find(RUN)
    assert run is not None
    found = run.snapshot()
    assert found.status == "done" and found.sheet == Sheet.model_validate(RECORD["sheet"])
    assert (found.stats.rows_naive, found.stats.rows_computed, found.stats.batches) == (36, 33, 12)
    for view, cell in zip(found.cells, RECORD["cells"], strict=True):
        assert view.status == "done" and view.image is not None
        with Image.open(WRITTEN / "sheet" / cell["file"]) as image:
            assert equal(view.image, image) and read_request(image) == view.request


def test_sheet_json_is_read_as_a_sheet() -> None:
    sheet = Sheet.model_validate(RECORD["sheet"])
    base = Request(model="tiny", prompt="a red apple", steps=4)
    assert sheet == Sheet(base=base, axes=tuple(map(parse_axis, AXES)))
    assert json.loads(sheet.model_dump_json()) == RECORD["sheet"]
    assert sheet.indices() == [tuple(cell["index"]) for cell in RECORD["cells"]]
    for request, cell in zip(sheet.expand(), RECORD["cells"], strict=True):
        # Cells are complete Requests: with the model's own size.
        assert request.replace(width=32, height=32) == Request(**cell["request"])


def test_settings_are_read_from_its_pictures() -> None:
    for cell in RECORD["cells"]:
        path = WRITTEN / "sheet" / cell["file"]
        assert read_settings(path) == cell["request"]
        with Image.open(path) as image:
            assert getattr(image, "text", {})["parameters"] == settings_text(
                Request(**cell["request"])
            )


@pytest.mark.parametrize("told", TOLD["requests"], ids=lambda told: told["address"][:8])
def test_json_and_addresses_are_unchanged(told: dict[str, Any]) -> None:
    request = Request.from_json(told["json"])
    assert request.to_json() == told["json"]
    assert request.address(TOLD["fingerprint"]) == told["address"]
    assert settings_text(request) == told["parameters"]


@pytest.mark.parametrize("told", TOLD["sheets"], ids=lambda told: " ".join(told["axes"])[:60])
def test_sheets_expand_and_are_labelled_as_before(told: dict[str, Any]) -> None:
    sheet = Sheet.model_validate_json(told["sheet"])
    axes = tuple(map(parse_axis, told["axes"]))
    assert sheet.model_dump_json() == told["sheet"]
    assert Sheet(base=sheet.base, axes=axes).model_dump_json() == told["sheet"]
    assert [cell.to_json() for cell in sheet.expand()] == told["cells"]
    assert [axis_title(axis) for axis in axes] == told["titles"]
    assert (column_texts(sheet), row_texts(sheet)) == (told["columns"], told["rows"])
