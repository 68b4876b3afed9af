"""What is not read is said: of prompts, of axis values, and of pictures that are the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import Axis, Request, Sheet, Studio
from pipelines.runs.events import CellDone, RunStarted
from pipelines.runs.sheet_folder import SheetFolder
from pipelines.runs.warning_lines import MOST, warning_lines
from tests.helpers.tiny_families import lcm

pytestmark = pytest.mark.usefixtures("one_thread")
BASE = Request(model="tiny", prompt="an apple", sampler="euler", steps=2)
LONG = "a b " * 40  # the tiny tokenizer spells words; 75 tokens are read


@pytest.fixture
def studio(models: Path, tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(models, tmp_path / "outputs", device="cpu")
    yield studio
    studio.close()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"prompt": f"{LONG} cat"},
            "prompt: .* cat' is not read; the text encoder reads 75 tokens",
        ),
        ({"negative_prompt": f"{LONG} cat"}, "negative prompt: .* cat' is not read"),
        ({"prompt": f"[a:b:0.5] {LONG} cat"}, "prompt: .* cat' is not read"),
        ({"prompt": f"a AND {LONG} cat"}, "prompt: .* cat' is not read"),
        ({"prompt": "a [b:plum:9]"}, "prompt: 'plum' is not read, as none of the 2 steps"),
        ({"negative_prompt": "[a|b|plum]"}, "negative prompt: 'plum' is not read"),
        ({"negative_prompt": "a AND b"}, "negative prompt: AND is read as a word"),
        ({"negative_prompt": "<lora:x:1>"}, "negative prompt: '<lora:x:1>' is not carried out"),
        ({"prompt": "a <hypernet:x:1>"}, "prompt: '<hypernet:x:1>' is not carried out"),
        (
            {"negative_prompt": "a", "guidance_scale": 1.0},
            "the negative prompt is not read: guidance is off",
        ),
        ({"guidance_scale": 0.0}, "the prompt is not read: guidance_scale 0"),
    ],
)
def test_what_is_not_read_is_said(studio: Studio, fields: dict[str, object], said: str) -> None:
    plan = studio.plan(Sheet(base=BASE.replace(**fields)))
    (line,) = plan.warning_lines
    assert re.search(said, line), line


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"prompt": ""}, {"prompt": "a [b:c:1] AND d"}, {"negative_prompt": "[a|b]"},
        {"prompt": f"{LONG} (cat:1.2)"}, {"prompt": f"{LONG[:100]} BREAK {LONG[:100]}"},
    ],
)  # fmt: skip
def test_what_is_read_is_not_said(studio: Studio, fields: dict[str, object]) -> None:
    assert studio.plan(Sheet(base=BASE.replace(**fields))).warnings == {}


def test_a_network_with_one_row_reads_and_as_a_word(tmp_path: Path) -> None:
    lcm().save_pretrained(tmp_path / "lcm")
    studio = Studio(tmp_path, device="cpu")
    request = Request(model="lcm", prompt="a AND b", sampler="lcm", steps=2)
    plan = studio.plan(Sheet(base=request))
    assert plan.warning_lines == ["prompt: AND is read as a word; 'lcm' takes one prompt"]
    assert plan.cost.rows == 2


def test_warnings_reach_events_json_and_the_store(studio: Studio, tmp_path: Path) -> None:
    """Two texts that differ where nobody reads: bit-equal pictures under two labels."""
    values = ("an apple", f"{LONG} cat", f"{LONG} dog")
    sheet = Sheet(base=BASE, axes=(Axis(field="prompt", values=values),))
    run = studio.submit(sheet, previews=False)
    events = list(run.events())
    assert isinstance(events[0], RunStarted) and set(events[0].warnings) == {1, 2}
    cells = sorted((e for e in events if isinstance(e, CellDone)), key=lambda e: e.cell)
    assert cells[0].warnings == ()
    assert len(cells[1].warnings) == 1 and "cat' is not read" in cells[1].warnings[0]
    assert cells[1].image.tobytes() == cells[2].image.tobytes()
    assert cells[2].warnings[-1].startswith("the same picture, to the bit, as a b a b")
    folder = SheetFolder(tmp_path / "sheet", sheet)
    for cell in cells:
        folder.add(cell)
    folder.finish(run.snapshot().stats)
    written = json.loads((tmp_path / "sheet" / "sheet.json").read_text())
    told = [tuple(cell["warnings"]) for cell in written["cells"]]
    assert told == [cell.warnings for cell in cells]
    restored = studio.store.restore(run.id)
    assert restored is not None
    assert [cell.warnings for cell in restored.snapshot().cells] == told
    again = studio.submit(sheet, previews=False)
    ended = [e for e in again.events() if isinstance(e, CellDone)]
    assert all(e.cached for e in ended), "cells from the store say it too"
    assert sorted(e.warnings for e in ended) == sorted(told)


@pytest.mark.parametrize(
    ("field", "values", "same"),
    [
        ("prompt", ("Red apple", "red apple"), True),
        ("prompt", ("red  apple", "red apple"), True),
        ("prompt", ("red apple", "red apple"), False),
        ("prompt", ("red apple", "blue apple"), False),
        ("evaluations", (2, 3), False),
        ("guidance_stop", (0.9, 0.8), True),
    ],
)
def test_equal_pictures_under_two_labels_are_told(
    studio: Studio, field: str, values: tuple[object, ...], same: bool
) -> None:
    base = BASE.replace(seed=3)
    sheet = Sheet(base=base, axes=(Axis(field=field, values=values),))
    cells = [e for e in studio.run(sheet) if isinstance(e, CellDone)]
    told = [line for cell in cells for line in cell.warnings]
    assert any("the same picture" in line for line in told) == same, told


def test_lines_name_the_cells_once() -> None:
    sheet = Sheet(base=BASE, axes=(Axis(field="seed", values=tuple(range(50))),))
    assert warning_lines(sheet, dict.fromkeys(range(50), ("x",))) == ["x"]
    assert warning_lines(sheet, {3: ("x",), 7: ("x", "y")}) == [
        "seed 3 and 1 more: x", "seed 7: y",
    ]  # fmt: skip
    many = warning_lines(sheet, {i: (f"x{i}",) for i in range(50)})
    assert len(many) == MOST and many[-1] == "… and 31 more warnings"
