"""CPU offload: moves components where `placement.place` says, and to the device when called.

Those that wait come by hooks on their calls, so that families call them as if they were there.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pipelines.devices.out_of_memory import is_out_of_memory
from pipelines.devices.placement import Home
from pipelines.devices.visitors import WAITING, LayeredVisitor, Visitor, WholeVisitor

log = logging.getLogger(__name__)

_CALLED_ALONE = ("pos_embed",)
"""Parts of a denoiser that are called without it: by the ControlNets of SD 3.5 Large."""


def place_component(component: Any, home: Home, device: str) -> Any:
    """Move a module to its home. All but those of home `device` come by a `OnDemandOffloader`."""
    return component.to(device if home == "device" else WAITING)


class OnDemandOffloader:
    """On-demand offloader: moves components to the device when called, and others back for them.

    What is used most often stays: only what was called longest ago leaves, and only when its
    room is needed, so a denoiser and a VAE that fit side by side do not take turns. One that
    comes by layers keeps as many of them there as the room holds, and gives up no more of them
    than another needs.

    Args:
        device: where they compute.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._lock = threading.RLock()
        self._rooms: list[int] = []
        self._present: dict[int, Visitor] = {}
        self._known: weakref.WeakKeyDictionary[Any, Visitor] = weakref.WeakKeyDictionary()

    @property
    def present(self) -> int:
        """Bytes of what it has on the device."""
        return sum(one.present for one in self._present.values())

    @contextmanager
    def open(
        self, visitors: Sequence[tuple[Any, int]], room: int, layered: Sequence[Any] = ()
    ) -> Iterator[None]:
        """Allow components to be called while the block runs; afterwards all are back.

        Args:
            visitors: components and their bytes.
            room: bytes of the device that they may take together.
            layered: those of them that come by layers.
        """
        with self._lock:
            self._rooms.append(room)
            for component, size in visitors:
                self._attach(component, size, any(one is component for one in layered))
        try:
            yield
        finally:
            with self._lock:
                self._rooms.remove(room)
                if not self._rooms:
                    self._leave(list(self._present))

    def free(self) -> list[str]:
        """Free memory for what was called last: the others leave, or layers of its own do.

        Returns: the names of what went.
        """
        with self._lock:
            gone = self._leave(list(self._present)[:-1])
            for one in () if gone else self._present.values():
                if isinstance(one, LayeredVisitor) and one.halve():
                    gone.append(f"layers of {one.name}")
            return gone

    def bring(self, component: Any) -> None:
        """Let a component be on the device, as far as there is room for it."""
        with self._lock:
            visitor = self._known[component]
            key = id(visitor)
            if not visitor.present or (visitor.greedy and key != next(reversed(self._present))):
                room = max(self._rooms, default=visitor.least)
                gone = self._make_room(visitor, room)
                gone += self._come(visitor, room)
                name = visitor.name
                log.debug("%s comes to the device; %s leave", name, ", ".join(gone) or "none")
            # It is the one that was called last.
            self._present.pop(key, None)
            self._present[key] = visitor

    def _make_room(self, visitor: Visitor, room: int) -> list[str]:
        """Let others leave, or layers of theirs; one that is faster with more room takes it all."""
        gone = []
        others = {key: one for key, one in self._present.items() if one is not visitor}
        needed = room if visitor.greedy else visitor.least
        for key, one in others.items():
            over = needed + sum(other.present for other in others.values()) - room
            if over <= 0:
                break
            one.shrink(one.present - over)
            if not one.present:
                del self._present[key]
                gone.append(one.name)
        return gone

    def _come(self, visitor: Visitor, room: int) -> list[str]:
        """Let it come; returns what had to leave for it.

        The room is what the device should have: other programs, or work, may have taken of it.
        """
        try:
            visitor.come(room)
            return []
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            gone = self._leave([key for key, one in self._present.items() if one is not visitor])
            if not gone:
                raise
        visitor.come(room)
        return gone

    def _leave(self, keys: Sequence[int]) -> list[str]:
        gone = [self._present.pop(key) for key in keys]
        for one in gone:
            one.shrink(0)
        return [one.name for one in gone]

    def _attach(self, component: Any, size: int, layered: bool) -> None:
        if component in self._known:
            return
        self._known[component] = (
            LayeredVisitor(component, self._device)
            if layered
            else WholeVisitor(component, size, self._device)
        )
        visit = OffloadHook(self)
        component.register_forward_pre_hook(visit.pre_forward, prepend=True)
        here = weakref.ref(component)
        for inner in (getattr(component, name, None) for name in _CALLED_ALONE):
            if inner is not None:
                inner.register_forward_pre_hook(lambda *_: visit.pre_forward(here()), prepend=True)
        # diffusers asks this one before `encode` and `decode`, which are no forward calls.
        component._hf_hook = visit


class OffloadHook:
    """Called before a component is."""

    def __init__(self, shuttle: OnDemandOffloader) -> None:
        self._shuttle = shuttle

    def pre_forward(self, component: Any, *_: Any) -> None:
        self._shuttle.bring(component)
