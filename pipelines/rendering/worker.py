"""Worker: the one thread that owns the device, and the queue of tasks before it.

A task that gives way is suspended between two batches, and others go on or begin meanwhile.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

from pipelines.errors import InvalidRequest
from pipelines.model_manager.manager import PipelineManager
from pipelines.rendering.timings.time_shares import TimeShares, urgent_or
from pipelines.runs.queue import LIMIT, LoadSet, QueueEntry, RunQueue

log = logging.getLogger(__name__)

T = TypeVar("T")
GiveWay = Callable[[], bool]
"""Whether a task should yield now, because another waits for the device."""

MOST = 16
"""Tasks that may be under way at once; their latents stay in memory."""

_WORKERS: weakref.WeakSet[Worker] = weakref.WeakSet()


@dataclass(frozen=True, eq=False)
class Task:
    """Anything to be done on the device.

    Attributes:
        work: does it; yields where others may have the device.
        stop: asks it to end; any thread may call this.
        stopped: whether that was asked.
        told: is told what it waits for, and None when it begins.
    """

    work: Callable[[GiveWay], Iterator[None]]
    stop: Callable[[], None] = lambda: None
    stopped: Callable[[], bool] = lambda: False
    told: Callable[[str | None], None] = lambda text: None


@dataclass(slots=True, eq=False)
class _Turn:
    """A task that has begun."""

    task: Task
    uses: Sequence[LoadSet]
    steps: Iterator[None] = field(default_factory=lambda: iter(()))


class Worker:
    """Does tasks in the order of the run queue, several in turns.

    Its thread starts with the first task and ends with `close`, at the latest when the program
    does: a thread that computes with torch while Python ends aborts the process.

    Args:
        limit: tasks that may wait.
    """

    def __init__(self, manager: PipelineManager, limit: int = LIMIT) -> None:
        self._manager = manager
        self._line: RunQueue[Task] = RunQueue(limit)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._turns: list[_Turn] = []
        self._shares = TimeShares()
        self._started = 0.0
        # Tasks that need room which those under way have; asked once while these stay.
        self._too_large: weakref.WeakSet[Task] = weakref.WeakSet()
        self._told: weakref.WeakSet[Task] = weakref.WeakSet()

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def closed(self) -> bool:
        """Whether it takes no more tasks."""
        return self._closed

    def check_open(self) -> None:
        """Raises: InvalidRequest: after `close`. Busy: if as many tasks wait as may."""
        if self._closed:
            raise InvalidRequest("this studio is closed")
        self._line.check_room()

    def add(self, task: Task, uses: Sequence[LoadSet] = ()) -> None:
        """Queue a task.

        Args:
            uses: what it loads, in order; a task whose models are loaded may go ahead of others.
        Raises: InvalidRequest: after `close`.
        """
        with self._lock:
            if self._closed:
                raise InvalidRequest("this studio is closed")
            if self._thread is None:
                _WORKERS.add(self)
                self._thread = threading.Thread(target=self._work, name="studio", daemon=True)
                self._thread.start()
        self._line.join(task, uses)

    def withdraw(self, task: Task) -> bool:
        """Take a task out of the queue. Returns: whether it still waited there."""
        return self._line.leave(task)

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the device's thread, between two batches, and return what it returns.

        It may go ahead of tasks that wait for models to be loaded.
        Two threads that compute, if only in turns, slow each other (`utils.threads`).
        """
        result: Future[T] = Future()

        def work(_: GiveWay) -> Iterator[None]:
            try:
                result.set_result(function())
            except BaseException as error:
                result.set_exception(error)
            return
            yield

        self.add(Task(work))
        return result.result()

    def close(self) -> None:
        """Do what is queued, then end."""
        with self._lock:
            self._closed = True
        self._line.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def end(self) -> None:
        """Ask all tasks to stop, and end when they have."""
        with self._lock:
            self._closed = True
        for task in [*self._line.waiting, *(turn.task for turn in tuple(self._turns))]:
            task.stop()
        self.close()

    def _work(self) -> None:
        while True:
            try:
                place = self._next()
                if place is None:
                    return
                self._go_on(place)
            except BaseException:  # such as no memory for the smallest things
                log.exception("the worker goes on after an error")

    def _next(self) -> int | None:
        """Whose turn it is, by its place; None when all is done and the queue is closed."""
        if not self._turns:
            entry = self._line.next(self._manager.is_loaded)
            if entry is None:
                return None
            self._begin(entry)
        while len(self._turns) < MOST and (entry := self._line.join_in(self._fits)) is not None:
            self._begin(entry)
        return urgent_or(self._shares.next(), [turn.task.stopped() for turn in self._turns])

    def _begin(self, entry: QueueEntry[Task]) -> None:
        turn = _Turn(entry.item, entry.uses)
        turn.steps = entry.item.work(lambda: self._gives_way(turn))
        self._turns.append(turn)
        if entry.item in self._told:
            entry.item.told(None)
        self._shares.begin()

    def _go_on(self, place: int) -> None:
        """Let a task work until it yields or ends."""
        turn = self._turns[place]
        over = True
        self._started = time.perf_counter()
        try:
            self._manager.expect([*turn.uses, *self._line.coming()])
            next(turn.steps)
            over = False
        except StopIteration:
            pass
        except BaseException:
            log.exception("a task broke")
        finally:
            self._shares.spend(place, time.perf_counter() - self._started)
            if over:
                del self._turns[place]
                self._shares.end(place)
                self._too_large.clear()

    def _gives_way(self, turn: _Turn) -> bool:
        """Whether another task should have the device now, begun or not."""
        if turn.task.stopped():
            return False  # it ends by itself
        if any(other.task.stopped() for other in self._turns if other is not turn):
            return True
        newcomer = len(self._turns) < MOST and self._line.joins(self._fits)
        seconds = time.perf_counter() - self._started
        return self._shares.gives_way(self._turns.index(turn), seconds, newcomer)

    def _fits(self, entry: QueueEntry[Task]) -> bool:
        """Whether a task may begin while those under way keep what they loaded."""
        if entry.item in self._too_large:
            return False
        manager = self._manager
        if all(manager.is_loaded(use) or manager.fits_beside(use) for use in entry.uses):
            return True
        self._too_large.add(entry.item)
        self._told.add(entry.item)
        models = ", ".join(dict.fromkeys(use.model for use in entry.uses))
        entry.item.told(
            f"{models} does not fit in memory beside a run under way; waits for its end"
        )
        return False


@atexit.register
def _end_all() -> None:
    """End the workers of programs that did not close their studios."""
    try:
        for worker in list(_WORKERS):
            worker.end()
    except KeyboardInterrupt:  # again: whoever asks twice wants no more waiting
        leave_at_once(130)


def leave_at_once(status: int) -> None:
    """End the process without the end of its threads, which would abort it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(status)
