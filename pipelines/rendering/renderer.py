"""Makes the cells of one run: groups them, loads each model once, denoises, decodes, reports.

Everything with an effect goes through the arguments, so this reads as the order of the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import torch

from pipelines.controlnet.adapter import controls_of
from pipelines.controlnet.conditioner import Steering
from pipelines.controlnet.residuals import Residuals
from pipelines.denoising import engine
from pipelines.denoising.batch_sizes import USUAL
from pipelines.denoising.guidance import GuidedTrajectory
from pipelines.devices.hardware import device_memory
from pipelines.errors import Cancelled, ContactSheetError, OutOfMemory
from pipelines.families.base import Family, Model
from pipelines.families.vae import decode
from pipelines.model_manager.lora_patcher import applied
from pipelines.model_manager.manager import PipelineManager
from pipelines.rendering.batch_evaluator import Computer, Computing
from pipelines.rendering.batch_timings import Paces
from pipelines.rendering.cell_groups import Addons, States, group, numbers, only, together
from pipelines.rendering.preview_clock import PreviewClock
from pipelines.rendering.trajectories import encode, start
from pipelines.request.control import Control, control_models
from pipelines.request.lora import State, lora_names
from pipelines.request.request import Request
from pipelines.runs.events import CellDone, CellFailed, CellPreview, CellProgress, Event

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Job:
    """What `render` needs to know of a run.

    Attributes:
        cells: complete Requests; those in `skip` are there already.
        save: keeps a finished picture; returns its file, or None if nothing is kept.
        how: by which backend, in which batches.
        paces: what is known of batch sizes; grows.
        maps: a control's map at a picture's (width, height).
        filmed: cells that show a preview after every evaluation, whatever that costs.
    """

    run: str
    cells: Sequence[Request]
    skip: frozenset[int]
    previews: bool
    stop: Callable[[], bool]
    publish: Callable[[Event], None]
    save: Callable[[int, Image], Path | None]
    how: Computing
    paces: Paces
    maps: Callable[[Control, tuple[int, int]], Image]
    filmed: frozenset[int] = frozenset()


def render(job: Job, manager: PipelineManager, tally: engine.Tally) -> None:
    """Make every cell that is not there yet; each ends in CellDone or CellFailed unless stopped."""
    for model_id, states in group(job.cells, job.skip).items():
        _render_model(job, model_id, states, manager, tally)


def _render_model(
    job: Job, model_id: str, states: States, manager: PipelineManager, tally: engine.Tally
) -> None:
    """Make the cells of one model, by what LoRAs do to its weights, then by size. If its
    ControlNets and LoRAs do not fit in memory together, or one of them is broken, cells with
    different ones are made one after another."""
    cells = numbers(states)
    by_addons: dict[Addons, list[int]] = {}
    for cell in cells:
        request = job.cells[cell]
        by_addons.setdefault((control_models(request), lora_names(request)), []).append(cell)
    if job.stop():
        return
    loaded = False
    try:
        with manager.use(model_id, *together(by_addons), job.stop) as model:
            loaded = True
            family = manager.family(model_id)
            for state, sizes in states.items():
                if not job.stop():
                    _render_state(job, state, sizes, family, model, manager, tally)
    except Cancelled:
        return
    except ContactSheetError as error:
        if len(by_addons) > 1 and not loaded:
            for some in by_addons.values():
                _render_model(job, model_id, only(some, states), manager, tally)
            return
        for cell in cells:
            job.publish(CellFailed(job.run, cell, job.cells[cell], str(error)))


def _render_state(
    job: Job, state: State, sizes: Mapping[tuple[int, int], Sequence[int]],
    family: Family, model: Model, manager: PipelineManager, tally: engine.Tally,
) -> None:  # fmt: skip
    """Make the cells that have the same LoRAs, while these are in the model's weights."""
    changed = False
    try:
        with applied(model, family, state, manager.aside) as with_loras:
            changed = True
            for of_size in sizes.values():
                if not job.stop():
                    _render_group(job, of_size, family, with_loras, manager, tally)
    except ContactSheetError as error:
        if changed:
            raise
        for cell in chain(*sizes.values()):
            job.publish(CellFailed(job.run, cell, job.cells[cell], str(error)))


def _render_group(
    job: Job,
    cells: Sequence[int],
    family: Family,
    model: Model,
    manager: PipelineManager,
    tally: engine.Tally,
) -> None:
    requests = [job.cells[cell] for cell in cells]
    computer = _computer(job, requests, family, model, tally)
    conditions = encode(family, model, requests, job.how.exact)
    steering = Steering(family, model, job.maps, manager.free_idle)

    def maker(request: Request) -> Callable[[], GuidedTrajectory]:
        return lambda: start(family, model, request, conditions, steering.steers(request))

    events = engine.denoise(
        [(cell, maker(job.cells[cell])) for cell in cells],
        computer.evaluate,
        batches=computer,
        begin=computer.begin,
        stop=job.stop,
        free_memory=manager.free_idle,
        tally=tally,
        exact=job.how.exact,
    )
    clock = PreviewClock()
    for event in events:
        match event:
            case engine.Stepped(cell, step, steps, walk):
                job.publish(CellProgress(job.run, cell, step, steps))
                filmed = cell in job.filmed
                if filmed or (job.previews and step < steps and clock.due(cell)):
                    # A preview that does not fit is left out; the picture may fit in tiles.
                    with clock, suppress(OutOfMemory):
                        image = _preview(family, model, walk, manager.free_idle)
                        job.publish(CellPreview(job.run, cell, step, image))
            case engine.Finished(cell, latents, seconds):
                clock.forget(cell)
                _finish(job, cell, latents, seconds, family, model, manager)
            case engine.Failed(cell, error):
                clock.forget(cell)
                job.publish(CellFailed(job.run, cell, job.cells[cell], explain(error)))
    computer.remember()


def _computer(
    job: Job, requests: Sequence[Request], family: Family, model: Model, tally: engine.Tally
) -> Computer:
    """What computes the rows of cells of one size."""
    first = requests[0]
    assert first.width and first.height, "a cell's size is resolved before it is made"
    latent = family.latent_shape(model, first.width, first.height)
    controls = controls_of(family.id) if any(one.controls for one in requests) else None
    fill = (job.how.batch or USUAL) if job.how.exact else None
    residuals = None if controls is None else Residuals(controls, model, tally, fill)
    memory = device_memory(model.device)
    skips = any(request.skip_layers for request in requests)
    return Computer(job.how, job.paces, family, model, latent, memory, residuals, skips)


def _finish(
    job: Job,
    cell: int,
    latents: Tensor,
    seconds: float,
    family: Family,
    model: Model,
    manager: PipelineManager,
) -> None:
    started = time.perf_counter()
    request = job.cells[cell]
    try:
        image = to_image(decode(family, model, latents, manager.free_idle))
        file = job.save(cell, image)
    except ContactSheetError as error:
        job.publish(CellFailed(job.run, cell, request, str(error)))
        return
    seconds += time.perf_counter() - started
    job.publish(CellDone(job.run, cell, request, image, file, seconds, cached=False))


def to_image(pixels: Tensor) -> Image:
    """A picture from (1, 3, H, W) uint8."""
    from PIL import Image

    return Image.fromarray(pixels[0].permute(1, 2, 0).numpy())


def _preview(
    family: Family, model: Model, walk: GuidedTrajectory, free_idle: Callable[[], bool]
) -> Image:
    assert walk.last is not None, "a stepped trajectory has a last evaluation"
    asked, output = walk.last
    with torch.inference_mode():
        latents = family.denoised(model, asked.x, asked.t, output)
    return to_image(decode(family, model, latents, free_idle))


def explain(error: Exception) -> str:
    """What a failed cell shows: our own errors as they are, others with their type."""
    if isinstance(error, ContactSheetError):
        return str(error)
    return f"{type(error).__name__}: {error}"
