"""Pose maps: OpenPose's coloured limbs on black, with or without hands and face; also on white."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as ImageModule

from pipelines.preprocessors.recognition.pixel_statistics import Pixels, is_thin, looked_at

if TYPE_CHECKING:
    from PIL.Image import Image

GROUND = 0.6
"""Share of a map that is its ground, at least."""
INK = (0.0008, 0.3)
PURE = 0.85
"""Share of what is drawn that is of full colour, or white as a face's dots are."""
HUES, STEP, NEAR = 5, 20, 5
"""OpenPose's colours are 20° apart; so many are there, and most pixels so near to one."""
ON_HUE = 0.58


def recognise(picture: Image) -> Image | None:
    """Recognise skeletons; those on white are put on black."""
    pixels = looked_at(picture)
    if pixels is None:
        return None
    if _is_skeleton(pixels):
        return picture
    if float((pixels.min(2) > 225).mean()) < GROUND:
        return None
    if not _is_skeleton(pixels - pixels.min(2, keepdims=True)):
        return None
    whole = np.asarray(picture)
    # Full colours have one channel at 0: what all channels have is the white beneath.
    return ImageModule.fromarray(whole - whole.min(2, keepdims=True))


def _is_skeleton(pixels: Pixels) -> bool:
    value = pixels.max(2)
    if float((value < 32).mean()) < GROUND:
        return False
    marks = value > 72
    share = float(marks.mean())
    if not INK[0] <= share <= INK[1] or not is_thin(marks, 0.09 * max(marks.shape)):
        return False
    low = pixels.min(2)
    full = marks & (low < 0.3 * value)
    white = marks & (low > 0.8 * value) & (value > 150)
    if float((full | white).sum()) < PURE * float(marks.sum()):
        return False
    if float(full.sum()) < 0.3 * float(marks.sum()):
        return False
    hue = _hue(pixels[full])
    counts = np.bincount(np.round(hue / STEP).astype(int) % (360 // STEP), minlength=360 // STEP)
    off = abs((hue + STEP / 2) % STEP - STEP / 2)
    several = int((counts > 0.015 * len(hue)).sum()) >= HUES
    return several and float((off <= NEAR).mean()) >= ON_HUE


def _hue(colours: Pixels) -> Pixels:
    """Hue in degrees of colours, (N, 3) → (N,)."""
    high, low = colours.max(1), colours.min(1)
    span = np.maximum(high - low, 1e-3)
    red, green, blue = (colours[:, i] for i in range(3))
    sector = np.where(
        high == red,
        (green - blue) / span % 6,
        np.where(high == green, (blue - red) / span + 2, (red - green) / span + 4),
    )
    return np.asarray(sector * 60 % 360, np.float32)
