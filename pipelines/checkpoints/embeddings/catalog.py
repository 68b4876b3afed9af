"""Embedding catalog: finds the files of embeddings (textual inversions) in models folders.

They lie in `embeddings` in a models folder, as in AUTOMATIC1111's web UI and in ComfyUI, one folder
below that at most; or directly in the models folder, or in a folder of their own as diffusers
saves them. Pickles are listed, with what to do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from pipelines.checkpoints.embeddings.layouts import Embedding, embedding_of
from pipelines.checkpoints.formats.tensor_files import PICKLES, is_file, read_header
from pipelines.checkpoints.identification.addons import embedding
from pipelines.checkpoints.identification.identify import PUBLISHED
from pipelines.checkpoints.lookup import Lookup, entries, guarded, named_inside
from pipelines.checkpoints.model_info import ModelInfo
from pipelines.errors import ContactSheetError, ModelUnavailable, first_line

FOLDER = "embeddings"
"""Below a models folder."""
WEIGHTS = "learned_embeds"
"""The file in an embedding's folder, as diffusers' `save_textual_inversion` names it."""
_ENDINGS = frozenset({".safetensors", *PICKLES})
_CONVERT = (
    "is a pickle, which can run any code when it is opened; convert it to safetensors on a machine "
    "that may be lost (docs/extending.md says how)"
)


def find(folders: Sequence[Path]) -> list[ModelInfo]:
    """Find every embedding of some models folders, by id; of equal ids the first wins.

    The id is the file's name without its ending, or the name of diffusers' folder.
    """
    return _EMBEDDINGS.find(folders)


def opened(info: ModelInfo) -> Embedding:
    """Read from its header what vectors an embedding has. Raises: ModelUnavailable."""
    return embedding_of(info.id, info.path, read_header(info.path))


def names_of(info: ModelInfo) -> tuple[str, ...]:
    """List the names by which prompts may call it: its id, with the folder it lies in too."""
    folder = info.path.parent
    return (info.id, f"{folder.name}/{info.id}") if folder.parent.name == FOLDER else (info.id,)


def _inside(folders: Sequence[Path]) -> Iterator[ModelInfo | None]:
    for folder in folders:
        kept = folder / FOLDER
        beside = entries(kept)
        below = [file for one in beside if _is_folder(one) for file in entries(one)]
        for file in (*beside, *below):
            if file.suffix.lower() in _ENDINGS and not _is_folder(file):
                yield guarded(partial(_describe, within=folder), file, file.stem, "embedding")
        for ending in sorted(_ENDINGS):
            for file in named_inside(folder, WEIGHTS + ending):
                if file.parent.name != FOLDER:
                    describe = partial(_describe, within=folder, id=file.parent.name)
                    yield guarded(describe, file, file.parent.name, "embedding")
        for file in entries(folder):
            if file.suffix.lower() == ".safetensors" and _is_embedding(file):
                yield guarded(partial(_describe, within=folder), file, file.stem, "embedding")


def _describe(file: Path, within: Path, id: str = "") -> ModelInfo:
    size, problem, family, vectors = 0, None, "", 0
    id = id or file.stem
    try:
        size = file.stat().st_size
        real = file.resolve()
        if not real.is_relative_to(within.resolve()):
            raise ModelUnavailable(f"{file} is a link to {real}, outside the models folder")
        if file.suffix.lower() in PICKLES:
            raise ModelUnavailable(f"{file} {_CONVERT}")
        header = read_header(file)
        one = embedding_of(id, file, header)
        vectors = one.vectors
        found = embedding(header.shapes)
        families = {PUBLISHED[name].family for name in found[0]} if found else set()
        family = families.pop() if len(families) == 1 else ""
    except OSError as error:
        problem = f"{file} cannot be read: {error.strerror or first_line(error)}"
    except ContactSheetError as error:
        problem = str(error)
    return ModelInfo(id, file, "", family, size, problem, "embedding", "embedding", vectors=vectors)


def _is_embedding(file: Path) -> bool:
    """Whether a file among the models is an embedding; what cannot be read may be anything."""
    try:
        return embedding(read_header(file).shapes) is not None
    except ContactSheetError:
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _at(path: Path, _: Sequence[Path]) -> ModelInfo | None:
    return _describe(path, path.parent) if is_file(path) else None


_EMBEDDINGS = Lookup("embedding", _inside, _at)
