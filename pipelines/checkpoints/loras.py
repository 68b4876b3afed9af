"""LoRA catalog: finds LoRAs on disk, and tells which of them fit a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipelines.checkpoints.adapter_metadata import read_settings
from pipelines.checkpoints.diffusers_folder import weight_shapes
from pipelines.checkpoints.embeddings.layouts import bundled_embeddings
from pipelines.checkpoints.formats.header import TensorRow
from pipelines.checkpoints.formats.tensor_files import is_file, read_header
from pipelines.checkpoints.identification.lora_names import (
    LORA_ENDINGS,
    LYCORIS_ENDINGS,
    incomplete_layer,
    refused_form,
)
from pipelines.checkpoints.lookup import Lookup, entries, guarded, named_inside
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.errors import ContactSheetError, ModelUnavailable
from pipelines.families import FamilySpec
from pipelines.families.capabilities import Configs

WEIGHTS = "pytorch_lora_weights.safetensors"
"""The file in a LoRA's folder, as diffusers' `save_lora_weights` names it."""


def find(folders: Sequence[Path]) -> list[ModelInfo]:
    """Find every LoRA directly below `folders`, by id; the first of equal ids wins.

    One is a folder with `pytorch_lora_weights.safetensors`, or a single file; the id is the
    folder's name, or the file's without its ending.
    """
    return _LORAS.find(folders)


def locate(name: str, folders: Sequence[Path], by_path: bool = True) -> ModelInfo:
    """Locate the LoRA of this id, or at this path; `path` is the safetensors file itself.

    Raises:
        UnknownName: if there is none, with the closest id.
        ModelUnavailable: if it is a pickle or broken.
    """
    return _LORAS.locate(name, folders, by_path)


def _inside(folders: Sequence[Path]) -> Iterator[ModelInfo | None]:
    for folder in folders:
        inside = named_inside(folder, WEIGHTS)
        beside = [one for one in entries(folder) if one.name.endswith(".safetensors")]
        for file in (*inside, *beside):
            yield guarded(
                _describe, file, file.parent.name if file in inside else file.stem, "lora"
            )


def _at(path: Path, _: Sequence[Path]) -> ModelInfo | None:
    described = (_describe(file) for file in (path / WEIGHTS, path) if is_file(file))
    return next((info for info in described if info is not None), None)


_LORAS = Lookup("LoRA", _inside, _at)


def misfit(lora: ModelInfo, model: ModelInfo, family: FamilySpec, configs: Configs) -> str | None:
    """Explain why a LoRA cannot change a model, as a sentence's end; None if it can.

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
    in_folder = file.name == WEIGHTS
    id, source = (file.parent.name, "folder") if in_folder else (file.stem, "lora")
    size, problem = 0, None
    names: Mapping[str, TensorRow] = {}
    try:
        size = file.stat().st_size
        header = read_header(file)
        names = header.rows
        if not any(name.endswith((*LORA_ENDINGS, *LYCORIS_ENDINGS)) for name in names):
            if not in_folder:
                return None
            raise ModelUnavailable(f"{file} has no LoRA's tensors")
        if form := refused_form(names):
            raise ModelUnavailable(
                f"{file} is no plain LoRA but {form}, which is not supported; take a LoRA, a LoHa "
                "or a LoKr"
            )
        if layer := incomplete_layer(names):
            raise ModelUnavailable(f"{file} is damaged: {layer} lacks some of its factors")
        read_settings(file, header)
        bundled_embeddings(file, header.shapes)
    except OSError as error:
        if not in_folder:
            return None
        problem = f"{file} cannot be read: {error.strerror}"
    except ContactSheetError as error:
        if not in_folder and not names:
            return None  # nobody knows what it would have been
        problem = str(error)
    return ModelInfo(id, file, "", "", size, problem, "lora", source)
