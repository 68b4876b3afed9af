"""PipelineManager: loads models as cached components and hands out thin views on them.

The cache holds components (tokenizer, text encoder, UNet, VAE, ControlNets, LoRAs), keyed by what
is in their files, so that two models with the same VAE share it. `residents` keeps a byte budget,
`inventory` knows what lies on disk. Schedulers are not cached: each trajectory builds its own from
the checkpoint's config, so swapping one loads nothing.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.devices.memory_options import USUAL, Saving
from pipelines.devices.placement import Placement, Weights, default_budget, place
from pipelines.families import spec_of
from pipelines.families.base import LoadedLoRA, Model
from pipelines.model_manager.component import ComponentKey, Part
from pipelines.model_manager.component_cache import Held, Resident
from pipelines.model_manager.model_library import Inventory
from pipelines.model_manager.tiered_cache import Stores
from pipelines.runs.queue import Use

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loading:
    """What one `use` did; its text is the manager's log line."""

    model: str
    loaded: Mapping[str, int]
    reused: tuple[str, ...]
    evicted: tuple[str, ...]
    seconds: float
    waiting: tuple[str, ...] = ()
    """What comes to the device only when it is called."""

    def __str__(self) -> str:
        loaded = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in self.loaded.items())
        waiting = f"; beside the device {', '.join(self.waiting)}" if self.waiting else ""
        return (
            f"{self.model}: loaded {loaded or 'nothing'}; "
            f"reused {', '.join(self.reused) or 'nothing'}; "
            f"evicted {', '.join(self.evicted) or 'nothing'}{waiting}; {self.seconds:.2f} s"
        )


class PipelineManager(Inventory):
    """The one owner of loaded components.

    Args:
        folders: where models lie.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`; probed at the first use.
        budget: bytes that components may take together; None = from the device.
        saving: what the user chose to save memory.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        device: str = "auto",
        budget: int | None = None,
        saving: Saving = USUAL,
    ) -> None:
        super().__init__(folders, device=device, saving=saving)
        self.history: list[Loading] = []
        self._asked_budget = budget
        self._stores = Stores(lambda: self.device, lambda: self.hardware.apart, lambda: self.budget)
        self._lock = self._stores.lock
        self._keys: dict[Use, frozenset[ComponentKey]] = {}

    @property
    def budget(self) -> int:
        if self._asked_budget is None:
            self._asked_budget = default_budget(self.hardware)
        return self._asked_budget

    @property
    def resident_bytes(self) -> int:
        """Bytes of the device: its components, measured from tensors, and what was put aside."""
        return self._stores.bytes

    @property
    def residents(self) -> tuple[Resident, ...]:
        """What is in memory; never waits for a load."""
        return self._stores.residents

    @contextmanager
    def use(
        self,
        name: str,
        controls: Sequence[str] = (),
        loras: Sequence[str] = (),
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[Model]:
        """A loaded model; its components stay until the block ends.

        Args:
            controls: ControlNets to load with it.
            loras: LoRAs to load with it; its weights stay as they are.
            stop: asked before each component is loaded.
        Raises: UnknownName, ModelUnavailable, OutOfMemory, Cancelled: parts that were loaded
            before that stay cached, idle, and are the first to go.
        """
        import torch

        started = time.perf_counter()
        info = self.locate(name)
        family = spec_of(info.pipeline)
        dtype = self._numbers(info, family, family.denoiser)
        with ExitStack() as until, self._lock:
            own = self._parts(info, family)
            control_parts = [self._control_part(one, dtype) for one in controls]
            lora_parts = [self._lora_part(one) for one in loras]
            placement = self._place(own, [*control_parts, *lora_parts])
            own = [
                replace(part, key=replace(part.key, home=placement.homes[part.name]))
                for part in own
            ]
            self._keys[Use(name)] = frozenset(part.key for part in own)
            for addon, part in zip(controls, control_parts, strict=True):
                self._keys[Use("", (addon,))] = frozenset({part.key})
            for addon, part in zip(loras, lora_parts, strict=True):
                self._keys[Use("", (), (addon,))] = frozenset({part.key})
            parts = [*own, *control_parts, *lora_parts]
            held = self._stores.hold(until, parts, placement.room, stop)
            self._report(info.id, held, own, time.perf_counter() - started)
            in_use = until.pop_all()
        loaded = [entry.component for entry in held.entries]
        with in_use:
            yield Model(
                id=info.id,
                components={part.name: one for part, one in zip(own, loaded, strict=False)},
                controlnets=dict(zip(controls, loaded[len(own) :], strict=False)),
                loras={
                    lora: LoadedLoRA(part.folder, part.key.source, tensors)
                    for lora, part, tensors in zip(
                        loras, lora_parts, loaded[len(parts) - len(loras) :], strict=True
                    )
                },
                fingerprint=self.fingerprint(name),
                device=self.device,
                dtype=getattr(torch, dtype),
                configs=self.configs(name),
                prepared=held.entries[
                    [part.name for part in parts].index(family.denoiser)
                ].prepared,
            )

    def _place(self, own: Sequence[Part], addons: Sequence[Part]) -> Placement:
        """Where a model's parts live; what is loaded beside it stays on the device."""
        weights = {
            part.name: Weights(part.bytes, part.largest, layered=part.key.quantized != "nf4")
            for part in own
        }
        weights |= {part.name: Weights(part.bytes, movable=False) for part in addons}
        return place(weights, self.budget, self.hardware, self.saving.offload)

    def _report(self, model: str, held: Held, own: Sequence[Part], seconds: float) -> None:
        waiting = tuple(part.name for part in own if part.key.home != "device" and part.bytes)
        loading = Loading(model, held.loaded, held.reused, held.evicted, seconds, waiting)
        self.history.append(loading)
        changed = held.loaded or held.evicted
        log.log(logging.INFO if changed else logging.DEBUG, "%s", loading)

    def expect(self, coming: Sequence[Use]) -> None:
        """Be told what will be used next, so that it is not evicted just before."""
        self._stores.expect(
            [
                frozenset().union(*(self._keys.get(one, ()) for one in _singly(use)))
                for use in coming
            ]
        )

    def is_loaded(self, use: Use) -> bool:
        """Whether all of it is in memory already. Looks at no file."""
        return all(
            one in self._keys and all(key in self._stores for key in self._keys[one])
            for one in _singly(use)
        )

    def aside(self, name: str, size: int) -> AbstractContextManager[None]:
        """Room in the budget for bytes in main memory that are no component.

        On a device with memory of its own they cost nothing of what the budget counts.
        Raises: OutOfMemory: if there is none.
        """
        return self._stores.aside(name, size)

    def free_idle(self, waiting: bool = False) -> bool:
        """Evict from the device what is not in use. True if anything was freed.

        Args:
            waiting: also what waits in main memory, which a device gains nothing by.
        """
        evicted = self._stores.free_idle(waiting)
        if evicted:
            log.info("freed %s", ", ".join(evicted))
        return bool(evicted)


def _singly(use: Use) -> list[Use]:
    """The model, each ControlNet and each LoRA of a use, alone."""
    return [
        Use(use.model),
        *(Use("", (one,)) for one in use.controls),
        *(Use("", (), (one,)) for one in use.loras),
    ]
