"""Run queue: picks the next run, preferring one whose models are loaded.

A run that loads nothing saves a load for the run after it too: A B A B A B as A A A B B B needs
two loads, not six. Each run is overtaken at most `MAX_OVERTAKES` times, so none starves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, NamedTuple, TypeVar

from pipelines.errors import Busy

T = TypeVar("T")

MAX_OVERTAKES = 4
"""Times that a waiting run is overtaken at most."""

AHEAD = 16
"""Waiting runs that are looked at."""

LIMIT = 100
"""Runs that may wait, unless a studio is told otherwise."""


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
    return line[chosen], without(line, chosen)


def without(line: Sequence[QueueEntry[T]], chosen: int) -> tuple[QueueEntry[T], ...]:
    """Leave an entry out of the queue; those before it have been overtaken."""
    before = (replace(place, passed=place.passed + 1) for place in line[:chosen])
    return (*before, *line[chosen + 1 :])


def beside(line: Sequence[QueueEntry[T]], fits: Callable[[QueueEntry[T]], bool]) -> int | None:
    """Choose the first entry that may begin beside what is under way; None if there is none.

    As with `choose`, whoever was overtaken `MAX_OVERTAKES` times is not overtaken again.
    """
    for number, place in enumerate(line[:AHEAD]):
        if fits(place):
            return number
        if place.passed >= MAX_OVERTAKES:
            break
    return None


class RunQueue(Generic[T]):
    """Queue that threads join and one worker takes from. Empty and closed, it ends."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._places: tuple[QueueEntry[T], ...] = ()
        self._limit = limit
        self._closed = False
        self._changed = threading.Condition()

    def check_room(self) -> None:
        """Raises: Busy: if as many wait as may."""
        with self._changed:
            waiting = len(self._places)
        if waiting >= self._limit:
            raise Busy(
                f"{waiting} runs wait already, and no more may; try again when some are done, "
                "or stop one of yours"
            )

    def join(self, item: T, uses: Sequence[LoadSet] = ()) -> None:
        """Append an entry at the end."""
        with self._changed:
            self._places = (*self._places, QueueEntry(item, tuple(uses)))
            self._changed.notify_all()

    def leave(self, item: T) -> bool:
        """Take an entry out before its turn. Returns: whether it still waited."""
        with self._changed:
            before = len(self._places)
            self._places = tuple(place for place in self._places if place.item is not item)
            return len(self._places) < before

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

    def joins(self, fits: Callable[[QueueEntry[T]], bool]) -> bool:
        """Whether a waiting entry may begin beside what is under way."""
        with self._changed:
            places = self._places
        return bool(places) and beside(places, fits) is not None

    def join_in(self, fits: Callable[[QueueEntry[T]], bool]) -> QueueEntry[T] | None:
        """Take the first entry that may begin beside what is under way; None if there is none."""
        with self._changed:
            chosen = beside(self._places, fits)
            if chosen is None:
                return None
            place = self._places[chosen]
            self._places = without(self._places, chosen)
            return place

    @property
    def waiting(self) -> list[T]:
        """What waits, in order."""
        with self._changed:
            return [place.item for place in self._places]

    def coming(self) -> list[LoadSet]:
        """List what waiting runs will load, in their order."""
        with self._changed:
            return [use for place in self._places[:AHEAD] for use in place.uses]
