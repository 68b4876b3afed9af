"""Batch sizes: measures on a run's own rows which is fastest, and chooses by that.

Which size is fastest depends on the network, the picture's size, the device and its threads:
on two CPU cores a small network's rows cost half as much in a batch of 16 as in pairs, a large
one's cost the same. Nothing is computed for the clock alone: the first batches of a first run
have different sizes, from a pair up while larger ones pay, and what they took decides the rest.
A run whose cells ask for two rows at a time is never slowed down by it, and sizes that only a
large sheet fills are measured when there is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

SIZES = (1, 2, 4, 8, 16, 32)
"""Batch sizes that are tried. Larger ones gained less than 3 % on all that was measured."""
TRIES = 3
"""Calls after which a size counts as known. The first in a process is slow: it allocates."""
DEFAULT_ROWS = 16
"""Rows in a batch as long as nothing is known."""
PAYS = 0.97
"""A larger batch must take at most this share of the time per row: it costs memory."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Timing of one batch size: calls so far, and the least seconds that a row took."""

    calls: int = 0
    seconds: float = float("inf")

    def add(self, seconds: float) -> Sample:
        """Count one more call, whose rows took so long each."""
        return replace(self, calls=self.calls + 1, seconds=min(self.seconds, seconds))


Samples = Mapping[int, Sample]


def best(samples: Samples) -> int | None:
    """Find the fastest size by row; of sizes within 3 % of it, the smallest. None if unknown.

    A pair is what cells cost one by one, so with pairs measured this is never slower than that.
    """
    known = {size: one for size, one in samples.items() if one.calls >= TRIES}
    if not known:
        return None
    least = min(one.seconds for one in known.values())
    return min(size for size, one in known.items() if one.seconds * PAYS <= least)


def to_try(samples: Samples, sizes: Sequence[int]) -> int | None:
    """Choose the size to measure next; None while nothing is to be learned.

    Upwards from a pair, until two sizes in a row gain nothing on the best below them: one that
    does not may have met a busy moment. After that every size is measured again from time to
    time, ever more rarely, so that a busy moment decides nothing for long.
    """
    least, idle = float("inf"), 0
    tried: list[int] = []
    for size in [size for size in sorted(sizes) if size >= 2] or list(sizes):
        one = samples.get(size, Sample())
        if one.calls < TRIES:
            return size
        tried.append(size)
        idle = 0 if one.seconds <= PAYS * least else idle + 1
        least = min(least, one.seconds)
        if idle == 2:
            break
    rarest = min(tried, key=lambda size: samples[size].calls)
    total = sum(samples[size].calls for size in tried)
    return rarest if samples[rarest].calls < TRIES + math.log2(total) else None


def even(rows: int, most: int) -> int:
    """Split rows evenly: the first of as few chunks as `most` allows, equal give or take one.

    Equal chunks waste least: 18 rows at most 16 go as 9 + 9, not as 16 + 2.
    """
    return -(-rows // -(-rows // most))


def cover(rows: int, costs: Mapping[int, float]) -> int:
    """Choose the first batch's size where only some sizes exist and short batches are filled up.

    Math: least Σ cost(s_i) over sizes with Σ s_i ≥ rows; the largest goes first.
    Args:
        costs: seconds of a whole batch, by its size.
    """
    least: list[tuple[float, int]] = [(0.0, 0)]
    for count in range(1, rows + 1):
        least.append(
            min((cost + least[max(0, count - size)][0], size) for size, cost in costs.items())
        )
    chosen, left = [], rows
    while left > 0:
        chosen.append(least[left][1])
        left -= chosen[-1]
    return max(chosen, default=0)


@dataclass(slots=True)
class FixedBatches:
    """Fixed batch size: at most so many rows, in batches as equal as can be."""

    most: int

    def take(self, rows: int) -> int:
        """Choose how many of so many rows go into the next batch."""
        return even(rows, self.most)

    def took(self, rows: int, seconds: float) -> None:
        """Learn that a batch of so many rows took so long; it changes nothing here."""

    def shrink(self, rows: int) -> None:
        """Learn that so many rows do not fit in memory."""
        self.most = max(1, rows // 2)


class AutotunedBatches:
    """Autotuned batch size: the one that proves fastest on this device.

    Args:
        samples: what is known; grows as batches are taken.
        sizes: those that may be tried.
        static: only these sizes exist (short batches are filled up by whoever computes them).
    """

    def __init__(
        self, samples: Samples, sizes: Sequence[int] = SIZES, *, static: bool = False
    ) -> None:
        self.samples = dict(samples)
        self.sizes = tuple(sizes)
        self._static = static

    @property
    def most(self) -> int:
        """Rows of the largest batch in use, but no fewer than `DEFAULT_ROWS`.

        Where small batches are best, cells should still be denoised side by side: that is how
        equal rows are found.
        """
        in_use = (best(self.samples), to_try(self.samples, self.sizes))
        return max(DEFAULT_ROWS, *(size or 0 for size in in_use))

    def take(self, rows: int) -> int:
        """Choose how many of so many rows go into the next batch."""
        trial = self.trial(rows)
        if trial is not None:
            return min(trial, rows)
        if self._static:
            return min(rows, cover(rows, self._costs(rows)))
        return even(rows, best(self.samples) or min(DEFAULT_ROWS, max(self.sizes)))

    def took(self, rows: int, seconds: float) -> None:
        """Learn that a batch of so many rows took so long."""
        size = self.timing_bucket(rows)
        if size is not None:
            computed = size if self._static else rows
            self.samples[size] = self.samples.get(size, Sample()).add(seconds / computed)

    def shrink(self, rows: int) -> None:
        """Learn that so many rows do not fit in memory."""
        self.sizes = tuple(size for size in self.sizes if size < rows) or (1,)
        self.samples = {s: one for s, one in self.samples.items() if s in self.sizes}

    def trial(self, rows: int) -> int | None:
        """The size to measure next, if so many rows can do that."""
        fillable = [size for size in self.sizes if size <= rows or size == self.timing_bucket(rows)]
        return to_try(self.samples, fillable) if fillable else None

    def timing_bucket(self, rows: int) -> int | None:
        """The size that a batch of so many rows tells something about; None if none."""
        size = min((size for size in self.sizes if size >= rows), default=None)
        if size is None or self._static or 8 * rows > 7 * size:
            return size
        return None

    def _costs(self, rows: int) -> dict[int, float]:
        """Seconds of a batch of each size; unknown ones cost a row what their neighbour does."""
        known = {size: one for size, one in self.samples.items() if one.calls >= TRIES}
        if not known:
            return {size: float(size) + 1.0 for size in self.sizes}
        costs = {}
        for size in self.sizes:
            near = size if size in known else min(known, key=lambda other: abs(other - size))
            costs[size] = size * known[near].seconds
        return costs
