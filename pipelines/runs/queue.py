"""Run queue: picks the next run, preferring one whose models are loaded.

A run that loads nothing saves a load for the run after it too: A B A B A B as A A A B B B needs
two loads, not six. Each run is overtaken at most `MAX_OVERTAKES` times, so none starves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

MAX_OVERTAKES = 4
"""Times that a waiting run is overtaken at most."""

AHEAD = 16
"""Waiting runs that are looked at."""


class LoadSet(NamedTuple):
    """Load set: what is loaded together, a model with its ControlNets and LoRAs."""

    model: str
    controls: tuple[str, ...] = ()
    loras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QueueEntry(Generic[T]):
    """Queue entry of a waiting run.

    Attributes:
        uses: what the run needs, in order.
        passed: times that a later one went first.
    """

    item: T
    uses: tuple[LoadSet, ...] = ()
    passed: int = 0


def choose(line: Sequence[QueueEntry[T]], loaded: Callable[[LoadSet], bool]) -> int:
    """Choose which entry is next: the first that loads nothing, else the first of all.

    Whoever was overtaken `MAX_OVERTAKES` times lets nobody behind it go first. So a run waits for
    those before it and for `MAX_OVERTAKES` others, whatever comes after it.
    """
    for number, place in enumerate(line[:AHEAD]):
        if all(loaded(use) for use in place.uses):
            return number
        if place.passed >= MAX_OVERTAKES:
            break
    return 0


def take(
    line: Sequence[QueueEntry[T]], loaded: Callable[[LoadSet], bool]
) -> tuple[QueueEntry[T], tuple[QueueEntry[T], ...]]:
    """Take the next entry, and return it with the queue that is left."""
    chosen = choose(line, loaded)
    before = (replace(place, passed=place.passed + 1) for place in line[:chosen])
    return line[chosen], (*before, *line[chosen + 1 :])


class RunQueue(Generic[T]):
    """Queue that threads join and one worker takes from. Empty and closed, it ends."""

    def __init__(self) -> None:
        self._places: tuple[QueueEntry[T], ...] = ()
        self._closed = False
        self._changed = threading.Condition()

    def join(self, item: T, uses: Sequence[LoadSet] = ()) -> None:
        """Append an entry at the end."""
        with self._changed:
            self._places = (*self._places, QueueEntry(item, tuple(uses)))
            self._changed.notify_all()

    def close(self) -> None:
        """Close the queue: whoever waits is still served; then `next` returns None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def next(self, loaded: Callable[[LoadSet], bool]) -> QueueEntry[T] | None:
        """Wait for the next entry; None when the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._places or self._closed)
            if not self._places:
                return None
            place, self._places = take(self._places, loaded)
            return place

    def coming(self) -> list[LoadSet]:
        """List what waiting runs will load, in their order."""
        with self._changed:
            return [use for place in self._places[:AHEAD] for use in place.uses]
