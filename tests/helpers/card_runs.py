"""Runs of sheets on a card, pretended or real, and what came of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from pipelines import Axis, Request, Sheet, Studio
from pipelines.runs.events import CellDone, CellFailed, RunFinished

FLOW = ("sd3", "flux")


@dataclass(slots=True)
class Outcome:
    """What came of a run: pictures by cell, errors of the other cells, and the run's own."""

    pictures: dict[int, Image.Image] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    error: str = ""


def request(model: str, **more: Any) -> Request:
    """A small picture by a tiny model, with a sampler of its kind."""
    plain = {
        "prompt": "an apple",
        "steps": 2,
        "width": 64,
        "height": 64,
        "seed": 1,
        "sampler": "flow_euler" if model.startswith(FLOW) else "euler",
    }
    return Request(model=model, **{**plain, **more})


def seeds(model: str, count: int, **more: Any) -> Sheet:
    """A sheet of so many seeds."""
    axis = Axis(field="seed", values=tuple(range(1, count + 1)))
    return Sheet(base=request(model, **more), axes=(axis,))


def run(studio: Studio, sheet: Sheet) -> Outcome:
    """Run a sheet to its end."""
    return outcome(studio.run(sheet))


def outcome(events: Iterable[Any]) -> Outcome:
    """Sort a run's events."""
    found = Outcome()
    for event in events:
        match event:
            case CellDone(cell=cell, image=image):
                found.pictures[cell] = image
            case CellFailed(cell=cell, error=error):
                found.errors[cell] = error
            case RunFinished(error=error):
                found.error = error or ""
    return found
