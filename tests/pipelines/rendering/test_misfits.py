"""Combinations that cannot be made are left out of a sheet, if that is asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import InvalidRequest, Request, Sheet, Studio, UnknownName
from pipelines.request.axis_grammar import parse_axis

BASE = Request(model="tiny", prompt="an apple", sampler="euler", steps=2)


@pytest.fixture
def studio(models: Path, tmp_path: Path) -> Iterator[Studio]:
    studio = Studio(models, tmp_path / "outputs", device="cpu")
    yield studio
    studio.close()


def sheet(*axes: str) -> Sheet:
    return Sheet(base=BASE, axes=tuple(map(parse_axis, axes)))


def made(plan: object, *fields: str) -> list[tuple[object, ...]]:
    return [tuple(getattr(r, field) for field in fields) for r in plan.requests]  # type: ignore[attr-defined]


def test_pairs_that_do_not_fit_are_left_out(studio: Studio) -> None:
    asked = sheet("seed=1,2", "sampler=ddim,euler,dpmpp_2m", "schedule=default,karras")
    with pytest.raises(InvalidRequest, match="'ddim' has no schedule 'karras'"):
        studio.plan(asked)
    plan = studio.plan(asked, skip_misfits=True)
    pairs = [(s, k) for s in ("ddim", "euler", "dpmpp_2m") for k in ("default", "karras")]
    want = [(seed, s, k) for seed in (1, 2) for s, k in pairs if (s, k) != ("ddim", "karras")]
    assert made(plan, "seed", "sampler", "schedule") == want
    assert plan.sheet.shape == (2, 5) and len(plan.left_out) == 2
    assert plan.warning_lines[0].startswith("left out: seed 1, DDIM, karras (sampler 'ddim' has no")


def test_axes_that_are_apart_and_windows(studio: Studio) -> None:
    asked = sheet("schedule=default,karras", "seed=1,2", "sampler=ddim,euler")
    plan = studio.plan(asked, skip_misfits=True)
    assert plan.sheet.shape == (3, 2)
    assert set(made(plan, "schedule", "sampler")) == {
        ("default", "ddim"), ("default", "euler"), ("karras", "euler"),
    }  # fmt: skip
    plan = studio.plan(sheet("guidance_start=0,0.5", "guidance_stop=0.3,1"), skip_misfits=True)
    assert made(plan, "guidance_start", "guidance_stop") == [(0.0, 0.3), (0.0, 1.0), (0.5, 1.0)]


def test_a_value_that_fits_nowhere_goes(studio: Studio) -> None:
    plan = studio.plan(sheet("sampler=euler,flow_euler,ddim", "seed=1,2"), skip_misfits=True)
    assert plan.sheet.shape == (2, 2) and len(plan.left_out) == 2


def test_mistakes_are_no_combinations(studio: Studio) -> None:
    with pytest.raises(UnknownName, match="did you mean 'euler'"):
        studio.plan(sheet("sampler=euler,eulr"), skip_misfits=True)
    with pytest.raises(UnknownName, match="model 'nowhere'"):
        studio.plan(sheet("model=tiny,nowhere"), skip_misfits=True)
    with pytest.raises(InvalidRequest, match="no combination can be made: sampler 'flow_euler'"):
        studio.plan(sheet("sampler=flow_euler,flow_heun"), skip_misfits=True)


def test_a_sheet_that_fits_is_left_as_it_is(studio: Studio) -> None:
    asked = sheet("prompt_replace=apple,pear", "seed=1,2")
    plan = studio.plan(asked, skip_misfits=True)
    assert plan.sheet == asked and plan.left_out == ()


def test_what_gets_replaced_cannot_be_left_out(studio: Studio) -> None:
    asked = sheet("prompt_replace=apple,pear & sampler=flow_euler,ddim")
    with pytest.raises(InvalidRequest, match="prompt_replace cannot leave out its first value"):
        studio.plan(asked, skip_misfits=True)
    plan = studio.plan(
        sheet("prompt_replace=apple,pear & sampler=ddim,flow_euler"), skip_misfits=True
    )
    assert made(plan, "prompt", "sampler") == [("an apple", "ddim")]


@pytest.mark.parametrize(
    "axes",
    [
        ("seed=1-100", "guidance_scale=0-9.9 (+0.1)"),
        ("guidance_stop=0.5-1 [100]", "guidance_scale=0-9.9 (+0.1)"),
        ("steps=1-100", "guidance_scale=0-9.9 (+0.1)"),
    ],
)
def test_ten_thousand_cells_are_planned_in_seconds(studio: Studio, axes: tuple[str, ...]) -> None:
    """A processor's seconds, since other work may run beside; it took 12 before."""
    studio.plan(sheet("seed=1,2"))
    started = time.process_time()
    plan = studio.plan(sheet(*axes))
    assert time.process_time() - started < 5
    assert len(plan.requests) == plan.cost.cells == 10_000 and plan.cost.rows > 10_000
