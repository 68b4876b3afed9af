"""Line maps: white lines on black, as of Canny, HED, scribbles and line art; thin ones inverted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageOps

from pipelines.preprocessors.recognition.pixel_statistics import (
    Pixels,
    is_grey,
    is_thin,
    long_share,
    looked_at,
)

if TYPE_CHECKING:
    from PIL.Image import Image

BLACK, BLACK_SHARE = 40, 0.5
INK = (0.0008, 0.45)
BROAD, FINE = 0.065, 0.008
"""Lines are narrower than this share of the longer side; inverted ones, which a drawing on paper
may be too, must be fine."""
FAINTEST, BLACKEST, INVERTED_SIDE = 96, 180, 256
"""How bright lines are at least; inverted ones are no pencil, and no small icon."""
LONG, LONG_SHARE = 0.04, 0.35
"""So much of what is drawn lies in pieces this long, which stars and noise do not."""


def recognise(picture: Image) -> Image | None:
    """Recognise lines; fine black ones on white are inverted."""
    pixels = looked_at(picture)
    if pixels is None or not is_grey(pixels):
        return None
    grey = pixels.mean(2)
    if _is_drawn(grey, BROAD, FAINTEST):
        return picture
    if max(grey.shape) >= INVERTED_SIDE and _is_drawn(255 - grey, FINE, BLACKEST):
        return ImageOps.invert(picture.convert("RGB"))
    return None


def _is_drawn(grey: Pixels, broad: float, faintest: int) -> bool:
    side = max(grey.shape)
    white = float(np.percentile(grey, 99.9))
    if float((grey < BLACK).mean()) < BLACK_SHARE or white < faintest:
        return False
    # Soft edges glow: their lines are where they are half as bright as the brightest.
    marks = grey > white / 2
    if not INK[0] <= float(marks.mean()) <= INK[1]:
        return False
    return is_thin(marks, broad * side) and long_share(marks, LONG * side) >= LONG_SHARE
