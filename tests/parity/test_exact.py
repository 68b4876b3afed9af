"""Exact mode: a cell's bits do not depend on what it is made together with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import OutOfMemory, Request, Sheet, Studio
from pipelines.denoising import engine
from pipelines.denoising.batch_sizes import DEFAULT_ROWS
from pipelines.model_manager.manager import PipelineManager
from pipelines.rendering import trajectories
from pipelines.request.axis_grammar import parse_axis
from pipelines.runs.events import CellDone
from tests.helpers.evaluation import evaluate
from tests.helpers.evaluator import FunctionEvaluator
from tests.helpers.tiny import save_sd
from tests.pipelines.denoising.test_engine import cell, network, run

BASE = Request(model="tiny", prompt="an apple", width=32, height=32)
CELLS = st.builds(
    BASE.replace,
    sampler=st.sampled_from(["ddim", "euler_a", "heun", "dpmpp_2m", "pndm"]),
    steps=st.integers(1, 5),
    guidance_scale=st.sampled_from([0.0, 1.0, 3.0, 7.5]),
    seed=st.integers(0, 3),
    prompt=st.sampled_from(["an apple", "a pear", ""]),
)


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PipelineManager]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    save_sd(folder / "tiny")
    yield PipelineManager([folder], device="cpu")
    torch.set_num_threads(threads)


def latents(manager: PipelineManager, requests: list[Request]) -> list[torch.Tensor]:
    """The latents of a sheet in exact mode, as the renderer makes them."""
    with manager.use("tiny") as model:
        family = manager.library.open("tiny").family
        conditions = {
            text: family.encode(model, [text])[0]
            for text in {t for r in requests for t in (r.prompt, r.negative_prompt)}
        }
        events = engine.denoise(
            [
                (i, lambda r=r: trajectories.guided_trajectory(family, model, r, conditions))
                for i, r in enumerate(requests)
            ],
            FunctionEvaluator(lambda rows: evaluate(family, model, rows), DEFAULT_ROWS),
            exact=True,
        )
        made = {e.cell: e.latents for e in events if isinstance(e, engine.Finished)}
    return [made[i] for i in range(len(requests))]


def test_bits_are_the_same_alone_in_company_and_in_any_order(manager: PipelineManager) -> None:
    @settings(max_examples=25, deadline=None)
    @given(st.lists(CELLS, min_size=2, max_size=7), st.randoms())
    def check(requests: list[Request], shuffler) -> None:
        alone = [latents(manager, [request])[0] for request in requests]
        order = list(range(len(requests)))
        shuffler.shuffle(order)
        for i, made in zip(order, latents(manager, [requests[i] for i in order]), strict=True):
            assert torch.equal(made, alone[i])

    check()


def test_every_batch_is_full_and_only_real_rows_count() -> None:
    sizes = []

    def watched(rows):
        sizes.append(len(rows))
        return network(rows)

    plain, _, plain_tally = run([cell(seed=1), cell(seed=2)], batch_rows=7)
    made, failed, tally = run([cell(seed=1), cell(seed=2)], watched, batch_rows=7, exact=True)
    assert set(sizes) == {7} and not failed
    assert tally == plain_tally
    assert all(torch.equal(made[i], plain[i]) for i in made)


def test_a_batch_that_does_not_fit_fails_rather_than_shrinks() -> None:
    def full(rows):
        raise torch.OutOfMemoryError("no room")

    _, failed, _ = run([cell()], full, exact=True)
    assert isinstance(failed[0], OutOfMemory) and "exact mode" in str(failed[0])


def test_exact_pictures_are_kept_apart(manager: PipelineManager, tmp_path: Path) -> None:
    sheet = Sheet(base=BASE.replace(steps=2), axes=(parse_axis("seed=1,2"),))
    folder = manager.library.folders[0]

    def cached(exact: bool) -> list[bool]:
        studio = Studio(folder, tmp_path, device="cpu", exact=exact)
        found = [e.cached for e in studio.run(sheet) if isinstance(e, CellDone)]
        studio.close()
        return found

    assert cached(False) == [False, False]
    assert cached(True) == [False, False]
    assert cached(True) == cached(False) == [True, True]
