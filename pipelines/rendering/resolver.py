"""Completes Requests: fills in what they leave open and refuses what their model cannot do."""

from __future__ import annotations

from functools import cache

from pipelines.checkpoints import controlnets
from pipelines.controlnet.control_maps import check_preprocessor
from pipelines.families.base import build_scheduler
from pipelines.model_manager.model_entry import ModelEntry
from pipelines.model_manager.model_library import ModelLibrary
from pipelines.request.control import Control
from pipelines.request.lora import LoRA
from pipelines.request.request import Request
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

    def resolve(self, request: Request) -> Request:
        """A complete Request that the model can do.

        Raises: InvalidRequest, UnknownName, ModelUnavailable: saying what is allowed.
        """
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
        # Built once for its errors only: some schedulers have step limits of their own.
        build_scheduler(model.family, model.configs, complete)
        return complete

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
        info = model.lora(lora.name)
        return LoRA(name=info.reference(lora.name), scale=lora.scale)
