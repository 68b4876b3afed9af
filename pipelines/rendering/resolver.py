"""Completes Requests: fills in what they leave open and refuses what their model cannot do."""

from __future__ import annotations

from functools import cache

from pipelines.checkpoints import controlnets
from pipelines.controlnet.control_maps import check_preprocessor
from pipelines.families.base import build_scheduler
from pipelines.model_manager.model_library import Inventory
from pipelines.request.control import Control
from pipelines.request.lora import LoRA
from pipelines.request.request import Request
from pipelines.runs.image_store import Shelf


class Resolver:
    """Completes the Requests of one sheet. Each model, ControlNet and LoRA is looked at once,
    so one that changes on disk is seen by the next resolver.

    Args:
        shelf: holds the pictures of controls.
    """

    def __init__(self, inventory: Inventory, shelf: Shelf) -> None:
        self._shelf = shelf
        self._locate = cache(inventory.locate)
        self._family = cache(inventory.family)
        self._configs = cache(inventory.configs)
        self._supports = cache(inventory.supports)
        self._controlnets = cache(inventory.controlnets)
        self._locate_control = cache(inventory.locate_control)
        self._locate_lora = cache(inventory.locate_lora)

    def resolve(self, request: Request) -> Request:
        """A complete Request that the model can do.

        Raises: InvalidRequest, UnknownName, ModelUnavailable: saying what is allowed.
        """
        model = request.model
        supports = self._supports(model)
        supports.check(request)
        native = supports.sizes.native
        complete = request.replace(
            model=self._locate(model).path.as_posix() if "/" in model else model,
            guider=supports.guider_text(request),
            width=request.width or native[0],
            height=request.height or native[1],
            controls=[self._control(one, model) for one in request.controls],
            loras=[self._lora(one, model) for one in request.loras],
        )
        assert complete.width and complete.height, "just filled in"
        supports.sizes.check(complete.width, complete.height)
        # Built once for its errors only: some schedulers have step limits of their own.
        build_scheduler(self._family(model), self._configs(model), complete)
        return complete

    def _control(self, control: Control, model: str) -> Control:
        control = check_preprocessor(control)
        if not self._shelf.has(control.image):
            self._shelf.get(control.image)  # says why not
        fit = self._controlnets(model) if control.model is None else []
        name = control.model or controlnets.choose(control.preprocessor, model, fit)
        info = self._locate_control(name, model)
        controlnets.check_mode(info, control.mode, self._family(model).id)
        return control.replace(model=info.path.as_posix() if "/" in name else name)

    def _lora(self, lora: LoRA, model: str) -> LoRA:
        info = self._locate_lora(lora.name, model)
        name = info.path.as_posix() if "/" in lora.name else lora.name
        return LoRA(name=name, scale=lora.scale)
