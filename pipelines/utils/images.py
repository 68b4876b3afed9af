"""Pictures from and to bytes: opens untrusted ones safely as RGB, hashes pixels, encodes PNG."""

from __future__ import annotations

import hashlib
import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InvalidRequest

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
PIXELS_MAX = 64 * 2**20
"""Pictures with more pixels are refused before they are decoded."""
GRID_PIXELS_MAX = 2**27
"""A sheet's grid is scaled down to so many pixels: other programs refuse larger pictures, Pillow
from 2**27.4 on."""


def open_picture(source: Path | bytes, pixels_max: int = PIXELS_MAX) -> Image:
    """Open a picture as RGB, upright as its camera was held, transparency over white.

    Only the header is read before the size is known to be allowed.
    Raises: InvalidRequest: if it is missing, of another type, animated, cut off or too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = str(source) if isinstance(source, Path) else "the picture"
    try:
        with warnings.catch_warnings():
            # Ours is the stricter limit, and an error.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(
                source if isinstance(source, Path) else BytesIO(source), formats=FORMATS
            )
        with opened:
            _check_header(opened, name, pixels_max)
            opened.load()
            return flatten(ImageOps.exif_transpose(opened))
    except FileNotFoundError:
        raise InvalidRequest(f"{name} does not exist") from None
    except Image.DecompressionBombError:
        raise InvalidRequest(
            f"{name} has too many pixels; at most {pixels_max:,} are allowed: make it smaller"
        ) from None
    except UnidentifiedImageError:
        raise InvalidRequest(
            f"{name} is no picture that can be read; allowed are {', '.join(FORMATS)}"
        ) from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidRequest(f"{name} is damaged or cut off: {error}; save it again") from None


def _check_header(picture: Image, name: str, pixels_max: int) -> None:
    pixels = picture.width * picture.height
    if pixels > pixels_max:
        raise InvalidRequest(
            f"{name} has {picture.width} × {picture.height} pixels; at most {pixels_max:,} "
            "are allowed: make it smaller"
        )
    frames = getattr(picture, "n_frames", 1)
    if frames > 1:
        raise InvalidRequest(f"{name} is animated ({frames} frames); give a single picture")


def flatten(picture: Image) -> Image:
    """Convert a picture to RGB: transparency becomes white, 16-bit grey keeps its upper 8 bits."""
    from PIL import Image

    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I;16"):
        import numpy as np

        upper = (np.asarray(picture) >> 8).astype(np.uint8)
        return Image.fromarray(upper).convert("RGB")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        paper = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(paper, layer).convert("RGB")
    return picture.convert("RGB")


def content_hash(picture: Image) -> str:
    """Hash pixels, mode and size: equal for equal pictures, 32 hex digits."""
    head = f"{picture.mode} {picture.width} {picture.height}\n".encode()
    return hashlib.sha256(head + picture.tobytes()).hexdigest()[:32]


def png_bytes(picture: Image, compress_level: int = 6, info: PngInfo | None = None) -> bytes:
    """Encode a picture as PNG, lossless.

    Args:
        compress_level: 0 to 9, zlib's; 1 is fast and a little larger, for what is sent once.
        info: its text chunks.
    """
    buffer = BytesIO()
    picture.save(buffer, "PNG", compress_level=compress_level, pnginfo=info)
    return buffer.getvalue()
