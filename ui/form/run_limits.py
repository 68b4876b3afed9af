"""Run limits of the page: refuses sheets that are too large, and asks before large ones."""

from __future__ import annotations

from math import prod

from pipelines import InvalidRequest, Sheet
from pipelines.rendering.run_plan import CostEstimate

MOST_CELLS = 400
"""Cells the page makes in one run; the command line has no such limit."""
FORECAST_STEPS_MAX = 100_000
"""Steps of all different schedules of a sheet; about a second."""
ASK_ABOVE_CELLS = 100
ASK_ABOVE_SECONDS = 300


def check_cells(sheet: Sheet) -> None:
    """Check that a sheet is not too large for the page. Raises: InvalidRequest: if it is."""
    count = prod(sheet.shape)
    if count > MOST_CELLS:
        sides = " × ".join(str(length) for length in sheet.shape)
        raise InvalidRequest(
            f"this sheet has {sides} = {count} cells; the page makes at most {MOST_CELLS} "
            "(python app.py sheet has no limit)"
        )


def needs_asking(cost: CostEstimate) -> bool:
    """Decide whether a run is so large that the page asks before it begins."""
    long = cost.seconds is not None and cost.seconds > ASK_ABOVE_SECONDS
    return cost.cells - cost.cached > ASK_ABOVE_CELLS or long


def is_forecast(sheet: Sheet) -> bool:
    """Decide whether a sheet's cost is said while it is typed: schedules take time to work out."""
    kinds = {(one.model, one.sampler, one.schedule, one.steps) for one in sheet.expand()}
    return sum(steps for *_, steps in kinds) <= FORECAST_STEPS_MAX
