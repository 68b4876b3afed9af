"""Diffusers folder: reads its configs and headers, refuses what is unsafe or broken.

Nothing imports torch.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipelines.checkpoints.formats.tensor_files import PICKLES, read_header, shapes_of
from pipelines.errors import ModelUnavailable, shortened
from pipelines.utils.file_cache import cached_by_file
from pipelines.utils.files import regular_size

LIBRARIES = frozenset({"diffusers", "transformers"})
JSON_MAX = 4 * 2**20
"""Bytes; lists in lists take twenty times their text in memory."""
LIST_MAX = 1000
"""Entries of a list in a component's config; the longest known have some sixty."""
_TOKENIZER_MAX = 64 * 2**20
"""Bytes of a file of a tokenizer."""
_ADAPTER = "adapter_config.json"
_PATHS = ("vocab_file", "merges_file", "tokenizer_file", "spm_file", "added_tokens_file")
"""Keys of a tokenizer's config that transformers opens as files, wherever they are."""
NOT_LOADED = frozenset({"safety_checker", "feature_extractor", "image_encoder"})
"""Components that a folder may list without having them; no family loads them."""


def read_index(folder: Path) -> dict[str, Any]:
    """Read `model_index.json` and check that its classes are of diffusers or transformers.

    Raises: ModelUnavailable: if it is unreadable or names anything else.
    """
    path = folder / "model_index.json"
    check_inside(path, folder)
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
    """Read a JSON object from a file, again only when the file changed.

    Raises: ModelUnavailable: naming the file.
    """
    try:
        data = _parsed(path)
    except FileNotFoundError:
        raise ModelUnavailable(f"{path} is missing") from None
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ModelUnavailable(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(data, dict):
        raise ModelUnavailable(f"{path} holds no JSON object")
    return dict(data)


@cached_by_file(most=1024)
def _parsed(path: Path) -> Any:
    size = regular_size(path)
    if size > JSON_MAX:
        raise ValueError(f"it has {size} bytes; no config has more than {JSON_MAX}")
    return json.loads(path.read_text(encoding="utf-8"))


def component_config(folder: Path, name: str) -> dict[str, Any]:
    """Read the config of one component; {} for those that have none (tokenizers)."""
    path = folder / name / "config.json"
    if not path.is_file():
        return {}
    check_inside(path, folder)
    config = read_json(path)
    for key, value in config.items():
        if isinstance(value, list) and len(value) > LIST_MAX:
            raise ModelUnavailable(f"{path} has {len(value)} entries in {key[:100]!r}")
    return config


def check_inside(path: Path, folder: Path) -> None:
    """Refuse a link that leads out of a model's folder and of the models folder that it is in.

    Snapshots in the hub's cache consist of links to the blobs beside them.
    Raises: ModelUnavailable.
    """
    if not path.is_symlink() and not path.parent.is_symlink():
        return
    try:
        real, own = path.resolve(), folder.resolve()
    except (OSError, RuntimeError):
        raise ModelUnavailable(f"{path} is a link that leads to itself") from None
    roots = [own, folder.parent.resolve()]
    if own.parent.name == "snapshots":
        roots.append(own.parents[1] / "blobs")
    if not any(real.is_relative_to(root) for root in roots):
        raise ModelUnavailable(f"{path} is a link to {real}, outside the model's folder")


def check_part(folder: Path, name: str) -> None:
    """Refuse a component's folder with anything that leads out of it, never ends, or runs code.

    The libraries that load it open more than its weights: an adapter's config, indexes of shards,
    a tokenizer's files.
    Raises: ModelUnavailable: naming the file.
    """
    part = folder / name
    for path in sorted(part.iterdir()):
        check_inside(path, folder)
        if path.name == _ADAPTER:
            raise ModelUnavailable(
                f"{path} names an adapter, which may lie anywhere and be a pickle; take it out of "
                "the folder"
            )
        if path.is_dir():
            continue
        size = _regular(path)
        if path.suffix in (".txt", ".model", ".json") and size > _TOKENIZER_MAX:
            raise ModelUnavailable(f"{path} has {size} bytes; {_TOKENIZER_MAX} are the most")
        if path.name.endswith(".safetensors.index.json"):
            _check_shards(path)
        if path.name == "tokenizer_config.json":
            _check_tokenizer(path)


def _regular(path: Path) -> int:
    try:
        return regular_size(path)
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror}") from None


def _check_shards(path: Path) -> None:
    """Raises: ModelUnavailable: if an index names anything but weights beside it."""
    shards = read_json(path).get("weight_map")
    files = set(map(str, shards.values())) if isinstance(shards, dict) else {""}
    there = {file.name for file in path.parent.glob("*.safetensors")}
    if wrong := sorted(files - there):
        raise ModelUnavailable(
            f"{path} names {shortened(wrong[0], 100)!r}, which are no weights beside it"
        )


def _check_tokenizer(path: Path) -> None:
    """Raises: ModelUnavailable: if a tokenizer's config names files that are not beside it."""
    config = read_json(path)
    for key in _PATHS:
        value = config.get(key)
        if value is not None and Path(str(value).removeprefix("./")).name != value:
            raise ModelUnavailable(
                f"{path} names {shortened(str(value), 100)!r} as {key}, which is not beside it"
            )


def weight_files(folder: Path, name: str) -> list[Path]:
    """List a component's safetensors files, headers checked; [] for those without weights.

    Where a plain file and an fp16 variant lie side by side, only the plain one counts.
    Raises: ModelUnavailable: if there are only pickles, or a file is broken.
    """
    part = folder / name
    if not part.is_dir():
        raise ModelUnavailable(f"{part} is missing; the model folder is not complete")
    check_part(folder, name)
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
    """Read a variant from a file's name: `fp16` of `model.fp16.safetensors`; None if plain."""
    parts = file.name.removesuffix(".safetensors").split(".")
    return parts[1].split("-")[0] if len(parts) > 1 else None


def weight_shapes(folder: Path, name: str) -> dict[str, tuple[int, ...]]:
    """Read names and shapes of a component's tensors, from headers. Raises: ModelUnavailable."""
    return shapes_of(weight_files(folder, name))
