"""Model library: lists what lies in the model folders, and opens models by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.checkpoints import catalog, controlnets, loras
from pipelines.checkpoints.embeddings import catalog as embeddings
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.devices.memory_options import DEFAULT_MEMORY, MemoryOptions
from pipelines.model_manager.model_entry import ModelEntry


class ModelLibrary:
    """Model library: lists and opens what lies in some folders. Loads nothing, keeps nothing.

    Args:
        folders: where they lie.
        memory_options: in which numbers weights are stored, and what computes attention.
    """

    def __init__(
        self, folders: Sequence[Path], memory_options: MemoryOptions = DEFAULT_MEMORY
    ) -> None:
        self.folders = list(folders)
        self.memory_options = memory_options
        self.by_path = True
        """Whether a name may be a path; not where strangers send names, as over a network."""

    def models(self) -> list[ModelInfo]:
        """List all models found, also those that cannot be used."""
        return catalog.find(self.folders)

    def controlnets(self) -> list[ModelInfo]:
        """List all ControlNets found, also those that cannot be used."""
        return controlnets.find(self.folders)

    def loras(self) -> list[ModelInfo]:
        """List all LoRAs found, also those that cannot be used."""
        return loras.find(self.folders)

    def embeddings(self) -> list[ModelInfo]:
        """List all embeddings found, also those that cannot be used."""
        return embeddings.find(self.folders)

    def open(self, name: str) -> ModelEntry:
        """Open the model of this id or path. Raises: UnknownName, ModelUnavailable."""
        info = catalog.locate(name, self.folders, self.by_path)
        return ModelEntry(name, info, self.folders, self.memory_options, self.by_path)

    def controlnet(self, name: str) -> ModelInfo:
        """Locate the ControlNet of this id or path. Raises: UnknownName, ModelUnavailable."""
        return controlnets.locate(name, self.folders, self.by_path)

    def lora(self, name: str) -> ModelInfo:
        """Locate the LoRA of this id or path. Raises: UnknownName, ModelUnavailable."""
        return loras.locate(name, self.folders, self.by_path)
