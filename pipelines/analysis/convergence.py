"""Convergence: measures on finished pictures how fast samplers near the one they approach."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.analysis.image_metrics import as_array, rms
from pipelines.request.labels import row_texts
from pipelines.request.request import Request
from pipelines.request.sheet import EVALUATIONS, Sheet
from pipelines.runs.snapshot import CellView, Snapshot
from pipelines.samplers import SAMPLERS

if TYPE_CHECKING:
    from PIL.Image import Image

REFERENCE_STEPS = 250
REFERENCE = {"diffusion": ("dpmpp_2m", "karras"), "flow": ("flow_euler", "default")}
"""Sampler and schedule of the reference. Karras' goes from the most noise to the least whatever
the checkpoint's spacing; with `leading`, DPM++ 2M's default begins and ends short of both and
converges to another picture (5 of 255 away on the shipped model; all others agree within 1)."""
FLOOR = 1.0
"""Below this distance (of 255) rounding to 8 bits hides how fast a curve falls."""
LEAST_FIT = 0.9
"""A line in log-log that explains less than this share of the variance is no order."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Convergence curve: one row of a comparison.

    Attributes:
        evaluations: denoiser evaluations of every finished cell, ascending.
        distances: RMS difference of its picture from the reference, 0..255; () without one.
        seconds: the cell's share of the device's time; None where it was made before.
        order: see `fit_order`.
        needed: see `needed`.
    """

    name: str
    sampler: str
    evaluations: tuple[int, ...]
    distances: tuple[float, ...]
    seconds: tuple[float | None, ...]
    order: float | None
    needed: float | None


def is_comparison(sheet: Sheet) -> bool:
    """Whether a sheet compares samplers, in rows, over steps or evaluations, in columns."""
    if len(sheet.axes) != 2:
        return False
    rows, columns = sheet.axes
    names = {part.field for part in rows.parts}
    return (
        "sampler" in names
        and names <= {"sampler", "schedule"}
        and columns.field in ("steps", EVALUATIONS)
        and not columns.zipped
    )


def reference(request: Request) -> Request:
    """Make the Request of the converged picture: many deterministic steps from the same noise."""
    sampler, schedule = REFERENCE[SAMPLERS[request.sampler].kind]
    return request.replace(sampler=sampler, schedule=schedule, steps=REFERENCE_STEPS)


def longest(cells: Iterable[CellView]) -> Request:
    """Find the Request with the most steps."""
    return max((cell.request for cell in cells), key=lambda request: request.steps)


def curves(snapshot: Snapshot, converged: Image | None, tolerance: float) -> list[Curve]:
    """Measure the curves of a comparison, one a row that has finished cells.

    Args:
        converged: the picture of `reference`; None leaves distances out.
        tolerance: the distance that `needed` is asked for.
    """
    target = None if converged is None else as_array(converged)
    found = []
    for name, row in zip(row_texts(snapshot.sheet), snapshot.rows, strict=True):
        cells = sorted((cell for cell in row if cell.status == "done"), key=_evaluations)
        if not cells:
            continue
        evaluations = tuple(_evaluations(cell) for cell in cells)
        distances = tuple(
            rms(as_array(cell.image), target)
            for cell in cells
            if cell.image is not None and target is not None
        )
        sampler = cells[0].request.sampler
        stochastic = SAMPLERS[sampler].stochastic
        found.append(
            Curve(
                name,
                sampler,
                evaluations,
                distances,
                tuple(None if cell.cached else cell.seconds for cell in cells),
                None if stochastic or not distances else fit_order(evaluations, distances),
                needed(evaluations, distances, tolerance) if distances else None,
            )
        )
    return found


def _evaluations(cell: CellView) -> int:
    return SAMPLERS[cell.request.sampler].evaluations(cell.request.steps)


def fit_order(evaluations: Sequence[int], distances: Sequence[float]) -> float | None:
    """Fit the order of convergence p with which distances fall, from pictures alone.

    Math: the slope of log d = a − p·log n by least squares, over the points with d > FLOOR.
    Returns: None where three points do not lie on such a line, or it does not fall.
    """
    points = [
        (math.log(n), math.log(d)) for n, d in zip(evaluations, distances, strict=True) if d > FLOOR
    ]
    if len({x for x, _ in points}) < 3:
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    xx = sum((x - mean_x) ** 2 for x, _ in points)
    yy = sum((y - mean_y) ** 2 for _, y in points)
    xy = sum((x - mean_x) * (y - mean_y) for x, y in points)
    if xy >= 0 or xy**2 < LEAST_FIT * xx * yy:
        return None
    return -xy / xx


def needed(
    evaluations: Sequence[int], distances: Sequence[float], tolerance: float
) -> float | None:
    """Find the evaluations from which on the distance stays within `tolerance`.

    Between two measured points the curve is taken as a line in log-log.
    Returns: None where the last point is still further away.
    """
    if not distances or distances[-1] > tolerance:
        return None
    last = max((i for i, d in enumerate(distances) if d > tolerance), default=None)
    if last is None:
        return float(evaluations[0])
    (n0, d0), (n1, d1) = ((evaluations[i], max(distances[i], 1e-6)) for i in (last, last + 1))
    share = math.log(d0 / tolerance) / math.log(d0 / d1)
    return float(math.exp(math.log(n0) + share * math.log(n1 / n0)))
