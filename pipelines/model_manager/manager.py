"""Pipeline manager: loads models as cached components and hands out thin views on them.

The cache holds components (tokenizer, text encoder, UNet, VAE, ControlNets, LoRAs), keyed by what
is in their files, so that two models with the same VAE share it. `tiered_cache` keeps the byte
budgets, `model_library` opens what lies on disk. Schedulers are not cached: each trajectory builds
its own from the checkpoint's config, so swapping one loads nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from pipelines.devices.hardware import Hardware, resolve_device
from pipelines.devices.hardware import hardware as probe
from pipelines.devices.memory_options import DEFAULT_MEMORY, MemoryOptions
from pipelines.devices.placement import Weights, default_budget, place
from pipelines.errors import ContactSheetError
from pipelines.families.base import LoadedLoRA, LoadedModel
from pipelines.model_manager.component import (
    ComponentKey,
    Part,
    part_of_controlnet,
    part_of_lora,
)
from pipelines.model_manager.component_cache import CachedComponent, Lease
from pipelines.model_manager.load_report import LoadReport
from pipelines.model_manager.model_entry import ModelEntry
from pipelines.model_manager.model_library import ModelLibrary
from pipelines.model_manager.tiered_cache import TieredCache
from pipelines.runs.queue import LoadSet

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Parts of one `use`, grouped by their role.

    Attributes:
        own: the model's, each with its home.
        controlnets, loras: by the names they were asked for.
        room: bytes of the device for those of its own that come and go.
    """

    own: Sequence[Part]
    controlnets: Mapping[str, Part]
    loras: Mapping[str, Part]
    room: int

    @property
    def all(self) -> list[Part]:
        """All of them, in loading order."""
        return [*self.own, *self.controlnets.values(), *self.loras.values()]

    def keys(self, model: str) -> dict[LoadSet, frozenset[ComponentKey]]:
        """List the components of the model, of each ControlNet and of each LoRA, as uses alone."""
        return {
            LoadSet(model): frozenset(part.key for part in self.own),
            **{
                LoadSet("", (name,)): frozenset({one.key}) for name, one in self.controlnets.items()
            },
            **{LoadSet("", (), (name,)): frozenset({one.key}) for name, one in self.loras.items()},
        }


class PipelineManager:
    """Pipeline manager: owns all loaded components.

    Args:
        folders: where models lie.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`; probed at the first use.
        budget: bytes that components may take together; None = from the device.
        memory_options: what the user chose to save memory.
        hardware: what the device is like; None = probed at the first use.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        device: str = "auto",
        budget: int | None = None,
        memory_options: MemoryOptions = DEFAULT_MEMORY,
        hardware: Hardware | None = None,
    ) -> None:
        self.library = ModelLibrary(folders, memory_options)
        self.memory_options = memory_options
        self.history: list[LoadReport] = []
        self._asked_device = device
        self._asked_budget = budget
        self._given_hardware = hardware
        self._cache = TieredCache(
            lambda: self.device, lambda: self.hardware.has_own_memory, lambda: self.budget
        )
        self._lock = self._cache.lock
        self._keys: dict[LoadSet, frozenset[ComponentKey]] = {}

    @property
    def device(self) -> str:
        """Where components compute. Raises: ModelUnavailable: if there is no such device."""
        return resolve_device(self._asked_device)

    @cached_property
    def hardware(self) -> Hardware:
        """The device as far as memory goes, as it was when it was first asked for."""
        self.memory_options.check_device(self.device)
        return self._given_hardware or probe(self.device)

    @cached_property
    def budget(self) -> int:
        """Bytes that components may take together."""
        given = self._asked_budget
        return default_budget(self.hardware) if given is None else given

    @property
    def cached_bytes(self) -> int:
        """Bytes of the device: its components, measured from tensors, and what was put aside."""
        return self._cache.bytes

    @property
    def cached(self) -> tuple[CachedComponent, ...]:
        """What is in memory; never waits for a load."""
        return self._cache.cached

    @contextmanager
    def use(
        self,
        model: str | ModelEntry,
        controls: Sequence[str] = (),
        loras: Sequence[str] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[LoadedModel]:
        """Load a model; its components stay until the block ends.

        Args:
            model: an entry, or the name of one to open.
            controls: ControlNets to load with it.
            loras: LoRAs to load with it; its weights stay as they are.
            stop: asked before each component is loaded.
        Raises: UnknownName, ModelUnavailable, OutOfMemory, Cancelled: parts that were loaded
            before that stay cached, idle, and are the first to go.
        """
        started = time.perf_counter()
        entry = self._opened(model)
        with ExitStack() as until, self._lock:
            wanted = self._wanted(entry, controls, loras)
            self._keys |= wanted.keys(entry.name)
            held = self._cache.hold(until, wanted.all, wanted.room, stop)
            self._report(entry.info.id, held, wanted.own, time.perf_counter() - started)
            in_use = until.pop_all()
        with in_use:
            yield self._view(entry, wanted, held)

    def fingerprint(
        self, model: str | ModelEntry, controls: Sequence[str] = (), loras: Sequence[str] = ()
    ) -> str:
        """Hash all that decides a model's pixels; no weights are loaded.

        Args:
            model: an entry, or the name of one to open.
            controls: ControlNets that steer it.
            loras: LoRAs that change it.
        Raises: UnknownName, ModelUnavailable.
        """
        entry = self._opened(model)
        own = entry.parts(self.hardware)
        nets, added = self._addons(entry, controls, loras)
        return entry.fingerprint(own, [*nets.values(), *added.values()])

    def _opened(self, model: str | ModelEntry) -> ModelEntry:
        return self.library.open(model) if isinstance(model, str) else model

    def _addons(
        self, entry: ModelEntry, controls: Sequence[str], loras: Sequence[str]
    ) -> tuple[dict[str, Part], dict[str, Part]]:
        """Parts of ControlNets and of LoRAs, by name."""
        dtype, library = entry.dtype(self.hardware), self.library
        return (
            {name: part_of_controlnet(library.controlnet(name), dtype) for name in controls},
            {name: part_of_lora(library.lora(name)) for name in loras},
        )

    def _wanted(self, entry: ModelEntry, controls: Sequence[str], loras: Sequence[str]) -> Wanted:
        """What a use needs; what is loaded beside a model stays on the device."""
        own = entry.parts(self.hardware)
        nets, added = self._addons(entry, controls, loras)
        weights = {
            part.name: Weights(part.bytes, part.largest, layered=part.key.quantized != "nf4")
            for part in own
        }
        for part in (*nets.values(), *added.values()):
            weights[part.name] = Weights(part.bytes, movable=False)
        placement = place(weights, self.budget, self.hardware, self.memory_options.offload)
        at_home = [
            replace(part, key=replace(part.key, home=placement.homes[part.name])) for part in own
        ]
        return Wanted(at_home, nets, added, placement.room)

    def _view(self, entry: ModelEntry, wanted: Wanted, held: Lease) -> LoadedModel:
        """The model as families see it."""
        import torch

        by_key = {part.key: one for part, one in zip(wanted.all, held.entries, strict=True)}
        (denoiser,) = (part for part in wanted.own if part.name == entry.spec.denoiser)
        return LoadedModel(
            id=entry.info.id,
            components={part.name: by_key[part.key].component for part in wanted.own},
            controlnets={
                name: by_key[part.key].component for name, part in wanted.controlnets.items()
            },
            loras={
                name: LoadedLoRA(part.folder, part.key.source, by_key[part.key].component)
                for name, part in wanted.loras.items()
            },
            fingerprint=entry.fingerprint(wanted.own),
            device=self.device,
            dtype=getattr(torch, entry.dtype(self.hardware)),
            configs=entry.configs,
            prepared=by_key[denoiser.key].prepared,
        )

    def _report(self, model: str, held: Lease, own: Sequence[Part], seconds: float) -> None:
        waiting = tuple(part.name for part in own if part.key.home != "device" and part.bytes)
        report = LoadReport(
            model=model,
            loaded=held.loaded,
            reused=held.reused,
            evicted=held.evicted,
            seconds=seconds,
            waiting=waiting,
        )
        self.history.append(report)
        changed = held.loaded or held.evicted
        log.log(logging.INFO if changed else logging.DEBUG, "%s", report)

    def expect(self, coming: Sequence[LoadSet]) -> None:
        """Take note of what will be used next, so that it is not evicted just before."""
        self._cache.expect(
            [
                frozenset().union(*(self._keys.get(one, ()) for one in _singly(use)))
                for use in coming
            ]
        )

    def is_loaded(self, use: LoadSet) -> bool:
        """Tell whether all of a use is in memory already. Looks at no file."""
        return all(
            one in self._keys and all(key in self._cache for key in self._keys[one])
            for one in _singly(use)
        )

    def fits_beside(self, use: LoadSet) -> bool:
        """Tell whether a use could be loaded while all that is in use now stays.

        Models that come and go are never said to fit: they need the room to themselves.
        """
        try:
            wanted = self._wanted(self.library.open(use.model), use.controls, use.loras)
        except ContactSheetError:
            return True  # it loads nothing, and says why
        if any(part.key.home != "device" for part in wanted.own):
            return False
        taken = sum(one.bytes for one in self._cache.cached if one.in_use and not one.waiting)
        return taken + sum(part.bytes for part in wanted.all) * 1.05 <= self.budget

    def reserve(self, name: str, size: int) -> AbstractContextManager[None]:
        """Reserve room in the budget for bytes in main memory that are no component.

        On a device with memory of its own they cost nothing of what the budget counts.
        Raises: OutOfMemory: if there is none.
        """
        return self._cache.reserve(name, size)

    def free_idle(self, waiting: bool = False) -> bool:
        """Evict from the device what is not in use. Returns: whether anything was freed.

        Args:
            waiting: also what waits in main memory, which a device gains nothing by.
        """
        evicted = self._cache.free_idle(waiting)
        if evicted:
            log.info("freed %s", ", ".join(evicted))
        return bool(evicted)


def _singly(use: LoadSet) -> list[LoadSet]:
    """The model, each ControlNet and each LoRA of a use, alone."""
    return [
        LoadSet(use.model),
        *(LoadSet("", (one,)) for one in use.controls),
        *(LoadSet("", (), (one,)) for one in use.loras),
    ]
