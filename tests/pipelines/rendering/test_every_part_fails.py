"""Whatever part of the work breaks, and however: its cells fail with their reason, no others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import diffusers
import pytest
from PIL import Image, PngImagePlugin
from transformers import CLIPTextModel

from pipelines import Axis, Control, Request, Sheet, Studio, preprocessors
from pipelines.model_manager import component_loader
from pipelines.rendering import renderer, run_sink
from pipelines.request.lora import LoRA
from pipelines.runs import sheet_folder
from pipelines.runs.events import CellDone, CellFailed, RunFinished
from pipelines.runs.run import Run
from pipelines.runs.sheet_folder import SheetFolder
from pipelines.runs.storage import picture_files
from pipelines.runs.store import Store
from tests.helpers.lora_makers import save_lora
from tests.helpers.tiny import sd

BASE = Request(model="tiny", prompt="an apple", sampler="ddim", steps=2, seed=5)
SEEDS = Sheet(base=BASE, axes=(Axis(field="seed", values=(5, 6, 7)),))
ERRORS = (RuntimeError("it broke"), MemoryError("it broke"), OSError(5, "it broke"))
kinds = pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)


@pytest.fixture
def studio(models: Path, controlnets: Path, tmp_path: Path, one_thread: None) -> Iterator[Studio]:
    for number, name in enumerate(("weak", "strong")):
        save_lora(sd(), tmp_path / "more" / name, seed=number)
    folders = [models, controlnets, tmp_path / "more"]
    studio = Studio(folders, tmp_path / "outputs", device="cpu", batch=4)
    yield studio
    assert studio.alive and studio.image(BASE.replace(seed=99)).size, "the next run works"
    studio.close()


def ended(studio: Studio, sheet: Sheet) -> Run:
    """The run of a sheet, which has ended; every cell with one event that says how."""
    run = studio.submit(sheet)
    events = list(run.events())
    ends = [event.cell for event in events if isinstance(event, CellDone | CellFailed)]
    assert sorted(ends) == list(range(len(sheet.indices()))), "each cell ends, once"
    assert isinstance(events[-1], RunFinished)
    return run


@pytest.fixture
def run_with(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """The same, while a broken function stands in the place of its owner's."""

    def run(sheet: Sheet, owner: Any, name: str, broken: Callable[..., Any]) -> Run:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, broken)
            return ended(studio, sheet)

    return run


def check_fails_alone(run: Run, *lost: int) -> None:
    """These cells failed with the reason, in the events, the run and its record; others did not."""
    cells = run.snapshot().cells
    assert [i for i, cell in enumerate(cells) if cell.status == "failed"] == list(lost)
    assert all(cell.image is not None for i, cell in enumerate(cells) if i not in lost)
    failed = [event for event in run.events() if isinstance(event, CellFailed)]
    assert sorted(event.cell for event in failed) == list(lost)
    assert all("it broke" in event.error for event in failed)
    assert run.snapshot().status == "done"


def check_recorded(studio: Studio, run: Run, *lost: int) -> None:
    assert studio.store.folder is not None
    other = Store(studio.store.folder)
    found = other.run(run.id)
    assert found is not None and found.status == "done"
    assert [i for i, cell in enumerate(found.cells) if cell.error] == list(lost)
    assert [i for i, cell in enumerate(found.cells) if cell.address is None] == list(lost)
    other.close()


def breaks(function: Any, error: Exception, when: Callable[..., bool]) -> Any:
    """The function, which breaks whenever its arguments are such."""

    def called(*args: Any, **options: Any) -> Any:
        if when(*args, **options):
            raise error
        return function(*args, **options)

    return called


def number(wanted: int) -> Callable[..., bool]:
    """Whether it is the call of this number."""
    calls = iter(range(10**6))
    return lambda *_, **__: next(calls) == wanted


@kinds
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (renderer, "to_image"),
        (picture_files, "write_png"),
    ],
)
def test_one_picture_that_cannot_be_converted_or_written(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, error: Exception, owner: Any, name: str
) -> None:
    studio.image(BASE.replace(seed=98))
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, breaks(getattr(owner, name), error, number(1)))
        run = studio.submit(SEEDS, previews=False)
        list(run.events())
    check_fails_alone(run, 1)
    check_recorded(studio, run, 1)


@kinds
def test_one_picture_that_cannot_be_decoded(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """However often, in slices and in tiles too."""
    decoder = diffusers.models.autoencoders.vae.Decoder
    first: list[Any] = []

    def of_the_first(_: Any, latents: Any, *__: Any, **___: Any) -> bool:
        first.append(latents.flatten()[0].item())
        return bool(first[-1] == first[0])

    studio.image(BASE.replace(seed=98))
    with monkeypatch.context() as patch:
        patch.setattr(decoder, "forward", breaks(decoder.forward, error, of_the_first))
        run = studio.submit(SEEDS, previews=False)
        list(run.events())
    check_fails_alone(run, 0)
    check_recorded(studio, run, 0)


@kinds
def test_a_stored_picture_that_cannot_be_read_is_made_again(
    studio: Studio, run_with: Callable[..., Run], error: Exception
) -> None:
    ended(studio, SEEDS)
    load = PngImagePlugin.PngImageFile.load
    run = run_with(SEEDS, PngImagePlugin.PngImageFile, "load", breaks(load, error, number(0)))
    check_fails_alone(run)
    assert [cell.cached for cell in run.snapshot().cells] == [False, True, True]


@kinds
def test_a_record_that_cannot_be_written_at_first_is_written_later(
    studio: Studio, run_with: Callable[..., Run], error: Exception
) -> None:
    run = run_with(SEEDS, Store, "cell_done", breaks(Store.cell_done, error, number(1)))
    check_fails_alone(run)
    check_recorded(studio, run)


@kinds
def test_one_text_that_cannot_be_encoded(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, run_with: Callable[..., Run], error: Exception
) -> None:
    sheet = Sheet(
        base=BASE, axes=(Axis(field="prompt", values=("a pear", "a plum tree", "a fig")),)
    )
    studio.image(BASE.replace(prompt="a plum tree", seed=98))
    ids: list[Any] = []
    forward = CLIPTextModel.forward

    def seen(self: Any, input_ids: Any = None, *args: Any, **options: Any) -> Any:
        ids.append(input_ids)
        return forward(self, input_ids, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(CLIPTextModel, "forward", seen)
        studio.image(BASE.replace(prompt="a plum tree", seed=97))
    plum = max((row for batch in ids for row in batch.tolist()), key=lambda row: len(set(row)))

    def has_it(_: Any, input_ids: Any = None, *__: Any, **___: Any) -> bool:
        return plum in input_ids.tolist()

    run = run_with(sheet, CLIPTextModel, "forward", breaks(forward, error, has_it))
    check_fails_alone(run, 1)
    check_recorded(studio, run, 1)


@kinds
def test_one_cell_s_scheduler_that_breaks(
    studio: Studio, run_with: Callable[..., Run], error: Exception
) -> None:
    owner = diffusers.EulerAncestralDiscreteScheduler
    step = owner.step

    def of_seed_6(*_: Any, generator: Any = None, **__: Any) -> bool:
        return generator is not None and generator.initial_seed() == 6

    broken = wraps(step)(breaks(step, error, of_seed_6))
    sheet = Sheet(base=BASE.replace(sampler="euler_a"), axes=SEEDS.axes)
    run = run_with(sheet, owner, "step", broken)
    check_fails_alone(run, 1)
    check_recorded(studio, run, 1)


def controlled(studio: Studio, field: str, *values: str) -> Sheet:
    """A sheet of cells that a ControlNet steers."""
    control = Control(image=picture(studio, "white"), preprocessor="canny", model="canny")
    base = BASE.replace(width=64, height=64, controls=(control,))
    return Sheet(base=base, axes=(Axis(field=field, values=values),))


def picture(studio: Studio, colour: str) -> str:
    """The hash of a picture with a square on it."""
    image = Image.new("RGB", (64, 64), colour)
    image.paste("black", (16, 16, 48, 48))
    return studio.add_picture(image)


@kinds
def test_one_controlnet_that_breaks(
    studio: Studio, run_with: Callable[..., Run], error: Exception
) -> None:
    sheet = controlled(studio, "control_model", "canny", "bgr", "depth")
    forward = diffusers.ControlNetModel.forward

    def is_bgr(net: Any, *_: Any, **__: Any) -> bool:
        return bool(net.config.controlnet_conditioning_channel_order == "bgr")

    run = run_with(sheet, diffusers.ControlNetModel, "forward", breaks(forward, error, is_bgr))
    check_fails_alone(run, 1)
    check_recorded(studio, run, 1)


@kinds
def test_one_preprocessor_that_breaks(
    studio: Studio, run_with: Callable[..., Run], error: Exception
) -> None:
    bad = picture(studio, "red")
    sheet = controlled(studio, "control_image", picture(studio, "white"), bad)
    run_named = preprocessors.run_named
    broken = breaks(run_named, error, lambda image, *_: image == bad)
    run = run_with(sheet, preprocessors, "run_named", broken)
    check_fails_alone(run, 1)
    check_recorded(studio, run, 1)


@kinds
def test_one_lora_that_cannot_be_loaded(
    studio: Studio, run_with: Callable[..., Run], error: Exception
) -> None:
    base = BASE.replace(loras=(LoRA(name="weak"),))
    sheet = Sheet(base=base, axes=(Axis(field="lora", values=("weak", "strong")),))
    load = component_loader.load
    broken = breaks(load, error, lambda part, _: "strong" in str(part.folder))
    run = run_with(sheet, component_loader, "load", broken)
    check_fails_alone(run, 1)
    check_recorded(studio, run, 1)


@kinds
def test_a_comparison_with_other_pictures_that_breaks_loses_no_cell(
    studio: Studio, run_with: Callable[..., Run], error: Exception
) -> None:
    run = run_with(SEEDS, run_sink, "cell_text", breaks(run_sink.cell_text, error, number(2)))
    check_fails_alone(run)
    check_recorded(studio, run)


@kinds
def test_a_grid_that_cannot_be_written_leaves_the_rest(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    run = ended(studio, SEEDS)
    folder = SheetFolder(tmp_path / "sheet", SEEDS)
    for event in run.events():
        if isinstance(event, CellDone):
            folder.add(event)
    with monkeypatch.context() as patch:
        patch.setattr(sheet_folder, "save_png", breaks(sheet_folder.save_png, error, number(0)))
        finished = folder.finish(run.snapshot().stats)
    assert "sheet.png is not there" in finished.error
    assert (tmp_path / "sheet" / "sheet.json").is_file()
    assert len(list((tmp_path / "sheet" / "cells").iterdir())) == 3
