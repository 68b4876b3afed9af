"""Memory that runs out at any allocation costs no cell that fits, and nothing stays of it.

`CONTACT_SHEET_EVERY_ALLOCATION=1` tries each in turn, which takes about an hour; otherwise some
are drawn, other ones for every model and kind of offloading.
"""

from __future__ import annotations

import os
import random
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from pipelines import Sheet, Studio
from pipelines.devices.memory_options import MemoryOptions
from pipelines.request.control import Control
from tests.helpers.card_runs import Outcome, run, seeds
from tests.helpers.pretended_card import PretendedCard, pretended_card

TRIES = 6
FAMILIES = ("sd", "sdxl", "sd3", "flux-dev")


class Failure:
    """Refuses one allocation of the card, the k-th since it was set."""

    def __init__(self) -> None:
        self.count, self.at = 0, 0

    def __call__(self, size: int) -> bool:
        self.count += 1
        return self.count == self.at

    def set(self, at: int) -> None:
        self.count, self.at = 0, at


def furthest(one: Any, two: Any) -> int:
    return max(high for _, high in ImageChops.difference(one, two).getextrema())


def sheet_of(model: str) -> Sheet:
    scale = 1.0 if model.startswith("flux") else 3.0
    return seeds(model, 2, steps=1, width=32, height=32, guidance_scale=scale)


def with_control(sheet: Sheet, studio: Studio) -> Sheet:
    net = studio.add_picture(Image.linear_gradient("L").resize((32, 32)).convert("RGB"))
    control = Control(image=net, preprocessor="none", model="net-canny")
    return sheet.model_copy(update={"base": sheet.base.replace(controls=[control])})


@pytest.mark.parametrize("offload", ["none", "model", "group"])
@pytest.mark.parametrize("model", [*FAMILIES, "sd+control"])
def test_no_cell_is_lost_and_nothing_stays(zoo: Path, model: str, offload: Any) -> None:
    failure = Failure()
    name, _, control = model.partition("+")

    def once(card: PretendedCard, at: int) -> tuple[Outcome, Outcome, int]:
        options = MemoryOptions(offload=offload)
        studio = Studio(zoo, device="cuda", budget=10**9, batch=4, memory_options=options)
        with closing(studio):
            sheet = sheet_of(name)
            if control:
                sheet = with_control(sheet, studio)
            failure.set(at)
            first = run(studio, sheet)
            used = failure.count
            held = sum(one.bytes for one in studio.manager.cached if not one.waiting)
            assert card.live <= held, f"{card.live - held} bytes stay after {at}"
            failure.set(0)
            return first, run(studio, sheet), used

    with pretended_card(refuse=failure) as card:
        whole, _, allocations = once(card, 0)
        assert len(whole.pictures) == 2, whole.error
        for at in chosen(allocations, f"{model} {offload}"):
            found, after, _ = once(card, at)
            assert len(found.pictures) == 2, f"allocation {at}: {found.errors}"
            assert len(after.pictures) == 2, f"the run after allocation {at}: {after.errors}"
            for cell, picture in found.pictures.items():
                assert furthest(picture, whole.pictures[cell]) <= 1, f"allocation {at}"
        assert card.live == 0


def chosen(allocations: int, salt: str) -> list[int]:
    """The allocations that fail, one run each."""
    every = list(range(1, allocations + 1))
    if os.environ.get("CONTACT_SHEET_EVERY_ALLOCATION"):
        return every
    return sorted(random.Random(salt).sample(every, TRIES))
