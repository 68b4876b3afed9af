"""Header: the table of tensors at the start of a file, apart from what the file says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TensorRow:
    """Tensor row: tells a tensor's type, its shape, and where it lies in a file.

    Attributes:
        dtype: as the format names it, such as `F16` or `Q4_K`.
        data_offsets: where its bytes begin and end: after the header in a safetensors file, from
            the start of the file in a GGUF file.
    """

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Header:
    """Header of a file: holds a row for each tensor, and the metadata.

    Attributes:
        rows: name of each tensor to its row, in the file's order.
        metadata: what the file says of itself in words.
    """

    rows: Mapping[str, TensorRow]
    metadata: Mapping[str, Any]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors, by name."""
        return {name: row.shape for name, row in self.rows.items()}
