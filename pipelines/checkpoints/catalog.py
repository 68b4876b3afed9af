"""Model catalog: finds models in folders and locates one by name, before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.checkpoints.diffusers_folder import (
    _OPTIONAL,
    read_index,
    weight_files,
)
from pipelines.checkpoints.formats.tensor_files import (
    ENDINGS,
    is_file,
    refuse_pickle,
)
from pipelines.checkpoints.model_info import (
    ModelInfo,
    first_of_each,
    usable,
)
from pipelines.errors import ContactSheetError
from pipelines.families import spec_of


def find(folders: Sequence[Path]) -> list[ModelInfo]:
    """Every diffusers folder and single file directly below `folders`, by id.

    Of equal ids the first wins.
    """
    from pipelines.checkpoints.single_file_catalog import (
        find_files,  # it reads headers with what stands below
    )

    found: dict[str, ModelInfo] = {}
    for folder in folders:
        for index in sorted(folder.glob("*/model_index.json")):
            found.setdefault(index.parent.name, _describe(index.parent))
    here = list(found.values())  # in the folders' order, in which a file looks for what it lacks
    return first_of_each([*here, *find_files(folders, here)])


def locate(name: str, folders: Sequence[Path]) -> ModelInfo:
    """The model of this id, or at this path.

    Raises:
        UnknownName: if there is none, with the closest id.
        ModelUnavailable: if it is a pickle, broken or of a kind that is not supported.
    """
    path = Path(name)
    single = path.suffix.lower() in ENDINGS and is_file(path)
    refuse_pickle(path)
    if path.name == name != "..":
        # Most names are of folders: those need no look at all the others.
        for folder in folders:
            if is_file(folder / name / "model_index.json"):
                return usable("model", name, _describe(folder / name), ())
    infos = {info.id: info for info in find(folders)}
    info = infos.get(name)
    if info is None and single:
        from pipelines.checkpoints.single_file_catalog import locate_file  # as in `find`

        info = locate_file(path, folders, list(infos.values()))
    if info is None and is_file(path / "model_index.json"):
        info = _describe(path)
    return usable("model", name, info, infos)


def _describe(folder: Path) -> ModelInfo:
    size = sum(f.stat().st_size for f in folder.glob("*/*.safetensors"))
    try:
        index = read_index(folder)
        pipeline = str(index.get("_class_name", ""))
        family = spec_of(pipeline).id
        for name, entry in index.items():
            if isinstance(entry, list) and any(entry) and name not in _OPTIONAL:
                weight_files(folder, name)
        return ModelInfo(folder.name, folder, pipeline, family, size)
    except ContactSheetError as error:
        return ModelInfo(folder.name, folder, "", "", size, str(error))
