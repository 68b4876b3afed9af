"""Curves along guidance and the two marked scales, from pictures whose numbers are known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from pipelines import Request, Sheet
from pipelines.analysis.guidance_sweep import measure, oversaturation, sweet_spot
from pipelines.analysis.image_metrics import as_array, clipped, distance, rms
from pipelines.request.axis_grammar import parse_axis
from pipelines.runs.events import CellDone, RunFinished, RunStarted, Stats
from pipelines.runs.run import Run
from pipelines.runs.snapshot import Snapshot


def finished(axes: tuple[str, ...], pictures: list[Image.Image | None]) -> Snapshot:
    sheet = Sheet(base=Request(prompt="an apple"), axes=tuple(parse_axis(axis) for axis in axes))
    run = Run(sheet, sheet.expand(), "abc")
    run.publish(RunStarted("abc", run.requests))
    for i, picture in enumerate(pictures):
        if picture is not None:
            run.publish(CellDone("abc", i, run.requests[i], picture, None, 1.0, cached=False))
    run.publish(RunFinished("abc", "done", Stats()))
    return run.snapshot()


def grey(level: int) -> Image.Image:
    return Image.new("RGB", (8, 8), (level, level, level))


def burnt(level: int, share: float) -> Image.Image:
    """Grey beside red, a share of its values cut off in lines of near white."""
    pixels = np.full((100, 4, 3), level, np.uint8)
    pixels[:, 2:] = (250, 30, 30)
    pixels[: round(150 * share)] = (255, 255, 240)  # two of three
    return Image.fromarray(pixels)


class Known:
    """A scorer that knows the answers."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = scores

    def adherence(self, pictures: list[Image.Image], prompt: str) -> list[float]:
        assert prompt == "an apple" and len(pictures) == len(self.scores)
        return self.scores


def test_numbers_come_from_their_own_cells() -> None:
    pictures = [grey(10), grey(20), None, grey(10), grey(50), grey(255)]
    sweep = measure(finished(("seed=1,2", "guidance_scale=1,4,9"), pictures))
    assert sweep is not None
    assert (sweep.scales, sweep.rows) == ((1, 4, 9), ("seed 1", "seed 2"))
    arrays = [as_array(one or grey(0)) for one in pictures]
    last = sweep.measures[1][2]
    assert last is not None and sweep.measures[0][2] is None
    assert (last.change, last.clipped) == (distance(arrays[4], arrays[5]), clipped(arrays[5]))
    assert sweep.diversity == (0, rms(arrays[1], arrays[4]), None)
    assert sweep.mean(lambda one: one.change)[1] == pytest.approx((10 + 40) / 2 / 255)


def test_only_guidance_alone_along_the_columns_is_a_sweep() -> None:
    assert measure(finished(("seed=1,2",), [grey(1), grey(2)])) is None
    assert measure(finished(("guidance_scale=1,2",), [grey(1), None])) is None
    together = ("guidance_scale=1,2 & steps=3,4",)
    assert measure(finished(together, [grey(1), grey(2)])) is None
    prompts = measure(finished(("prompt=a,b", "guidance_scale=1,2"), [grey(1)] * 4))
    assert prompts is not None and prompts.diversity is None


def test_the_sweet_spot_is_where_a_doubling_changes_least() -> None:
    def spot(*levels: int) -> float | None:
        sweep = measure(finished(("guidance_scale=1,2,4,16",), [grey(level) for level in levels]))
        assert sweep is not None
        return sweet_spot(sweep)

    assert spot(0, 30, 40, 90) == 2
    assert spot(0, 10, 40, 50) == 4, "ten levels in two doublings are less than ten in one"
    assert spot(0, 2, 40, 50) == 1
    two = measure(finished(("guidance_scale=1,2",), [grey(1), grey(2)]))
    falling = measure(finished(("guidance_scale=4,2,1",), [grey(1)] * 3))
    assert two is not None and falling is not None
    assert sweet_spot(two) is None and sweet_spot(falling) is None


def test_with_a_scorer_it_is_the_lowest_scale_near_the_best() -> None:
    snapshot = finished(("guidance_scale=1,2,4,8",), [grey(10 * i) for i in range(4)])
    for scores, spot in (([0.1, 0.2, 0.299, 0.3], 4), ([0.1, 0.3, 0.2, 0.25], 2)):
        sweep = measure(snapshot, Known(scores))
        assert sweep is not None and sweep.adherence == (tuple(scores),)
        assert sweet_spot(sweep) == spot


def test_over_saturation_begins_where_values_are_cut_off() -> None:
    def begins(*shares: float) -> float | None:
        pictures = [burnt(10, 0), *(burnt(100, share) for share in shares)]
        sweep = measure(finished(("guidance_scale=1,2,4,8,16",), [*pictures]))
        assert sweep is not None and sweet_spot(sweep) == 2
        return oversaturation(sweep)

    assert begins(0.10, 0.10, 0.14, 0.30) == 16
    assert begins(0.10, 0.10, 0.16, 0.30) == 8
    assert begins(0.10, 0.10, 0.14, 0.14) is None


def test_or_where_colours_grow_by_a_share() -> None:
    def red(level: int) -> Image.Image:
        return Image.new("RGB", (8, 8), (level, 50, 50))

    for last, begins in ((115, None), (122, 8.0)):
        pictures = [red(60), red(110), red(110), red(last)]
        sweep = measure(finished(("guidance_scale=1,2,4,8",), [*pictures]))
        assert sweep is not None and sweet_spot(sweep) == 2
        assert oversaturation(sweep) == begins


def test_or_where_pictures_change_fast_again() -> None:
    for last, begins in ((74, None), (76, 16.0)):
        pictures = [grey(level) for level in (0, 30, 40, 55, last)]
        sweep = measure(finished(("guidance_scale=1,2,4,8,16",), [*pictures]))
        assert sweep is not None and sweet_spot(sweep) == 2
        assert oversaturation(sweep) == begins
