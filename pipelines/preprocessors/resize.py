"""Resizing of pictures to maps of another shape: stretches, crops or pads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Placement of a picture: which part is seen, and where it lies in the result.

    Attributes:
        source: left, upper, right, lower in the picture, in fractions of pixels.
        corner: left and upper in the result.
        size: of the part in the result; the rest is background.
    """

    source: tuple[float, float, float, float]
    corner: tuple[int, int]
    size: Size


def place(picture: Size, result: Size, mode: str) -> Placement:
    """Place a picture of one size in a result of another.

    Math: crop scales by max(W/w, H/h) and cuts equal margins off; pad scales by min(W/w, H/h)
    and leaves equal margins; stretch scales each side by its own.
    Args:
        mode: "stretch", "crop" or "pad".
    Raises: ValueError: for another mode.
    """
    (w, h), (W, H) = picture, result
    if mode == "stretch":
        return Placement((0.0, 0.0, w, h), (0, 0), result)
    if mode == "crop":
        scale = max(W / w, H / h)
        seen_w, seen_h = min(w, W / scale), min(h, H / scale)
        left, upper = (w - seen_w) / 2, (h - seen_h) / 2
        return Placement((left, upper, left + seen_w, upper + seen_h), (0, 0), result)
    if mode == "pad":
        scale = min(W / w, H / h)
        size = min(W, max(1, round(w * scale))), min(H, max(1, round(h * scale)))
        corner = (W - size[0]) // 2, (H - size[1]) // 2
        return Placement((0.0, 0.0, w, h), corner, size)
    raise ValueError(f"no resize mode {mode!r}")


def own_size(source: tuple[float, float, float, float], longest: int) -> Size:
    """Compute a part's size in the picture's pixels, the longer side at most `longest`."""
    width, height = source[2] - source[0], source[3] - source[1]
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def working_size(content: Size, resolution: int) -> Size:
    """Compute the size to detect at: the content's, or one of its shape with this short side."""
    if resolution == 0:
        return content
    scale = resolution / min(content)
    # A very long picture is looked at no larger than the shorter side asks for, four times over.
    longest = 4 * resolution
    width, height = (min(longest, max(1, round(side * scale))) for side in content)
    return width, height


def resample(
    picture: Image,
    size: Size,
    blends: bool = True,
    box: tuple[float, float, float, float] | None = None,
) -> Image:
    """Resample a picture, or the part in `box`; untouched if nothing changes.

    Args:
        blends: whether colours may mix; else each pixel takes the nearest.
    """
    from PIL.Image import Resampling

    whole = (0.0, 0.0, float(picture.width), float(picture.height))
    if picture.size == size and (box is None or tuple(box) == whole):
        return picture
    method = Resampling.LANCZOS if blends else Resampling.NEAREST
    return picture.resize(size, method, box=box)


def put(part: Image, placement: Placement, result: Size, background: tuple[int, int, int]) -> Image:
    """Paste the part at its place, RGB, with the background around it."""
    from PIL import Image

    if part.size == result:
        return part.convert("RGB")
    canvas = Image.new("RGB", result, background)
    canvas.paste(part.convert("RGB"), placement.corner)
    return canvas
