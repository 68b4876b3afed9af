"""Picture medium: tells line drawings, dark on light or light on dark, from all other pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

Medium = Literal["other", "dark lines", "light lines"]
"""`other` is a photograph, a painting, flat colours: what has areas rather than lines."""
SIDE = 256
GROUND, SHADED = 0.65, 0.5
"""Paper is at least so light, of white, and in the shade still this share of its usual."""
LINE = 17
"""Lines are narrower than this, at 256 pixels."""
EVEN = 0.036
"""How far the ground may differ from itself smoothed, at the worst twentieth."""
MARKED = 0.15
"""How much darker than its ground ink is, of white."""
INK = (0.002, 0.35)
"""Least and most share of the picture that ink covers."""


def medium_of(picture: Image) -> Medium:
    """Tell what a picture is drawn with.

    A line drawing is what vanishes when thin marks are closed over: an even ground is left, which
    may be brighter at one side than at the other, as of paper that was photographed.
    Math: ground g = closing of x by a disc; ink where g − x > 0.15; drawing if g is light and
        even, and ink covers 0.2 to 35 %. Light on dark: the same of 1 − x.
    """
    import numpy as np

    grey = picture.convert("L")
    scale = SIDE / max(grey.size)
    if scale < 1:
        size = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
        grey = grey.resize(size)
    pixels = np.asarray(np.asarray(grey, np.float32) / 255, np.float32)
    if min(pixels.shape) < LINE:
        return "other"
    if _is_drawn(pixels):
        return "dark lines"
    return "light lines" if _is_drawn(np.asarray(1 - pixels, np.float32)) else "other"


def _is_drawn(pixels: NDArray[np.float32]) -> bool:
    import cv2
    import numpy as np

    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (LINE, LINE))
    ground = np.asarray(cv2.morphologyEx(pixels, cv2.MORPH_CLOSE, disc), np.float32)
    usual = float(np.median(ground))
    if usual < GROUND or float(np.percentile(ground, 5)) < SHADED * usual:
        return False
    uneven = abs(ground - cv2.GaussianBlur(ground, (0, 0), LINE))
    ink = float((ground - pixels > MARKED).mean())
    worst = float(np.percentile(uneven, 95))
    return worst < EVEN and INK[0] <= ink <= INK[1]
