"""The studio on real tiny models: what is made, kept, reused, stopped and lost."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageChops
from safetensors.torch import load_file, save_file

from pipelines import Axis, InvalidRequest, ModelUnavailable, Request, Sheet, Studio, UnknownName
from pipelines.errors import ContactSheetError
from pipelines.runs.events import (
    CellDone,
    CellFailed,
    CellPreview,
    CellProgress,
    RunFinished,
    RunStarted,
    Stats,
)
from pipelines.runs.png_metadata import read_request
from pipelines.samplers import SAMPLERS, SCHEDULES

pytestmark = pytest.mark.usefixtures("one_thread")
BASE = Request(model="tiny", prompt="an apple", sampler="euler", steps=4)
LONG = BASE.replace(steps=1000, seed=99)
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def studio(models, tmp_path, monkeypatch):
    # Batch sizes that other tests measured, maybe on a busy machine, are not these tests' own.
    monkeypatch.setenv("CONTACT_SHEET_CACHE", str(tmp_path / "cache"))
    studio = Studio(models, tmp_path / "outputs", device="cpu")
    yield studio
    studio.close()


def axis(field, *values):
    return Axis(field=field, values=values)


def finish(run):
    """All events of a run, by kind."""
    events = list(run.events())
    assert isinstance(events[0], RunStarted) and isinstance(events[-1], RunFinished)
    return events, {e.cell: e for e in events if isinstance(e, CellDone | CellFailed)}


def make(studio, sheet):
    return finish(studio.submit(sheet, previews=False))


def equal(one, other):
    return one.size == other.size and ImageChops.difference(one, other).getbbox() is None


def wait_until(true, what):
    until = time.monotonic() + 30
    while not true():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.002)


def test_one_picture(studio, models):
    events, cells = make(studio, Sheet(base=BASE))
    assert [type(e) for e in events] == [RunStarted, *[CellProgress] * 4, CellDone, RunFinished]
    assert [e.step for e in events[1:5]] == [1, 2, 3, 4] and events[1].steps == 4
    done = cells[0]
    assert done.request == BASE.replace(width=32, height=32), "the model's own size is filled in"
    assert done.image.size == (32, 32) and not done.cached
    with Image.open(done.file) as saved:
        assert equal(saved, done.image) and read_request(saved) == done.request
    stats = events[-1].stats
    assert (stats.cells, stats.cells_cached, stats.batches) == (1, 0, 4)
    assert (stats.rows_naive, stats.rows_computed) == (8, 8)
    # The same picture through the other door, without a store.
    assert equal(Studio(models, device="cpu").image(BASE), done.image)


def test_the_picture_is_the_models(studio):
    """Not just any picture: every field that should change it does."""
    changes = [
        {}, {"prompt": "a pear"}, {"negative_prompt": "dark"}, {"seed": 1}, {"model": "twin"},
        {"guidance_scale": 1.0}, {"guidance_scale": 0.0}, {"steps": 5}, {"sampler": "heun"},
        {"schedule": "karras"}, {"guidance_rescale": 0.9}, {"guidance_stop": 0.3},
        {"height": 40},
    ]  # fmt: skip
    pictures = [studio.image(BASE.replace(**change)).tobytes() for change in changes]
    assert len(set(pictures)) == len(changes)


def test_a_sheet_makes_the_same_pictures_as_one_by_one(studio, models):
    sheet = Sheet(
        base=BASE,
        axes=(axis("sampler", "euler", "dpmpp_2m", "euler_a"), axis("guidance_scale", 1, 3, 7)),
    )
    _, cells = make(studio, sheet)
    alone = Studio(models, device="cpu")
    for number, request in enumerate(sheet.expand()):
        assert cells[number].request == request.replace(width=32, height=32)
        difference = ImageChops.difference(cells[number].image, alone.image(request))
        assert max(high for _, high in difference.getextrema()) <= 2
    alone.close()


def test_the_same_sheet_again_computes_nothing(studio):
    sheet = Sheet(base=BASE, axes=(axis("seed", 1, 2, 3),))
    _, first = make(studio, sheet)
    events, again = make(studio, sheet)
    assert all(again[i].cached and equal(again[i].image, first[i].image) for i in range(3))
    stats = events[-1].stats
    assert (stats.cells, stats.cells_cached) == (3, 3)
    assert (stats.rows_naive, stats.rows_computed, stats.batches) == (0, 0, 0)
    assert not [e for e in events if isinstance(e, CellProgress)]


def test_a_new_seed_computes_that_one_only(studio):
    _, first = make(studio, Sheet(base=BASE, axes=(axis("seed", 1, 2),)))
    events, cells = make(studio, Sheet(base=BASE, axes=(axis("seed", 1, 7, 2),)))
    assert [cells[i].cached for i in range(3)] == [True, False, True]
    assert equal(cells[2].image, first[1].image)
    assert events[-1].stats.rows_computed == 8
    assert {e.cell for e in events if isinstance(e, CellProgress)} == {1}


def test_a_finished_sheet_comes_back_within_a_second(models, tmp_path):
    sheet = Sheet(base=BASE, axes=(axis("seed", *range(5)), axis("guidance_scale", 1, 2, 3, 4, 5)))
    for _ in range(2):
        studio = Studio(models, tmp_path / "outputs", device="cpu")
        started = time.perf_counter()
        events, cells = make(studio, sheet)
        seconds = time.perf_counter() - started
        studio.close()
    assert all(cells[i].cached for i in range(25)), "a fresh process finds them on disk"
    assert events[-1].stats.rows_computed == 0
    assert seconds < 1


def test_a_sheet_of_5_by_5_grown_to_5_by_6_computes_the_new_column(studio):
    def grid(*scales):
        return Sheet(base=BASE, axes=(axis("seed", *range(5)), axis("guidance_scale", *scales)))

    events, _ = make(studio, grid(2, 3, 4, 5, 6))
    assert events[-1].stats.rows_naive == 25 * 8
    events, cells = make(studio, grid(2, 3, 4, 5, 6, 7))
    assert [i for i in range(30) if not cells[i].cached] == [5, 11, 17, 23, 29]
    assert events[-1].stats.rows_naive == events[-1].stats.rows_computed == 5 * 8


def test_eight_guidance_stops_need_far_fewer_rows(studio):
    """The cells alone would compute 1.6 times as many rows, or more, and look the same."""
    base = BASE.replace(steps=16, sampler="dpmpp_2m")
    stops = tuple(k / 8 for k in range(1, 9))
    sheet = Sheet(base=base, axes=(axis("guidance_stop", *stops),))
    events, cells = make(studio, sheet)
    stats = events[-1].stats
    assert stats.rows_naive == 8 * 16 + sum(2 * k for k in range(1, 9))
    assert stats.rows_naive >= 1.6 * stats.rows_computed
    alone = Studio(studio.manager.library.folders[0], device="cpu")
    for number in (0, 3, 7):
        picture = alone.image(base.replace(guidance_stop=stops[number]))
        difference = ImageChops.difference(cells[number].image, picture)
        assert max(high for _, high in difference.getextrema()) <= 2
    alone.close()


def test_a_damaged_picture_is_made_again(studio):
    _, first = make(studio, Sheet(base=BASE))
    first[0].file.write_bytes(first[0].file.read_bytes()[:50])
    _, again = make(studio, Sheet(base=BASE))
    assert not again[0].cached and equal(again[0].image, first[0].image)
    with Image.open(again[0].file) as saved:
        assert equal(saved, first[0].image)


def test_another_model_under_the_same_name_is_not_the_same_cell(shelf, tmp_path):
    folder, add = shelf
    add("tiny")
    studio = Studio(folder, tmp_path / "outputs", device="cpu")
    _, first = make(studio, Sheet(base=BASE))
    shutil.rmtree(folder / "tiny")
    add("tiny", like="twin")
    _, second = make(studio, Sheet(base=BASE))
    assert not second[0].cached and not equal(first[0].image, second[0].image)
    studio.close()


def test_equal_rows_are_computed_once(studio):
    events, _ = make(studio, Sheet(base=BASE, axes=(axis("guidance_scale", 2, 3, 4, 5),)))
    stats = events[-1].stats
    assert stats.rows_naive == 32
    assert stats.rows_computed == 2 + 3 * 8, "all scales share their first step"


def test_previews_come_when_asked_for(studio):
    run = studio.submit(Sheet(base=BASE.replace(steps=40)), previews=True)
    seen = [e for e in run.events() if isinstance(e, CellPreview)]
    assert seen and all(e.image.size == (32, 32) and 1 <= e.step < 40 for e in seen)
    run = studio.submit(Sheet(base=BASE.replace(steps=41)), previews=False)
    assert not [e for e in run.events() if isinstance(e, CellPreview)]


def test_a_filmed_cell_keeps_every_step(studio):
    sheet = Sheet(base=BASE, axes=(axis("steps", 4, 6),))
    make(studio, sheet)
    run = studio.submit(sheet, previews=False, filmed=[1])
    _, cells = finish(run)
    film = run.film(1)
    assert sorted(film) == [1, 2, 3, 4, 5, 6]
    assert cells[0].cached and not cells[1].cached, "a stored picture has no steps to show"
    assert not any(equal(film[i], film[i + 1]) for i in range(1, 5))
    assert run.film(0) == {}
    # Euler's first step: what the network sees in pure noise, whatever the number of steps.
    one_step = studio.image(BASE.replace(steps=1, sampler="euler", schedule="sgm_uniform"))
    shared = studio.submit(
        Sheet(base=BASE.replace(schedule="sgm_uniform")), previews=False, filmed=[0]
    )
    finish(shared)
    extrema = ImageChops.difference(shared.film(0)[1], one_step).getextrema()
    assert max(high for _, high in extrema) <= 2, "both start from the same noise level"


def test_stop_keeps_what_is_finished_and_comes_at_once(studio):
    run = studio.submit(Sheet(base=LONG, axes=(axis("steps", 2, 1000),)), previews=False)
    wait_until(lambda: run.snapshot().cells[0].status == "done", "the short cell")
    wait_until(lambda: run.snapshot().cells[1].step > 5, "the long cell to go on")
    run.stop()
    before = run.snapshot().cells[1].step
    events, cells = finish(run)
    assert events[-1].status == "stopped" and events[-1].error is None
    assert run.snapshot().cells[1].step - before <= 2, "evaluations after stop"
    assert run.snapshot().cells[1].step < 1000
    assert set(cells) == {0} and Path(cells[0].file).is_file()
    # And the worker is free for the next, which finds what was finished.
    _, again = make(studio, Sheet(base=LONG.replace(steps=2)))
    assert again[0].cached


def test_stop_before_the_turn_comes(studio):
    long = studio.submit(Sheet(base=LONG), previews=False)
    waiting = studio.submit(Sheet(base=BASE), previews=False)
    assert waiting.snapshot().status == "queued"
    waiting.stop()
    long.stop()
    events, cells = finish(waiting)
    assert events[-1].status == "stopped" and cells == {}
    assert events[-1].stats.rows_computed == 0


def test_leaving_the_loop_stops_the_run(studio):
    events = studio.run(Sheet(base=LONG))
    run = studio.find(next(events).run)
    events.close()
    wait_until(lambda: run.snapshot().finished, "the run to stop")
    assert run.snapshot().status == "stopped"


def test_runs_are_found_while_they_live(studio):
    run = studio.submit(Sheet(base=LONG), previews=False)
    assert studio.find(run.id) is run and studio.find("none") is None
    wait_until(lambda: run.snapshot().status == "running", "the run to begin")
    (summary,) = studio.recent()
    assert (summary.id, summary.status) == (run.id, "running")
    run.stop()
    finish(run)


def test_a_new_studio_finds_what_an_old_one_made(studio, models, tmp_path):
    sheet = Sheet(base=BASE, axes=(axis("seed", 5, 6),))
    run = studio.submit(sheet, previews=False)
    events, cells = finish(run)
    studio.close()
    later = Studio(models, tmp_path / "outputs", device="cpu")
    (summary,) = later.recent()
    assert (summary.id, summary.prompt, summary.cells) == (run.id, "an apple", 2)
    found = later.find(run.id)
    assert found.sheet == sheet and found.snapshot().status == "done"
    assert found.snapshot().stats == events[-1].stats
    assert found.snapshot().evaluations == found.snapshot().evaluations_total == 8
    _, again = finish(found)
    for number, cell in cells.items():
        assert again[number].request == cell.request and again[number].file == cell.file
        assert equal(again[number].image, cell.image)
        assert again[number].seconds == cell.seconds
    assert later.find(run.id) is found
    assert later.manager.history == [], "looking back loads no model"
    _, cached = make(later, sheet)
    assert all(cell.cached for cell in cached.values())
    later.close()


def test_a_stopped_run_comes_back_as_stopped(studio, models, tmp_path):
    run = studio.submit(Sheet(base=LONG, axes=(axis("steps", 2, 1000),)), previews=False)
    wait_until(lambda: run.snapshot().cells[0].status == "done", "the short cell")
    studio.close()
    later = Studio(models, tmp_path / "outputs", device="cpu")
    now = later.find(run.id).snapshot()
    assert now.status == "stopped" and [c.status for c in now.cells] == ["done", "waiting"]
    later.close()


def overflow(model):
    """Weights that turn everything into infinities."""
    tensors = load_file(model / UNET)
    tensors["conv_out.bias"] = torch.full_like(tensors["conv_out.bias"], float("inf"))
    save_file(tensors, model / UNET, metadata={"format": "pt"})


@pytest.mark.parametrize("outputs", ["outputs", None])
def test_a_cell_that_overflows_loses_no_other(shelf, tmp_path, outputs):
    folder, add = shelf
    add("tiny")
    overflow(add("bad"))
    studio = Studio(folder, outputs and tmp_path / outputs, device="cpu")
    events, cells = make(studio, Sheet(base=BASE, axes=(axis("model", "bad", "tiny"),)))
    assert isinstance(cells[0], CellFailed) and "overflowed" in cells[0].error
    assert isinstance(cells[1], CellDone)
    assert events[-1].status == "done" and events[-1].error is None
    with pytest.raises(ContactSheetError, match="overflowed"):
        studio.image(BASE.replace(model="bad"))
    events, _ = make(studio, Sheet(base=BASE.replace(model="bad")))
    assert events[-1].status == "failed" and "overflowed" in events[-1].error
    studio.close()


@pytest.mark.parametrize("outputs", ["outputs", None])
def test_a_model_that_goes_before_its_turn_loses_no_other(shelf, tmp_path, outputs):
    folder, add = shelf
    add("tiny")
    doomed = add("doomed")
    studio = Studio(folder, outputs and tmp_path / outputs, device="cpu")
    busy = studio.submit(Sheet(base=LONG), previews=False)
    run = studio.submit(Sheet(base=BASE, axes=(axis("model", "doomed", "tiny"),)), previews=False)
    shutil.rmtree(doomed)
    busy.stop()
    events, cells = finish(run)
    assert isinstance(cells[0], CellFailed) and "unknown model 'doomed'" in cells[0].error
    assert isinstance(cells[1], CellDone)
    assert events[-1].status == "done"
    if outputs:
        stored = studio.store.run(run.id)
        assert [bool(cell.address) for cell in stored.cells] == [False, True]
        assert "unknown model" in stored.cells[0].error
    studio.close()


def test_an_unwritable_picture_fails_its_cell_only(studio):
    def place(seed):
        return studio.store.path(studio.address(BASE.replace(seed=seed))).parent

    place(1).write_text("a file where a folder should be")
    free = next(seed for seed in range(2, 20) if place(seed) != place(1))
    _, cells = make(studio, Sheet(base=BASE, axes=(axis("seed", 1, free),)))
    assert isinstance(cells[0], CellFailed) and "cannot be written" in cells[0].error
    assert isinstance(cells[1], CellDone)


BAD = [
    (axis("steps", 4, 0), InvalidRequest, "steps is 0"),
    (axis("model", "tiny", "tinny"), UnknownName, "did you mean 'tiny'"),
    (axis("sampler", "euler", "eulr"), UnknownName, "did you mean 'euler'"),
    (axis("sampler", "flow_euler"), InvalidRequest, "does not fit 'tiny', a diffusion model"),
    (axis("width", 32, 33), InvalidRequest, "width is 33; this model takes multiples of 4"),
    (axis("height", 4096), InvalidRequest, "height is 4096; .* from 8 to 2048"),
    (axis("seed", 0, -2), InvalidRequest, "seed is -2"),
    (axis("model", "m.ckpt"), ModelUnavailable, "pickle checkpoint"),
]


@pytest.mark.parametrize(("bad", "kind", "message"), BAD, ids=lambda v: getattr(v, "field", ""))
def test_a_bad_sheet_leaves_nothing_behind(studio, bad, kind, message):
    with pytest.raises(kind, match=message):
        studio.submit(Sheet(base=BASE, axes=(bad,)))
    assert studio.recent() == [] and studio.runs == [] and not studio.alive
    assert not list((studio.store.folder / "pictures").iterdir())


def test_samplers_refuse_what_they_cannot_do(studio):
    with pytest.raises(InvalidRequest, match="'lcm' cannot do 51 steps"):
        studio.submit(Sheet(base=BASE.replace(sampler="lcm", steps=51)))
    with pytest.raises(InvalidRequest, match="'pndm' does not fit 'tinyv', a v-prediction model"):
        studio.submit(Sheet(base=BASE.replace(sampler="pndm", model="tinyv")))
    assert studio.recent() == []


def test_a_device_that_is_not_there(models):
    with pytest.raises(ModelUnavailable, match="device 'toaster'"):
        Studio(models, device="toaster").submit(Sheet(base=BASE))


@pytest.mark.parametrize("model", ["tiny", "tinyv"])
def test_every_sampler_and_schedule_makes_a_picture(studio, model):
    """Those that fit; few steps, to find the corners of every scheduler."""
    schedules = SCHEDULES if model == "tiny" else ["default"]
    for schedule in schedules:
        fitting = [
            row.id
            for row in SAMPLERS.values()
            if row.kind == "diffusion" and schedule in row.schedules
            if row.v_prediction or model == "tiny"
        ]
        base = BASE.replace(model=model, guidance_scale=1.0, sampler="euler")
        steps = (1, 2) if schedule == "default" else (2,)
        sheet = Sheet(
            base=base,
            axes=(
                axis("sampler", *fitting),
                axis("schedule", schedule),
                axis("steps", *steps),
            ),
        )
        _, cells = make(studio, sheet)
        assert len(cells) == len(fitting) * len(steps) >= 5
        assert not [c for c in cells.values() if isinstance(c, CellFailed)]


def test_a_budget_too_small_is_said(models):
    studio = Studio(models, device="cpu", budget=1000)
    with pytest.raises(ContactSheetError, match=r"the budget is 0 MB.*--memory"):
        studio.image(BASE)
    studio.close()


def test_close_ends_everything(models, tmp_path):
    studio = Studio(models, tmp_path / "outputs", device="cpu")
    runs = [studio.submit(Sheet(base=LONG), previews=False) for _ in range(3)]
    started = time.monotonic()
    studio.close()
    assert time.monotonic() - started < 10 and not studio.alive
    assert [run.snapshot().status for run in runs] == ["stopped"] * 3
    with pytest.raises(InvalidRequest, match="closed"):
        studio.submit(Sheet(base=BASE))
    Studio(models).close()


def test_image_without_a_store_keeps_nothing(models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    studio = Studio(models, device="cpu")
    studio.image(BASE)
    assert studio.recent() == [] and studio.find("x") is None
    studio.close()
    assert list(tmp_path.iterdir()) == []


def test_stats_start_at_zero():
    assert Stats() == Stats(0, 0, 0, 0, 0, 0.0)


def test_warm_up_loads_ahead(studio):
    studio.warm_up("tiny")
    assert len(studio.manager.history) == 1
    make(studio, Sheet(base=BASE))
    assert studio.manager.history[1].loaded == {}
    with pytest.raises(UnknownName):
        studio.warm_up("tinny")


def test_a_plan_says_what_a_run_then_costs(studio):
    sheet = Sheet(base=BASE, axes=(axis("guidance_scale", 1, 3), axis("sampler", "ddim", "heun")))
    plan = studio.plan(sheet).cost
    assert (plan.cells, plan.cached, plan.seconds) == (4, 0, None)
    events, _ = make(studio, sheet)
    assert plan.rows == events[-1].stats.rows_naive == (4 + 7) * 3
    again = studio.plan(sheet).cost
    assert (again.cached, again.rows, again.seconds) == (4, 0, 0.0)
    grown = studio.plan(
        Sheet(base=BASE, axes=(axis("guidance_scale", 1, 3, 5), sheet.axes[1]))
    ).cost
    assert (grown.cells, grown.cached, grown.rows) == (6, 4, 22)
    assert 0 < grown.seconds < 60
    with pytest.raises(InvalidRequest):
        studio.plan(Sheet(base=BASE, axes=(axis("steps", 0),)))


def test_a_lone_picture_is_not_estimated_by_a_sheet_nor_a_sheet_by_it(studio):
    make(studio, Sheet(base=BASE))
    lone = Sheet(base=BASE.replace(seed=7))
    sheet = Sheet(base=BASE, axes=(axis("seed", *range(20, 28)),))
    by_the_lone = studio.plan(lone).cost.seconds, studio.plan(sheet).cost.seconds
    assert by_the_lone[1] == pytest.approx(8 * by_the_lone[0])
    make(studio, Sheet(base=BASE, axes=(axis("seed", *range(30, 37)),)))
    assert studio.plan(lone).cost.seconds == by_the_lone[0]
    assert studio.plan(sheet).cost.seconds != by_the_lone[1]
