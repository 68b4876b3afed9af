"""Hidden texts: settings in the lowest bits of a picture's pixels, as NovelAI writes them.

A mark, the length in bits, the text; down the columns, from the left.
Source: ashen-sensored/sd_webui_stealth_pnginfo; NovelAI/novelai-image-metadata.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.runs.metadata.carriers.png_chunks import unpack
from pipelines.runs.metadata.parts.json_text import TEXT_MAX
from pipelines.utils.images import PIXELS_MAX

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as Picture

_MARK = 15
_GZIP = zlib.MAX_WBITS | 16
_MARKS = {
    b"stealth_pnginfo": (3, False),
    b"stealth_pngcomp": (3, True),
    b"stealth_rgbinfo": (0, False),
    b"stealth_rgbcomp": (0, True),
}


def hidden_text(path: Path, pixels_max: int = PIXELS_MAX // 4) -> str:
    """Read the text in the pixels of a PNG or WebP; empty if there is none.

    Args:
        pixels_max: larger pictures are not decoded; no tool that hides texts makes them.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=("PNG", "WEBP")) as image:
            width, height = image.size
            if image.mode not in ("RGB", "RGBA") or width * height > pixels_max:
                return ""
            if width * height < 8 * (_MARK + 4) // 3:
                return ""
            if _mark(image.crop((0, 0, min(width, 1 + 8 * _MARK // height), height))) is None:
                return ""
            return _read(image)
    except Exception:
        # Pixels of a damaged file; all that was to be read from them is a hidden text.
        return ""


def _mark(part: Picture) -> tuple[int, bool] | None:
    import numpy as np

    pixels = np.asarray(part)
    if pixels.shape[2] == 4:
        found = _MARKS.get(_bytes(pixels[:, :, 3].T.reshape(-1), 0, _MARK))
        if found is not None:
            return found
    return _MARKS.get(_bytes(pixels[:, :, :3].transpose(1, 0, 2).reshape(-1), 0, _MARK))


def _read(image: Picture) -> str:
    import numpy as np

    found = _mark(image)
    if found is None:
        return ""
    channel, packed = found
    pixels = np.asarray(image)
    bits = (
        pixels[:, :, 3].T.reshape(-1)
        if channel == 3
        else pixels[:, :, :3].transpose(1, 0, 2).reshape(-1)
    )
    length = int.from_bytes(_bytes(bits, 8 * _MARK, 4), "big") // 8
    if not 0 < length <= min(TEXT_MAX, len(bits) // 8):
        return ""
    data: bytes | None = _bytes(bits, 8 * (_MARK + 4), length)
    if packed and data is not None:
        data = unpack(data, TEXT_MAX, _GZIP)
    return "" if data is None else data.decode("utf-8", "replace")


def _bytes(values: NDArray[np.uint8], start: int, count: int) -> bytes:
    import numpy as np

    return bytes(np.packbits(values[start : start + 8 * count] & 1))
