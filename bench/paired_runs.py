"""Paired timing: two ways to do the same work take turns, so both meet the same machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

Work = Callable[[], "list[Image]"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Ours against a peer.

    Attributes:
        ours, peer: seconds of every turn, paired.
        pixels_apart: largest difference of any channel of any pixel, 0..255, over all pictures.
    """

    name: str
    ours: tuple[float, ...]
    peer: tuple[float, ...]
    pixels_apart: int

    @property
    def ratios(self) -> list[float]:
        """Our time by the peer's, pair by pair."""
        return [a / b for a, b in zip(self.ours, self.peer, strict=True)]

    def summary(self) -> dict[str, float | int | str]:
        """The figures that are reported: medians, and the spread of the ratio."""
        ratios = self.ratios
        return {
            "name": self.name,
            "pairs": len(ratios),
            "ours_seconds": round(statistics.median(self.ours), 3),
            "peer_seconds": round(statistics.median(self.peer), 3),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_min": round(min(ratios), 3),
            "ratio_max": round(max(ratios), 3),
            "pixels_apart": self.pixels_apart,
        }


def compare(
    name: str, ours: Work, peer: Work, pairs: int, between: Callable[[], None] = lambda: None
) -> Comparison:
    """Run both once to warm up, then `pairs` times in turns; who goes first alternates.

    Args:
        between: called before every turn, and after the last.
    """
    apart = pixels_apart(ours(), peer())
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    sides = [("ours", ours), ("peer", peer)]
    for turn in range(pairs):
        between()
        pictures = {}
        for side, work in sides if turn % 2 == 0 else reversed(sides):
            started = time.perf_counter()
            pictures[side] = work()
            times[side].append(time.perf_counter() - started)
        apart = max(apart, pixels_apart(pictures["ours"], pictures["peer"]))
    between()
    return Comparison(name, tuple(times["ours"]), tuple(times["peer"]), apart)


def pixels_apart(some: Sequence[Image], others: Sequence[Image]) -> int:
    """The largest difference of any channel of any pixel, 0..255.

    Raises: ValueError: if the pictures differ in number or size.
    """
    return max(
        int(np.abs(np.asarray(a, np.int16) - np.asarray(b, np.int16)).max())
        for a, b in zip(some, others, strict=True)
    )
