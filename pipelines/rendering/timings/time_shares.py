"""Time shares: decides which of the runs that have begun has the device next.

Whoever has had it least goes first, so that one picture need not wait for a sheet of hundreds. The
oldest run gets back what those behind it took, so that no stream of small ones can stop it.
"""

from __future__ import annotations

from collections.abc import Sequence

HEADSTART = 2.0
"""Seconds that a run is ahead of another before it gives way: changing hands is not free."""

CREDIT = 5.0
"""Seconds that later runs may take together before the oldest has its turn."""


class TimeShares:
    """Account of the device's seconds. One thread uses it.

    Runs are named by their place among those that have begun, the oldest first.
    """

    def __init__(self) -> None:
        self._seconds: list[float] = []
        self._debt = 0.0
        self._paying = False

    def begin(self) -> None:
        """Add a run, which has had nothing."""
        self._seconds.append(0.0)

    def end(self, place: int) -> None:
        """Take a run out; the next one may be the oldest now."""
        del self._seconds[place]
        if place == 0:
            self._debt, self._paying = 0.0, False

    def spend(self, place: int, seconds: float) -> None:
        """Note that a run had the device."""
        self._seconds[place] += seconds
        if place == 0:
            self._debt = max(0.0, self._debt - seconds)
            self._paying = self._paying and self._debt > 0.0
        else:
            self._debt += seconds
            self._paying = self._paying or self._debt >= CREDIT

    def next(self) -> int:
        """Choose who has the device next."""
        if self._paying:
            return 0
        return min(range(len(self._seconds)), key=self._seconds.__getitem__)

    def gives_way(self, place: int, seconds: float, newcomer: bool) -> bool:
        """Whether a run that has had the device for so long now should let another have it.

        Args:
            newcomer: whether a run waits that has not begun.
        """
        others = [had for other, had in enumerate(self._seconds) if other != place]
        if place and (self._paying or self._debt + seconds >= CREDIT):
            return True
        if place == 0 and self._paying and self._debt > seconds:
            return False
        least = min([*others, *([0.0] if newcomer else [])], default=None)
        return least is not None and self._seconds[place] + seconds > least + HEADSTART


def urgent_or(next_place: int, urgent: Sequence[bool]) -> int:
    """Prefer a run that was asked to stop: it ends at once, and frees what it holds."""
    return urgent.index(True) if True in urgent else next_place
