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

from pipelines.devices.placement import Home, lru_victims

log = logging.getLogger(__name__)

WAITING = "cpu"
"""Where weights are that are not on the device."""

_CALLED_ALONE = ("pos_embed",)
"""Parts of a denoiser that are called without it: by the ControlNets of SD 3.5 Large."""


def place_component(component: Any, home: Home, device: str) -> Any:
    """Move a module to its home. Those of home `model` need a `OnDemandOffloader` to be called."""
    if home == "device":
        return component.to(device)
    component = component.to(WAITING)
    if home == "group":
        import torch
        from diffusers.hooks import apply_group_offloading

        # Single layers, because those of a VAE or of T5 are called in ways that blocks miss. On
        # a GPU the next one is fetched while one computes.
        apply_group_offloading(
            component,
            onload_device=torch.device(device),
            offload_device=torch.device(WAITING),
            offload_type="leaf_level",
            use_stream=device.startswith("cuda"),
        )
    return component


class OnDemandOffloader:
    """On-demand offloader: moves components to the device when called, and others back for them.

    What is used most often stays: only what was called longest ago leaves, and only when its
    room is needed, so a denoiser and a VAE that fit side by side do not take turns.

    Args:
        device: where they compute.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._lock = threading.RLock()
        self._rooms: list[int] = []
        self._present: dict[int, tuple[Any, int]] = {}
        self._attached: weakref.WeakSet[Any] = weakref.WeakSet()

    @property
    def present(self) -> int:
        """Bytes of what it has on the device."""
        return sum(size for _, size in self._present.values())

    @contextmanager
    def open(self, visitors: Sequence[tuple[Any, int]], room: int) -> Iterator[None]:
        """Allow components to be called while the block runs; afterwards all are back.

        Args:
            visitors: components and their bytes.
            room: bytes of the device that they may take together.
        """
        with self._lock:
            self._rooms.append(room)
            for component, size in visitors:
                self._attach(component, size)
        try:
            yield
        finally:
            with self._lock:
                self._rooms.remove(room)
                if not self._rooms:
                    self._leave(list(self._present))

    def bring(self, component: Any, size: int) -> None:
        """Move a component to the device, if it is not there."""
        with self._lock:
            key = id(component)
            if key not in self._present:
                room = max(self._rooms, default=size)
                inside = {str(one): taken for one, (_, taken) in self._present.items()}
                gone = self._leave([int(one) for one in lru_victims(inside, size, room)])
                component.to(self._device)
                name = type(component).__name__
                log.debug("%s comes to the device; %s", name, f"{', '.join(gone) or 'none'} leave")
            # It is the one that was called last.
            self._present.pop(key, None)
            self._present[key] = (component, size)

    def _leave(self, keys: Sequence[int]) -> list[str]:
        gone = [self._present.pop(key)[0] for key in keys]
        return [type(component.to(WAITING)).__name__ for component in gone]

    def _attach(self, component: Any, size: int) -> None:
        if component in self._attached:
            return
        self._attached.add(component)
        visit = OffloadHook(self, size)
        component.register_forward_pre_hook(visit.pre_forward)
        here = weakref.ref(component)
        for inner in (getattr(component, name, None) for name in _CALLED_ALONE):
            if inner is not None:
                inner.register_forward_pre_hook(lambda *_: visit.pre_forward(here()))
        # diffusers asks this one before `encode` and `decode`, which are no forward calls.
        component._hf_hook = visit


class OffloadHook:
    """Called before a component is."""

    def __init__(self, shuttle: OnDemandOffloader, size: int) -> None:
        self._shuttle = shuttle
        self._size = size

    def pre_forward(self, component: Any, *_: Any) -> None:
        self._shuttle.bring(component, self._size)
