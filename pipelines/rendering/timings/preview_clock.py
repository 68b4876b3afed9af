"""Preview clock: decides when a cell shows what it would look like if denoising ended here."""

from __future__ import annotations

import time

PREVIEW_SHARE = 0.1
"""Previews may take this share of the time at most."""


class PreviewClock:
    """Clock of previews: says when the next is due, so that they cost no more than their share.

    Used as a context around making one, it measures what that takes. Cells take turns, so
    every cell of a sheet is seen to grow.
    """

    def __init__(self, share: float = PREVIEW_SHARE) -> None:
        self._share = share
        self._cost = 0.0
        self._began = 0.0
        self._ended = time.perf_counter()
        self._shown: dict[int, int] = {}

    def due(self, cell: int) -> bool:
        """Whether it is time, and this cell's turn: no other cell in work was shown less often."""
        shown = self._shown.setdefault(cell, 0)
        if time.perf_counter() - self._ended < self._cost / self._share:
            return False
        if shown > min(self._shown.values()):
            return False
        self._shown[cell] += 1
        return True

    def forget(self, cell: int) -> None:
        """The cell has ended; the others no longer wait for its turn."""
        self._shown.pop(cell, None)

    def __enter__(self) -> None:
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._ended = time.perf_counter()
        self._cost = self._ended - self._began
