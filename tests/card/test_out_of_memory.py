"""A card that gets full: what fails goes back whole, what fits is made, nothing stays."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from pipelines import Studio
from pipelines.backends import compiled
from pipelines.devices.memory_options import MemoryOptions
from pipelines.rendering.batch_evaluator import BatchEvaluator
from tests.helpers.card_runs import run, seeds
from tests.helpers.pretended_card import pretended_card


def studio_of(zoo: Path, **options: Any) -> closing[Studio]:
    return closing(Studio(zoo, device="cuda", budget=10**9, **options))


def test_after_out_of_memory_a_smaller_batch_finds_the_memory_free(
    zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []
    inner = BatchEvaluator.evaluate

    with pretended_card() as card:

        def evaluate(self: BatchEvaluator, rows: Any) -> Any:
            seen.append((len(rows), card.live))
            return inner(self, rows)

        monkeypatch.setattr(BatchEvaluator, "evaluate", evaluate)
        # So much that sixteen rows do not fit and fewer do.
        with studio_of(zoo, batch=16) as studio:
            run(studio, seeds("sd", 8))
            whole = card.memory[0].peak
            resident = seen[0][1]
        seen.clear()
        card.memory[0].total = (whole + resident) // 2
        with studio_of(zoo, batch=16) as studio:
            found = run(studio, seeds("sd", 8))
    assert len(found.pictures) == 8
    assert [rows for rows, _ in seen[:3]] == [16, 16, 8]
    assert len({live for _, live in seen[:3]}) == 1, "nothing of the batch that failed is held"


@pytest.mark.parametrize("total", [20_000, 60_000, 100_000, 150_000, 200_000])
def test_a_card_that_gets_full_while_loading_fails_cells_not_the_run(zoo: Path, total: int) -> None:
    with pretended_card(total=total) as card:
        with studio_of(zoo, batch=2) as studio:
            found = run(studio, seeds("sd", 3))
        assert "internal error" not in found.error
        assert "not fit in memory" in found.error, found.error
        assert card.live == 0
        card.memory[0].total = 10**9
        with studio_of(zoo, batch=2) as studio:
            assert len(run(studio, seeds("sd", 3)).pictures) == 3


@pytest.mark.parametrize("offload", ["auto", "model", "group"])
@pytest.mark.parametrize("model", ["sd", "sdxl", "sd3", "flux-dev"])
def test_what_came_half_way_goes_back(zoo: Path, model: str, offload: Any) -> None:
    options = MemoryOptions(offload=offload)
    with pretended_card() as card:
        with studio_of(zoo, batch=2, memory_options=options) as studio:
            run(studio, seeds(model, 1))
        peak = card.memory[0].peak
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        with pretended_card(total=int(peak * share)) as card:
            with studio_of(zoo, batch=2, memory_options=options) as studio:
                found = run(studio, seeds(model, 1))
                assert found.pictures or "memory" in found.error, found.error
                held = sum(one.bytes for one in studio.manager.cached if not one.waiting)
                assert card.live <= held, f"{share:.0%} of {peak}"
            del studio
            assert card.live == 0, f"{share:.0%} of {peak}"


def test_a_backend_of_fixed_sizes_takes_smaller_batches_too(
    zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled.torch, "compile", lambda network, **_: network)
    inner = UNet2DConditionModel.forward

    def forward(self: Any, x: torch.Tensor, *more: Any, **named: Any) -> Any:
        if len(x) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return inner(self, x, *more, **named)

    monkeypatch.setattr(UNet2DConditionModel, "forward", forward)
    with pretended_card(), studio_of(zoo, batch=16, backend="compile") as studio:
        assert len(run(studio, seeds("sd", 8)).pictures) == 8


def test_idle_visitors_leave_before_a_batch_is_halved(
    zoo: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    options = MemoryOptions(offload="model")
    needed = 0
    inner = BatchEvaluator.evaluate

    def evaluate(self: BatchEvaluator, rows: Any) -> Any:
        nonlocal needed
        made = inner(self, rows)
        needed = max(needed, card.memory[0].peak)
        return made

    with monkeypatch.context() as patch, pretended_card() as card:
        patch.setattr(BatchEvaluator, "evaluate", evaluate)
        with studio_of(zoo, batch=16, memory_options=options) as studio:
            run(studio, seeds("sd", 8, guidance_scale=1))
            encoder = next(one for one in studio.manager.cached if "text_encoder" in one.name)
    small = pretended_card(total=needed - encoder.bytes // 2)
    with small, studio_of(zoo, batch=16, memory_options=options) as studio:
        found = run(studio, seeds("sd", 8, guidance_scale=1))
    assert len(found.pictures) == 8
    assert not [said for said in caplog.messages if "taking fewer" in said]
