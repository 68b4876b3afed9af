"""Model entry: one model as it lies on disk, opened once and handed on as an object."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pipelines.checkpoints import controlnets, loras, model_info
from pipelines.checkpoints.embeddings.table import EmbeddingTable
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.devices.hardware import Hardware
from pipelines.devices.memory_options import ATTENTIONS, MemoryOptions
from pipelines.devices.precision import DtypeName, dtype_name
from pipelines.devices.quantization import quantizes
from pipelines.errors import InvalidRequest, ModelUnavailable
from pipelines.families import FamilySpec, load_family, spec_of
from pipelines.families.base import Family
from pipelines.families.capabilities import Capabilities, Configs
from pipelines.model_manager.component import Part, part_of_file, part_of_folder
from pipelines.utils.digests import digest_of_files, digest_of_lines


@dataclass(frozen=True, eq=False)
class ModelEntry:
    """Model entry: tells a model's family, configs, capabilities, parts, and what fits it.

    Each is read from configs and headers when it is first asked for; no weights are loaded. An
    entry is opened for one run and does not see what changes on disk after that.

    Attributes:
        name: that it was opened by.
        folders: where ControlNets and LoRAs for it lie.
        memory_options: in which numbers its weights are stored, and what computes its attention.
        by_path: whether ControlNets and LoRAs may be named by a path.
    """

    name: str
    info: ModelInfo
    folders: Sequence[Path]
    memory_options: MemoryOptions
    by_path: bool = True

    @cached_property
    def spec(self) -> FamilySpec:
        """Its family, as data."""
        return spec_of(self.info.pipeline)

    @property
    def family(self) -> Family:
        """Its family's torch half, imported at the first call."""
        return load_family(self.spec)

    @cached_property
    def index(self) -> dict[str, Any]:
        """What `model_index.json` says, or would say for a single file."""
        return model_info.index_of(self.info)

    @cached_property
    def configs(self) -> Configs:
        """Configs of its components, beside them `scheduler` and `model_index`."""
        return model_info.configs_of(self.info)

    @cached_property
    def capabilities(self) -> Capabilities:
        """What it can do, from its configs alone. Raises: ModelUnavailable: if one is broken."""
        return model_info.capabilities_of(self.info, self.configs)

    @cached_property
    def controlnets(self) -> list[ModelInfo]:
        """ControlNets here that can steer it."""
        return controlnets.fitting(controlnets.find(self.folders), self.spec, self.configs)

    @cached_property
    def loras(self) -> list[ModelInfo]:
        """LoRAs here that can change it."""
        return [one for one in loras.find(self.folders) if self._misfit(one) is None]

    @cached_property
    def controlnet(self) -> Callable[[str], ModelInfo]:
        """Finds a ControlNet that can steer it, each name once.

        Raises: UnknownName, ModelUnavailable, InvalidRequest: when it is called.
        """
        return cache(self._controlnet)

    @cached_property
    def lora(self) -> Callable[[str], ModelInfo]:
        """Finds a LoRA that can change it, each name once.

        Raises: UnknownName, ModelUnavailable, InvalidRequest: when it is called.
        """
        return cache(self._lora)

    @cached_property
    def embeddings(self) -> EmbeddingTable:
        """Embeddings that prompts for it may name."""
        return EmbeddingTable(
            self.info, self.spec, self.configs, self.folders, lambda name: self.lora(name).path
        )

    def parts(self, hardware: Hardware) -> list[Part]:
        """List its components: where each lies, and what it takes in memory on a device.

        Raises: ModelUnavailable: if one is missing or broken.
        """
        parts = []
        for name in self.spec.components:
            entry = self.index.get(name)
            if isinstance(entry, list) and any(entry):
                library, cls = entry
                parts.append(self._part(name, library, cls, hardware))
            elif name not in self.spec.optional:
                raise ModelUnavailable(f"{self.info.path}: model_index.json has no {name!r}")
        return parts

    def dtype(self, hardware: Hardware) -> DtypeName:
        """Choose the numbers in which its denoiser computes on a device."""
        return self._dtype(self.spec.denoiser, "", hardware)

    def fingerprint(self, parts: Iterable[Part], addons: Iterable[Part] = ()) -> str:
        """Hash all that decides its pixels: classes, configs, weights, scheduler.

        Args:
            parts: its own.
            addons: ControlNets that steer it, then LoRAs that change it.
        """
        digests = [part.key.source for part in parts]
        if self.memory_options.quantize is not None:
            digests.append(self.memory_options.quantize)
        if self.spec.index_options:
            digests.append(repr([self.index.get(name) for name in self.spec.index_options]))
        if self.info.single is None:
            digests.append(digest_of_files([model_info.scheduler_file(self.info.path)]))
        else:
            digests.append(json.dumps(self.configs["scheduler"], sort_keys=True))
        return digest_of_lines([*digests, *(part.key.source for part in addons)])

    def _controlnet(self, name: str) -> ModelInfo:
        info = controlnets.locate(name, self.folders, self.by_path)
        controlnets.check_fits(info, self.name, self.spec, self.configs, self.folders)
        return info

    def _lora(self, name: str) -> ModelInfo:
        info = loras.locate(name, self.folders, self.by_path)
        if self.memory_options.quantize is not None:
            raise InvalidRequest(
                f"LoRA {name!r} is added to weights, and those of {self.name!r} are stored as "
                f"{self.memory_options.quantize}; leave the LoRA or --quantize out"
            )
        why = self._misfit(info)
        if why is not None:
            fit = ", ".join(other.id for other in self.loras)
            raise InvalidRequest(
                f"LoRA {name!r} does not fit {self.name!r}: {why}; these here fit: {fit or 'none'}"
            )
        return info

    def _misfit(self, lora: ModelInfo) -> str | None:
        return loras.misfit(lora, self.info, self.spec, self.configs)

    def _part(self, name: str, library: str, cls: str, hardware: Hardware) -> Part:
        single, is_denoiser = self.info.single, name == self.spec.denoiser
        dtype = self._dtype(name, cls, hardware)
        chosen = self.memory_options.quantize
        quantized = chosen if chosen and quantizes(cls, is_denoiser) else ""
        if single is not None and name not in single.donated:
            part = part_of_file(single, name, library, cls, dtype, quantized)
        else:
            folder = self.info.path / name if single is None else single.donated[name]
            part = part_of_folder(folder, name, library, cls, dtype, quantized)
        if is_denoiser and self.memory_options.attention != "torch":
            part = replace(part, attention=ATTENTIONS[self.memory_options.attention].call)
        return part

    def _dtype(self, name: str, cls: str, hardware: Hardware) -> DtypeName:
        return dtype_name(
            hardware,
            cls,
            trained_in=self.spec.trained_in,
            vae_fits_float16=self.spec.vae_fits_float16,
            force_upcast=self.configs[name].get("force_upcast", True),
        )
