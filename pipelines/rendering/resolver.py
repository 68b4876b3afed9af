"""Completes Requests: fills in what they leave open and refuses what their model cannot do."""

from __future__ import annotations

from functools import cache

from pipelines.checkpoints import controlnets
from pipelines.controlnet.control_maps import check_preprocessor
from pipelines.errors import UnknownName
from pipelines.families.base import build_scheduler
from pipelines.model_manager.model_entry import ModelEntry
from pipelines.model_manager.model_library import ModelLibrary
from pipelines.rendering.prompt_warnings import PromptWarnings
from pipelines.request.control import Control
from pipelines.request.lora import LoRA
from pipelines.request.prompts import prompt_tags
from pipelines.request.request import Request
from pipelines.runs.events import Warnings
from pipelines.runs.image_store import ImageStore


class Resolver:
    """Completes the Requests of one sheet. Each model, ControlNet and LoRA is looked at once,
    so one that changes on disk is seen by the next resolver.

    Args:
        images: holds the pictures of controls.
    """

    def __init__(self, library: ModelLibrary, images: ImageStore) -> None:
        self._images = images
        self._open = cache(library.open)
        self._warnings = PromptWarnings(self._open)
        self._buildable: set[tuple[object, ...]] = set()

    def resolve(self, request: Request) -> Request:
        """A complete Request that the model can do.

        Raises: InvalidRequest, UnknownName, ModelUnavailable: saying what is allowed.
        """
        request = prompt_tags.carry_out(request.with_seed())
        model = self._open(request.model)
        can = model.capabilities
        can.check(request)
        native = can.sizes.native
        complete = request.replace(
            model=model.info.reference(request.model),
            guider=can.guider_text(request),
            width=request.width or native[0],
            height=request.height or native[1],
            controls=[self._control(one, model) for one in request.controls],
            loras=[self._lora(one, model) for one in request.loras],
        )
        model.embeddings.of(complete)  # for its errors only
        assert complete.width and complete.height, "just filled in"
        can.sizes.check(complete.width, complete.height)
        self._check_scheduler(complete, model)
        return complete

    def warnings(self, complete: Request) -> Warnings:
        """What of a complete Request its model does not carry out."""
        return self._warnings.of(complete)

    def _check_scheduler(self, one: Request, model: ModelEntry) -> None:
        """Build a scheduler for its errors only: some have step limits of their own."""
        kind = (one.model, one.sampler, one.schedule, one.steps, one.width, one.height)
        if kind not in self._buildable:
            build_scheduler(model.family, model.configs, one)
            self._buildable.add(kind)

    def _control(self, control: Control, model: ModelEntry) -> Control:
        control = check_preprocessor(control)
        if not self._images.has(control.image):
            self._images.get(control.image)  # says why not
        fit = model.controlnets if control.model is None else []
        name = control.model or controlnets.choose(control.preprocessor, model.name, fit)
        info = model.controlnet(name)
        controlnets.check_mode(info, control.mode, model.spec)
        return control.replace(model=info.reference(name))

    def _lora(self, lora: LoRA, model: ModelEntry) -> LoRA:
        name = _known_name(lora.name, model)
        reference = model.lora(name).reference(name)
        return LoRA(name=reference, scale=lora.scale, text_scale=lora.text_scale)


def _known_name(name: str, model: ModelEntry) -> str:
    """A LoRA's name as it is listed, where a tag says it with a folder or an ending.

    Raises: UnknownName: naming it as it was written.
    """
    try:
        model.lora(name)
    except UnknownName:
        last = name.replace("\\", "/").rpartition("/")[2].removesuffix(".safetensors")
        if last != name and any(one.id == last for one in model.loras):
            return last
        raise
    return name
