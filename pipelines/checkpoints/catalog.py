"""Model catalog: finds models in folders and locates one by name, before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipelines.checkpoints.diffusers_folder import NOT_LOADED, read_index, weight_files
from pipelines.checkpoints.formats.tensor_files import ENDINGS, is_file, refuse_pickle
from pipelines.checkpoints.lookup import Lookup, bytes_of, guarded, named_inside, usable
from pipelines.checkpoints.model_info import ModelInfo, capabilities_of, configs_of
from pipelines.checkpoints.single_file_catalog import find_files, locate_file
from pipelines.errors import ContactSheetError
from pipelines.families import spec_of

_INDEX = "model_index.json"


def find(folders: Sequence[Path]) -> list[ModelInfo]:
    """Find every diffusers folder and single file directly below `folders`, by id.

    Of equal ids the first wins.
    """
    return _MODELS.find(folders)


def locate(name: str, folders: Sequence[Path], by_path: bool = True) -> ModelInfo:
    """Locate the model of this id, or at this path.

    Raises:
        UnknownName: if there is none, with the closest id.
        ModelUnavailable: if it is a pickle, broken or of a kind that is not supported.
    """
    refuse_pickle(Path(name))
    if Path(name).name == name != "..":
        # Most names are of folders: those need no look at all the others.
        for folder in folders:
            if is_file(folder / name / _INDEX):
                return usable(_describe(folder / name))
    return _MODELS.locate(name, folders, by_path)


def _inside(folders: Sequence[Path]) -> Iterator[ModelInfo]:
    # In the folders' order, in which a file looks for what it lacks.
    here = list(_folders(folders))
    yield from here
    yield from find_files(folders, here)


def _folders(folders: Sequence[Path]) -> Iterator[ModelInfo]:
    for folder in folders:
        for index in named_inside(folder, _INDEX):
            if info := guarded(_describe, index.parent, index.parent.name, "model"):
                yield info


def _at(path: Path, folders: Sequence[Path]) -> ModelInfo | None:
    if path.suffix.lower() in ENDINGS and is_file(path):
        return locate_file(path, folders, list(_folders(folders)))
    return _describe(path) if is_file(path / _INDEX) else None


_MODELS = Lookup("model", _inside, _at)


def _describe(folder: Path) -> ModelInfo:
    size = bytes_of(folder.glob("*/*.safetensors"))
    try:
        index = read_index(folder)
        pipeline = str(index.get("_class_name", ""))
        family = spec_of(pipeline).id
        for name, entry in index.items():
            if isinstance(entry, list) and any(entry) and name not in NOT_LOADED:
                weight_files(folder, name)
        info = ModelInfo(folder.name, folder, pipeline, family, size)
        capabilities_of(info, configs_of(info))
        return info
    except ContactSheetError as error:
        return ModelInfo(folder.name, folder, "", "", size, str(error))
