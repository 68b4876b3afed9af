"""Finds LoRAs on disk and says which of them fit a model, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.checkpoints.diffusers_folder import weight_shapes
from pipelines.checkpoints.formats.tensor_files import is_file, read_header, refuse_pickle
from pipelines.checkpoints.model_info import ModelInfo, first_of_each, usable
from pipelines.errors import ContactSheetError, ModelUnavailable

if TYPE_CHECKING:
    from pipelines.families import FamilySpec
    from pipelines.families.capabilities import Configs

WEIGHTS = "pytorch_lora_weights.safetensors"
"""The file in a LoRA's folder, as diffusers' `save_lora_weights` names it."""

_HALVES = (".lora_down.weight", ".lora.down.weight", "_lora.down.weight", ".lora_A.weight")
"""How the names of the narrowing halves end, in kohya's, diffusers' and peft's files."""


def find(folders: Sequence[Path]) -> list[ModelInfo]:
    """Every LoRA directly below `folders`, by id; the first of equal ids wins.

    One is a folder with `pytorch_lora_weights.safetensors`, or a single file; the id is the
    folder's name, or the file's without its ending.
    """
    described = (
        _describe(file)
        for folder in folders
        for file in [*sorted(folder.glob(f"*/{WEIGHTS}")), *sorted(folder.glob("*.safetensors"))]
    )
    return first_of_each(info for info in described if info is not None)


def locate(name: str, folders: Sequence[Path]) -> ModelInfo:
    """The LoRA of this id, or at this path; `path` is the safetensors file itself.

    Raises:
        UnknownName: if there is none, with the closest id.
        ModelUnavailable: if it is a pickle or broken.
    """
    path = Path(name)
    refuse_pickle(path)
    infos = {info.id: info for info in find(folders)}
    info = infos.get(name)
    if info is None:
        for file in (path / WEIGHTS, path):
            info = _describe(file) if info is None and is_file(file) else info
    return usable("LoRA", name, info, infos)


def misfit(lora: ModelInfo, model: ModelInfo, family: FamilySpec, configs: Configs) -> str | None:
    """Why a LoRA cannot change a model, as the end of a sentence; None if it can.

    Names and shapes are compared, from the files' headers; a model's single file was recognised
    by its own, and has those of its configs.
    """
    if lora.problem:
        return lora.problem
    if model.single is not None and model.single.packed:
        return "it is added to weights, and those of a GGUF file stay in blocks"
    from pipelines.checkpoints.lora_state_dict import file_misfit

    try:
        shapes = {name: _shapes(model, name) for name in family.components if _has(model, name)}
        return file_misfit(lora.path, family, configs, shapes)
    except ModelUnavailable as error:
        return str(error)


def _has(model: ModelInfo, part: str) -> bool:
    if model.single is None:
        return (model.path / part).is_dir()
    return any(model.single.index.get(part) or ())


def _shapes(model: ModelInfo, part: str) -> dict[str, tuple[int, ...]]:
    if model.single is None:
        return weight_shapes(model.path, part)
    from pipelines.checkpoints.single_file_loader import shapes

    return shapes(model.single, part)


def _describe(file: Path) -> ModelInfo | None:
    """What is known of a file; None if it is no LoRA's."""
    id = file.parent.name if file.name == WEIGHTS else file.stem
    size, problem = 0, None
    try:
        size = file.stat().st_size
        halves = [name for name in read_header(file) if name.endswith(_HALVES)]
        if not halves and file.name != WEIGHTS:
            return None
        problem = None if halves else f"{file} has no LoRA's tensors"
    except OSError as error:
        problem = f"{file} cannot be read: {error.strerror}"
    except ContactSheetError as error:
        if file.name != WEIGHTS:
            return None  # nobody knows what it would have been
        problem = str(error)
    return ModelInfo(id, file, "", "", size, problem, "lora")
