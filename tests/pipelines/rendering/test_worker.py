"""Several runs at one device: turns, an end at once, a limit; with real models."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import Axis, Busy, Request, Sheet, Studio
from pipelines.rendering.timings import time_shares
from pipelines.request.lora import LoRA
from pipelines.runs.events import CellDone
from pipelines.runs.run import Run
from pipelines.runs.store import Store
from tests.helpers.gates import loads_wait, room_for_one
from tests.helpers.lora_makers import save_lora
from tests.helpers.tiny import sd

BASE = Request(model="tiny", prompt="an apple", sampler="ddim", steps=40, seed=5)
LARGE = Sheet(base=BASE, axes=(Axis(field="seed", values=tuple(range(200))),))


@pytest.fixture
def studio(models: Path, tmp_path: Path, one_thread: None) -> Iterator[Studio]:
    studio = Studio(models, tmp_path / "outputs", device="cpu", exact=True, batch=8)
    yield studio
    studio.close()


def until_it_steps(run: Run) -> None:
    end = time.monotonic() + 60
    while run.snapshot().evaluations < 20:
        assert time.monotonic() < end
        time.sleep(0.01)


def pixels(run: Run) -> list[bytes]:
    cells = run.snapshot().cells
    assert all(cell.image is not None for cell in cells)
    return [cell.image.tobytes() for cell in cells if cell.image is not None]


def test_a_single_picture_does_not_wait_for_a_large_sheet(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_shares, "HEADSTART", 0.05)
    studio.image(BASE.replace(seed=998))
    large = studio.submit(LARGE)
    until_it_steps(large)
    picture = studio.image(BASE.replace(seed=999))
    now = large.snapshot()
    done = sum(cell.status == "done" for cell in now.cells)
    assert now.status == "running" and done < 150, f"{done} of 200 were made first"
    large.stop()
    assert picture.tobytes() == studio.image(BASE.replace(seed=999)).tobytes()


def test_runs_that_take_turns_make_what_they_make_alone(
    studio: Studio, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_shares, "HEADSTART", 0.0)
    sheets = [
        Sheet(base=BASE.replace(model=model), axes=(Axis(field="seed", values=(1, 2, 3)),))
        for model in ("tiny", "twin", "tiny", "tinyv")
    ]
    runs = [studio.submit(sheet) for sheet in sheets]
    for run in runs:
        assert list(run.events()) and run.snapshot().status == "done"
    alone = Studio(models, device="cpu", exact=True, batch=8)
    for sheet, run in zip(sheets, runs, strict=True):
        made = [event.image for event in alone.run(sheet) if isinstance(event, CellDone)]
        assert sorted(image.tobytes() for image in made) == sorted(pixels(run))
    alone.close()


def test_a_run_of_the_same_model_does_not_see_the_loras_of_another(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    monkeypatch.setattr(time_shares, "HEADSTART", 0.0)
    loras = tmp_path / "more"
    save_lora(sd(), loras / "strong")
    studio = Studio([models, loras], device="cpu", exact=True, batch=4)
    changed = Sheet(
        base=BASE.replace(loras=(LoRA(name="strong", scale=2.0),)),
        axes=(Axis(field="seed", values=tuple(range(8))),),
    )
    alone = [studio.submit(sheet) for sheet in (changed, Sheet(base=BASE))]
    for run in alone:
        list(run.events())
    together = studio.submit(changed)
    until_it_steps(together)
    plain = studio.submit(Sheet(base=BASE))
    list(plain.events())
    assert not together.snapshot().finished, "it had its turn in between"
    list(together.events())
    assert pixels(plain) == pixels(alone[1]) and pixels(together) == pixels(alone[0])
    assert pixels(plain)[0] not in pixels(together)
    studio.close()


def test_a_queued_run_stops_at_once(studio: Studio) -> None:
    with loads_wait():  # the worker is at work on the first
        first = studio.submit(LARGE)
        queued = studio.submit(Sheet(base=BASE))
        queued.stop()
        assert queued.snapshot().status == "stopped"
        assert next(run for run in studio.recent() if run.id == queued.id).status == "stopped"
        assert studio.store.folder is not None
        elsewhere = Store(studio.store.folder)  # to which a run without an end would be queued
        assert next(one for one in elsewhere.recent(9) if one.id == queued.id).status == "stopped"
        elsewhere.close()
        first.stop()
    list(first.events())
    assert queued.snapshot().status == "stopped" and studio.alive


def test_a_run_that_has_begun_stops_while_another_has_the_device(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long before its turn would come."""
    monkeypatch.setattr(time_shares, "HEADSTART", 0.0)
    first = studio.submit(LARGE)
    second = studio.submit(Sheet(base=BASE.replace(seed=77, steps=400), axes=LARGE.axes))
    until_it_steps(first)
    until_it_steps(second)
    monkeypatch.setattr(time_shares, "HEADSTART", 1000.0)
    for run in (first, second):
        # Whichever has the device now, one of the two has to wait for it.
        run.stop()
        started = time.monotonic()
        while not run.snapshot().finished:
            assert time.monotonic() - started < 2.0, "it waits for its turn"
            time.sleep(0.005)
        assert run.snapshot().status == "stopped"


def test_the_queue_is_full_at_its_limit(models: Path, one_thread: None) -> None:
    studio = Studio(models, device="cpu", queue_limit=2)
    with loads_wait():
        first = studio.submit(LARGE)
        while first.snapshot().status == "queued":
            time.sleep(0.01)
        waiting = [studio.submit(Sheet(base=BASE)) for _ in range(2)]
        with pytest.raises(Busy, match="2 runs wait already"):
            studio.submit(Sheet(base=BASE))
        waiting[0].stop()
        studio.submit(Sheet(base=BASE)).stop()
        first.stop()
    assert list(waiting[1].events())
    studio.close()


def test_a_run_whose_model_does_not_fit_beside_another_says_what_it_waits_for(
    models: Path, one_thread: None
) -> None:
    studio = Studio(models, device="cpu", budget=room_for_one(models, "tiny", "tinyv"))
    large = studio.submit(LARGE)
    until_it_steps(large)
    other = studio.submit(Sheet(base=BASE.replace(model="tinyv", steps=2)))
    end = time.monotonic() + 20
    while other.snapshot().notice is None:
        assert time.monotonic() < end, "nothing is said"
        time.sleep(0.01)
    assert "tinyv does not fit in memory beside a run under way" in str(other.snapshot().notice)
    assert other.snapshot().status == "queued" and not large.snapshot().finished
    large.stop()
    list(other.events())
    assert other.snapshot().status == "done" and other.snapshot().notice is None
    studio.close()


def test_a_stop_is_first_whoever_has_had_the_device_least(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_shares, "HEADSTART", 0.0)
    first = studio.submit(Sheet(base=BASE.replace(seed=78, steps=400), axes=LARGE.axes))
    until_it_steps(first)
    time.sleep(3.0)  # the others come before it for about as long
    others = [studio.submit(LARGE), studio.submit(Sheet(base=BASE, axes=LARGE.axes))]
    until_it_steps(others[0])
    first.stop()
    started = time.monotonic()
    while not first.snapshot().finished:
        assert time.monotonic() - started < 1.5, "it waits for its turn"
        time.sleep(0.005)
    assert not any(run.snapshot().finished for run in others)
    for run in others:
        run.stop()
