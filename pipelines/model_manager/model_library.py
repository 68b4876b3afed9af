"""Model library: lists what lies in the model folders, and opens models by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.checkpoints import catalog, controlnets, loras
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.devices.memory_options import USUAL, Saving
from pipelines.model_manager.model_entry import ModelEntry


class ModelLibrary:
    """The models, ControlNets and LoRAs in some folders. Nothing is loaded, and nothing kept.

    Args:
        folders: where they lie.
        saving: in which numbers weights are stored, and what computes attention.
    """

    def __init__(self, folders: Sequence[Path], saving: Saving = USUAL) -> None:
        self.folders = list(folders)
        self.saving = saving

    def models(self) -> list[ModelInfo]:
        """All models found, also those that cannot be used."""
        return catalog.find(self.folders)

    def controlnets(self) -> list[ModelInfo]:
        """All ControlNets found, also those that cannot be used."""
        return controlnets.find(self.folders)

    def loras(self) -> list[ModelInfo]:
        """All LoRAs found, also those that cannot be used."""
        return loras.find(self.folders)

    def open(self, name: str) -> ModelEntry:
        """The model of this id, or at this path. Raises: UnknownName, ModelUnavailable."""
        return ModelEntry(name, catalog.locate(name, self.folders), self.folders, self.saving)

    def controlnet(self, name: str) -> ModelInfo:
        """The ControlNet of this id, or at this path. Raises: UnknownName, ModelUnavailable."""
        return controlnets.locate(name, self.folders)

    def lora(self, name: str) -> ModelInfo:
        """The LoRA of this id, or at this path. Raises: UnknownName, ModelUnavailable."""
        return loras.locate(name, self.folders)
