"""Tensor files: reads headers of safetensors and GGUF files, refuses pickles.

No tensor is read here, and nothing imports torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.checkpoints.formats import gguf_header, safetensors_header
from pipelines.checkpoints.formats.gguf_header import GGUF
from pipelines.checkpoints.formats.header import Header
from pipelines.errors import ModelUnavailable
from pipelines.utils.file_cache import cached_by_file
from pipelines.utils.files import regular_size

PICKLES = frozenset({".ckpt", ".bin", ".pt", ".pth", ".pkl", ".pickle"})
ENDINGS = frozenset({".safetensors", GGUF})
"""How single files end that are models."""


def refuse_pickle(path: Path) -> None:
    """Refuse a path that ends as pickles do. Raises: ModelUnavailable."""
    if path.suffix.lower() in PICKLES:
        raise ModelUnavailable(
            f"{path} is a pickle checkpoint, which can run any code when it is opened; "
            "convert it to safetensors and use that"
        )


def read_header(path: Path) -> Header:
    """Read the header of a safetensors or GGUF file, without its tensors.

    Raises: ModelUnavailable: if the file is not what its name says, or is cut short.
    """
    try:
        return _parsed(path)
    except OSError as error:
        raise ModelUnavailable(f"{path} cannot be read: {error.strerror}") from None


@cached_by_file(most=256)
def _parsed(path: Path) -> Header:
    parse = gguf_header.parse if path.suffix.lower() == GGUF else safetensors_header.parse
    return parse(path, regular_size(path))


def stored_bytes(file: Path) -> int:
    """Count the bytes of a file's tensors as they are in it."""
    rows = read_header(file).rows.values()
    return max((row.data_offsets[1] for row in rows), default=0)


def shapes_of(files: Sequence[Path]) -> dict[str, tuple[int, ...]]:
    """Read names and shapes of the tensors of these files, from headers."""
    return {name: shape for file in files for name, shape in read_header(file).shapes.items()}


def is_file(path: Path) -> bool:
    """Tell whether a file is there; also false for a name that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False
