"""ModelInfo: describes a model, a ControlNet or a LoRA found on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipelines.checkpoints.diffusers_folder import (
    component_config,
    read_index,
    read_json,
)
from pipelines.checkpoints.single_file import SingleFile
from pipelines.errors import ModelUnavailable, UnknownName

_WHERE = "python app.py models lists them"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model, a ControlNet or a LoRA found on disk.

    Attributes:
        pipeline: its diffusers class.
        problem: why it cannot be used; None if it can.
        source: folder, or what recognition says a single file is; empty where it cannot.
        single: how a single file becomes a model; None for a folder.
    """

    id: str
    path: Path
    pipeline: str
    family: str
    bytes: int
    problem: str | None = None
    kind: Literal["model", "controlnet", "lora"] = "model"
    source: str = "folder"
    single: SingleFile | None = field(default=None, repr=False)


def first_of_each(infos: Iterable[ModelInfo]) -> list[ModelInfo]:
    """By id; of equal ids the first wins."""
    found: dict[str, ModelInfo] = {}
    for info in infos:
        found.setdefault(info.id, info)
    return [found[id] for id in sorted(found)]


def usable(what: str, name: str, info: ModelInfo | None, known: Iterable[str]) -> ModelInfo:
    """What was found under a name, if it is there and whole.

    Raises:
        UnknownName: if it is None, with the closest of `known`.
        ModelUnavailable: if it has a problem.
    """
    if info is None:
        raise UnknownName.of(what, name, known, _WHERE)
    if info.problem:
        raise ModelUnavailable(info.problem)
    return info


def config_of(info: ModelInfo, name: str) -> dict[str, Any]:
    """The config of a model's component; {} for those that have none (tokenizers)."""
    if info.single is None:
        return component_config(info.path, name)
    return dict(info.single.configs.get(name, {}))


def index_of(info: ModelInfo) -> dict[str, Any]:
    """What `model_index.json` says, or would say for a single file. Raises: ModelUnavailable."""
    return read_index(info.path) if info.single is None else dict(info.single.index)


def scheduler_of(info: ModelInfo) -> dict[str, Any]:
    """A model's own scheduler config. Raises: ModelUnavailable."""
    if info.single is None:
        return read_json(info.path / "scheduler" / "scheduler_config.json")
    return dict(info.single.configs["scheduler"])
