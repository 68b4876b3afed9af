"""Pictures with settings as other tools write them: a function a carrier."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

HEADS = {
    "unicode": b"UNICODE\0",
    "ascii": b"ASCII\0\0\0",
    "jis": b"JIS\0\0\0\0\0",
    "undefined": bytes(8),
    "none": b"",
}


def png(path: Path, texts: Mapping[str, str], itxt: bool = False) -> Path:
    """A PNG with texts, tEXt as far as Latin-1 goes."""
    info = PngInfo()
    for key, text in texts.items():
        if itxt:
            info.add_itxt(key, text)
        else:
            info.add_text(key, text)
    Image.new("RGB", (8, 8), "red").save(path, pnginfo=info)
    return path


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    """One chunk of a PNG; its checksum may be wrong."""
    right = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc or right)


def png_of(path: Path, *chunks: bytes) -> Path:
    """A PNG of 8 × 8 with these chunks before its pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(8 * 25)))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + pixels + chunk(b"IEND", b"")
    )
    return path


def exif(
    tags: Mapping[int, bytes], order: str = "<", sub: Mapping[int, bytes] | None = None
) -> bytes:
    """An EXIF block: tags of IFD0 as ASCII, those of the EXIF folder as undefined."""
    sub = sub or {}
    entries = sorted([*tags, *([0x8769] if sub else [])])
    at = 8 + 2 + 12 * len(entries) + 4
    body, later = b"", b""
    for tag in entries:
        if tag == 0x8769:
            continue
        raw = tags[tag]
        body_at = at + len(later)
        value = raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack(order + "I", body_at)
        body += struct.pack(order + "HHI", tag, 2, len(raw)) + value
        later += raw if len(raw) > 4 else b""
    if sub:
        body += struct.pack(order + "HHII", 0x8769, 4, 1, at + len(later))
        start = at + len(later) + 2 + 12 * len(sub) + 4
        inner, end = b"", b""
        for tag, raw in sorted(sub.items()):
            inner += struct.pack(order + "HHII", tag, 7, len(raw), start + len(end))
            end += raw
        later += struct.pack(order + "H", len(sub)) + inner + bytes(4) + end
    mark = b"II*\0" if order == "<" else b"MM\0*"
    count = struct.pack(order + "H", len(entries))
    return mark + struct.pack(order + "I", 8) + count + body + bytes(4) + later


def user_comment(text: str, head: str, encoding: str, order: str) -> bytes:
    """An EXIF block with a UserComment."""
    return exif({}, order, {0x9286: HEADS[head] + text.encode(encoding)})


def with_exif(path: Path, block: bytes) -> Path:
    """A picture of the path's format with this EXIF block."""
    if path.suffix == ".png":
        return png_of(path, chunk(b"eXIf", block))
    Image.new("RGB", (16, 16), "red").save(path, exif=b"Exif\0\0" + block)
    return path


def with_hidden_text(path: Path, text: bytes, mark: bytes) -> Path:
    """A PNG with a text in the lowest bits of its alpha, down the columns."""
    data = mark + struct.pack(">I", 8 * len(text)) + text
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    width, height = 64, -(-len(bits) // 64) + 1
    alpha = np.full(width * height, 254, np.uint8)
    alpha[: len(bits)] |= bits
    pixels = np.full((height, width, 4), 128, np.uint8)
    pixels[:, :, 3] = alpha.reshape(width, height).T
    Image.fromarray(pixels).save(path)
    return path
