"""Font file: which characters a font has, read from its `cmap` table.

Source: OpenType specification, chapters "Font file" and "cmap"; formats 4, 12 and 13.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

_CMAP_MAX = 2**22
_COLOUR = {b"CBDT", b"sbix", b"COLR"}


@dataclass(frozen=True, slots=True)
class Coverage:
    """Characters of a font.

    Attributes:
        starts, ends: of ranges of code points, ascending, ends included.
        colour: whether it has pictures in colour.
    """

    starts: tuple[int, ...] = ()
    ends: tuple[int, ...] = ()
    colour: bool = False

    def __contains__(self, character: str) -> bool:
        code = ord(character)
        place = bisect_right(self.starts, code) - 1
        return place >= 0 and code <= self.ends[place]


@cache
def coverage(path: Path, index: int) -> Coverage:
    """Read what a font has; nothing where it cannot be read.

    Args:
        index: of the font in a collection; 0 for a single one.
    """
    try:
        with path.open("rb") as file:
            return _read(file, index)
    except (OSError, struct.error, ValueError, IndexError):
        return Coverage()


def _read(file: BinaryIO, index: int) -> Coverage:
    start = 0
    if file.read(4) == b"ttcf":
        file.seek(12 + 4 * index)
        (start,) = struct.unpack(">I", file.read(4))
    file.seek(start + 4)
    (count,) = struct.unpack(">H", file.read(2))
    file.seek(start + 12)
    rows = [struct.unpack(">4sIII", file.read(16)) for _ in range(count)]
    tables = {tag: (offset, length) for tag, _, offset, length in rows}
    if b"cmap" not in tables:
        return Coverage()
    offset, length = tables[b"cmap"]
    file.seek(offset)
    ranges = _ranges(file.read(min(length, _CMAP_MAX)))
    return Coverage(
        tuple(first for first, _ in ranges),
        tuple(last for _, last in ranges),
        colour=bool(_COLOUR & tables.keys()),
    )


def _ranges(table: bytes) -> list[tuple[int, int]]:
    """Ranges of the widest Unicode sub-table, ascending."""
    (count,) = struct.unpack_from(">H", table, 2)
    best: tuple[int, int] | None = None
    for number in range(count):
        platform, encoding, offset = struct.unpack_from(">HHI", table, 4 + 8 * number)
        (form,) = struct.unpack_from(">H", table, offset)
        unicode = platform == 0 or (platform == 3 and encoding in (1, 10))
        if unicode and form in (4, 12, 13) and (best is None or form > best[0]):
            best = (form, offset)
    if best is None:
        return []
    read = _segments if best[0] == 4 else _groups
    return sorted(read(table, best[1]))


def _groups(table: bytes, at: int) -> list[tuple[int, int]]:
    (count,) = struct.unpack_from(">I", table, at + 12)
    found = [struct.unpack_from(">III", table, at + 16 + 12 * i) for i in range(min(count, 2**18))]
    return [(first, last) for first, last, _ in found]


def _segments(table: bytes, at: int) -> list[tuple[int, int]]:
    (twice,) = struct.unpack_from(">H", table, at + 6)
    count = twice // 2
    ends = struct.unpack_from(f">{count}H", table, at + 14)
    starts = struct.unpack_from(f">{count}H", table, at + 16 + twice)
    offsets_at = at + 16 + 3 * twice
    offsets = struct.unpack_from(f">{count}H", table, offsets_at)
    ranges = []
    for i, (first, last, offset) in enumerate(zip(starts, ends, offsets, strict=True)):
        if first == 0xFFFF or first > last:
            continue
        if offset == 0:
            ranges.append((first, last))
            continue
        place = offsets_at + 2 * i + offset
        glyphs = struct.unpack_from(f">{last - first + 1}H", table, place)
        ranges += [(first + n, first + n) for n, glyph in enumerate(glyphs) if glyph]
    return ranges
