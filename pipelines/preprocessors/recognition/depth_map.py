"""Depth maps: smooth grey with sharp edges, or a colour map of it, near = bright."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image as ImageModule

from pipelines.preprocessors.recognition.pixel_statistics import (
    Pixels,
    is_grey,
    looked_at,
    roughness,
    sampled,
    steepness,
)

if TYPE_CHECKING:
    from PIL.Image import Image

COLOUR_MAPS = ("INFERNO", "MAGMA", "PLASMA", "VIRIDIS", "TURBO", "JET")
"""Of OpenCV; matplotlib's have the same colours."""
ON_MAP, ON_MAP_SHARE = 14, 0.95
"""How far from a colour map's line JPEG may have moved a colour, and how many are so near to it."""
RANGE = 90
"""Greys between the farthest and the nearest, at least."""
SMOOTH, SMOOTH_SHARE = 0.5, 0.74
"""Pixels that differ less from those around, and how many do: surfaces have no texture."""
SLOPED = 0.35
"""Share of the pixels that differ from a neighbour, but little: surfaces run, areas do not."""


def recognise(picture: Image) -> Image | None:
    """Recognise depth; colours are turned into grey."""
    pixels = looked_at(picture)
    if pixels is None:
        return None
    if is_grey(pixels):
        return picture if _is_depth(pixels.mean(2)) else None
    some = sampled(pixels.reshape(-1, 3), 2048)
    for name in COLOUR_MAPS:
        _, distance = _read(some[None], name)
        if float((distance <= ON_MAP).mean()) < ON_MAP_SHARE:
            continue
        if _is_depth(_read(pixels, name)[0]):
            whole, _ = _read(np.asarray(picture.convert("RGB"), np.float32), name)
            return ImageModule.fromarray(whole.astype(np.uint8)).convert("RGB")
    return None


def _is_depth(grey: Pixels) -> bool:
    low, high = np.percentile(grey, (1, 99))
    if high - low < RANGE:
        return False
    if float((roughness(grey) <= SMOOTH).mean()) < SMOOTH_SHARE:
        return False
    soft = cv2.GaussianBlur(grey, (0, 0), 2)
    steps = steepness(np.asarray(soft, np.float32))
    return float(((steps > 0.05) & (steps < 8)).mean()) >= SLOPED


@cache
def _colours(name: str) -> Pixels:
    """The 256 colours of a colour map, RGB."""
    ramp = np.arange(256, dtype=np.uint8)[None]
    drawn = cv2.applyColorMap(ramp, getattr(cv2, f"COLORMAP_{name}"))
    return np.asarray(drawn[0, :, ::-1], np.float32)


def _read(pixels: Pixels, name: str) -> tuple[Pixels, Pixels]:
    """The place of each pixel on a colour map, 0..255, and its distance from there, (H, W)."""
    known, back = np.unique(
        pixels.astype(np.int32).reshape(-1, 3) // 4, axis=0, return_inverse=True
    )
    places, distances = np.empty(len(known), np.float32), np.empty(len(known), np.float32)
    for start in range(0, len(known), 4096):
        part = known[start : start + 4096, None] * 4 + 1.5
        far = np.linalg.norm(part - _colours(name)[None], axis=2)
        places[start : start + 4096], distances[start : start + 4096] = far.argmin(1), far.min(1)
    shape = pixels.shape[:2]
    return places[back].reshape(shape), distances[back].reshape(shape)
