"""Tiered cache: keeps components on the device, and offloaded ones in main memory.

On a device that computes in main memory both are one cache under one budget.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace

from pipelines.devices.hardware import hardware
from pipelines.devices.offload import WAITING, OnDemandOffloader
from pipelines.devices.placement import default_budget
from pipelines.model_manager.component import ComponentKey, Part
from pipelines.model_manager.component_cache import CachedComponent, ComponentCache, Lease

_WHERE_IT_WAITS = "that is half of main memory, where it waits for its turn; try --quantize"


class TieredCache:
    """Two component caches, device and main memory. All methods may be called from any thread.

    Args:
        device: where they compute.
        apart: whether that has a memory of its own.
        budget: bytes they may take of it together.
    """

    def __init__(
        self, device: Callable[[], str], apart: Callable[[], bool], budget: Callable[[], int]
    ) -> None:
        self._device = device
        self._has_own_memory = apart
        self._here = ComponentCache(budget, self._emptied)
        self._waiting: ComponentCache | None = None
        self._offloader: OnDemandOffloader | None = None
        self.lock = self._here.lock

    def __contains__(self, key: ComponentKey) -> bool:
        return any(key in cache for cache in self._all())

    @property
    def bytes(self) -> int:
        """Bytes of the device that are taken or kept free for what comes and goes."""
        return self._here.bytes

    @property
    def cached(self) -> tuple[CachedComponent, ...]:
        """What is in memory; never waits for a load."""
        beside = () if self._waiting is None else self._waiting.all
        return (*self._here.all, *(replace(one, waiting=True) for one in beside))

    def hold(
        self, until: ExitStack, parts: Sequence[Part], room: int, stop: Callable[[], bool]
    ) -> Lease:
        """Lease all parts, which then stay until the stack closes; loads what is missing.

        Args:
            room: bytes of the device for parts that come and go.
        Raises: ModelUnavailable, OutOfMemory, Cancelled: as `ComponentCache.hold`.
        """
        device = self._device()
        with self.lock:
            if room and self._has_own_memory():
                until.enter_context(self._here.reserve("room for what comes and goes", room))
            stay = [part for part in parts if part.key.home == "device"]
            move = [part for part in parts if part.key.home != "device"]
            held = self._here.hold(stay, device, stop)
            until.callback(self._here.release, held)
            if not move:
                return held
            cache = self._beside()
            moved = cache.hold(move, device, stop)
            until.callback(cache.release, moved)
            on_demand = [
                (entry.component, entry.bytes)
                for part, entry in zip(move, moved.entries, strict=True)
                if part.key.home == "model"
            ]
            if on_demand:
                self._offloader = self._offloader or OnDemandOffloader(device)
                until.enter_context(self._offloader.open(on_demand, room))
        entries = {part.key: entry for part, entry in zip(stay, held.entries, strict=True)}
        entries |= {part.key: entry for part, entry in zip(move, moved.entries, strict=True)}
        return Lease(
            tuple(entries[part.key] for part in parts),
            {**held.loaded, **moved.loaded},
            held.reused + moved.reused,
            held.evicted + moved.evicted,
        )

    def reserve(self, name: str, size: int) -> AbstractContextManager[None]:
        """Reserve room for bytes in main memory that are no component, in the budget that is of it.

        Raises: OutOfMemory: if there is none.
        """
        return self._here.reserve(name, 0 if self._has_own_memory() else size)

    def expect(self, coming: Sequence[Collection[ComponentKey]]) -> None:
        """Take note of what the next uses need."""
        for cache in self._all():
            cache.coming = coming

    def free_idle(self, waiting: bool) -> list[str]:
        """Evict what is not in use, on the device or also beside it, and return its names."""
        caches = self._all() if waiting else [self._here]
        return [name for cache in caches for name in cache.free_idle()]

    def _all(self) -> list[ComponentCache]:
        return [self._here] if self._waiting is None else [self._here, self._waiting]

    def _beside(self) -> ComponentCache:
        """Take the cache in main memory."""
        if not self._has_own_memory():
            return self._here
        if self._waiting is None:
            budget = default_budget(hardware(WAITING))
            self._waiting = ComponentCache(lambda: budget, lambda: None, _WHERE_IT_WAITS)
            self._waiting.coming = self._here.coming
        return self._waiting

    def _emptied(self) -> None:
        if self._device().startswith("cuda"):
            import torch

            torch.cuda.empty_cache()
