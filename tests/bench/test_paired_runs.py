"""The bench's own arithmetic; its figures are only as good as this."""

from __future__ import annotations

import time

import pytest
from PIL import Image

from bench.paired_runs import Comparison, compare, pixels_apart


def grey(level: int) -> Image.Image:
    return Image.new("RGB", (4, 4), (level, level, level))


def test_the_ratio_is_ours_by_the_peers() -> None:
    summary = Comparison("x", (1.0, 2.0, 9.0), (2.0, 2.0, 3.0), 1).summary()
    assert (summary["ratio"], summary["ratio_min"], summary["ratio_max"]) == (1.0, 0.5, 3.0)


def test_both_sides_take_turns_and_every_picture_is_compared() -> None:
    calls = []

    def side(name: str, seconds: float, levels: list[int]):
        def work() -> list[Image.Image]:
            calls.append(name)
            time.sleep(seconds)
            return [grey(levels.pop(0))]

        return work

    found = compare("x", side("a", 0.01, [5, 5, 9, 5]), side("b", 0.03, [5] * 4), pairs=3)
    assert calls == ["a", "b", "a", "b", "b", "a", "a", "b"]
    assert len(found.ratios) == 3 and all(ratio < 1 for ratio in found.ratios)
    assert found.pixels_apart == 4, "one picture of one turn was off"


def test_a_missing_picture_is_an_error() -> None:
    with pytest.raises(ValueError):
        pixels_apart([grey(1)], [grey(1), grey(2)])
