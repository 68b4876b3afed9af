"""Control conditioner: says which ControlNet terms, at which weight, each row gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.controlnet.adapter import controls_of
from pipelines.denoising.row import Source, Steer
from pipelines.families.vae import in_memory
from pipelines.request.control import Control

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

    from pipelines.families.base import Family, Model
    from pipelines.request.request import Request


class Steering:
    """Control conditioner: embeds the maps of one model's cells, each once.

    Args:
        maps: a control's map at a picture's (width, height).
        free_idle: frees what is not in use when memory runs out; whether that was anything.
    """

    def __init__(
        self,
        family: Family,
        model: Model,
        maps: Callable[[Control, tuple[int, int]], Image],
        free_idle: Callable[[], bool] = lambda: False,
    ) -> None:
        self._controls = controls_of(family.spec)
        self._model = model
        self._maps = maps
        self._free_idle = free_idle
        self._sources: dict[Control, Source] = {}

    def steers(self, request: Request) -> list[Steer]:
        """Make a Request's controls ready to act. Raises: ContactSheetError: if a map cannot be."""
        return [Steer.of(control, self._source(control, request)) for control in request.controls]

    def _source(self, control: Control, request: Request) -> Source:
        assert control.model and request.width and request.height, "resolved beforehand"
        assert self._controls is not None, "resolved beforehand"
        # All that a source does not depend on, put aside.
        key = control.replace(strength=1.0, start=0.0, stop=1.0, mode="balanced")
        if key not in self._sources:
            controls, net = self._controls, self._model.controlnets[control.model]
            image = self._maps(control, (request.width, request.height))
            vae = self._model.components["vae"]
            hint = in_memory(vae, lambda: controls.hint(self._model, net, image), self._free_idle)
            pooled, told = controls.pooled(net), controls.told(net)
            self._sources[key] = Source(net, hint, pooled, told, controls.prompted)
        return self._sources[key]
