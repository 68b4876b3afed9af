"""Pictures from and to bytes: opens untrusted ones safely as RGB, hashes pixels, encodes PNG."""

from __future__ import annotations

import hashlib
import re
import struct
import warnings
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.errors import InvalidRequest
from pipelines.utils.pixel_modes import flatten as flatten

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "AVIF", "TIFF")
"""What people are told; a JPEG of a camera may be an MPO, which Pillow counts to it."""
_IF_INSTALLED = "HEIF"
PIXELS_MAX = 64 * 2**20
"""Pictures with more pixels are not looked at, not even for the texts beside them."""
DECODED_PIXELS_MAX = 24 * 2**20
"""Pictures with more pixels are refused before they are decoded: a file of 250 KB may hold 64
megapixels, whose ways through profiles and transparency take 28 bytes each. A JPEG is decoded at
a half, a quarter or an eighth of its size instead, which costs no more than what is left."""
_OTHERS: Mapping[str, tuple[re.Pattern[bytes], str]] = {
    "a HEIC picture, as phones take them": (
        re.compile(rb"....ftyp(hei[cfmsx]|hev[cmsx]|mif1|msf1)", re.DOTALL),
        "share it as JPEG (iPhone: Settings, Camera, Formats, Most Compatible), or save it as PNG",
    ),
    "a drawing in SVG": (
        re.compile(rb"\s*<(svg|.*<svg)", re.DOTALL),
        "export it as PNG",
    ),
    "a JPEG XL picture": (re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "), "save it as PNG or JPEG"),
    "a PDF": (re.compile(rb"%PDF"), "export the page as PNG"),
    "a Photoshop document": (re.compile(rb"8BPS"), "export it as PNG"),
    "a film": (
        re.compile(rb"....ftyp(?!avi[fs])|\x1aE\xdf\xa3", re.DOTALL),
        "give a single picture",
    ),
}
"""Files that people take for pictures which can be read: by how they begin, and what to do."""
# What Pillow's readers raise at damaged files, besides its own errors, which are OSErrors.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, struct.error, KeyError, IndexError, TypeError),
    *(EOFError, OverflowError, ArithmeticError, AttributeError, RuntimeError, NotImplementedError),
)
GRID_PIXELS_MAX = 2**27
"""A sheet's grid is scaled down to so many pixels: other programs refuse larger pictures, Pillow
from 2**27.4 on."""


def open_picture(
    source: Path | bytes, pixels_max: int = DECODED_PIXELS_MAX, *, made_here: bool = False
) -> Image:
    """Open a picture as sRGB, upright as its camera was held; transparency as `flatten` says.

    Of several pictures in one file (an animation, a camera's MPO) the first is taken. Only the
    header is read before the size is known to be allowed; a JPEG that is too large comes smaller.
    Args:
        made_here: the file was written by this program: its pixels count as they are, without
            whatever stands beside them.
    Raises: InvalidRequest: if it is missing, of another type, cut off or too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = str(source) if isinstance(source, Path) else "the picture"
    formats = (*FORMATS, _IF_INSTALLED) if _IF_INSTALLED in Image.OPEN else FORMATS
    try:
        with warnings.catch_warnings():
            # Ours is the stricter limit, and an error; damaged EXIF is no reason to complain.
            warnings.simplefilter("ignore")
            opened = Image.open(
                source if isinstance(source, Path) else BytesIO(source), formats=formats
            )
            with opened:
                _draft(opened, pixels_max)
                _check_header(opened, name, pixels_max)
                opened.load()
                if made_here:
                    opened.info.clear()
                    return flatten(opened)
                with suppress(*_DAMAGE):  # then nobody knows how the camera was held
                    ImageOps.exif_transpose(opened, in_place=True)
                return flatten(opened)
    except FileNotFoundError:
        raise InvalidRequest(f"{name} does not exist") from None
    except Image.DecompressionBombError:
        raise InvalidRequest(
            f"{name} has too many pixels; at most {pixels_max:,} are allowed: make it smaller"
        ) from None
    except UnidentifiedImageError:
        raise InvalidRequest(f"{name} {_unread(source)}") from None
    except _DAMAGE as error:
        raise InvalidRequest(f"{name} is damaged or cut off: {error}; save it again") from None


def _unread(source: Path | bytes) -> str:
    """Say what a file is that is no picture, and what to do, as a sentence's end."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            head = file.read(4096)
    else:
        head = source[:4096]
    for kind, (begins, advice) in _OTHERS.items():
        if begins.match(head):
            return f"is {kind}, which cannot be read; {advice} (allowed are {', '.join(FORMATS)})"
    return f"is no picture that can be read; allowed are {', '.join(FORMATS)}"


def _draft(picture: Image, pixels_max: int) -> None:
    """Have a JPEG decoded at the largest size that is allowed."""
    if picture.format not in ("JPEG", "MPO"):
        return
    width, height = picture.size
    for scale in (2, 4, 8):
        if width * height > pixels_max * (scale // 2) ** 2:
            picture.draft(None, (width // scale, height // scale))


def _check_header(picture: Image, name: str, pixels_max: int) -> None:
    pixels = picture.width * picture.height
    if pixels > pixels_max:
        raise InvalidRequest(
            f"{name} has {picture.width} × {picture.height} pixels; at most {pixels_max:,} "
            "are allowed: make it smaller"
        )


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
