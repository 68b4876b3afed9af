"""PNG chunks: reads texts and EXIF as browsers would, whatever checksums and sizes say.

Pillow refuses a file for one wrong checksum, and all texts of a file for one that is large.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import BinaryIO

from pipelines.runs.metadata.carriers.exif import as_bytes, exif_texts
from pipelines.runs.metadata.parts.json_text import TEXT_MAX

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEY_MAX = 256
_CHUNKS_MAX = 100_000
_TOO_LARGE_MAX = 4
"""Compressed texts that may turn out too large before no more are unpacked."""


@dataclass
class PngTexts:
    """What the chunks of a PNG say: its size, its texts by keyword, and whether it is whole."""

    width: int = 0
    height: int = 0
    texts: list[tuple[str, str]] = field(default_factory=list)
    whole: bool = False


def read_png(file: BinaryIO) -> PngTexts:
    """Read the texts of a PNG file, up to its end or to where it is cut off.

    Raises: ValueError: if it does not begin as a PNG does.
    """
    if file.read(8) != SIGNATURE:
        raise ValueError("it is no PNG")
    found = PngTexts()
    budget, too_large = TEXT_MAX, 0
    for number in range(_CHUNKS_MAX):
        head = file.read(8)
        if len(head) < 8:
            return found
        length, kind = struct.unpack(">I4s", head)
        if number == 0:
            if kind != b"IHDR" or length != 13:
                raise ValueError("it is no PNG")
            data = file.read(17)
            if len(data) < 17:
                return found
            found.width, found.height = struct.unpack_from(">II", data)
            continue
        if kind == b"IEND":
            found.whole = True
            return found
        if kind not in (b"tEXt", b"zTXt", b"iTXt", b"eXIf") or length > TEXT_MAX:
            file.seek(length + 4, 1)
            continue
        data = file.read(length)
        file.seek(4, 1)
        if len(data) < length:
            return found
        read = _texts(kind, data, budget if too_large < _TOO_LARGE_MAX else 0)
        too_large += kind in (b"zTXt", b"iTXt") and not read
        for key, text in read:
            budget -= len(text)
            found.texts.append((key, text))
        if budget <= 0:
            return found
    return found


def _texts(kind: bytes, data: bytes, budget: int) -> list[tuple[str, str]]:
    if kind == b"eXIf":
        return exif_texts(data)
    name, nought, rest = data.partition(b"\0")
    if not nought or len(name) > _KEY_MAX:
        return []
    key = name.decode("latin-1")
    packed = False
    if kind == b"zTXt":
        packed, rest = True, rest[1:]
    elif kind == b"iTXt":
        packed, rest = rest[:1] == b"\1", rest[2:]
        # After the flag and the method: language, translated keyword, text.
        rest = [*rest.split(b"\0", 2), b"", b""][2]
    if packed:
        unpacked = unpack(rest, budget)
        if unpacked is None:
            return []
        rest = unpacked
    # The standard says Latin-1 for tEXt and zTXt; most tools write UTF-8, which it rarely is.
    if key.lower() == "raw profile type exif":
        return exif_texts(_profile(rest))
    return [(key, as_bytes(rest))]


def unpack(data: bytes, most: int, wbits: int = zlib.MAX_WBITS) -> bytes | None:
    """Decompress at most so many bytes; None if there are more, or the data are damaged."""
    if not most:
        return None
    try:
        unpacker = zlib.decompressobj(wbits)
        text = unpacker.decompress(data, most + 1)
    except zlib.error:
        return None
    return text if len(text) <= most else None


def _profile(text: bytes) -> bytes:
    """ImageMagick's way to keep EXIF in a PNG: a name, a length and hex digits."""
    try:
        return bytes.fromhex("".join(text.decode("latin-1").split()[2:]))
    except ValueError:
        return b""
