"""The engine's arithmetic, with a network of known answers in place of a model."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.denoising.engine import Failed, Finished, Stepped, denoise
from pipelines.denoising.guided_trajectory import GuidedTrajectory
from pipelines.denoising.guiders.base import row_count
from pipelines.denoising.guiders.classifier_free import ClassifierFree
from pipelines.denoising.trajectory import initial_noise, trajectory
from pipelines.errors import ContactSheetError, OutOfMemory
from pipelines.samplers import SAMPLERS, build
from tests.helpers.analytic import BETAS
from tests.helpers.evaluator import FunctionEvaluator

DIFFUSION = [row.id for row in SAMPLERS.values() if row.kind == "diffusion"]


def network(rows):
    """Row by row, so that its outputs cannot depend on the batch."""
    return torch.cat(
        [torch.tanh(row.x * row.condition) + 0.1 * torch.sin(row.t / 200.0) for row in rows]
    )


def cell(sampler="ddim", steps=6, scale=5.0, seed=0, prompt=0.7, stop=1.0):
    def make():
        noise, generator = initial_noise((1, 4, 4), seed)
        walk = trajectory(build(sampler, "default", BETAS, steps, seed), noise, generator)
        conditions = {"prompt": CONDITION[prompt], "negative": EMPTY}
        return GuidedTrajectory(walk, ClassifierFree(scale, 0.0, stop), conditions)

    return make


CONDITION = {value: torch.tensor(value) for value in (0.3, 0.7, 0.9)}
EMPTY = torch.tensor(0.0)


def run(makers, evaluate=network, batch_rows=5, **options):
    """Latents and failures by cell, and the tally."""
    evaluator = FunctionEvaluator(evaluate, batch_rows)
    events = list(denoise(enumerate(makers), evaluator, **options))
    latents = {e.cell: e.latents for e in events if isinstance(e, Finished)}
    failed = {e.cell: e.error for e in events if isinstance(e, Failed)}
    return latents, failed, evaluator.tally


CELLS = st.builds(
    dict,
    sampler=st.sampled_from(DIFFUSION),
    steps=st.integers(1, 8),
    scale=st.sampled_from([0.0, 1.0, 3.0, 7.5]),
    seed=st.integers(0, 3),
    prompt=st.sampled_from(list(CONDITION)),
    stop=st.sampled_from([0.5, 1.0]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=8), st.integers(1, 20), st.randoms())
def test_a_cell_is_the_same_alone_in_company_and_in_any_order(cells, batch_rows, shuffler):
    alone = [run([cell(**settings)])[0][0] for settings in cells]
    order = list(range(len(cells)))
    shuffler.shuffle(order)
    together, failed, tally = run([cell(**cells[i]) for i in order], batch_rows=batch_rows)
    assert not failed
    for place, i in enumerate(order):
        assert torch.equal(together[place], alone[i])
    assert (
        tally.rows_computed
        <= tally.rows_naive
        == sum(
            row_count(
                ClassifierFree(c["scale"], 0.0, c["stop"]),
                SAMPLERS[c["sampler"]].evaluations(c["steps"]),
            )
            for c in cells
        )
    )


def test_equal_cells_cost_one():
    alone = run([cell()])[2]
    latents, _, tally = run([cell()] * 4)
    assert tally.rows_computed == alone.rows_computed
    assert tally.rows_naive == 4 * alone.rows_naive
    assert all(torch.equal(latents[0], latents[i]) for i in range(4))


def test_a_guidance_sweep_shares_its_first_step():
    scales = (2.0, 3.0, 5.0, 8.0)
    _, _, tally = run([cell(scale=scale, steps=6) for scale in scales])
    assert tally.rows_naive == 4 * 2 * 6
    assert tally.rows_computed == 2 + 4 * 2 * 5


def test_a_guidance_stop_sweep_shares_its_whole_prefix():
    """Cells part only where their windows end: 8 steps, ends after 2, 4, 6 and 8 of them."""
    _, _, tally = run([cell(steps=8, stop=stop) for stop in (0.25, 0.5, 0.75, 1.0)])
    assert tally.rows_naive == 4 * 8 + (2 + 4 + 6 + 8)
    # Guided prefix: 2 rows in all 8 steps; each earlier end adds its own unguided rest. The
    # prompt's row at the very step where a cell leaves is still shared.
    assert tally.rows_computed == 8 * 2 + (5 + 3 + 1)


def test_batches_are_no_larger_than_asked():
    seen = []

    def evaluate(rows):
        seen.append(len(rows))
        return network(rows)

    run([cell(seed=i) for i in range(7)], evaluate, batch_rows=4)
    assert max(seen) == 4
    assert min(seen) >= 3


def test_new_cells_join_as_others_finish():
    """With room for few cells at once, early ones finish before late ones start."""
    order = [
        (type(e).__name__, e.cell)
        for e in denoise(
            enumerate([cell(seed=i, steps=3) for i in range(12)]), FunctionEvaluator(network, 2)
        )
    ]
    assert order.index(("Finished", 0)) < order.index(("Stepped", 11))


def test_stop_ends_before_the_next_batch():
    calls = []

    def evaluate(rows):
        calls.append(len(rows))
        return network(rows)

    events = list(
        denoise(
            enumerate([cell(steps=8)]),
            FunctionEvaluator(evaluate, 4),
            stop=lambda: len(calls) >= 3,
        )
    )
    assert len(calls) == 3
    assert [type(e) for e in events] == [Stepped] * 3


def test_a_cell_that_cannot_start_fails_alone():
    def broken():
        raise RuntimeError("no such scheduler")

    latents, failed, _ = run([cell(), broken, cell(seed=1)])
    assert set(latents) == {0, 2}
    assert str(failed[1]) == "no such scheduler"


def test_infinities_fail_their_cell_only():
    def evaluate(rows):
        out = network(rows)
        for i, row in enumerate(rows):
            if row.condition is CONDITION[0.9]:
                out[i] = float("inf")
        return out

    latents, failed, _ = run([cell(), cell(prompt=0.9)], evaluate)
    assert set(latents) == {0}
    assert isinstance(failed[1], ContactSheetError)
    assert "float32" in str(failed[1])


def memory_of(most):
    """A network that holds `most` rows."""

    def evaluate(rows):
        if len(rows) > most:
            raise torch.OutOfMemoryError(f"{len(rows)} rows do not fit")
        return network(rows)

    return evaluate


@pytest.mark.parametrize("most", [1, 3, 7])
def test_out_of_memory_halves_the_batch_and_changes_nothing(most):
    cells = [cell(seed=i) for i in range(6)]
    expected = run(cells)[0]
    latents, failed, tally = run(cells, memory_of(most), batch_rows=12)
    assert not failed
    assert all(torch.equal(latents[i], expected[i]) for i in expected)
    assert tally.rows_computed == tally.rows_naive


def test_out_of_memory_first_frees_what_is_idle():
    freed = []

    def free():
        freed.append(True)
        return len(freed) == 1

    def evaluate(rows):
        return memory_of(100 if freed else 1)(rows)

    _, failed, tally = run([cell()], evaluate, batch_rows=2, free_memory=free)
    assert not failed
    assert freed == [True]
    assert tally.batches == 6


def test_a_row_that_never_fits_fails_its_cell():
    _, failed, _ = run([cell()], memory_of(0))
    assert isinstance(failed[0], OutOfMemory)


def test_seconds_are_shared_out_completely():
    spent = []

    def evaluate(rows):
        import time

        started = time.perf_counter()
        time.sleep(0.002)
        spent.append(time.perf_counter() - started)
        return network(rows)

    cells = enumerate([cell(seed=i) for i in range(5)])
    events = denoise(cells, FunctionEvaluator(evaluate, 3))
    shares = [e.seconds for e in events if isinstance(e, Finished)]
    assert sum(spent) <= sum(shares) < 1.5 * sum(spent) + 0.05
