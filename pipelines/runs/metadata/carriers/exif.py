"""EXIF texts: reads a TIFF structure in both byte orders, and text in all encodings tools write."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pipelines.runs.metadata.parts.json_text import TEXT_MAX

NAMES = {
    0x010D: "DocumentName",
    0x010E: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    0x0131: "Software",
    0x013B: "Artist",
    0x8298: "Copyright",
    0x9286: "UserComment",
    0x927C: "MakerNote",
    0x9C9B: "XPTitle",
    0x9C9C: "XPComment",
    0xA420: "ImageUniqueID",
}
_EXIF_FOLDER = 0x8769
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 7: 1, 13: 4, 129: 1}
_TEXT_TYPES = {1, 2, 7, 129}
_ENTRIES_MAX = 1000
_FOLDERS_MAX = 8


def exif_texts(data: bytes) -> list[tuple[str, str]]:
    """Read the texts of an EXIF block, by tag names; tags without a name are `0x....`."""
    if data.startswith(b"Exif\0\0"):
        data = data[6:]
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return []
    found = []
    for tag, raw in _entries(data, order):
        text = decode(raw, order, utf16=0x9C9B <= tag <= 0x9C9F)
        if text:
            found.append((NAMES.get(tag, f"0x{tag:04x}"), text))
    return found


def decode(raw: bytes, order: str = ">", utf16: bool = False) -> str:
    """Decode a text: after UserComment's eight bytes of encoding, or as it looks.

    Args:
        order: of the block's numbers, "<" or ">"; UTF-16 is often written in the other one.
        utf16: whether the tag is always UTF-16, as Windows' are.
    """
    head, body = raw[:8], raw[8:]
    if head == b"UNICODE\0":
        # Some tools write UTF-8 under this heading.
        wide = _looks_like_utf16(body) or not _is_utf8(body)
        return _utf16(body, order) if wide else as_bytes(body)
    if head in (b"ASCII\0\0\0", b"JIS\0\0\0\0\0", bytes(8)):
        return _utf16(body, order) if _looks_like_utf16(body) else as_bytes(body)
    if utf16:
        return _utf16(raw, "<")
    return _utf16(raw, order) if _looks_like_utf16(raw) else as_bytes(raw)


def _looks_like_utf16(raw: bytes) -> bool:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return True
    # Settings have many signs of ASCII, whose other byte is nought.
    return max(raw[0::2].count(0), raw[1::2].count(0)) * 8 > len(raw) > 1


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _utf16(raw: bytes, order: str) -> str:
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        order, raw = ("<" if raw[0] == 0xFF else ">"), raw[2:]
    else:
        # The byte that is nought more often is the upper one, whatever the block's order is.
        upper, lower = raw[0::2].count(0), raw[1::2].count(0)
        order = ">" if upper > lower else "<" if lower > upper else order
    return raw.decode("utf-16-le" if order == "<" else "utf-16-be", "replace").strip("\0")


def as_bytes(raw: bytes) -> str:
    """Decode UTF-8, or Latin-1 where it is none."""
    raw = raw.removeprefix(b"\xef\xbb\xbf").strip(b"\0")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _entries(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    if len(data) < 8:
        return
    folders: list[int] = [struct.unpack_from(order + "I", data, 4)[0]]
    seen: set[int] = set()
    budget = TEXT_MAX
    while folders and len(seen) < _FOLDERS_MAX:
        start = folders.pop(0)
        if start in seen or start + 2 > len(data):
            continue
        seen.add(start)
        count = min(struct.unpack_from(order + "H", data, start)[0], _ENTRIES_MAX)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            if place + 12 > len(data):
                break
            tag, kind, length = struct.unpack_from(order + "HHI", data, place)
            if tag == _EXIF_FOLDER:
                folders.append(struct.unpack_from(order + "I", data, place + 8)[0])
                continue
            size = length * _SIZES.get(kind, 0)
            if kind not in _TEXT_TYPES or not 0 < size <= budget:
                continue
            at = place + 8 if size <= 4 else struct.unpack_from(order + "I", data, place + 8)[0]
            # What lies beyond the end was cut off; what is left may still be read.
            raw = data[at : at + size]
            budget -= len(raw)
            if raw:
                yield tag, raw
