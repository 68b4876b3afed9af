"""Row timings: how long denoiser rows took in earlier runs, for the estimate of the next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipelines.denoising.batch_sizes import DEFAULT_ROWS
from pipelines.request.request import Request


class RowKind(NamedTuple):
    """What decides how long a row takes: model, picture size and number of controls."""

    model: str
    width: int | None
    height: int | None
    controls: int

    @classmethod
    def of(cls, request: Request) -> RowKind:
        """The kind of a complete Request's rows."""
        return cls(request.model, request.width, request.height, len(request.controls))


class RowTimings:
    """Seconds a row took, by its kind and by how many cells shared the run's batches.

    One thread writes; others may read meanwhile.
    """

    def __init__(self) -> None:
        self._seconds: dict[RowKind, Mapping[int, float]] = {}

    def add(self, requests: Sequence[Request], spent: Sequence[float], rows: int) -> None:
        """Learn from a run that went through without a failure.

        Args:
            requests: its cells; several kinds of them tell nothing about one.
            spent: seconds of each cell that was made.
            rows: denoiser rows that those asked for.
        """
        kinds = {RowKind.of(request) for request in requests}
        if len(kinds) == 1 and spent:
            kind, cells = kinds.pop(), min(len(spent), DEFAULT_ROWS)
            known = self._seconds.get(kind, {})
            # A new mapping, as others may be reading the old one.
            self._seconds[kind] = {**known, cells: sum(spent) / max(1, rows)}

    def row(self, kind: RowKind, cells: int) -> float | None:
        """Estimate the seconds of a row in a run of so many cells; None if nothing is known."""
        return nearest(self._seconds.get(kind, {}), cells)


def nearest(seconds: Mapping[int, float], cells: int) -> float | None:
    """Find the timing of the run most like one of so many cells: a lone one's rows take longer."""
    like = min(
        seconds, key=lambda seen: abs(math.log(seen / min(cells, DEFAULT_ROWS))), default=None
    )
    return None if like is None else seconds[like]
