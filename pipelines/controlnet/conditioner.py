"""Control conditioner: says which ControlNet terms, at which weight, each row gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipelines.controlnet.adapter import controls_of
from pipelines.denoising.row import ControlInput, ScheduledControl
from pipelines.families.vae import with_oom_fallbacks
from pipelines.request.control import Control

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image

    from pipelines.families.base import Family, LoadedModel
    from pipelines.request.request import Request


class ControlConditioner:
    """Control conditioner: embeds the maps of one model's cells, each once.

    Args:
        maps: a control's map at a picture's (width, height).
        free_idle: frees what is not in use when memory runs out; whether that was anything.
    """

    def __init__(
        self,
        family: Family,
        model: LoadedModel,
        maps: Callable[[Control, tuple[int, int]], Image],
        free_idle: Callable[[], bool] = lambda: False,
    ) -> None:
        self._controls = controls_of(family.spec)
        self._model = model
        self._maps = maps
        self._free_idle = free_idle
        self._sources: dict[Control, ControlInput] = {}

    def controls(self, request: Request) -> list[ScheduledControl]:
        """Make a Request's controls ready to act. Raises: ContactSheetError: if a map cannot be."""
        return [
            ScheduledControl.of(control, self._source(control, request))
            for control in request.controls
        ]

    def _source(self, control: Control, request: Request) -> ControlInput:
        assert control.model and request.width and request.height, "resolved beforehand"
        assert self._controls is not None, "resolved beforehand"
        # All that a source does not depend on, put aside.
        key = control.replace(strength=1.0, start=0.0, stop=1.0, mode="balanced")
        if key not in self._sources:
            controls, net = self._controls, self._model.controlnets[control.model]
            image = self._maps(control, (request.width, request.height))
            vae = self._model.components["vae"]
            embedding = with_oom_fallbacks(
                vae, lambda: controls.embed_map(self._model, net, image), self._free_idle
            )
            pools_globally, takes_guidance = (
                controls.pools_globally(net),
                controls.takes_guidance(net),
            )
            self._sources[key] = ControlInput(
                net, embedding, pools_globally, takes_guidance, controls.prompted
            )
        return self._sources[key]
