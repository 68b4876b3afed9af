"""Carriers of settings: finds the texts in a PNG, JPEG, WebP, AVIF or other picture."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from pipelines.errors import InvalidRequest
from pipelines.runs.metadata.carriers.exif import decode, exif_texts
from pipelines.runs.metadata.carriers.png_chunks import SIGNATURE, read_png
from pipelines.runs.metadata.parts.json_text import TEXT_MAX
from pipelines.utils.images import GRID_PIXELS_MAX, PIXELS_MAX

SHEET = "contact_sheet_sheet"
"""Keyword of a sheet in the grid of its cells, which may be larger than a single picture."""
# ComfyUI and its nodes name a graph inside the text of an EXIF tag.
_NAMED = re.compile(r"\s*(prompt|workflow|parameters|generation_data)\s*:\s*(?=\{)", re.IGNORECASE)
_XMP_COMMENT = re.compile(
    r"<(exif:UserComment|dc:description)\b[^>]{0,200}>\s{0,99}(?:<rdf:(?:Alt|Seq|Bag)>\s{0,99})?"
    r"(?:<rdf:li[^>]{0,200}>)?([^<]*)<"
)
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_SEGMENTS_MAX = 10_000


def read_texts(path: Path) -> dict[str, str]:
    """Read all texts of a picture by keyword; of equal keywords the first that says something.

    Only headers are read, no pixels.
    Raises: InvalidRequest: if the file is no picture, too large or damaged.
    """
    try:
        with path.open("rb") as file:
            start = file.read(16)
            file.seek(0)
            if start.startswith(SIGNATURE):
                return _png(path, file)
            if start.startswith(b"\xff\xd8"):
                found = list(_jpeg(file))
            elif start[:4] == b"RIFF" and start[8:12] == b"WEBP":
                found = list(_webp(file))
            else:
                found = []
    except FileNotFoundError:
        raise InvalidRequest(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{path} cannot be read as a picture: {_reason(error)}") from None
    return _by_keyword([*found, *_pillow(path, bool(found))])


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _png(path: Path, file: BinaryIO) -> dict[str, str]:
    found = read_png(file)
    texts = _by_keyword(found.texts)
    _check_size(path, found.width, found.height, GRID_PIXELS_MAX if SHEET in texts else PIXELS_MAX)
    if not texts and not found.whole:
        raise InvalidRequest(f"{path} cannot be read as a picture: it is cut off")
    return texts


def _check_size(path: Path, width: int, height: int, pixels_max: int = PIXELS_MAX) -> None:
    from PIL import Image

    # Twice Pillow's own limit is where it takes a picture for an attack.
    if Image.MAX_IMAGE_PIXELS and width * height > 2 * Image.MAX_IMAGE_PIXELS:
        raise InvalidRequest(f"{path} has too many pixels: {width} × {height}")
    if width * height > pixels_max:
        raise InvalidRequest(f"{path} has {width} × {height} pixels; at most {pixels_max} are read")


def _pillow(path: Path, known: bool) -> list[tuple[str, str]]:
    """Let Pillow judge whether it is a picture, and read carriers that have no reader here."""
    import warnings

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            opened = Image.open(path)
        with opened as image:
            size, info = image.size, dict(image.info)
    except Image.DecompressionBombError as error:
        raise InvalidRequest(f"{path} has too many pixels: {error}") from None
    except Exception as error:
        # Pillow's readers of some twenty formats raise whatever damaged bytes lead to.
        if known:
            return []
        raise InvalidRequest(
            f"{path} cannot be read as a picture: {_reason(error) or type(error).__name__}"
        ) from None
    _check_size(path, *size)
    if known:
        return []
    found: list[tuple[str, str]] = []
    for key, value in info.items():
        if key == "exif" and isinstance(value, bytes):
            found += exif_texts(value)
        elif key in ("xmp", "XML:com.adobe.xmp"):
            found += _xmp(value if isinstance(value, bytes) else str(value).encode())
        elif isinstance(value, str | bytes) and isinstance(key, str):
            found.append((key, value if isinstance(value, str) else decode(value[:TEXT_MAX])))
    return found


def _jpeg(file: BinaryIO) -> Iterator[tuple[str, str]]:
    file.seek(2)
    for _ in range(_SEGMENTS_MAX):
        head = file.read(2)
        while len(head) == 2 and head[0] == 0xFF and head[1] == 0xFF:
            head = head[1:] + file.read(1)  # fill bytes
        # Pictures begin at 0xDA; a file may end anywhere.
        if len(head) < 2 or head[0] != 0xFF or head[1] in (0xD9, 0xDA):
            return
        length = file.read(2)
        if len(length) < 2:
            return
        data = file.read(max(0, struct.unpack(">H", length)[0] - 2))
        if head[1] == 0xFE:
            yield "comment", decode(data)
        elif head[1] == 0xE1 and data.startswith(b"Exif\0\0"):
            yield from exif_texts(data)
        elif head[1] == 0xE1 and data.startswith(_XMP):
            yield from _xmp(data[len(_XMP) :])


def _webp(file: BinaryIO) -> Iterator[tuple[str, str]]:
    file.seek(12)
    for _ in range(_SEGMENTS_MAX):
        head = file.read(8)
        if len(head) < 8:
            return
        kind, length = struct.unpack("<4sI", head)
        if kind not in (b"EXIF", b"XMP ") or length > TEXT_MAX:
            file.seek(length + length % 2, 1)
            continue
        data = file.read(length)
        file.seek(length % 2, 1)
        yield from exif_texts(data) if kind == b"EXIF" else _xmp(data)


def _xmp(data: bytes) -> list[tuple[str, str]]:
    import html

    text = data[: 2**20].decode("utf-8", "replace")
    return [(match[1], html.unescape(match[2])) for match in _XMP_COMMENT.finditer(text)]


def _by_keyword(found: Iterable[tuple[str, str]]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for key, text in found:
        named = _NAMED.match(text[:200])
        if named is not None:
            key, text = named[1].lower(), text[named.end() :]
        if text.strip("\0 \n"):
            # Tools spell keywords in several ways.
            while key in texts and texts[key] != text and len(key) < 40:
                key += "'"
            texts.setdefault(key, text)
    return texts


def first(texts: Mapping[str, str], *keys: str) -> str:
    """The first of these keywords' texts, letter case apart; empty if there is none."""
    folded = {key.lower(): text for key, text in reversed(list(texts.items()))}
    return next((folded[key.lower()] for key in keys if key.lower() in folded), "")
