"""Renderer: makes the cells of one run. Groups them, loads each model once, denoises, decodes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import torch

from pipelines.checkpoints.embeddings.layouts import Embedding
from pipelines.controlnet.adapter import controls_of
from pipelines.controlnet.conditioner import ControlConditioner
from pipelines.controlnet.residuals import Residuals
from pipelines.denoising import engine
from pipelines.denoising.evaluator import Tally
from pipelines.denoising.guided_trajectory import GuidedTrajectory
from pipelines.devices.hardware import device_memory
from pipelines.devices.out_of_memory import is_out_of_memory
from pipelines.errors import Cancelled, ContactSheetError, OutOfMemory
from pipelines.families.base import Family, LoadedModel
from pipelines.families.vae import decode
from pipelines.model_manager.lora_patcher import applied
from pipelines.model_manager.manager import PipelineManager
from pipelines.model_manager.model_entry import ModelEntry
from pipelines.rendering.batch_evaluator import BatchEvaluator, ComputeOptions
from pipelines.rendering.cell_errors import explain, noted
from pipelines.rendering.cell_groups import (
    Addons,
    Sizes,
    States,
    cell_order,
    group,
    restrict,
    union_of_addons,
)
from pipelines.rendering.run_sink import RunSink
from pipelines.rendering.timings.batch_timings import BatchTimings
from pipelines.rendering.timings.preview_clock import PreviewClock
from pipelines.rendering.trajectories import encode_prompts, guided_trajectory
from pipelines.request.control import Control
from pipelines.request.lora import State
from pipelines.request.request import Request
from pipelines.runs.run import Run

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run to render, and the options of computing it.

    Attributes:
        run: its cells are complete Requests; those that are filmed show a preview after every
            evaluation, whatever that costs.
        sink: takes what is made.
        models: opens a model by its name, once for the whole run.
        skip: cells whose pictures are there already.
        previews: whether cells show what they would look like, as often as that is cheap.
        options: by which backend, in which batches.
        timings: what is known of batch sizes; grows.
        maps: a control's map at a picture's (width, height).
        give_way: whether another run should have the device now.
    """

    run: Run
    sink: RunSink
    models: Callable[[str], ModelEntry]
    skip: frozenset[int]
    previews: bool
    options: ComputeOptions
    timings: BatchTimings
    maps: Callable[[Control, tuple[int, int]], Image]
    give_way: Callable[[], bool] = lambda: False


class Renderer:
    """Renders one job on one manager's models.

    Args:
        tally: counts rows and batches.
    """

    def __init__(self, job: Job, manager: PipelineManager, tally: Tally) -> None:
        self._job = job
        self._manager = manager
        self._tally = tally
        self._sink = job.sink
        self._cells = job.run.requests

    def render(self) -> Iterator[None]:
        """Make every cell that is not there; each ends in CellDone or CellFailed unless stopped.

        Yields: where another run may have the device, with all weights as they were loaded.
        """
        for model_id, states in group(self._cells, self._job.skip).items():
            yield from self._model(model_id, states)

    def _model(self, model_id: str, states: States, again: bool = True) -> Iterator[None]:
        """Make the cells of one model, by what LoRAs do to its weights, then by size. If its
        ControlNets and LoRAs do not fit in memory together, or one of them is broken, cells with
        different ones are made one after another."""
        cells = cell_order(states)
        by_addons: dict[Addons, list[int]] = {}
        for cell in cells:
            request = self._cells[cell]
            by_addons.setdefault((request.controlnets, request.lora_names), []).append(cell)
        if self._stopped():
            return
        loaded = False
        try:
            entry = self._job.models(model_id)
            with self._manager.use(entry, *union_of_addons(by_addons), self._stopped) as model:
                loaded = True
                for state, sizes in states.items():
                    if not self._stopped():
                        yield from self._lora_state(state, sizes, entry, model)
                return
        except Cancelled:
            return
        except Exception as error:  # one model that breaks must not lose the cells of others
            failure = noted(error)
        # Outside the handler, whose error keeps what did not fit.
        if not loaded and len(by_addons) > 1:
            for some in by_addons.values():
                yield from self._model(model_id, restrict(some, states))
        elif not loaded and again and is_out_of_memory(failure):
            self._manager.free_idle(waiting=True)
            yield from self._model(model_id, states, again=False)
        else:
            self._fail(cells, failure)

    def _lora_state(
        self, state: State, sizes: Sizes, entry: ModelEntry, model: LoadedModel
    ) -> Iterator[None]:
        """Make the cells that have the same LoRAs, while these are in the model's weights."""
        family = entry.family
        try:
            requests = [self._cells[cell] for cell in chain(*sizes.values())]
            model = with_embeddings(model, entry, requests)
            with ExitStack() as patch:
                change = partial(applied, model, family, state, self._manager.reserve)
                with_loras = patch.enter_context(change())
                for cells in sizes.values():
                    for _ in () if self._stopped() else self._cells_of(cells, family, with_loras):
                        # What has the device meanwhile may be made from the same weights.
                        patch.close()
                        yield
                        patch.enter_context(change())
        except Cancelled:
            raise
        except Exception as error:
            self._fail(chain(*sizes.values()), noted(error))

    def _cells_of(self, cells: Sequence[int], family: Family, model: LoadedModel) -> Iterator[None]:
        """Make cells of one size; what breaks for all of them fails those that have not ended."""
        try:
            yield from self._size_group(cells, family, model)
        except Cancelled:
            raise
        except Exception as error:
            self._fail(cells, noted(error))

    def _size_group(
        self, cells: Sequence[int], family: Family, model: LoadedModel
    ) -> Iterator[None]:
        """Make cells of one size with one set of weights, denoised together."""
        requests = [self._cells[cell] for cell in cells]
        evaluator = self._evaluator(requests, family, model)
        free_idle = self._manager.free_idle
        conditions = encode_prompts(family, model, requests, self._job.options.exact, free_idle)
        conditioner = ControlConditioner(family, model, self._job.maps, free_idle)

        def maker(request: Request) -> Callable[[], GuidedTrajectory]:
            return lambda: guided_trajectory(
                family, model, request, conditions, conditioner.controls(request)
            )

        events = engine.denoise(
            [(cell, maker(self._cells[cell])) for cell in cells],
            evaluator,
            stop=self._stopped,
            free_memory=free_idle,
            give_way=self._job.give_way,
            exact=self._job.options.exact,
        )
        clock = PreviewClock()
        for event in events:
            match event:
                case engine.Paused():
                    yield
                case engine.Stepped(cell, step, steps, walk):
                    self._sink.progress(cell, step, steps)
                    filmed = cell in self._job.run.filmed
                    if filmed or (self._job.previews and step < steps and clock.due(cell)):
                        with clock:
                            self._show(cell, step, walk, family, model)
                case engine.Finished(cell):
                    clock.forget(cell)
                    self._finish(event, family, model)
                case engine.Failed(cell, error):
                    clock.forget(cell)
                    self._sink.failed(cell, explain(error))
        evaluator.remember()

    def _evaluator(
        self, requests: Sequence[Request], family: Family, model: LoadedModel
    ) -> BatchEvaluator:
        """What computes the rows of cells of one size."""
        job, first = self._job, requests[0]
        assert first.width and first.height, "a cell's size is resolved before it is made"
        latent = family.latent_shape(model, first.width, first.height)
        controls = controls_of(family.spec) if any(one.controls for one in requests) else None
        fill = job.options.fixed_batch if job.options.exact else None
        residuals = None if controls is None else Residuals(controls, model, self._tally, fill)
        memory = device_memory(model.device)
        skips = any(request.skip_layers for request in requests)
        return BatchEvaluator(
            job.options,
            job.timings,
            family,
            model,
            latent=latent,
            memory=memory,
            residuals=residuals,
            skips=skips,
            tally=self._tally,
        )

    def _finish(self, finished: engine.Finished, family: Family, model: LoadedModel) -> None:
        """Decode and keep a cell's picture."""
        started = time.perf_counter()
        try:
            image = to_image(decode(family, model, finished.latents, self._manager.free_idle))
            file = self._sink.save(finished.cell, image)
        except Exception as error:  # one bad picture, or a full disk, must not lose the others
            if not isinstance(error, ContactSheetError):
                log.exception("cell %d has no picture", finished.cell)
            self._sink.failed(finished.cell, explain(error))
            return
        seconds = finished.seconds + time.perf_counter() - started
        self._sink.done(finished.cell, image, file, seconds)

    def _show(
        self, cell: int, step: int, walk: GuidedTrajectory, family: Family, model: LoadedModel
    ) -> None:
        """Show a cell's preview, or none: the picture may fit in tiles where that does not."""
        try:
            image = self._preview(walk, family, model)
        except Exception as error:
            if not isinstance(error, OutOfMemory):
                log.exception("cell %d has no preview at evaluation %d", cell, step)
            return
        self._sink.preview(cell, step, image)

    def _preview(self, walk: GuidedTrajectory, family: Family, model: LoadedModel) -> Image:
        """What a cell would look like if denoising ended here."""
        assert walk.last is not None, "a stepped trajectory has a last evaluation"
        asked, output = walk.last
        with torch.inference_mode():
            latents = family.denoised(model, asked.x, asked.t, output)
        return to_image(decode(family, model, latents, self._manager.free_idle))

    def _stopped(self) -> bool:
        """Whether to end before the next batch: it was asked for, or nothing more can be kept."""
        return self._job.run.stop_asked or self._sink.full is not None

    def _fail(self, cells: Iterable[int], error: Exception) -> None:
        """Fail those of some cells that have not ended."""
        for cell in cells:
            if cell not in self._sink.ended:
                self._sink.failed(cell, explain(error))


def with_embeddings(
    model: LoadedModel, entry: ModelEntry, requests: Sequence[Request]
) -> LoadedModel:
    """Add the embeddings that Requests with the same LoRAs name. Raises: ModelUnavailable."""
    named: dict[str, Embedding] = {}
    for request in requests:
        named |= entry.embeddings.of(request)
    vectors = {name: one.read(entry.spec) for name, one in named.items()}
    return replace(model, embeddings=vectors) if vectors else model


def to_image(pixels: Tensor) -> Image:
    """Make a picture from (1, 3, H, W) uint8."""
    from PIL import Image

    return Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
