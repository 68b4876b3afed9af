"""Memory that runs out in one cell, a picture of no numbers, damage to what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from transformers import CLIPTextModel

from pipelines import Axis, Request, Sheet, Studio
from pipelines.devices.out_of_memory import is_out_of_memory
from pipelines.model_manager import component_loader
from pipelines.runs.events import CellDone, CellFailed, RunFinished

BASE = Request(model="tiny", prompt="an apple", sampler="ddim", steps=3, seed=5)
SEEDS = Sheet(base=BASE, axes=(Axis(field="seed", values=(5, 6, 7)),))
TEXTS = Sheet(base=BASE, axes=(Axis(field="prompt", values=("a pear", "a plum", "a fig")),))

EXHAUSTED: dict[str, Callable[[], Exception]] = {
    "cuda": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    "cpu": lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't "
                                "allocate memory: you tried to allocate 8 bytes"),
    "python": lambda: MemoryError(),
    "system": lambda: OSError(12, "Cannot allocate memory"),
    "c++": lambda: RuntimeError("std::bad_alloc"),
    "cublas": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
}  # fmt: skip
OTHERS: dict[str, Callable[[], Exception]] = {
    "runtime": lambda: RuntimeError("shapes do not match"),
    "os": lambda: OSError(5, "Input/output error"),
}


@pytest.fixture
def studio(models: Path, tmp_path: Path, one_thread: None) -> Iterator[Studio]:
    studio = Studio(models, tmp_path / "outputs", device="cpu", exact=True, batch=4)
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
                assert len(done) + len(failed) == len(sheet.indices()), "every cell has ended"
    return sorted(done), failed


def fails(function: Any, error: Callable[[], Exception], times: int, which: int = 0) -> Any:
    """The function, which fails some times, from its call number `which` on."""
    calls = iter(range(10**6))

    def called(*args: Any, **options: Any) -> Any:
        if which <= next(calls) < which + times:
            raise error()
        return function(*args, **options)

    return called


@pytest.mark.parametrize("kind", EXHAUSTED)
def test_a_text_encoder_without_memory_is_tried_again(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(CLIPTextModel, "forward", fails(CLIPTextModel.forward, EXHAUSTED[kind], 1))
        assert ends(studio, TEXTS) == ([0, 1, 2], {})


@pytest.mark.parametrize("kind", EXHAUSTED)
@pytest.mark.parametrize(("times", "done"), [(1, [0, 1, 2]), (2, [1, 2])])
def test_a_scheduler_s_step_without_memory_begins_its_cell_again(
    studio: Studio,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    times: int,
    done: list[int],
) -> None:
    alone = Studio(models, device="cpu", exact=True, batch=4)
    step = diffusers.EulerAncestralDiscreteScheduler.step
    sheet = Sheet(base=BASE.replace(sampler="euler_a"), axes=SEEDS.axes)
    whole = {
        event.cell: event.image.tobytes()
        for event in alone.run(sheet)
        if isinstance(event, CellDone)
    }
    alone.close()
    left = [times]

    @wraps(step)
    def broken(self: Any, *args: Any, **options: Any) -> Any:
        if left[0] and options["generator"].initial_seed() == 5:
            left[0] -= 1
            raise EXHAUSTED[kind]()
        return step(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(diffusers.EulerAncestralDiscreteScheduler, "step", broken)
        run = studio.submit(sheet)
        list(run.events())
    assert left == [0], "the scheduler was reached"
    cells = run.snapshot().cells
    assert [i for i, cell in enumerate(cells) if cell.status == "done"] == done
    for i in done:
        image = cells[i].image
        assert image is not None and image.tobytes() == whole[i]
    if done != [0, 1, 2]:
        assert "does not fit in memory" in str(cells[0].error)


@pytest.mark.parametrize("kind", [*EXHAUSTED, *OTHERS])
@pytest.mark.parametrize("times", [1, 10**6])
def test_a_component_that_does_not_load_fails_its_cells_alone(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, kind: str, times: int
) -> None:
    error = {**EXHAUSTED, **OTHERS}[kind]
    sheet = Sheet(base=BASE, axes=(Axis(field="model", values=("tinyv", "tiny")),))
    load, left = component_loader.load, [times]

    def broken(part: Any, device: str) -> Any:
        if left[0] and part.folder.parent.name == "tinyv":
            left[0] -= 1
            raise error()
        return load(part, device)

    with monkeypatch.context() as patch:
        patch.setattr(component_loader, "load", broken)
        done, failed = ends(studio, sheet)
    again = kind in EXHAUSTED and times == 1
    assert done == ([0, 1] if again else [1]), failed


@pytest.mark.parametrize("where", ["a line", "all of it"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_picture_of_no_numbers_fails(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, where: str, number: float
) -> None:
    forward = diffusers.models.autoencoders.vae.Decoder.forward
    calls = iter(range(100))

    def broken(self: Any, *args: Any, **options: Any) -> Any:
        out = forward(self, *args, **options)
        if next(calls) == 1:
            out = (
                out * number
                if where == "all of it"
                else out.index_fill(2, torch.tensor([3]), number)
            )
        return out

    with monkeypatch.context() as patch:
        patch.setattr(diffusers.models.autoencoders.vae.Decoder, "forward", broken)
        done, failed = ends(studio, SEEDS)
    assert done == [0, 2] and "numbers overflowed" in failed[1]
    assert ends(studio, SEEDS) == ([0, 1, 2], {}), "nothing blank was kept"


def test_a_stored_picture_of_another_cell_is_made_again(studio: Studio) -> None:
    run = studio.submit(SEEDS)
    list(run.events())
    files = [cell.file for cell in run.snapshot().cells]
    right = [cell.image.tobytes() for cell in run.snapshot().cells if cell.image]
    assert files[0] and files[1]
    files[0].write_bytes(files[1].read_bytes())
    again = studio.submit(SEEDS)
    list(again.events())
    cells = again.snapshot().cells
    assert [cell.cached for cell in cells] == [False, True, True]
    assert [cell.image.tobytes() for cell in cells if cell.image] == right
    assert studio.finished(SEEDS.expand()[0]) is not None
    files[0].write_bytes(files[1].read_bytes())
    assert studio.finished(SEEDS.expand()[0]) is None


@pytest.mark.parametrize("end", [b"", b"\0" * 300])
def test_a_stored_picture_that_is_damaged_is_made_again(studio: Studio, end: bytes) -> None:
    run = studio.submit(SEEDS)
    list(run.events())
    for cell in run.snapshot().cells:
        assert cell.file
        content = cell.file.read_bytes()
        cell.file.write_bytes(content[: len(content) * 2 // 3] + end)
    assert ends(studio, SEEDS) == ([0, 1, 2], {})


def test_what_says_that_memory_ran_out() -> None:
    assert all(is_out_of_memory(make()) for make in EXHAUSTED.values())
    assert not any(is_out_of_memory(make()) for make in OTHERS.values())
