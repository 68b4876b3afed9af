"""Model info: describes a model, a ControlNet, a LoRA or an embedding found on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipelines.checkpoints.diffusers_folder import component_config, read_index, read_json
from pipelines.checkpoints.single_file import SingleFile
from pipelines.errors import ModelUnavailable
from pipelines.families import spec_of
from pipelines.families.capabilities import Capabilities, Configs

Kind = Literal["model", "controlnet", "lora", "embedding"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Model info: describes a model, a ControlNet, a LoRA or an embedding found on disk.

    Attributes:
        pipeline: its diffusers class.
        problem: why it cannot be used; None if it can.
        source: folder, or what identification says a single file is; empty where it cannot.
        single: how a single file becomes a model; None for a folder.
        vectors: of an embedding: how many tokens it takes in a prompt.
    """

    id: str
    path: Path
    pipeline: str
    family: str
    bytes: int
    problem: str | None = None
    kind: Kind = "model"
    source: str = "folder"
    single: SingleFile | None = field(default=None, repr=False)
    vectors: int = 0

    def reference(self, asked: str) -> str:
        """Name it for a complete Request: as it was asked for, or by its path if that was one."""
        return self.path.as_posix() if "/" in asked else asked


def config_of(info: ModelInfo, name: str) -> dict[str, Any]:
    """Read the config of a model's component; {} for those that have none (tokenizers)."""
    if info.single is None:
        return component_config(info.path, name)
    return dict(info.single.configs.get(name, {}))


def index_of(info: ModelInfo) -> dict[str, Any]:
    """Read `model_index.json`, or what a single file has for one. Raises: ModelUnavailable."""
    return read_index(info.path) if info.single is None else dict(info.single.index)


def scheduler_of(info: ModelInfo) -> dict[str, Any]:
    """Read a model's own scheduler config. Raises: ModelUnavailable."""
    if info.single is None:
        return read_json(scheduler_file(info.path))
    return dict(info.single.configs["scheduler"])


def configs_of(info: ModelInfo) -> Configs:
    """Read the configs of a model's components, beside them `scheduler` and `model_index`.

    Raises: ModelUnavailable.
    """
    own = {name: config_of(info, name) for name in spec_of(info.pipeline).components}
    return {**own, "scheduler": scheduler_of(info), "model_index": index_of(info)}


def capabilities_of(info: ModelInfo, configs: Configs) -> Capabilities:
    """Derive what a model can do. Raises: ModelUnavailable: if a config is broken."""
    family = spec_of(info.pipeline)
    try:
        return family.capabilities(configs)
    except ModelUnavailable as error:
        raise ModelUnavailable(f"{info.path}: {error}") from error


def scheduler_file(folder: Path) -> Path:
    """Name the file of a folder's scheduler config."""
    return folder / "scheduler" / "scheduler_config.json"
