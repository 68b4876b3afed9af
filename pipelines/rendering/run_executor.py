"""Makes one run: what is in the store is read, the rest is rendered, everything is recorded."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.controlnet.control_maps import Maps
from pipelines.denoising.batch_sizes import USUAL
from pipelines.errors import ContactSheetError
from pipelines.model_manager.manager import PipelineManager
from pipelines.model_manager.model_entry import ModelEntry
from pipelines.rendering.batch_evaluator import Computing
from pipelines.rendering.batch_timings import Paces
from pipelines.request.request import Request
from pipelines.runs.events import CellDone, CellFailed, Event, RunFinished, RunStarted, Stats
from pipelines.runs.queue import Use
from pipelines.runs.run import Run
from pipelines.runs.store import Store
from pipelines.samplers import SAMPLERS

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sheet would cost.

    Attributes:
        cells: in all; `cached` of them are in the store.
        rows: denoiser rows of the others, at most (equal ones are computed once).
        seconds: estimated from the last run of about so many cells at this model and size; None
            before the first.
    """

    cells: int
    cached: int
    rows: int
    seconds: float | None


_Kind = tuple[str, int | None, int | None, int]
"""Model, width, height and number of controls."""


class Maker:
    """What the studio's worker does with a run. Only that one thread calls `make`.

    Args:
        store: None keeps nothing.
        how: by which backend and in which batches rows are computed.
        maps: of controls.
    """

    def __init__(
        self, manager: PipelineManager, store: Store | None, how: Computing, maps: Maps
    ) -> None:
        self.manager = manager
        self.maps = maps
        self.store = store
        self.how = how
        self.paces = Paces(None if how.cache is None else how.cache / "batches.json")
        self._pace: dict[_Kind, dict[int, float]] = {}
        """Seconds a row took, by how many cells shared the run's batches."""

    def plan(self, cells: Sequence[Request]) -> Plan:
        """What these complete Requests would cost."""
        from pipelines.denoising.guidance import Guidance

        opened = cache(self.manager.library.open)
        context = cache(partial(self._context, opened))
        new = [
            cell
            for cell in cells
            if self.store is None
            or not self.store.path(cell.address(context(*_models(cell)))).is_file()
        ]
        together = Counter(map(_kind, new))
        rows = 0
        seconds: float | None = 0.0
        for cell in new:
            evaluations = SAMPLERS[cell.sampler].evaluations(cell.steps)
            cost = Guidance.of(cell, opened(cell.model).capabilities).rows(evaluations)
            kind = _kind(cell)
            pace = _nearest(self._pace.get(kind, {}), together[kind])
            rows += cost
            seconds = None if pace is None or seconds is None else seconds + pace * cost
        return Plan(len(cells), len(cells) - len(new), rows, seconds)

    def uses(self, run: Run) -> list[Use]:
        """What a run loads, in order."""
        return list(dict.fromkeys(Use(*_models(request)) for request in run.requests))

    def make(self, run: Run, previews: bool) -> None:
        """Make a run to its end, and publish and record what happens."""
        from pipelines.denoising import engine
        from pipelines.rendering.renderer import Job, render

        started = time.perf_counter()
        run.publish(RunStarted(run.id, run.requests))
        opened = cache(self.manager.library.open)
        addresses = self._addresses(run, opened)
        cached = self._publish_cached(run, addresses)
        tally = engine.Tally()
        failed: list[str] = []
        spent: list[float] = []

        def publish(event: Event) -> None:
            match event:
                case CellDone(cell=cell, seconds=seconds):
                    spent.append(seconds)
                    self._record(run, cell, addresses.get(cell), seconds)
                case CellFailed(cell=cell, error=error):
                    failed.append(error)
                    self._record(run, cell, None, 0.0, error=error)
            run.publish(event)

        def save(cell: int, image: Image) -> Path | None:
            if self.store is None or cell not in addresses:
                return None
            return self.store.save_picture(addresses[cell], image, run.requests[cell])

        render(
            Job(
                run.id,
                run.requests,
                opened,
                cached,
                previews,
                lambda: run.stop_asked,
                publish,
                save,
                self.how,
                self.paces,
                self.maps.asked,
                run.filmed,
            ),
            self.manager,
            tally,
        )
        kinds = {_kind(request) for request in run.requests}
        if len(kinds) == 1 and spent and not failed and not run.stop_asked:
            kind, cells = kinds.pop(), min(len(spent), USUAL)
            pace = sum(spent) / max(1, tally.rows_naive)
            self._pace[kind] = {**self._pace.get(kind, {}), cells: pace}  # `plan` reads meanwhile
        stats = Stats(
            cells=len(run.requests),
            cells_cached=len(cached),
            rows_naive=tally.rows_naive,
            rows_computed=tally.rows_computed,
            batches=tally.batches,
            seconds=time.perf_counter() - started,
            control_rows_naive=tally.control_rows_naive,
            control_rows=tally.control_rows,
        )
        done = sum(cell.status == "done" for cell in run.snapshot().cells)
        if done + len(failed) < len(run.requests):
            self.end(run, RunFinished(run.id, "stopped", stats))
        elif failed and not done:
            self.end(run, RunFinished(run.id, "failed", stats, failed[0]))
        else:
            self.end(run, RunFinished(run.id, "done", stats))

    def _addresses(self, run: Run, opened: Callable[[str], ModelEntry]) -> dict[int, str]:
        """Where each cell's picture belongs in the store; without one, nowhere."""
        addresses: dict[int, str] = {}
        context = cache(partial(self._context, opened))
        for cell, request in enumerate(run.requests if self.store is not None else ()):
            # A model may have gone since `submit`; `render` tells its cells why they fail.
            with suppress(ContactSheetError):
                addresses[cell] = request.address(context(*_models(request)))
        return addresses

    def _publish_cached(self, run: Run, addresses: Mapping[int, str]) -> frozenset[int]:
        """Publish the cells whose pictures are in the store already; their numbers."""
        if self.store is None:
            return frozenset()
        found = set()
        for cell, address in addresses.items():
            if cell in run.filmed:
                continue  # its picture may be there, but not what it looked like on the way
            request = run.requests[cell]
            image = self.store.picture(address)
            if image is not None:
                found.add(cell)
                self._record(run, cell, address, 0.0, cached=True)
                file = self.store.path(address)
                run.publish(CellDone(run.id, cell, request, image, file, 0.0, cached=True))
        return frozenset(found)

    def address(self, request: Request) -> str:
        """Where the picture of a complete Request lies in the store."""
        return request.address(self._context(self.manager.library.open, *_models(request)))

    def _context(
        self,
        opened: Callable[[str], ModelEntry],
        model: str,
        controls: tuple[str, ...],
        loras: tuple[str, ...],
    ) -> str:
        """What decides a picture beside its Request. Looks at every file of the models."""
        from pipelines.denoising.engine import VERSION

        manager = self.manager
        device = "" if manager.device == "cpu" else manager.device
        fingerprint = manager.fingerprint(opened(model), controls, loras)
        return f"{fingerprint} {VERSION} {device}{self.how.mark}{manager.saving.mark}"

    def _record(
        self, run: Run, cell: int, address: str | None, seconds: float, *,
        cached: bool = False, error: str | None = None,
    ) -> None:  # fmt: skip
        if self.store is not None:
            self.store.cell_done(run.id, cell, address, seconds, cached, error)

    def end(self, run: Run, event: RunFinished) -> None:
        """Record and publish how a run ended."""
        if self.store is not None:
            self.store.end(run.id, event.status, event.stats, event.error)
        run.publish(event)


def _models(request: Request) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """The model of a complete Request, its ControlNets and its LoRAs."""
    return request.model, request.controlnets, request.lora_names


def _kind(request: Request) -> _Kind:
    return request.model, request.width, request.height, len(request.controls)


def _nearest(paces: Mapping[int, float], cells: int) -> float | None:
    """The pace of the run most like one of so many cells: a lone picture's rows take longer."""
    like = min(paces, key=lambda seen: abs(math.log(seen / min(cells, USUAL))), default=None)
    return None if like is None else paces[like]
