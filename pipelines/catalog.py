"""Finds models on disk and refuses what is unsafe or broken, before anything is loaded.

Only configs and the headers of files are read here; nothing imports torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pipelines import gguf_header, headers
from pipelines.errors import ContactSheetError, ModelUnavailable, UnknownName
from pipelines.families import family_id
from pipelines.single_file import GGUF, SingleFile

PICKLES = frozenset({".ckpt", ".bin", ".pt", ".pth", ".pkl", ".pickle"})
ENDINGS = frozenset({".safetensors", GGUF})
"""How single files end that are models."""
LIBRARIES = frozenset({"diffusers", "transformers"})
_OPTIONAL = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
"""Components that a folder may list without having them; no family loads them."""
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


def find(folders: Sequence[Path]) -> list[ModelInfo]:
    """Every diffusers folder and single file directly below `folders`, by id.

    Of equal ids the first wins.
    """
    from pipelines.file_catalog import find_files  # it reads headers with what stands below

    found: dict[str, ModelInfo] = {}
    for folder in folders:
        for index in sorted(folder.glob("*/model_index.json")):
            found.setdefault(index.parent.name, _describe(index.parent))
    here = list(found.values())  # in the folders' order, in which a file looks for what it lacks
    return first_of_each([*here, *find_files(folders, here)])


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
        from pipelines.file_catalog import locate_file  # as in `find`

        info = locate_file(path, folders, list(infos.values()))
    if info is None and is_file(path / "model_index.json"):
        info = _describe(path)
    return usable("model", name, info, infos)


def refuse_pickle(path: Path) -> None:
    """Raises: ModelUnavailable: if a path ends as pickles do."""
    if path.suffix.lower() in PICKLES:
        raise ModelUnavailable(
            f"{path} is a pickle checkpoint, which can run any code when it is opened; "
            "convert it to safetensors and use that"
        )


def read_index(folder: Path) -> dict[str, Any]:
    """`model_index.json`, checked: every class comes from diffusers or transformers.

    Raises: ModelUnavailable: if it is unreadable or names anything else.
    """
    path = folder / "model_index.json"
    index = read_json(path)
    for name, entry in index.items():
        if name.startswith("_") or not isinstance(entry, list):
            continue
        library, cls = (*entry, None, None)[:2]
        if library is None and cls is None:
            continue
        names = isinstance(library, str) and isinstance(cls, str) and cls.isidentifier()
        if not names or library not in LIBRARIES:
            raise ModelUnavailable(
                f"{path} wants {library}.{cls} for {name!r}; only classes of diffusers and "
                "transformers are allowed, because others could run any code"
            )
    return index


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file. Raises: ModelUnavailable: naming the file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelUnavailable(f"{path} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelUnavailable(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(data, dict):
        raise ModelUnavailable(f"{path} holds no JSON object")
    return data


def component_config(folder: Path, name: str) -> dict[str, Any]:
    """The config of one component; {} for those that have none (tokenizers)."""
    path = folder / name / "config.json"
    return read_json(path) if path.is_file() else {}


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


def weight_files(folder: Path, name: str) -> list[Path]:
    """The safetensors files of a component, headers checked; [] for those without weights.

    Where a plain file and an fp16 variant lie side by side, only the plain one counts.
    Raises: ModelUnavailable: if there are only pickles, or a file is broken.
    """
    part = folder / name
    if not part.is_dir():
        raise ModelUnavailable(f"{part} is missing; the model folder is not complete")
    files = sorted(part.glob("*.safetensors"))
    if not files:
        pickles = sorted(f.name for f in part.iterdir() if f.suffix.lower() in PICKLES)
        if pickles:
            raise ModelUnavailable(
                f"{part} has weights only as pickles ({', '.join(pickles)}), which can run any "
                "code when opened; convert them to safetensors"
            )
        if (part / "config.json").is_file():
            raise ModelUnavailable(f"{part} has a config but no safetensors weights")
    plain = [file for file in files if variant_of(file) is None]
    chosen = plain or files
    for file in chosen:
        read_header(file)
    return chosen


def variant_of(file: Path) -> str | None:
    """`fp16` for `model.fp16.safetensors`, None for `model.safetensors`."""
    parts = file.name.removesuffix(".safetensors").split(".")
    return parts[1].split("-")[0] if len(parts) > 1 else None


def read_header(path: Path) -> Mapping[str, Any]:
    """The table of tensors of a safetensors or GGUF file, without reading the tensors.

    Raises: ModelUnavailable: if the file is not what its name says, or is cut short.
    """
    try:
        stat = path.stat()
        return _read_header(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror}") from None


@lru_cache(maxsize=256)
def _read_header(path: Path, size: int, changed: int) -> Mapping[str, Any]:
    """`changed` is only part of the key: a header is read again when its file is another."""
    if path.suffix.lower() == GGUF:
        return gguf_header.parse(path, size)
    return headers.parse(path, size)


def stored_bytes(file: Path) -> int:
    """Bytes of a file's tensors as they are in it."""
    rows = [row for key, row in read_header(file).items() if key != "__metadata__"]
    return max((int(row["data_offsets"][1]) for row in rows), default=0)


def weight_shapes(folder: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a component's tensors, from headers. Raises: ModelUnavailable."""
    return shapes_of(weight_files(folder, name))


def shapes_of(files: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of these files, from headers."""
    return {
        key: tuple(row["shape"])
        for file in files
        for key, row in read_header(file).items()
        if key != "__metadata__"
    }


class Digests:
    """SHA-256 of files, computed again only when size or time of change differ."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path, int, int], str] = {}

    def file(self, path: Path) -> str:
        stat = path.stat()
        key = (path.resolve(), stat.st_size, stat.st_mtime_ns)
        if key not in self._known:
            with path.open("rb") as file:
                self._known[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._known[key]

    def files(self, paths: Iterator[Path] | Sequence[Path]) -> str:
        """One digest of several files: their names and contents."""
        lines = sorted(f"{path.name} {self.file(path)}" for path in paths)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def is_file(path: Path) -> bool:
    """Whether a file is there; also false for a name that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def _describe(folder: Path) -> ModelInfo:
    size = sum(f.stat().st_size for f in folder.glob("*/*.safetensors"))
    try:
        index = read_index(folder)
        pipeline = str(index.get("_class_name", ""))
        family = family_id(pipeline)
        for name, entry in index.items():
            if isinstance(entry, list) and any(entry) and name not in _OPTIONAL:
                weight_files(folder, name)
        return ModelInfo(folder.name, folder, pipeline, family, size)
    except ContactSheetError as error:
        return ModelInfo(folder.name, folder, "", "", size, str(error))
