"""Warning lines: what of a sheet's cells is not carried out, a line each, for people."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pipelines.request.labels import cell_text
from pipelines.request.sheet import Sheet
from pipelines.runs.events import Warnings

MOST = 20
"""Lines at most; the last says how many more there are."""


def warning_lines(sheet: Sheet, by_cell: Mapping[int, Warnings]) -> list[str]:
    """Join the cells' warnings: each text once, behind the labels of its cells unless it is all.

    Args:
        by_cell: by the number of a cell, in axis order.
    """
    cells: dict[str, list[int]] = {}
    for cell, warnings in sorted(by_cell.items()):
        for text in warnings:
            cells.setdefault(text, []).append(cell)
    lines = []
    every = math.prod(sheet.shape)
    for text, numbers in cells.items():
        more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
        where = "" if len(numbers) == every else f"{cell_text(sheet, numbers[0])}{more}: "
        lines.append(f"{where}{text}")
    return at_most(lines)


def at_most(lines: list[str]) -> list[str]:
    """Cut lines to MOST."""
    if len(lines) <= MOST:
        return lines
    return [*lines[: MOST - 1], f"… and {len(lines) - MOST + 1} more warnings"]
