"""What the page is told about a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from pipelines import Axis, Request, Sheet
from pipelines.runs.events import (
    CellDone,
    CellFailed,
    CellPreview,
    CellProgress,
    RunFinished,
    RunStarted,
    Stats,
)
from pipelines.runs.run import Run
from ui.run_view import snapshot_json


@pytest.fixture
def run() -> Run:
    sheet = Sheet.seeds(Request(prompt="a <b>cat</b>", steps=10, seed=3, width=32, height=32), 2)
    return Run(sheet, sheet.expand(), "abc")


def look(run: Run, seen: list[str], previews: snapshot_json.Previews) -> tuple[dict, list[str]]:
    """One look of a page: the answer, and the keys it has after drawing it."""
    answer = snapshot_json.describe(run.snapshot(), seen, previews)
    keys = seen + [""] * (answer["count"] - len(seen))
    for cell in answer["cells"]:
        keys[cell["index"]] = cell["key"]
    return answer, keys


def test_a_look_tells_only_what_changed(run: Run) -> None:
    previews = snapshot_json.Previews()
    answer, keys = look(run, [], previews)
    assert (answer["status"], len(answer["cells"])) == ("queued", 2)
    run.publish(RunStarted("abc", run.requests))
    answer, keys = look(run, keys, previews)
    assert answer["cells"] == []
    run.publish(CellProgress("abc", 0, 1, 10))
    run.publish(CellPreview("abc", 0, 1, Image.new("RGB", (8, 8))))
    answer, keys = look(run, keys, previews)
    assert [cell["index"] for cell in answer["cells"]] == [0]
    assert answer["cells"][0]["src"].startswith("data:image/png;base64,")
    run.publish(CellProgress("abc", 0, 2, 10))
    answer, keys = look(run, keys, previews)
    assert "src" not in answer["cells"][0], "the same preview is not sent twice"
    run.publish(CellPreview("abc", 0, 2, Image.new("RGB", (8, 8))))
    answer, keys = look(run, keys, previews)
    assert "src" in answer["cells"][0]
    assert look(run, [], previews)[0]["cells"][0]["src"] == answer["cells"][0]["src"]


def test_a_finished_cell_brings_its_file_and_settings(run: Run) -> None:
    request = run.requests[1]
    run.publish(RunStarted("abc", run.requests))
    run.publish(
        CellDone("abc", 1, request, Image.new("RGB", (8, 8)), Path("x.png"), 1.25, cached=False)
    )
    run.publish(CellFailed("abc", 0, run.requests[0], "too large"))
    run.publish(RunFinished("abc", "done", Stats(seconds=2.0)))
    answer = snapshot_json.describe(run.snapshot(), [], snapshot_json.Previews())
    failed, done = answer["cells"]
    assert failed["error"] == "too large"
    assert done["src"] == "pictures/abc/1.png"
    assert done["file"] == "a-b-cat-b-4.png"
    assert Request.from_json(done["request"]) == request
    assert answer["line"] == "Made 1 of 2 pictures; 1 failed"


def test_the_line_says_what_is_going_on(run: Run) -> None:
    assert snapshot_json.status_line(run.snapshot()) == "Waiting for another run to finish"
    run.publish(RunStarted("abc", run.requests))
    assert snapshot_json.status_line(run.snapshot()) == "Getting the model ready"
    run.publish(CellProgress("abc", 0, 4, 10))
    run.publish(CellProgress("abc", 1, 4, 10))
    busy = replace(run.snapshot(), rate=8.0, seconds_left=1.5)
    assert snapshot_json.status_line(busy) == "Step 8 of 20 · 2 pictures · 8.0 steps/s · 1.5 s left"
    run.publish(RunFinished("abc", "stopped", Stats()))
    assert snapshot_json.status_line(run.snapshot()) == "Stopped at step 8 of 20"


def test_pictures_from_the_store_say_so(run: Run) -> None:
    run.publish(RunStarted("abc", run.requests))
    for cell, request in enumerate(run.requests):
        image = Image.new("RGB", (8, 8))
        run.publish(CellDone("abc", cell, request, image, Path("x.png"), 0.0, cached=True))
    run.publish(RunFinished("abc", "done", Stats(cells=2, cells_cached=2)))
    line = snapshot_json.status_line(run.snapshot())
    assert line == "Found 2 pictures made before with the same settings"


def test_samplers_with_two_evaluations_a_step_say_evaluations() -> None:
    base = Request(sampler="heun", steps=10)
    run = Run(Sheet(base=base), [base])
    run.publish(RunStarted(run.id, run.requests))
    run.publish(CellProgress(run.id, 0, 5, 19))
    busy = replace(run.snapshot(), rate=8.0, seconds_left=12.4)
    assert snapshot_json.status_line(busy) == "Evaluation 5 of 19 · 8.0 evaluations/s · 12 s left"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.84, "0.8 s"), (9.96, "10 s"), (59.7, "1 min 0 s"), (185, "3 min 5 s"), (7260, "2 h 1 min")],
)
def test_durations_read_like_speech(seconds: float, text: str) -> None:
    assert snapshot_json.duration(seconds) == text


def test_file_names_are_safe() -> None:
    assert snapshot_json.file_name("../../etc/passwd\x00", 1) == "etc-passwd-1.png"
    assert snapshot_json.file_name("💡", 2) == "picture-2.png"
    assert len(snapshot_json.file_name("word " * 200, 3)) < 80


def test_large_previews_travel_small() -> None:
    url = snapshot_json.preview_url(Image.effect_noise((1024, 512), 80).convert("RGB"))
    assert url.startswith("data:image/jpeg;base64,")
    assert len(url) < 120_000


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("no"), OSError(5, "I/O")])
def test_a_preview_that_cannot_be_made_small_hides_no_other_cell(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    sheet = Sheet(base=Request(), axes=(Axis(field="seed", values=(1, 2)),))
    run, left, small = Run(sheet, sheet.expand()), [error], snapshot_json.preview_url

    def broken(image: Image.Image) -> str:
        if left:
            raise left.pop()
        return small(image)

    for cell in range(2):
        run.publish(CellPreview(run.id, cell, 1, Image.new("RGB", (8, 8), (cell, 0, 0))))
    monkeypatch.setattr(snapshot_json, "preview_url", broken)
    answer = snapshot_json.describe(run.snapshot(), [], snapshot_json.Previews())
    assert "data:image" not in str(answer["cells"][0]) and "data:image" in str(answer["cells"][1])
