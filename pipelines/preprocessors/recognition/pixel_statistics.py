"""Pixel statistics: what recognisers of maps measure of a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.float32]
"""(H, W, 3), 0..255; (H, W) where it is said."""
SIDE = 512
SMALLEST = 24
"""Pictures with a shorter side tell nothing."""


def looked_at(picture: Image) -> Pixels | None:
    """Read a picture's pixels, the longer side at most 512; None for one too small to tell."""
    from PIL.Image import Resampling

    scale = SIDE / max(picture.size)
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Resampling.BOX)
    if min(picture.size) < SMALLEST:
        return None
    return np.asarray(picture.convert("RGB"), np.float32)


def sampled(pixels: Pixels, count: int = 8192) -> Pixels:
    """Take so many pixels, evenly spread, (N, C) → (count, C); all where there are fewer."""
    return pixels[:: max(1, len(pixels) // count)]


def chroma(pixels: Pixels) -> Pixels:
    """Measure how far each pixel is from grey: the range of its channels, (H, W)."""
    return np.asarray(pixels.max(2) - pixels.min(2), np.float32)


def is_grey(pixels: Pixels) -> bool:
    """Tell whether a picture has no colours, except for what JPEG leaves of them."""
    found = chroma(pixels)
    return float(found.mean()) < 4 and float(np.percentile(found, 99)) < 24


def roughness(grey: Pixels) -> Pixels:
    """Measure fine detail: how far each pixel is from the median of those around it, (H, W)."""
    smooth = cv2.medianBlur(grey.clip(0, 255).astype(np.uint8), 5)
    return np.asarray(abs(grey - smooth), np.float32)


def steepness(pixels: Pixels) -> Pixels:
    """Measure the largest step of any channel to a neighbour, (H, W)."""
    whole = pixels if pixels.ndim == 3 else pixels[..., None]
    steps = np.zeros(whole.shape[:2], np.float32)
    for axis in (0, 1):
        step = abs(np.diff(whole, axis=axis)).max(2)
        for pad in ((1, 0), (0, 1)):
            room = (pad, (0, 0)) if axis == 0 else ((0, 0), pad)
            steps = np.maximum(steps, np.pad(step, room))
    return steps


def is_thin(marks: NDArray[np.bool_], width: float) -> bool:
    """Tell whether marks are lines: nearly all vanish when a disc of this width is opened.

    Args:
        marks: (H, W).
        width: in pixels.
    """
    side = max(3, round(width))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    left = cv2.morphologyEx(marks.astype(np.uint8), cv2.MORPH_OPEN, disc)
    return int((left > 0).sum()) <= 0.06 * int(marks.sum())


def long_share(marks: NDArray[np.bool_], length: float) -> float:
    """Share of the marks that lie in connected pieces at least so long, in pixels."""
    _, _labels, stats, _ = cv2.connectedComponentsWithStats(marks.astype(np.uint8), connectivity=8)
    longest = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(1)
    kept = longest >= length
    kept[0] = False  # what is not marked
    return float(stats[kept, cv2.CC_STAT_AREA].sum()) / max(1, int(marks.sum()))
