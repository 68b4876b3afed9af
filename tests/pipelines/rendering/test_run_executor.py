"""How a run ended, what a run costs, and that a plan is resolved once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pipelines import Request, Sheet, Studio
from pipelines.denoising.evaluator import Tally
from pipelines.rendering.resolver import Resolver
from pipelines.rendering.run_executor import verdict
from pipelines.rendering.timings.row_timings import RowKind, RowTimings
from pipelines.request.axis_grammar import parse_axis
from pipelines.runs.events import RunFinished, Stats

BASE = Request(model="tiny", prompt="an apple", sampler="ddim", steps=2, seed=5)


@pytest.fixture
def studio(models: Path) -> Iterator[Studio]:
    studio = Studio(models, device="cpu")
    yield studio
    studio.close()


@pytest.mark.parametrize(
    ("cells", "done", "errors", "expected"),
    [
        (3, 3, [], ("done", None)),
        (3, 2, ["a"], ("done", None)),
        (3, 0, ["a", "b", "c"], ("failed", "a")),
        (3, 1, ["a"], ("stopped", None)),
        (3, 0, ["a", "b"], ("stopped", None)),
        (3, 0, [], ("stopped", None)),
    ],
)
def test_the_verdict(cells: int, done: int, errors: list[str], expected: Any) -> None:
    assert verdict(cells, done, errors) == expected


def test_stats_say_all_that_is_counted() -> None:
    counted = {one.name for one in fields(Tally)}
    assert counted == {one.name for one in fields(Stats)} - {"cells", "cells_cached", "seconds"}


class CountedSheet(Sheet):
    """A sheet that counts how often it is expanded."""

    def expand(self) -> list[Request]:
        EXPANDED.append(1)
        return super().expand()


EXPANDED: list[int] = []


def test_a_plan_is_submitted_as_it_was_checked(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved: list[Request] = []
    resolve = Resolver.resolve

    def counted(self: Resolver, request: Request) -> Request:
        resolved.append(request)
        return resolve(self, request)

    monkeypatch.setattr(Resolver, "resolve", counted)
    EXPANDED.clear()
    sheet = CountedSheet(base=BASE, axes=(parse_axis("guidance_scale=1,3"),))
    plan = studio.plan(sheet)
    assert (len(EXPANDED), len(resolved)) == (1, 2)
    run = studio.submit(plan)
    end = list(run.events())[-1]
    assert isinstance(end, RunFinished) and end.status == "done"
    assert (len(EXPANDED), len(resolved)) == (1, 2)
    assert run.requests == list(plan.requests) and run.sheet is sheet
    assert end.stats.rows_naive == plan.cost.rows == 6
    list(studio.submit(sheet).events())
    assert (len(EXPANDED), len(resolved)) == (2, 4), "a sheet is expanded and resolved once"


def test_timings_of_rows_are_those_of_their_kind_and_company() -> None:
    timings, small = RowTimings(), BASE.replace(width=32, height=32)
    large = small.replace(width=64)
    timings.add([small] * 4, [1.0, 1.0, 1.0, 1.0], 16)
    timings.add([small], [2.0], 4)
    timings.add([small, large], [9.0, 9.0], 1)
    timings.add([large], [], 0)
    kind = RowKind.of(small)
    assert [timings.row(kind, cells) for cells in (1, 3, 4, 99)] == [0.5, 0.25, 0.25, 0.25]
    assert timings.row(RowKind.of(large), 1) is None


def test_the_devices_thread_runs_a_function(studio: Studio) -> None:
    import threading

    assert not studio.alive
    name = studio.call(lambda: threading.current_thread().name)
    assert name == "studio" and studio.alive

    def broken() -> None:
        raise KeyError("said to who asked")

    with pytest.raises(KeyError, match="said to who asked"):
        studio.call(broken)
    assert studio.call(lambda: 7) == 7
