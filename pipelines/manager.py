"""PipelineManager: loads models as cached components and hands out thin views on them.

The cache holds components (tokenizer, text encoder, UNet, VAE, ControlNets, LoRAs), keyed by what
is in their files, so that two models with the same VAE share it. A byte budget is kept by evicting
what was used longest ago; what is in use is never evicted. Schedulers are not cached: each
trajectory builds its own from the checkpoint's config, so swapping one loads nothing.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines import catalog, components, controlnets, lora_files
from pipelines.catalog import Digests, ModelInfo
from pipelines.components import ComponentKey, Part
from pipelines.devices import default_budget, device_dtype, device_memory, resolve_device
from pipelines.errors import InvalidRequest, ModelUnavailable, OutOfMemory
from pipelines.families import family_of
from pipelines.families.base import Family, LoadedLoRA, Model
from pipelines.families.supports import Configs, Sizes, Supports

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    component: Any
    bytes: int
    name: str
    users: int = 0
    prepared: dict[Any, Any] = field(default_factory=dict)
    last_used: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class Loading:
    """What one `use` did; its text is the manager's log line."""

    model: str
    loaded: Mapping[str, int]
    reused: tuple[str, ...]
    evicted: tuple[str, ...]
    seconds: float

    def __str__(self) -> str:
        loaded = ", ".join(f"{name} {size / 1e6:.0f} MB" for name, size in self.loaded.items())
        return (
            f"{self.model}: loaded {loaded or 'nothing'}; "
            f"reused {', '.join(self.reused) or 'nothing'}; "
            f"evicted {', '.join(self.evicted) or 'nothing'}; {self.seconds:.2f} s"
        )


class PipelineManager:
    """The one owner of loaded components.

    Args:
        folders: where models lie.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`; probed at the first use.
        budget: bytes that components may take together; None = from the device.
    """

    def __init__(
        self, folders: Sequence[Path], *, device: str = "auto", budget: int | None = None
    ) -> None:
        self.folders = list(folders)
        self.history: list[Loading] = []
        self._asked_device = device
        self._asked_budget = budget
        self._cache: dict[ComponentKey, _Entry] = {}
        self._digests = Digests()
        # from_pretrained is not thread-safe, and two loads at once would break the budget.
        self._lock = threading.RLock()

    def models(self) -> list[ModelInfo]:
        """All models found, also those that cannot be used."""
        return catalog.find(self.folders)

    def locate(self, name: str) -> ModelInfo:
        """Raises: UnknownName, ModelUnavailable."""
        return catalog.locate(name, self.folders)

    def family(self, name: str) -> Family:
        """Raises: UnknownName, ModelUnavailable."""
        return family_of(self.locate(name).pipeline)

    def controlnets(self, model: str | None = None) -> list[ModelInfo]:
        """All ControlNets found, also those that cannot be used; or those that fit a model.

        Raises: UnknownName, ModelUnavailable: if there is no such model.
        """
        found = controlnets.find(self.folders)
        if model is None:
            return found
        return controlnets.fitting(found, self.family(model).id, self.configs(model))

    def locate_control(self, name: str, model: str) -> ModelInfo:
        """A ControlNet that fits a model. Raises: UnknownName, ModelUnavailable, InvalidRequest."""
        info = controlnets.locate(name, self.folders)
        family, configs = self.family(model).id, self.configs(model)
        controlnets.check_fits(info, model, family, configs, self.folders)
        return info

    def loras(self, model: str | None = None) -> list[ModelInfo]:
        """All LoRAs found, also those that cannot be used; or those that fit a model.

        Raises: UnknownName, ModelUnavailable: if there is no such model.
        """
        found = lora_files.find(self.folders)
        if model is None:
            return found
        fits = self.locate(model), self.family(model), self.configs(model)
        return [one for one in found if lora_files.misfit(one, *fits) is None]

    def locate_lora(self, name: str, model: str) -> ModelInfo:
        """A LoRA that fits a model. Raises: UnknownName, ModelUnavailable, InvalidRequest."""
        info = lora_files.locate(name, self.folders)
        why = lora_files.misfit(info, self.locate(model), self.family(model), self.configs(model))
        if why is not None:
            fit = ", ".join(other.id for other in self.loras(model))
            raise InvalidRequest(
                f"LoRA {name!r} does not fit {model!r}: {why}; these here fit: {fit or 'none'}"
            )
        return info

    def sizes(self, name: str) -> Sizes:
        """Picture sizes a model takes, from its configs alone."""
        return self.supports(name).sizes

    def supports(self, name: str) -> Supports:
        """What a model can do, from its configs alone. Raises: UnknownName, ModelUnavailable."""
        info = self.locate(name)
        try:
            return family_of(info.pipeline).supports(self.configs(name))
        except KeyError as error:
            raise ModelUnavailable(f"{info.path}: a config lacks {error}") from None

    def configs(self, name: str) -> Configs:
        """All configs of a model, as its folder has them."""
        info = self.locate(name)
        found = {
            part: catalog.config_of(info, part) for part in family_of(info.pipeline).components
        }
        index = catalog.index_of(info)
        return {**found, "scheduler": self.scheduler_config(name), "model_index": index}

    def scheduler_config(self, name: str) -> dict[str, Any]:
        """The checkpoint's own scheduler config."""
        return catalog.scheduler_of(self.locate(name))

    def fingerprint(
        self, name: str, controls: Sequence[str] = (), loras: Sequence[str] = ()
    ) -> str:
        """Hash of all that decides the model's pixels: classes, configs, weights, scheduler.

        Args:
            controls: ControlNets that steer it.
            loras: LoRAs that change it.
        """
        info = self.locate(name)
        family = family_of(info.pipeline)
        digests = [part.key.source for part in self._parts(info, family)]
        if family.index_options:
            index = catalog.index_of(info)
            digests.append(repr([index.get(name) for name in family.index_options]))
        if info.single is None:
            digests.append(self._digests.files([info.path / "scheduler" / "scheduler_config.json"]))
        else:
            digests.append(json.dumps(info.single.configs["scheduler"], sort_keys=True))
        digests += [self._control_part(one).key.source for one in controls]
        digests += [self._lora_part(one).key.source for one in loras]
        return _join(digests)

    @property
    def device(self) -> str:
        return resolve_device(self._asked_device)

    @property
    def budget(self) -> int:
        if self._asked_budget is None:
            self._asked_budget = default_budget(device_memory(self.device), self.device)
        return self._asked_budget

    @property
    def resident_bytes(self) -> int:
        """Bytes of all cached components, measured from their tensors."""
        with self._lock:
            return sum(entry.bytes for entry in self._cache.values())

    @contextmanager
    def use(
        self, name: str, controls: Sequence[str] = (), loras: Sequence[str] = ()
    ) -> Iterator[Model]:
        """A loaded model; its components stay until the block ends.

        Args:
            controls: ControlNets to load with it.
            loras: LoRAs to load with it; its weights stay as they are.
        Raises: UnknownName, ModelUnavailable, OutOfMemory: parts that were loaded before one
            failed stay cached, idle.
        """
        started = time.perf_counter()
        info = self.locate(name)
        family = family_of(info.pipeline)
        with self._lock:
            own = self._parts(info, family)
            lora_parts = [self._lora_part(one) for one in loras]
            parts = [*own, *(self._control_part(one) for one in controls), *lora_parts]
            held = self._hold(info.id, parts, started)
        loaded = [entry.component for entry in held]
        try:
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
                scheduler_config=self.scheduler_config(name),
                fingerprint=self.fingerprint(name),
                device=self.device,
                dtype=device_dtype(self.device),
                configs=self.configs(name),
                prepared=held[[part.name for part in parts].index(family.denoiser)].prepared,
            )
        finally:
            with self._lock:
                for entry in held:
                    entry.users -= 1
                    entry.last_used = time.monotonic()

    def free_idle(self) -> bool:
        """Evict all that is not in use. True if anything was freed."""
        with self._lock:
            evicted = [self._evict(key) for key in self._idle()]
        if evicted:
            log.info("freed %s", ", ".join(evicted))
        return bool(evicted)

    def _parts(self, info: ModelInfo, family: Family) -> list[Part]:
        index = catalog.index_of(info)
        parts = []
        for name in family.components:
            entry = index.get(name)
            if not isinstance(entry, list) or not any(entry):
                if name in family.optional:
                    continue
                raise ModelUnavailable(f"{info.path}: model_index.json has no {name!r}")
            library, cls = entry
            folder = info.path / name
            if info.single is not None:
                if name not in info.single.donated:
                    digest = self._digests.file(info.path)
                    dtype = device_dtype(self.device)
                    parts.append(
                        components.part_of_file(info.single, name, library, cls, dtype, digest)
                    )
                    continue
                folder = info.single.donated[name]
            parts.append(self._part(name, library, cls, folder))
        return parts

    def _control_part(self, name: str) -> Part:
        info = controlnets.locate(name, self.folders)
        return self._part(f"controlnet {info.id}", "diffusers", info.pipeline, info.path)

    def _lora_part(self, name: str) -> Part:
        info = lora_files.locate(name, self.folders)
        key = ComponentKey(self._digests.file(info.path), None, components.LORA)
        return Part(
            f"LoRA {info.id}", "", components.LORA, info.path, key, catalog.stored_bytes(info.path)
        )

    def _part(self, name: str, library: str, cls: str, folder: Path) -> Part:
        dtype = device_dtype(self.device)
        files = catalog.weight_files(folder.parent, folder.name)
        rest = [f for f in folder.iterdir() if f.suffix in (".json", ".txt", ".model")]
        source = _join([library, cls, self._digests.files([*files, *rest])])
        variant = catalog.variant_of(files[0]) if files else None
        size = catalog.tensor_bytes(files, dtype.itemsize)
        return Part(name, library, cls, folder, ComponentKey(source, variant, str(dtype)), size)

    def _hold(self, model: str, parts: Sequence[Part], started: float) -> list[_Entry]:
        """Entries of all parts, each with one more user; loads what is missing."""
        held: list[_Entry] = []
        loaded: dict[str, int] = {}
        reused: list[str] = []
        evicted: list[str] = []
        try:
            for part in parts:
                if part.key in self._cache:
                    reused.append(part.name)
                else:
                    # All parts of this model count as in use, loaded or not.
                    evicted += self._make_room(part, keep={other.key for other in parts})
                    component = components.load(part, self.device)
                    self._cache[part.key] = _Entry(
                        component,
                        components.measure(component),
                        f"{part.single.path.name}/{part.name}"
                        if part.single
                        else f"{part.folder.parent.name}/{part.folder.name}",
                    )
                    loaded[part.name] = self._cache[part.key].bytes
                entry = self._cache[part.key]
                entry.users += 1
                held.append(entry)
        except BaseException:
            for entry in held:
                entry.users -= 1
            raise
        loading = Loading(
            model, loaded, tuple(reused), tuple(evicted), time.perf_counter() - started
        )
        self.history.append(loading)
        log.log(logging.INFO if loaded or evicted else logging.DEBUG, "%s", loading)
        return held

    def _make_room(self, part: Part, keep: set[ComponentKey]) -> list[str]:
        idle = [key for key in self._idle() if key not in keep]
        held = self.resident_bytes - sum(self._cache[key].bytes for key in idle)
        if held + part.bytes > self.budget:
            raise OutOfMemory(
                f"{part.folder} needs {part.bytes / 1e6:.0f} MB; the budget is "
                f"{self.budget / 1e6:.0f} MB and {held / 1e6:.0f} MB are in use; "
                "raise the budget with --memory"
            )
        evicted = []
        while self.resident_bytes + part.bytes > self.budget:
            evicted.append(self._evict(idle.pop(0)))
        return evicted

    def _idle(self) -> list[ComponentKey]:
        """Keys of what is not in use, longest ago first."""
        idle = [key for key, entry in self._cache.items() if entry.users == 0]
        return sorted(idle, key=lambda key: self._cache[key].last_used)

    def _evict(self, key: ComponentKey) -> str:
        name = self._cache.pop(key).name
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()
        return name


def _join(parts: Sequence[str]) -> str:
    import hashlib

    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
