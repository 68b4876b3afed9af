"""Safetensors header: parses the table at the start of a file and checks the file's size."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from pipelines.checkpoints.formats.header import Header, TensorRow
from pipelines.errors import ModelUnavailable

HEADER_MAX = 100 * 2**20
"""Bytes; a longer one is none. The format's own limit."""

_METADATA = "__metadata__"


def parse(path: Path, size: int) -> Header:
    """Parse the header of a safetensors file; no tensor is read.

    Args:
        size: of the file, in bytes.
    Raises: ModelUnavailable: if the file is no safetensors file, or is cut short.
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else HEADER_MAX + 1
        if length > min(HEADER_MAX, size - 8):
            raise ModelUnavailable(
                f"{path} is not a safetensors file, or it is cut short ({size} bytes)"
            )
        try:
            table = json.loads(file.read(length))
            rows = {name: _row(row) for name, row in table.items() if name != _METADATA}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise ModelUnavailable(f"{path} is not a safetensors file: bad header") from None
    expected = 8 + length + max((row.data_offsets[1] for row in rows.values()), default=0)
    if size != expected:
        raise ModelUnavailable(
            f"{path} is damaged: it has {size} bytes where its header says {expected}; "
            "fetch it again"
        )
    metadata = table.get(_METADATA)
    return Header(rows, metadata if isinstance(metadata, dict) else {})


def _row(row: Any) -> TensorRow:
    """Raises: ValueError, LookupError, TypeError, AttributeError: if it is no tensor's row."""
    start, end = row["data_offsets"]
    shape = tuple(map(int, row["shape"]))
    return TensorRow(str(row.get("dtype")), shape, (int(start), int(end)))
