"""The table at the start of a safetensors file, checked against the file's size."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import ModelUnavailable

HEADER_MAX = 100 * 2**20
"""Bytes; a longer one is none. The format's own limit."""


def parse(path: Path, size: int) -> Mapping[str, Any]:
    """Tensor name to its row, beside them `__metadata__`; no tensor is read.

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
            header = json.loads(file.read(length))
            rows = [row for key, row in header.items() if key != "__metadata__"]
            ends = [int(row["data_offsets"][1]) for row in rows]
            _ = [math.prod(map(int, row["shape"])) for row in rows]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise ModelUnavailable(f"{path} is not a safetensors file: bad header") from None
    expected = 8 + length + max(ends, default=0)
    if size != expected:
        raise ModelUnavailable(
            f"{path} is damaged: it has {size} bytes where its header says {expected}; "
            "fetch it again"
        )
    table: Mapping[str, Any] = header
    return table
