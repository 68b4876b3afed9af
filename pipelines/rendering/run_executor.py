"""Run executor: reads from the store what is there, renders the rest and records how it ended."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache

from pipelines.controlnet.control_maps import Maps
from pipelines.denoising.evaluator import Tally
from pipelines.denoising.guiders.base import row_count
from pipelines.denoising.guiders.registry import version_mark
from pipelines.errors import ContactSheetError
from pipelines.families.base import sampling_mark
from pipelines.model_manager.manager import PipelineManager
from pipelines.model_manager.model_entry import ModelEntry
from pipelines.rendering.batch_evaluator import ComputeOptions
from pipelines.rendering.run_plan import CostEstimate
from pipelines.rendering.run_sink import RunSink
from pipelines.rendering.timings.batch_timings import BatchTimings
from pipelines.rendering.timings.row_timings import RowKind, RowTimings
from pipelines.request.prompts import prompt_schedule
from pipelines.request.request import Request
from pipelines.runs.events import RunFinished, RunStarted, RunStatus, Stats
from pipelines.runs.null_store import AnyStore
from pipelines.runs.queue import LoadSet
from pipelines.runs.run import Run
from pipelines.samplers import SAMPLERS

Open = Callable[[str], ModelEntry]
"""Opens a model by its name."""

log = logging.getLogger(__name__)


class RunExecutor:
    """Executor of runs. Only the studio's worker thread calls `make`.

    Args:
        options: by which backend and in which batches rows are computed.
        maps: of controls.
    """

    def __init__(
        self, manager: PipelineManager, store: AnyStore, options: ComputeOptions, maps: Maps
    ) -> None:
        self._manager = manager
        self._maps = maps
        self._store = store
        self._options = options
        self._batch_timings = BatchTimings(
            None if options.cache is None else options.cache / "batches.json"
        )
        self._row_timings = RowTimings()

    def estimate(self, cells: Sequence[Request]) -> CostEstimate:
        """Estimate what these complete Requests would cost.

        Raises: UnknownName, ModelUnavailable: if a model has gone since they were completed.
        """
        from pipelines.rendering.trajectories import guidance_for, guidance_key

        opened = self._opener()
        address = self._addresser(opened)
        new = [
            cell for cell in cells if not self._store.keeps or not self._store.has(address(cell))
        ]
        together = Counter(map(RowKind.of, new))
        rows = 0
        costs: dict[tuple[Hashable, ...], int] = {}
        seconds: float | None = 0.0
        for cell in new:
            evaluations = SAMPLERS[cell.sampler].evaluations(cell.steps)
            key = (evaluations, *guidance_key(cell))
            if key not in costs:
                guider = guidance_for(cell, opened(cell.model).capabilities)
                costs[key] = row_count(guider, evaluations)
            cost = costs[key]
            kind = RowKind.of(cell)
            row = self._row_timings.row(kind, together[kind])
            rows += cost
            seconds = None if row is None or seconds is None else seconds + row * cost
        return CostEstimate(len(cells), len(cells) - len(new), rows, seconds)

    def uses(self, run: Run) -> list[LoadSet]:
        """List what a run loads, in order."""
        return list(dict.fromkeys(LoadSet(*_models(request)) for request in run.requests))

    def make(
        self, run: Run, previews: bool, give_way: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        """Make a run to its end, and publish and record what happens.

        Args:
            give_way: whether another run should have the device now.
        Yields: where it may have it.
        """
        sink = RunSink(run, self._store, {})
        try:
            yield from self._make(run, previews, give_way)
        except Exception as error:  # a bug, but the worker must outlive it
            log.exception("run %s broke", run.id)
            if not run.snapshot().finished:
                sink.finish("failed", Stats(), f"internal error: {error}")

    def withdraw(self, run: Run) -> None:
        """End a run that was stopped before it began; its events are those of any run."""
        run.publish(RunStarted(run.id, run.requests))
        run.publish(RunFinished(run.id, "stopped", Stats(cells=len(run.requests))))
        if run.listed:
            with suppress(Exception):  # without an end it counts as stopped too
                stats = Stats(cells=len(run.requests))
                self._store.end(run.id, "stopped", stats, None, patience=1.0)

    def address(self, request: Request) -> str:
        """Compute where the picture of a complete Request lies in the store."""
        return self._addresser(self._opener())(request)

    def _make(self, run: Run, previews: bool, give_way: Callable[[], bool]) -> Iterator[None]:
        from pipelines.rendering.renderer import Job, Renderer

        started = time.perf_counter()
        run.publish(RunStarted(run.id, run.requests, run.warnings))
        opened = self._opener()
        addresses = self._addresses(run, self._addresser(opened))
        sink = RunSink(run, self._store, addresses)
        sink.begin()
        tally = Tally()
        cached: frozenset[int] = frozenset()
        broken: str | None = None
        try:
            cached = self._publish_cached(run, addresses, sink)
            job = Job(
                run=run,
                sink=sink,
                models=opened,
                skip=cached,
                previews=previews,
                options=self._options,
                timings=self._batch_timings,
                maps=self._maps.asked,
                give_way=give_way,
            )
            yield from Renderer(job, self._manager, tally).render()
        except Exception as error:  # a bug; cells that are finished are not lost by it
            log.exception("run %s broke", run.id)
            broken = f"internal error: {error}"
        why = sink.full or broken
        if not run.stop_asked or why:
            for cell in sorted(set(range(len(run.requests))) - sink.ended):
                sink.failed(cell, why or "it was left out by mistake; the log has the details")
        if not sink.errors and not run.stop_asked:
            self._row_timings.add(run.requests, sink.spent, tally.rows_naive)
        stats = Stats(
            cells=len(run.requests),
            cells_cached=len(cached),
            seconds=time.perf_counter() - started,
            **asdict(tally),
        )
        done = sum(cell.status == "done" for cell in run.snapshot().cells)
        status, said = verdict(len(run.requests), done, sink.errors)
        sink.finish("failed" if why else status, stats, why or said)

    def _opener(self) -> Open:
        """Make a function that opens each model once, so that its files are read once a run."""
        return cache(self._manager.library.open)

    def _addresses(self, run: Run, address: Callable[[Request], str]) -> dict[int, str]:
        """Compute where each cell's picture belongs in the store; none where it keeps nothing."""
        addresses: dict[int, str] = {}
        for cell, request in enumerate(run.requests if self._store.keeps else ()):
            # A model may have gone since `submit`; the renderer tells its cells why they fail.
            with suppress(ContactSheetError):
                addresses[cell] = address(request)
        return addresses

    def _publish_cached(
        self, run: Run, addresses: Mapping[int, str], sink: RunSink
    ) -> frozenset[int]:
        """Publish the cells whose pictures are in the store already; their numbers."""
        found = set()
        for cell, address in addresses.items():
            if cell in run.filmed:
                continue  # its picture may be there, but not what it looked like on the way
            image = self._store.picture(address, run.requests[cell])
            if image is not None:
                found.add(cell)
                sink.found(cell, image)
        return frozenset(found)

    def _addresser(self, opened: Open) -> Callable[[Request], str]:
        """Make a function from complete Requests to addresses; each model's files are read once."""
        from pipelines.denoising.engine import VERSION

        manager = self._manager
        device = "" if manager.device == "cpu" else manager.device

        @cache
        def context(model: str, controls: tuple[str, ...], loras: tuple[str, ...]) -> str:
            fingerprint = manager.fingerprint(opened(model), controls, loras)
            return (
                f"{fingerprint} {VERSION} {device}{self._options.mark}{manager.memory_options.mark}"
            )

        def address(request: Request) -> str:
            model = opened(request.model)
            marks = sampling_mark(model.family, model.configs, request)
            return request.address(
                context(*_models(request))
                + version_mark(request.guider)
                + prompt_schedule.version_mark(request.prompt, request.negative_prompt)
                + model.embeddings.mark(request)
                + marks
            )

        return address


def verdict(cells: int, done: int, errors: Sequence[str]) -> tuple[RunStatus, str | None]:
    """Decide how a run ended, and why no picture was made, if so.

    Args:
        cells: in all; `done` of them have pictures, and as many as there are errors failed.
    """
    if done + len(errors) < cells:
        return "stopped", None
    if errors and not done:
        return "failed", errors[0]
    return "done", None


def _models(request: Request) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The model of a complete Request, its ControlNets and its LoRAs."""
    return request.model, request.controlnets, request.lora_names
