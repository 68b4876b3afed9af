"""GGUF header: parses the table at the start of a file and checks the file's size.

A GGUF file is magic, version and two counts; then pairs of keys and values; then a row for each
tensor; then, aligned, the tensors. All numbers are little-endian, and a shape begins with the
dimension that changes fastest, which comes last in torch.

Source: ggml-org/ggml, docs/gguf.md; `ggml_type` and the sizes of its blocks in ggml.h.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import BinaryIO

from pipelines.checkpoints.formats.header import Header, TensorRow
from pipelines.errors import ModelUnavailable

GGUF = ".gguf"
"""How the files' names end."""
ARCHITECTURE = "general.architecture"
PLAIN = {"F32": 4, "F16": 2, "BF16": 2}
"""Types that torch has as well, and bytes of a number."""
BLOCKS = {
    "Q4_0": (32, 18), "Q4_1": (32, 20), "Q5_0": (32, 22), "Q5_1": (32, 24), "Q8_0": (32, 34),
    "Q2_K": (256, 84), "Q3_K": (256, 110), "Q4_K": (256, 144), "Q5_K": (256, 176),
    "Q6_K": (256, 210), "IQ4_NL": (32, 18), "IQ4_XS": (256, 136),
}  # fmt: skip
"""Types in blocks of so many numbers of one row, in so many bytes: those diffusers can read."""

_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K",
    11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 20: "IQ4_NL", 23: "IQ4_XS", 30: "BF16",
}  # fmt: skip
_VERSIONS = (2, 3)
_ALIGNMENT = "general.alignment"
_CUT_ANEW = "comfy.gguf.orig_shape."
_VALUE_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_UINT32, _STRING, _ARRAY = 4, 8, 9
_NAME_MAX = 1024
_READS_MAX = 20_000
"""No denoiser's header needs so many; a language model's list of words does, and takes long."""


class _Bad(Exception):
    """What is wrong with a file, as the end of a sentence that begins with its name."""


def parse(path: Path, size: int) -> Header:
    """Parse the header of a GGUF file; no tensor is read.

    Its metadata are the architecture, "" where the file says none.

    Args:
        size: of the file, in bytes.
    Raises: ModelUnavailable: if the file is no GGUF file, is cut short, or stores a tensor in a
        type that is not read. OSError: if it cannot be read.
    """
    with path.open("rb") as file:
        try:
            return _table(_Reader(file, size))
        except _Bad as error:
            raise ModelUnavailable(f"{path} {error}") from None


def type_name(kind: int) -> str:
    """Name a type of GGML by its number in a file; "" for one that is not read."""
    return _TYPES.get(kind, "")


def is_packed(name: str, row: TensorRow) -> bool:
    """Tell whether a tensor stays in blocks in memory: those of linear layers do."""
    return row.dtype in BLOCKS and len(row.shape) == 2 and name.endswith(".weight")


def bytes_in_memory(rows: Mapping[str, TensorRow], item: int) -> int:
    """Count the bytes of loaded tensors, where numbers outside of blocks take `item` bytes."""
    return sum(
        row.data_offsets[1] - row.data_offsets[0]
        if is_packed(name, row)
        else prod(row.shape) * item
        for name, row in rows.items()
    )


class _Reader:
    """Reads on, and never beyond the file."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._reads = 0
        self.size = size
        self.place = 0
        self.architecture = ""

    def expect(self, reads: int) -> None:
        """Told before many reads, so that too many are not begun."""
        if self._reads + reads > _READS_MAX:
            said = f" (its architecture is {self.architecture!r})" if self.architecture else ""
            raise _Bad(f"is no denoiser: its header is longer than any of those{said}")

    def take(self, count: int) -> bytes:
        self.expect(1)
        self._reads += 1
        data = self._file.read(count) if count <= self.size - self.place else b""
        if len(data) != count:
            raise _Bad(f"is not a GGUF file, or it is cut short ({self.size} bytes)")
        self.place += count
        return data

    def skip(self, count: int) -> None:
        if count > self.size - self.place:
            raise _Bad(f"is not a GGUF file, or it is cut short ({self.size} bytes)")
        self.place = self._file.seek(count, 1)

    def number(self, bytes: int) -> int:
        return int.from_bytes(self.take(bytes), "little")

    def name(self) -> str:
        length = self.number(8)
        if length > _NAME_MAX:
            raise _Bad("is not a GGUF file: bad header")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError:
            raise _Bad("is not a GGUF file: bad header") from None


def _table(reader: _Reader) -> Header:
    if reader.take(4) != b"GGUF":
        raise _Bad("is not a GGUF file")
    version = reader.number(4)
    if version not in _VERSIONS:
        swapped = int.from_bytes(version.to_bytes(4, "big"), "little") in _VERSIONS
        what = "big-endian" if swapped else f"of version {version}"
        raise _Bad(f"is a GGUF file {what}; little-endian ones of version 2 or 3 are read")
    tensors, pairs = reader.number(8), reader.number(8)
    reader.expect(pairs + tensors)
    alignment = 32
    for _ in range(pairs):
        alignment = _pair(reader) or alignment
    rows: dict[str, TensorRow] = {}
    for _ in range(tensors):
        name = reader.name()
        if name in rows:
            raise _Bad(f"is damaged: its header has {name!r} twice")
        rows[name] = _row(reader, name)
    begin = _padded(reader.place, alignment)
    _check_places([row.data_offsets for row in rows.values()], begin, reader, alignment)
    placed = {name: _moved(row, begin) for name, row in rows.items()}
    return Header(placed, {ARCHITECTURE: reader.architecture})


def _pair(reader: _Reader) -> int:
    """Reads on over a key and its value. Returns: the alignment, if that was it; else 0."""
    key, kind = reader.name(), reader.number(4)
    if key.startswith(_CUT_ANEW):
        raise _Bad(
            "is a GGUF file whose tensors have other shapes than the model's, as those of SD and "
            "SDXL have; take the safetensors file"
        )
    if key == ARCHITECTURE and kind == _STRING:
        reader.architecture = reader.name()
    elif key == _ALIGNMENT and kind == _UINT32:
        alignment = reader.number(4)
        if alignment == 0 or alignment % 8:
            raise _Bad(f"is not a GGUF file: its alignment is {alignment}")
        return alignment
    elif kind == _ARRAY:
        inner, count = reader.number(4), reader.number(8)
        if inner == _STRING:
            reader.expect(count)
            for _ in range(count):
                reader.skip(reader.number(8))
        else:
            reader.skip(count * _bytes_of(inner))
    elif kind == _STRING:
        reader.skip(reader.number(8))
    else:
        reader.skip(_bytes_of(kind))
    return 0


def _bytes_of(kind: int) -> int:
    if kind not in _VALUE_BYTES:
        raise _Bad("is not a GGUF file: bad header")
    return _VALUE_BYTES[kind]


def _row(reader: _Reader, name: str) -> TensorRow:
    """One tensor; its offsets still count from the first tensor's start."""
    dimensions = reader.number(4)
    if dimensions > 4:
        raise _Bad("is not a GGUF file: bad header")
    *shape, kind, start = struct.unpack(f"<{dimensions}QIQ", reader.take(8 * dimensions + 12))
    dtype = type_name(kind)
    if not dtype:
        raise _Bad(
            f"stores {name!r} as type {kind} of GGML, which is not read; these are: "
            f"{', '.join(_TYPES.values())}"
        )
    numbers, size = BLOCKS.get(dtype) or (1, PLAIN[dtype])
    first = shape[0] if shape else 1
    if first % numbers:
        raise _Bad(f"is damaged: {name!r} has rows of {first} numbers in blocks of {numbers}")
    end = start + prod(shape) // numbers * size
    return TensorRow(dtype, tuple(shape[::-1]), (start, end))


def _moved(row: TensorRow, by: int) -> TensorRow:
    start, end = row.data_offsets
    return replace(row, data_offsets=(start + by, end + by))


def _check_places(
    offsets: Sequence[tuple[int, int]], begin: int, reader: _Reader, alignment: int
) -> None:
    """Raises: _Bad: if the tensors do not lie one after the other, up to the file's end.

    Args:
        offsets: where each begins and ends, from the first one's start.
        begin: where that is in the file.
    """
    ordered = sorted(offsets)
    if any(start % alignment for start, _ in ordered) or any(
        before[1] > after[0] for before, after in pairwise(ordered)
    ):
        raise _Bad("is not a GGUF file: its tensors lie across each other")
    end = begin + ordered[-1][1] if ordered else reader.place
    # Some writers fill up after the last tensor as well, and some do not.
    if not end <= reader.size <= max(_padded(end, alignment), begin):
        raise _Bad(
            f"is damaged: it has {reader.size} bytes where its header says {end}; fetch it again"
        )


def _padded(place: int, alignment: int) -> int:
    return -(-place // alignment) * alignment
