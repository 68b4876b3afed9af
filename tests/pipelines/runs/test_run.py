"""A run as its watchers see it: everything, in order, whenever they come."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from pipelines.request.request import Request
from pipelines.request.sheet import Sheet
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

BASE = Request(model="m", sampler="ddim", steps=10)


def run_of(count=2, base=BASE):
    sheet = Sheet.seeds(base, count)
    return Run(sheet, sheet.expand())


def image(shade=0):
    return Image.new("L", (2, 2), shade)


def progress(run, cell, step, steps=10):
    return CellProgress(run.id, cell, step, steps)


def done(run, cell, cached=False, seconds=0.5):
    return CellDone(run.id, cell, run.requests[cell], image(9), Path("x.png"), seconds, cached)


def publish(run, *events):
    for event in events:
        run.publish(event)
    return events


def story(run):
    """Two cells: one finished, one failed."""
    return [
        RunStarted(run.id, run.requests),
        progress(run, 0, 1),
        CellPreview(run.id, 0, 1, image(1)),
        progress(run, 1, 1),
        progress(run, 0, 2),
        CellPreview(run.id, 0, 2, image(2)),
        CellPreview(run.id, 1, 2, image(3)),
        done(run, 0),
        CellFailed(run.id, 1, run.requests[1], "too dark"),
        RunFinished(run.id, "done", Stats(cells=2)),
    ]


def test_late_watchers_see_everything_but_replaced_previews():
    run = run_of()
    events = publish(run, *story(run))
    replaced = {id(events[2]): "by a newer one", id(events[5]): "by the picture"}
    kept = [e for e in events if id(e) not in replaced]
    assert list(run.events()) == kept
    assert list(run.events()) == kept, "watching takes nothing away"


def test_watchers_in_other_threads_see_the_same():
    run = run_of()
    seen = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda mine=mine: mine.extend(run.events())) for mine in seen
    ]
    for thread in threads[:2]:
        thread.start()
    events = story(run)
    publish(run, *events[:5])
    for thread in threads[2:]:
        thread.start()
    publish(run, *events[5:])
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    # Replaced previews, by a newer one or the picture: only who was quick saw them.
    optional = {id(events[2]), id(events[5])}
    for mine in seen:
        assert [e for e in mine if id(e) not in optional] == [
            e for e in events if id(e) not in optional
        ]


def test_events_wait_for_more():
    run = run_of()
    watch = run.events()
    publish(run, RunStarted(run.id, run.requests))
    assert isinstance(next(watch), RunStarted)
    later = threading.Timer(0.1, publish, (run, RunFinished(run.id, "stopped", Stats())))
    started = time.monotonic()
    later.start()
    assert isinstance(next(watch), RunFinished)
    assert time.monotonic() - started >= 0.1
    assert list(watch) == []


def test_the_newest_preview_replaces_the_others():
    run = run_of(1)
    publish(run, RunStarted(run.id, run.requests))
    for step in range(1, 6):
        publish(run, CellPreview(run.id, 0, step, image(step)))
    publish(run, RunFinished(run.id, "stopped", Stats()))
    previews = [e for e in run.events() if isinstance(e, CellPreview)]
    assert [p.step for p in previews] == [5]
    assert run.snapshot().cells[0].image.getpixel((0, 0)) == 5


def test_a_snapshot_before_anything_happened():
    run = run_of(3)
    now = run.snapshot()
    assert now.status == "queued" and not now.finished and now.version == 0
    assert (now.evaluations, now.evaluations_total) == (0, 30)
    assert (now.rate, now.seconds_left, now.seconds) == (0.0, None, 0.0)
    assert [cell.status for cell in now.cells] == ["waiting"] * 3


def test_totals_count_evaluations_not_steps():
    assert run_of(1, BASE.replace(sampler="heun")).snapshot().evaluations_total == 19
    run = run_of(1)
    publish(run, progress(run, 0, 1, steps=12))
    assert run.snapshot().evaluations_total == 12, "what the engine says wins over the estimate"


def test_snapshot_arithmetic():
    run = run_of(2)
    publish(run, RunStarted(run.id, run.requests), progress(run, 0, 1))
    first = run.snapshot()
    assert (first.rate, first.seconds_left) == (0.0, None), "one evaluation gives no rate"
    time.sleep(0.2)
    publish(run, progress(run, 1, 1), progress(run, 0, 2))
    before = time.monotonic()
    now = run.snapshot()
    assert (now.evaluations, now.evaluations_total) == (3, 20)
    # Two evaluations since the first, in 0.2 seconds or a little more.
    assert 2 / 0.35 < now.rate <= 2 / 0.2
    assert now.seconds_left == pytest.approx(17 / now.rate)
    assert now.seconds >= 0.2 and before - now.seconds > 0
    assert [cell.status for cell in now.cells] == ["running", "running"]
    assert [(cell.step, cell.steps) for cell in now.cells] == [(2, 10), (1, 10)]


def test_cached_cells_do_not_count():
    run = run_of(2)
    publish(run, RunStarted(run.id, run.requests), done(run, 0, cached=True, seconds=0.0))
    now = run.snapshot()
    assert (now.evaluations, now.evaluations_total) == (0, 10)
    assert now.cells[0].cached and now.cells[0].status == "done"
    publish(run, progress(run, 1, 4))
    assert (run.snapshot().evaluations, run.snapshot().evaluations_total) == (4, 10)


def test_a_run_of_cached_cells_only():
    run = run_of(2)
    publish(run, RunStarted(run.id, run.requests), done(run, 0, True), done(run, 1, True))
    publish(run, RunFinished(run.id, "done", Stats(2, 2)))
    now = run.snapshot()
    assert (now.evaluations, now.evaluations_total, now.rate) == (0, 0, 0.0)
    assert now.seconds_left is None and now.finished


def test_cells_end_as_they_ended():
    run = run_of()
    publish(run, *story(run))
    now = run.snapshot()
    first, second = now.cells
    assert (first.status, first.step, first.steps, first.file) == ("done", 10, 10, Path("x.png"))
    assert first.seconds == 0.5 and first.image.getpixel((0, 0)) == 9
    assert (second.status, second.error) == ("failed", "too dark")
    assert now.status == "done" and now.finished and now.stats == Stats(cells=2)


@pytest.mark.parametrize("status", ["done", "stopped", "failed"])
def test_time_stands_still_after_the_end(status):
    run = run_of()
    publish(run, RunStarted(run.id, run.requests), RunFinished(run.id, status, Stats(), "why"))
    first = run.snapshot()
    time.sleep(0.05)
    assert run.snapshot() == first
    assert (first.status, first.error, first.finished) == (status, "why", True)


def test_wait_for_change():
    run = run_of()
    started = time.monotonic()
    assert run.wait_for_change(0, timeout=0.1).version == 0
    assert time.monotonic() - started >= 0.1
    threading.Timer(0.1, publish, (run, progress(run, 0, 1))).start()
    started = time.monotonic()
    now = run.wait_for_change(0, timeout=20)
    assert now.version == 1 and now.evaluations == 1
    assert time.monotonic() - started < 10
    started = time.monotonic()
    assert run.wait_for_change(0, timeout=20).version == 1, "a change that was missed"
    assert time.monotonic() - started < 10


def test_stop_is_only_asked_for():
    run = run_of()
    assert not run.stop_asked
    run.stop()
    run.stop()
    assert run.stop_asked and run.snapshot().status == "queued"


def test_ids_differ():
    assert len({run_of().id for _ in range(100)}) == 100
    assert Run(Sheet(), [BASE], "mine").id == "mine"
