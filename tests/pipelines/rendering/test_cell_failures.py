"""What goes wrong with one cell's text, picture or file fails that cell; the rest is made."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines import Axis, Request, Sheet, Studio
from pipelines.families.sd import StableDiffusion
from pipelines.runs.events import CellDone, CellFailed, CellPreview, RunFinished
from pipelines.runs.store import Store

BASE = Request(model="tiny", prompt="an apple", sampler="ddim", steps=2, seed=5)
SEEDS = Sheet(base=BASE, axes=(Axis(field="seed", values=(5, 6)),))
TEXTS = Sheet(base=BASE, axes=(Axis(field="prompt", values=("a pear", "a plum", "a fig")),))


@pytest.fixture
def studio(models: Path, tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(models, tmp_path / "outputs", device="cpu")
    yield studio
    assert studio.alive and studio.image(BASE.replace(seed=99)).size
    studio.close()


def ends(studio: Studio, sheet: Sheet) -> tuple[list[int], dict[int, str]]:
    """Cells that have pictures, and the errors of those that have none."""
    done: list[int] = []
    failed: dict[int, str] = {}
    for event in studio.run(sheet):
        match event:
            case CellDone(cell=cell):
                done.append(cell)
            case CellFailed(cell=cell, error=error):
                failed[cell] = error
            case RunFinished():
                assert event.status == "done", event.error
    return sorted(done), failed


def once(function: Any, error: Exception) -> Any:
    """The function, which fails the first time."""
    left = [error]

    def called(*args: Any, **options: Any) -> Any:
        if left:
            raise left.pop()
        return function(*args, **options)

    return called


def test_a_picture_that_cannot_be_decoded(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = once(StableDiffusion.decode, RuntimeError("CUDNN_STATUS_EXECUTION_FAILED"))
    with monkeypatch.context() as patch:
        patch.setattr(StableDiffusion, "decode", broken)
        done, failed = ends(studio, SEEDS.model_copy(update={"base": BASE.replace(steps=1)}))
    assert done == [1] and failed == {0: "RuntimeError: CUDNN_STATUS_EXECUTION_FAILED"}


def test_a_preview_that_cannot_be_decoded_is_left_out(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sheet = Sheet(base=BASE)
    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(StableDiffusion, "decode", once(StableDiffusion.decode, RuntimeError("x")))
        run = studio.submit(sheet, filmed=[0])
        events = list(run.events())
    assert [e.step for e in events if isinstance(e, CellPreview)] == [2]
    assert [type(e) for e in events][-2:] == [CellDone, RunFinished]
    assert "no preview at evaluation 1" in caplog.text


def test_a_picture_that_cannot_be_written(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(28, "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "save_picture", once(Store.save_picture, full))
        done, failed = ends(studio, SEEDS)
    assert len(done) == 1
    assert list(failed.values()) == ["OSError: [Errno 28] No space left on device"]


def test_a_text_that_cannot_be_encoded(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = StableDiffusion.encode

    def broken(self: Any, model: Any, texts: Sequence[str]) -> Any:
        if "a plum" in texts:
            raise RuntimeError("no plums")
        return encode(self, model, texts)

    with monkeypatch.context() as patch:
        patch.setattr(StableDiffusion, "encode", broken)
        done, failed = ends(studio, TEXTS)
    assert done == [0, 2] and failed == {1: "RuntimeError: no plums"}


def test_an_empty_negative_prompt_that_cannot_be_encoded(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = StableDiffusion.encode

    def broken(self: Any, model: Any, texts: Sequence[str]) -> Any:
        if "" in texts:
            raise RuntimeError("nothing")
        return encode(self, model, texts)

    sheet = Sheet(base=BASE, axes=(Axis(field="guidance_scale", values=(1.0, 3.0)),))
    with monkeypatch.context() as patch:
        patch.setattr(StableDiffusion, "encode", broken)
        done, failed = ends(studio, sheet)
    assert done == [0] and failed == {1: "RuntimeError: nothing"}


def test_what_cannot_be_recorded_is_told_all_the_same(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk stops the database as well; the worker outlives it."""

    def full(*args: Any, **options: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(Store, "cell_done", full)
        patch.setattr(Store, "end", full)
        patch.setattr(Store, "save_picture", once(Store.save_picture, OSError(28, "No space")))
        run = studio.submit(SEEDS)
        assert wait_for(lambda: run.snapshot().finished)
    assert run.snapshot().status == "failed", "never done with the record lost"
    cells = run.snapshot().cells
    assert sorted(cell.status for cell in cells) == ["done", "failed"]
    assert "could not be recorded" in caplog.text


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    """Whether it comes true in that time: a dead worker must not hang the test."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()
