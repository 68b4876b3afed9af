"""What was found too large for a card is not tried again while no more of it is free."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pipelines import Studio
from pipelines.devices.memory_options import MemoryOptions
from pipelines.rendering.batch_evaluator import BatchEvaluator
from tests.helpers.card_runs import run, seeds
from tests.helpers.pretended_card import pretended_card

WHOLE = {"guidance_scale": 1}


def studio_of(zoo: Path, **options: Any) -> closing[Studio]:
    return closing(Studio(zoo, device="cuda", budget=10**9, **options))


def rows_of(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all batches that are tried from now on."""
    seen: list[int] = []
    inner = BatchEvaluator.evaluate

    def evaluate(self: BatchEvaluator, rows: Any) -> Any:
        seen.append(len(rows))
        return inner(self, rows)

    monkeypatch.setattr(BatchEvaluator, "evaluate", evaluate)
    return seen


@pytest.mark.parametrize(("batch", "steps"), [(16, 2), (None, 14)])
def test_a_batch_that_did_not_fit_is_not_tried_by_the_next_run(
    zoo: Path, monkeypatch: pytest.MonkeyPatch, batch: int | None, steps: int
) -> None:
    seen = rows_of(monkeypatch)
    whole = {**WHOLE, "steps": steps}
    with pretended_card() as card:
        with studio_of(zoo, batch=16) as studio:
            run(studio, seeds("sd", 8, **whole))
            needed = card.memory[0].peak
        card.memory[0].total = needed - 30_000
        with studio_of(zoo, batch=batch) as studio:
            assert len(run(studio, seeds("sd", 8, **whole)).pictures) == 8
            first = card.ledger.refusals
            assert first > 0
            seen.clear()
            assert len(run(studio, seeds("sd", 8, prompt="a pear", **whole)).pictures) == 8
            assert card.ledger.refusals == first and max(seen) < 8
            # Another program ended: there is room again.
            card.memory[0].total = 2 * needed
            seen.clear()
            run(studio, seeds("sd", 8, prompt="a plum", **whole))
            assert max(seen) == 8


def test_timings_of_one_kind_of_offloading_are_not_anothers(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTACT_SHEET_CACHE", str(tmp_path))
    for offload in ("none", "model", "group"):
        options = MemoryOptions(offload=offload)
        with pretended_card(), studio_of(zoo, memory_options=options) as studio:
            run(studio, seeds("sd", 1))
    assert len(json.loads((tmp_path / "batches.json").read_text("utf-8"))) == 3


def test_a_picture_that_did_not_fit_at_once_is_decoded_in_tiles_the_next_time(zoo: Path) -> None:
    big = {"width": 256, "height": 256, "steps": 1, **WHOLE}
    with pretended_card() as card:
        with studio_of(zoo, batch=1) as studio:
            run(studio, seeds("sd", 1, **big))
            needed = card.memory[0].peak
        card.memory[0].total = int(needed * 0.8)
        with studio_of(zoo, batch=1) as studio:
            assert len(run(studio, seeds("sd", 1, **big)).pictures) == 1
            first = card.ledger.refusals
            assert first > 0, "tiling was planned at once: the test is too roomy"
            assert len(run(studio, seeds("sd", 1, prompt="a pear", **big)).pictures) == 1
            assert card.ledger.refusals == first
