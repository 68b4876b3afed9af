"""Header: the table of tensors at the start of a file, apart from what the file says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TensorRow:
    """One tensor of a file.

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
    """What a file says before its tensors.

    Attributes:
        rows: name of each tensor to its row, in the file's order.
        metadata: what the file says of itself in words.
    """

    rows: Mapping[str, TensorRow]
    metadata: Mapping[str, Any]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the tensors."""
        return {name: row.shape for name, row in self.rows.items()}
