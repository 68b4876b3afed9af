"""Inventory: what lies in the model folders, what fits what, and what each part's name is.

Everything here is read from configs and headers; no weights are loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.checkpoints import catalog, controlnets, diffusers_folder, loras, model_info
from pipelines.checkpoints.formats import tensor_files
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.devices.hardware import Hardware, hardware, resolve_device
from pipelines.devices.memory_options import ATTENTIONS, USUAL, Saving
from pipelines.devices.precision import Numbers, numbers
from pipelines.devices.quantization import quantizes
from pipelines.errors import InvalidRequest, ModelUnavailable
from pipelines.families import FamilySpec, load_family, spec_of
from pipelines.families.base import Family
from pipelines.families.capabilities import Configs, Sizes, Supports
from pipelines.model_manager import component
from pipelines.model_manager.component import ComponentKey, Part
from pipelines.utils.digests import digest_of_file, digest_of_files, digest_of_lines


class Inventory:
    """The models, ControlNets and LoRAs that are here.

    Args:
        folders: where models lie.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`; probed at the first use.
        saving: in which numbers weights are stored, and where.
    """

    def __init__(
        self, folders: Sequence[Path], *, device: str = "auto", saving: Saving = USUAL
    ) -> None:
        self.folders = list(folders)
        self.saving = saving
        self._asked_device = device
        self._hardware: Hardware | None = None

    @property
    def device(self) -> str:
        return resolve_device(self._asked_device)

    @property
    def hardware(self) -> Hardware:
        """The device as far as memory goes, as it was when it was first asked for."""
        if self._hardware is None:
            self.saving.check_device(self.device)
            self._hardware = hardware(self.device)
        return self._hardware

    def models(self) -> list[ModelInfo]:
        """All models found, also those that cannot be used."""
        return catalog.find(self.folders)

    def locate(self, name: str) -> ModelInfo:
        """Raises: UnknownName, ModelUnavailable."""
        return catalog.locate(name, self.folders)

    def spec(self, name: str) -> FamilySpec:
        """A model's family, as data. Raises: UnknownName, ModelUnavailable."""
        return spec_of(self.locate(name).pipeline)

    def family(self, name: str) -> Family:
        """A model's family, ready to render. Raises: UnknownName, ModelUnavailable."""
        return load_family(self.spec(name))

    def controlnets(self, model: str | None = None) -> list[ModelInfo]:
        """All ControlNets found, also those that cannot be used; or those that fit a model.

        Raises: UnknownName, ModelUnavailable: if there is no such model.
        """
        found = controlnets.find(self.folders)
        if model is None:
            return found
        return controlnets.fitting(found, self.spec(model), self.configs(model))

    def locate_control(self, name: str, model: str) -> ModelInfo:
        """A ControlNet that fits a model. Raises: UnknownName, ModelUnavailable, InvalidRequest."""
        info = controlnets.locate(name, self.folders)
        family, configs = self.spec(model), self.configs(model)
        controlnets.check_fits(info, model, family, configs, self.folders)
        return info

    def loras(self, model: str | None = None) -> list[ModelInfo]:
        """All LoRAs found, also those that cannot be used; or those that fit a model.

        Raises: UnknownName, ModelUnavailable: if there is no such model.
        """
        found = loras.find(self.folders)
        if model is None:
            return found
        fits = self.locate(model), self.spec(model), self.configs(model)
        return [one for one in found if loras.misfit(one, *fits) is None]

    def locate_lora(self, name: str, model: str) -> ModelInfo:
        """A LoRA that fits a model. Raises: UnknownName, ModelUnavailable, InvalidRequest."""
        info = loras.locate(name, self.folders)
        if self.saving.quantize is not None:
            raise InvalidRequest(
                f"LoRA {name!r} is added to weights, and those of {model!r} are stored as "
                f"{self.saving.quantize}; leave the LoRA or --quantize out"
            )
        why = loras.misfit(info, self.locate(model), self.spec(model), self.configs(model))
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
            return spec_of(info.pipeline).capabilities(self.configs(name))
        except KeyError as error:
            raise ModelUnavailable(f"{info.path}: a config lacks {error}") from None

    def configs(self, name: str) -> Configs:
        """All configs of a model, as its folder has them."""
        info = self.locate(name)
        components = spec_of(info.pipeline).components
        found = {part: model_info.config_of(info, part) for part in components}
        index = model_info.index_of(info)
        return {**found, "scheduler": self.scheduler_config(name), "model_index": index}

    def scheduler_config(self, name: str) -> dict[str, Any]:
        """The checkpoint's own scheduler config."""
        return model_info.scheduler_of(self.locate(name))

    def fingerprint(
        self, name: str, controls: Sequence[str] = (), loras: Sequence[str] = ()
    ) -> str:
        """Hash of all that decides the model's pixels: classes, configs, weights, scheduler.

        Args:
            controls: ControlNets that steer it.
            loras: LoRAs that change it.
        """
        info = self.locate(name)
        family = spec_of(info.pipeline)
        digests = [part.key.source for part in self._parts(info, family)]
        if self.saving.quantize is not None:
            digests.append(self.saving.quantize)
        if family.index_options:
            index = model_info.index_of(info)
            digests.append(repr([index.get(name) for name in family.index_options]))
        if info.single is None:
            digests.append(digest_of_files([info.path / "scheduler" / "scheduler_config.json"]))
        else:
            digests.append(json.dumps(info.single.configs["scheduler"], sort_keys=True))
        dtype = self._numbers(info, family, family.denoiser)
        digests += [self._control_part(one, dtype).key.source for one in controls]
        digests += [self._lora_part(one).key.source for one in loras]
        return digest_of_lines(digests)

    def _parts(self, info: ModelInfo, family: FamilySpec) -> list[Part]:
        index = model_info.index_of(info)
        parts = []
        for name in family.components:
            entry = index.get(name)
            if not isinstance(entry, list) or not any(entry):
                if name in family.optional:
                    continue
                raise ModelUnavailable(f"{info.path}: model_index.json has no {name!r}")
            library, cls = entry
            dtype = self._numbers(info, family, name, cls)
            quantized = self._quantized(name, cls, family)
            if info.single is not None and name not in info.single.donated:
                if info.single.packed:  # in fewer bits already, and stays in those
                    quantized = ""
                digest = digest_of_file(info.path)
                part = component.part_of_file(
                    info.single, name, library, cls, dtype, digest, quantized
                )
            else:
                folder = info.path / name if info.single is None else info.single.donated[name]
                part = self._part(name, library, cls, folder, dtype, quantized)
            parts.append(self._attending(part, family))
        return parts

    def _numbers(self, info: ModelInfo, family: FamilySpec, name: str, cls: str = "") -> Numbers:
        config = model_info.config_of(info, name)
        return numbers(
            self.hardware,
            cls,
            trained_in=family.trained_in,
            vae_fits_float16=family.vae_fits_float16,
            force_upcast=config.get("force_upcast", True),
        )

    def _quantized(self, name: str, cls: str, family: FamilySpec) -> str:
        chosen = self.saving.quantize
        return chosen if chosen and quantizes(cls, name == family.denoiser) else ""

    def _attending(self, part: Part, family: FamilySpec) -> Part:
        """A denoiser with what computes its attention, where that is not as usual."""
        if part.name != family.denoiser or self.saving.attention == "torch":
            return part
        return replace(part, attention=ATTENTIONS[self.saving.attention].call)

    def _control_part(self, name: str, dtype: Numbers) -> Part:
        """A ControlNet, in the numbers of the denoiser that it steers."""
        info = controlnets.locate(name, self.folders)
        return self._part(f"controlnet {info.id}", "diffusers", info.pipeline, info.path, dtype)

    def _lora_part(self, name: str) -> Part:
        info = loras.locate(name, self.folders)
        key = ComponentKey(digest_of_file(info.path), None, component.LORA)
        return Part(
            f"LoRA {info.id}",
            "",
            component.LORA,
            info.path,
            key,
            tensor_files.stored_bytes(info.path),
        )

    def _part(
        self, name: str, library: str, cls: str, folder: Path, dtype: Numbers, quantized: str = ""
    ) -> Part:
        files = diffusers_folder.weight_files(folder.parent, folder.name)
        rest = [f for f in folder.iterdir() if f.suffix in (".json", ".txt", ".model")]
        source = digest_of_lines([library, cls, digest_of_files([*files, *rest])])
        variant = diffusers_folder.variant_of(files[0]) if files else None
        shapes: Mapping[str, tuple[int, ...]] = tensor_files.shapes_of(files)
        size, largest = component.sizes(shapes, dtype, quantized)
        key = ComponentKey(source, variant, dtype, quantized)
        return Part(name, library, cls, folder, key, size, largest=largest)
