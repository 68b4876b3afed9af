"""How a cell's controls act: which of them pull at which row, and how hard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.decoding import in_memory
from pipelines.families.controls import controls_of
from pipelines.request.control import Control, Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image
    from torch import Tensor

    from pipelines.families.base import Family, Model
    from pipelines.request.request import Request


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A ControlNet that looks at one map. Equal ones are one object.

    Attributes:
        net: the loaded ControlNet.
        hint: what it made of the map, (1, …); does not depend on time, so it is made once.
        pooled: it adds the same everywhere in the picture.
        told: what it adds depends on the distilled guidance.
        prompted: rows without the prompt get what it adds to those with it.
    """

    net: Any
    hint: Tensor
    pooled: bool = False
    told: bool = False
    prompted: bool = False


@dataclass(frozen=True, slots=True)
class Pull:
    """What one ControlNet adds to one row: its outputs times `strength`.

    Attributes:
        weighed: fine depths count less (`Control`'s w_l).
    """

    source: Source
    strength: float
    weighed: bool = False


@dataclass(frozen=True, slots=True)
class Steer:
    """A cell's control with its map and its ControlNet at hand."""

    source: Source
    strength: float = 1.0
    start: float = 0.0
    stop: float = 1.0
    mode: Mode = "balanced"

    @classmethod
    def of(cls, control: Control, source: Source) -> Steer:
        return cls(source, control.strength, control.start, control.stop, control.mode)

    def at(self, index: int, total: int, cond: bool) -> Pull | None:
        """What it adds at one evaluation to the row with the prompt, or without; None: nothing."""
        cond_only = self.mode == "control" or self.source.pooled
        if self.strength == 0.0 or (cond_only and not cond):
            return None
        if not inside(self.start, self.stop, index, total):
            return None
        weighed = self.mode != "balanced" and not self.source.pooled
        return Pull(self.source, self.strength, weighed)


def inside(start: float, stop: float, index: int, total: int) -> bool:
    """Whether an evaluation is in a window: all of it is, as diffusers counts."""
    return index / total >= start and (index + 1) / total <= stop


class Steering:
    """Steers of the cells of one model; what a ControlNet makes of a map is made once.

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
        self._controls = controls_of(family.id)
        self._model = model
        self._maps = maps
        self._free_idle = free_idle
        self._sources: dict[Control, Source] = {}

    def steers(self, request: Request) -> list[Steer]:
        """Raises: ContactSheetError: if a map cannot be made."""
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
