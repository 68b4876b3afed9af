"""Pixel modes: turns every mode, colour profile and transparency of a picture into sRGB."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

PALE, PALE_SHARE = 224, 0.99
"""What is drawn is pale if this share of it is brighter than this in all channels."""
_UNPREMULTIPLIED = {"La": "LA", "RGBa": "RGBA"}


def flatten(picture: Image) -> Image:
    """Convert a picture to RGB as a browser shows it, without anything beside its pixels.

    A colour profile is carried out, so that wide gamuts become sRGB; one that does not fit the
    pixels counts for nothing. Transparency becomes white, or black under what would not be seen
    on white. 16-bit grey keeps its upper 8 bits; other deep grey is spread over 0..255 where its
    numbers are no shares of 1 and none of 0..255.
    """
    from PIL import Image

    if picture.mode == "RGB" and not picture.info:
        return picture
    picture = _eight_bits(picture)
    if picture.mode in _UNPREMULTIPLIED:
        picture = picture.convert(_UNPREMULTIPLIED[picture.mode])
    if not picture.has_transparency_data:
        return _bare(_to_srgb(picture))
    layer = picture.convert("RGBA")
    layer.info = {key: value for key, value in picture.info.items() if key == "icc_profile"}
    alpha = layer.getchannel("A")
    colours = _to_srgb(_opaque(layer))
    paper = Image.new("RGB", layer.size, "black" if _is_pale(colours, alpha) else "white")
    see_through = colours.convert("RGBA")
    see_through.putalpha(alpha)
    return Image.alpha_composite(paper.convert("RGBA"), see_through).convert("RGB")


def _bare(picture: Image) -> Image:
    """The picture without profile, EXIF and texts: they would be written beside what they say."""
    bare = picture.copy()
    bare.info = {}
    return bare


def _opaque(layer: Image) -> Image:
    colours = layer.convert("RGB")
    colours.info = dict(layer.info)
    return colours


def _is_pale(colours: Image, alpha: Image) -> bool:
    """Tell whether what is drawn would not be seen on white: a white scribble without a ground."""
    import numpy as np

    drawn = np.asarray(alpha)
    if not drawn.any() or drawn.all():
        return False
    pale = np.asarray(colours).min(2) > PALE
    return int(drawn[pale].sum(dtype=np.int64)) >= PALE_SHARE * int(drawn.sum(dtype=np.int64))


def _eight_bits(picture: Image) -> Image:
    """Deep grey in 8 bits, transparency included; any other picture as it is."""
    import numpy as np
    from PIL import Image

    if picture.mode not in ("I", "F") and not picture.mode.startswith("I;16"):
        return picture
    numbers = np.asarray(picture)
    grey = Image.fromarray(_spread(numbers, whole=picture.mode != "F"))
    clear = picture.info.get("transparency")
    if isinstance(clear, int):
        grey = grey.convert("LA")
        grey.putalpha(Image.fromarray(np.where(numbers == clear, 0, 255).astype(np.uint8)))
    if "icc_profile" in picture.info:
        grey.info["icc_profile"] = picture.info["icc_profile"]
    return grey


def _spread(numbers: NDArray[Any], whole: bool) -> NDArray[np.uint8]:
    import numpy as np

    if numbers.dtype.itemsize == 2:
        return np.asarray(numbers >> 8, np.uint8)
    known = np.nan_to_num(numbers.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(known.min()), float(known.max())
    if low >= 0 and high <= 1 and not whole:
        known = known * 255
    elif low >= 0 and whole and 255 < high <= 65535:
        known = known // 256
    elif low < 0 or high > 255:
        known = (known - low) * (255 / ((high - low) or 1.0))
    return np.asarray(known.round(), np.uint8)


def _to_srgb(picture: Image) -> Image:
    """The picture in sRGB, by its profile where that fits. Its mode has no transparency."""
    from PIL import ImageCms

    if picture.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        return _transformed(picture, lab) or picture.getchannel("L").convert("RGB")
    data = picture.info.get("icc_profile")
    if picture.mode == "P":
        picture = picture.convert("RGB")
    if isinstance(data, bytes) and data and picture.mode in ("RGB", "L", "CMYK"):
        with suppress(ImageCms.PyCMSError, OSError, ValueError):
            profile = ImageCms.ImageCmsProfile(BytesIO(data))
            # To sRGB from sRGB would change pixels by rounding, which nobody asked for.
            if "srgb" not in ImageCms.getProfileDescription(profile).lower():
                found = _transformed(picture, profile)
                if found is not None:
                    return found
    return picture.convert("RGB")


def _transformed(picture: Image, profile: Any) -> Image | None:
    from PIL import ImageCms

    try:
        return ImageCms.profileToProfile(
            picture, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None  # of another kind of pixels, or damaged
