"""How large a batch is: decided from what was measured, remembered, never at a cell's cost."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import InvalidRequest, Request, Sheet, Studio
from pipelines.denoising.batch_sizes import (
    SIZES,
    TRIES,
    AutotunedBatches,
    FixedBatches,
    Sample,
    best,
    cover,
    even,
    to_try,
)
from pipelines.rendering.batch_evaluator import fastest
from pipelines.rendering.timings.batch_timings import BatchTimings
from pipelines.request.axis_grammar import parse_axis
from pipelines.runs.events import RunFinished
from pipelines.utils import files


def known(**seconds: float) -> dict[int, Sample]:
    """Samples of sizes whose rows take so long: known(s2=1.0, s4=0.6)."""
    return {int(name[1:]): Sample(TRIES, value) for name, value in seconds.items()}


@given(st.integers(1, 200), st.integers(1, 40))
def test_even_chunks_are_few_equal_and_complete(count: int, most: int) -> None:
    sizes = []
    while sum(sizes) < count:
        sizes.append(even(count - sum(sizes), most))
    assert sum(sizes) == count and len(sizes) == -(-count // most)
    assert max(sizes) <= most and max(sizes) - min(sizes) <= 1


@given(
    st.integers(1, 30),
    st.dictionaries(st.sampled_from(SIZES), st.floats(0.1, 10.0), min_size=1, max_size=4),
)
def test_a_cover_costs_least(rows: int, costs: dict[int, float]) -> None:
    total, left = 0.0, rows
    while left > 0:
        size = cover(left, costs)
        total, left = total + costs[size], left - size
    others = (
        sum(costs[size] for size in chosen)
        for number in range(1, 5)
        for chosen in itertools.combinations_with_replacement(costs, number)
        if sum(chosen) >= rows
    )
    assert total <= min(others, default=total) * (1 + 1e-9)


def test_a_cover_fills_up_only_where_that_is_cheaper() -> None:
    assert cover(15, {1: 1.0, 8: 4.0, 16: 7.0}) == 16
    assert cover(9, {1: 1.0, 8: 4.0, 16: 7.0}) == 8, "8 + 1 costs 5, one of 16 costs 7"


def test_the_best_size_is_the_smallest_of_the_fastest() -> None:
    assert best(known(s2=1.0, s4=0.6, s8=0.5, s16=0.495)) == 8
    assert best(known(s2=1.0, s4=1.3, s8=1.2)) == 2, "never slower than cell by cell"
    assert best({2: Sample(TRIES - 1, 0.1)}) is None, "too few calls to know"


def test_larger_sizes_are_tried_while_they_pay() -> None:
    assert to_try({}, SIZES) == 2
    assert to_try(known(s2=1.0), SIZES) == 4
    assert to_try(known(s2=1.0, s4=0.99), SIZES) == 8, "one that does not pay may be bad luck"
    enough = {size: Sample(99, 1.0) for size in (2, 4, 8)}
    assert to_try(enough, SIZES) is None, "two do not: larger ones would only cost memory"


def test_a_busy_moment_decides_nothing_for_long() -> None:
    """4 met one: it looks ten times as slow as it is. It is measured again, and wins."""
    samples = {2: Sample(20, 1.0), 4: Sample(TRIES, 6.0), 8: Sample(20, 0.9)}
    batches = AutotunedBatches({**samples, 16: Sample(20, 0.95)}, SIZES)
    assert best(batches.samples) == 8
    for _ in range(40):
        rows = batches.take(16)
        batches.took(rows, rows * {2: 1.0, 4: 0.5, 8: 0.9, 16: 0.95}[rows])
    assert best(batches.samples) == 4


def test_measuring_settles_on_the_fastest_and_costs_little() -> None:
    """A clock like the shipped model's: 8 ms a call and 6 ms a row."""
    batches, spent = AutotunedBatches({}, SIZES), 0.0
    for _ in range(100):
        rows = 32
        while rows:
            size = batches.take(rows)
            batches.took(size, 0.008 + 0.006 * size)
            spent += 0.008 + 0.006 * size
            rows -= size
    assert best(batches.samples) == 32
    assert spent <= 1.05 * 100 * (0.008 + 0.006 * 32)


def test_sizes_a_run_cannot_fill_are_left_for_one_that_can() -> None:
    batches = AutotunedBatches({}, SIZES)
    for _ in range(30):
        assert batches.take(2) == 2
        batches.took(2, 0.02)
    assert set(batches.samples) == {2}
    assert batches.take(40) == 4


def test_nearly_full_batches_tell_of_their_size() -> None:
    batches = AutotunedBatches(known(s2=1.0, s4=0.6, s8=0.5), SIZES)
    assert batches.take(15) == 15, "a sheet of 15 rows is the chance to try 16"
    batches.took(15, 4.5)
    assert batches.samples[16] == Sample(1, 0.3)
    assert batches.timing_bucket(12) is None


def test_memory_ends_the_larger_sizes() -> None:
    batches = AutotunedBatches(known(s2=1.0, s4=0.6, s8=0.5, s16=0.4), SIZES)
    batches.shrink(16)
    assert max(batches.sizes) == 8 and batches.take(16) <= 8
    even_ones = FixedBatches(12)
    even_ones.shrink(12)
    assert even_ones.take(12) == 6


def test_the_fastest_backend_is_judged_at_the_sizes_the_rows_fill() -> None:
    samples = {"a": known(s2=1.0, s16=0.1), "b": known(s2=0.5, s16=0.4)}
    assert fastest(samples, 2) == "b"
    assert fastest(samples, 16) == "a"
    assert fastest({"a": {}, "b": known(s2=0.5)}, 2) == "b"


def test_what_is_known_outlives_the_process(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "batches.json"
    one, other = BatchTimings(file), BatchTimings(file)
    one.put("emoji", known(s2=1.0))
    other.put("large", known(s4=0.5))
    again = BatchTimings(file)
    assert again.get("emoji") == known(s2=1.0) and again.get("large") == known(s4=0.5)
    assert again.get("unheard of") == {}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": {"x": {}}}', '{"a": {"2": {"calls": 1}}}'])
def test_a_damaged_file_is_made_anew(tmp_path: Path, text: str) -> None:
    file = tmp_path / "batches.json"
    file.write_text(text)
    timings = BatchTimings(file)
    assert timings.get("a") == {}
    timings.put("a", known(s2=1.0))
    assert BatchTimings(file).get("a") == known(s2=1.0)


def test_a_place_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    timings = BatchTimings(tmp_path / "file" / "batches.json")
    timings.put("a", known(s2=1.0))
    assert timings.get("a") == known(s2=1.0)


@pytest.mark.usefixtures("one_thread")
def test_a_run_measures_and_the_next_one_remembers(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTACT_SHEET_CACHE", str(tmp_path))
    base = Request(model="tiny", prompt="an apple", sampler="ddim", steps=12, guidance_scale=3.0)
    sheet = Sheet(base=base, axes=(parse_axis("seed=1-16"),))

    def batches(studio: Studio) -> int:
        (end,) = [event for event in studio.run(sheet) if isinstance(event, RunFinished)]
        assert end.stats.rows_computed == 16 * 2 * 12
        return end.stats.batches

    first = batches(Studio(models, device="cpu"))
    entries = json.loads((tmp_path / "batches.json").read_text())
    (sizes,) = entries.values()
    assert {"2", "4", "8"} <= set(sizes) and all(one["calls"] >= TRIES for one in sizes.values())
    # Another studio, as another process would have, starts from there: it climbs no ladder.
    assert batches(Studio(models, device="cpu")) < first
    assert batches(Studio(models, device="cpu", batch=32)) == 12, "a size that is named is used"


def test_a_batch_out_of_range_is_said(models: Path) -> None:
    with pytest.raises(InvalidRequest, match="batch is 0; it must be a whole number of rows"):
        Studio(models, batch=0)


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTACT_SHEET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    monkeypatch.setattr("sys.platform", "linux")
    assert files.cache_folder() == Path("/somewhere/contact-sheet")
