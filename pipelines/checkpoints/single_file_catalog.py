"""Single-file catalog: finds models in files, and refuses those that cannot be used.

Only headers and configs are read here; nothing imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pipelines.checkpoints import diffusers_folder, single_file
from pipelines.checkpoints.formats import tensor_files
from pipelines.checkpoints.formats.tensor_files import ENDINGS, PICKLES
from pipelines.checkpoints.identification import identify
from pipelines.checkpoints.identification.identify import Identification
from pipelines.checkpoints.lookup import entries, guarded
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.checkpoints.single_file import Donor
from pipelines.errors import ContactSheetError, ModelUnavailable
from pipelines.families import spec_of
from pipelines.utils.file_cache import cached_by_file


def find_files(folders: Sequence[Path], models: Sequence[ModelInfo]) -> list[ModelInfo]:
    """Find every single file directly below `folders`; its id is its name with its ending.

    Args:
        models: the diffusers folders there, which may give what a file lacks.
    """
    donors: list[Donor] | None = None
    found = []
    for file in _files(folders):
        if donors is None:  # read once, and only where there are files
            donors = list(_donors(models))
        described = guarded(
            partial(describe, donors=donors, folders=folders), file, file.name, "model"
        )
        found += [described] if described else []
    return found


def locate_file(path: Path, folders: Sequence[Path], models: Sequence[ModelInfo]) -> ModelInfo:
    """Describe the model in a file that was named by its path. Raises: ModelUnavailable."""
    return describe(path, list(_donors(models)), [*folders, path.parent])


def describe(path: Path, donors: Sequence[Donor], folders: Sequence[Path]) -> ModelInfo:
    """Describe a file as the listing shows it.

    Args:
        folders: where it may lie; a link that leads elsewhere is refused.
    """
    size, found = 0, None
    try:
        size = path.stat().st_size
        _check_place(path, folders)
        found = recognise_file(path)
        beside = path.with_suffix("")
        own = [_donor(beside, "")] if beside.is_dir() else []
        single = single_file.plan(
            path, found, tensor_files.read_header(path).shapes, [*own, *donors]
        )
        pipeline = str(single.index["_class_name"])
        family = spec_of(pipeline).id
        return ModelInfo(path.name, path, pipeline, family, size, source=found.kind, single=single)
    except OSError as error:
        problem = f"{path} cannot be read: {error.strerror}"
    except ContactSheetError as error:
        problem = str(error)
    family, source = (found.family, str(found.kind)) if found else ("", "")
    return ModelInfo(path.name, path, "", family, size, problem, source=source)


def recognise_file(path: Path) -> Identification:
    """Identify a single file, from its header alone.

    Raises: ModelUnavailable: if it is a pickle, damaged, or of no kind that is known.
    """
    tensor_files.refuse_pickle(path)
    tensor_files.read_header(path)  # says why, if it cannot
    return _recognise(path)


@cached_by_file(most=256)
def _recognise(path: Path) -> Identification:
    return identify.recognise(tensor_files.read_header(path), str(path))


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    seen = set()
    for folder in folders:
        for file in entries(folder):
            wanted = file.suffix.lower() in ENDINGS | PICKLES
            if wanted and not _is_folder(file) and file.name not in seen:
                seen.add(file.name)
                yield file


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _check_place(path: Path, folders: Sequence[Path]) -> None:
    real = path.resolve()
    if not any(real.is_relative_to(folder.resolve()) for folder in folders):
        raise ModelUnavailable(
            f"{path} is a link to {real}, outside the models folders; name that folder with "
            "--models"
        )


def _donors(models: Sequence[ModelInfo]) -> Iterator[Donor]:
    for info in models:
        if info.problem is None and info.single is None:
            try:
                yield _donor(info.path, info.pipeline)
            except (
                ContactSheetError,
                OSError,
            ):  # it cannot give anything; its own listing says more
                continue


def _donor(folder: Path, pipeline: str) -> Donor:
    """Raises: ModelUnavailable: if a config cannot be read."""
    configs, shapes = {}, {}
    for part in sorted(entry.name for entry in folder.iterdir() if entry.is_dir()):
        if config := diffusers_folder.component_config(folder, part):
            configs[part] = config
        if part.startswith("text_encoder") and any((folder / part).glob("*.safetensors")):
            for file in diffusers_folder.weight_files(folder, part):
                shape = single_file.token_shape(tensor_files.read_header(file).shapes)
                if shape:
                    shapes[part] = shape
    scheduler = folder / "scheduler" / "scheduler_config.json"
    if scheduler.is_file():
        configs["scheduler"] = diffusers_folder.read_json(scheduler)
    return Donor(folder, pipeline, shapes, configs)
