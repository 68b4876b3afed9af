"""Tensor files: reads headers of safetensors and GGUF files, refuses pickles.

No tensor is read here, and nothing imports torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipelines.checkpoints.formats import gguf_header, safetensors_header
from pipelines.checkpoints.single_file import GGUF
from pipelines.errors import ModelUnavailable

PICKLES = frozenset({".ckpt", ".bin", ".pt", ".pth", ".pkl", ".pickle"})
ENDINGS = frozenset({".safetensors", GGUF})
"""How single files end that are models."""


def refuse_pickle(path: Path) -> None:
    """Raises: ModelUnavailable: if a path ends as pickles do."""
    if path.suffix.lower() in PICKLES:
        raise ModelUnavailable(
            f"{path} is a pickle checkpoint, which can run any code when it is opened; "
            "convert it to safetensors and use that"
        )


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
    return safetensors_header.parse(path, size)


def stored_bytes(file: Path) -> int:
    """Bytes of a file's tensors as they are in it."""
    rows = [row for key, row in read_header(file).items() if key != "__metadata__"]
    return max((int(row["data_offsets"][1]) for row in rows), default=0)


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
