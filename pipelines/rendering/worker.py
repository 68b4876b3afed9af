"""Worker: the one thread that owns the device, and the queue of tasks before it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from pipelines.errors import InvalidRequest
from pipelines.model_manager.manager import PipelineManager
from pipelines.runs.queue import LoadSet, RunQueue

T = TypeVar("T")
Task = Callable[[], None]
"""Anything to be done on the device; it must not raise."""


class Worker:
    """Does tasks one after another, in the order of the run queue.

    Its thread starts with the first task and ends with `close`.
    """

    def __init__(self, manager: PipelineManager) -> None:
        self._manager = manager
        self._line: RunQueue[Task] = RunQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread is not None and self._thread.is_alive()

    def check_open(self) -> None:
        """Raises: InvalidRequest: after `close`."""
        if self._closed:
            raise InvalidRequest("this studio is closed")

    def add(self, task: Task, uses: Sequence[LoadSet] = ()) -> None:
        """Queue a task.

        Args:
            uses: what it loads, in order; a task whose models are loaded may go ahead of others.
        Raises: InvalidRequest: after `close`.
        """
        with self._lock:
            self.check_open()
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="studio", daemon=True)
                self._thread.start()
        self._line.join(task, uses)

    def call(self, function: Callable[[], T]) -> T:
        """Run a function on the device's thread, between two tasks, and return what it returns.

        It may go ahead of tasks that wait for models to be loaded.
        Two threads that compute, if only in turns, slow each other (`utils.threads`).
        """
        result: Future[T] = Future()

        def task() -> None:
            try:
                result.set_result(function())
            except BaseException as error:
                result.set_exception(error)

        self.add(task)
        return result.result()

    def close(self) -> None:
        """Do what is queued, then end."""
        with self._lock:
            self._closed = True
        self._line.close()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        manager = self._manager
        while (place := self._line.next(manager.is_loaded)) is not None:
            manager.expect([*place.uses, *self._line.coming()])
            place.item()
