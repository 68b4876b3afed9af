"""Safetensors header: parses the table at the start of a file and checks the file's size.

A file may come from anybody: before the table is parsed its length and its parts are counted, so
that no header takes long or much memory.
"""

from __future__ import annotations

import json
import re
import struct
from math import prod
from pathlib import Path
from typing import Any, TypeGuard

from pipelines.checkpoints.formats.header import Header, TensorRow
from pipelines.errors import ModelUnavailable

HEADER_MAX = 16 * 2**20
"""Bytes; the format allows 100 MB, and the longest known hold a trainer's list of tags."""

_METADATA = "__metadata__"
_PARTS_MAX = 1_000_000
"""Texts, brackets and commas outside of texts; a tensor has some twenty."""
_TEXT = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NAME_MAX = 255
_SIDES_MAX, _SIDE_MAX, _NUMBERS_MAX = 8, 2**32, 2**44
"""Of a shape: how many sides, the longest, and the most numbers of a tensor."""


class _Bad(Exception):
    """What is wrong with a header, as the end of a sentence."""


def parse(path: Path, size: int) -> Header:
    """Parse the header of a safetensors file; no tensor is read.

    Args:
        size: of the file, in bytes.
    Raises: ModelUnavailable: if the file is no safetensors file, or is cut short.
        OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if length > size - 8:
            raise ModelUnavailable(
                f"{path} is not a safetensors file, or it is cut short ({size} bytes)"
            )
        try:
            if length > HEADER_MAX:
                raise _Bad(f"bad header, of {length} bytes where {HEADER_MAX} are the most")
            header = _table(file.read(length))
        except _Bad as error:
            raise ModelUnavailable(f"{path} is not a safetensors file: {error}") from None
    expected = 8 + length + max((row.data_offsets[1] for row in header.rows.values()), default=0)
    if size != expected:
        raise ModelUnavailable(
            f"{path} is damaged: it has {size} bytes where its header says {expected}; "
            "fetch it again"
        )
    return header


def _table(data: bytes) -> Header:
    if data.count(b'"') > 2 * _PARTS_MAX:
        raise _Bad("bad header, of too many texts")
    bare = _TEXT.sub(b'"', data)
    if sum(map(bare.count, (b'"', b"[", b"{", b","))) > _PARTS_MAX:
        raise _Bad("bad header, of too many parts")
    try:
        table = json.loads(data, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise _Bad("bad header") from None
    if not isinstance(table, dict):
        raise _Bad("bad header")
    metadata = table.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _Bad("bad header, whose metadata are no texts")
    rows = {name: _row(name, row) for name, row in table.items()}
    end = 0
    for start, stop in sorted(row.data_offsets for row in rows.values()):
        if start != end:
            raise _Bad("bad header, whose tensors do not lie one after the other")
        end = stop
    return Header(rows, metadata)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of the table, none of whose names stands there twice."""
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Bad("bad header, which says something twice")
    return made


def _row(name: str, row: Any) -> TensorRow:
    if len(name) > _NAME_MAX:
        raise _Bad(f"bad header, with a name of {len(name)} letters")
    given = row if isinstance(row, dict) else {}
    dtype, shape, places = (given.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or len(dtype) > 16:
        raise _Bad("bad header")
    if not _counts(shape) or len(shape) > _SIDES_MAX or any(n > _SIDE_MAX for n in shape):
        raise _Bad("bad header, with a shape that is none")
    if prod(shape) > _NUMBERS_MAX or not _counts(places) or len(places) != 2:
        raise _Bad("bad header, with a tensor that no file holds")
    start, end = places
    if start > end:
        raise _Bad("bad header, with a tensor that ends before it begins")
    return TensorRow(dtype, tuple(shape), (start, end))


def _counts(value: Any) -> TypeGuard[list[int]]:
    """Whether it is a list of whole numbers from 0."""
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)
