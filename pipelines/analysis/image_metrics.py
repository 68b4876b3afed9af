"""Image metrics: measure colour, clipping, contrast and the distance of two pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

CLIP_MARGIN = 1
"""A channel this close to 0 or 255 counts as clipped."""


@dataclass(frozen=True, slots=True)
class Measures:
    """Metrics of one picture; `change` is None for the first of a row.

    Attributes:
        colourfulness: see `colourfulness`.
        clipped: share of channel values at 0 or 255 that are not of white or black, 0..1.
        contrast: standard deviation of luma, 0..0.5.
        change: mean absolute difference from the picture before, 0..1.
    """

    colourfulness: float
    clipped: float
    contrast: float
    change: float | None


def measure_row(pictures: Sequence[Image | None]) -> list[Measures | None]:
    """Measure pictures in a row; None where there is no picture.

    Raises: ValueError: if two neighbours differ in size.
    """
    found: list[Measures | None] = []
    before: NDArray[np.float64] | None = None
    for picture in pictures:
        if picture is None:
            found.append(None)
            continue
        pixels = as_array(picture)
        change = None if before is None else distance(before, pixels)
        found.append(Measures(colourfulness(pixels), clipped(pixels), contrast(pixels), change))
        before = pixels
    return found


def as_array(picture: Image) -> NDArray[np.float64]:
    """Read the pixels of a picture, (H, W, 3), 0..255."""
    return np.asarray(picture.convert("RGB"), np.float64)


def colourfulness(pixels: NDArray[np.float64]) -> float:
    """Measure how colourful people find a picture: 0 is grey, above 80 is garish.

    Math: √(σ_rg² + σ_yb²) + 0.3·√(μ_rg² + μ_yb²), rg = R − G, yb = (R + G)/2 − B
    Source: Hasler & Süsstrunk 2003, "Measuring colourfulness in natural images", Eq. 1.
    """
    red, green, blue = np.moveaxis(pixels, -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    spread = np.hypot(rg.std(), yb.std())
    return float(spread + 0.3 * np.hypot(rg.mean(), yb.mean()))


def clipped(pixels: NDArray[np.float64]) -> float:
    """Measure the share of channel values that are as dark or as bright as can be, 0..1.

    Strong guidance drives values out of range, where they are cut off. White and black are left
    out: a background that becomes clean has not lost a colour.
    """
    dark, bright = pixels <= CLIP_MARGIN, pixels >= 255 - CLIP_MARGIN
    plain = dark.all(-1, keepdims=True) | bright.all(-1, keepdims=True)
    return float(((dark | bright) & ~plain).mean())


def contrast(pixels: NDArray[np.float64]) -> float:
    """Measure RMS contrast: the standard deviation of luma (ITU-R BT.601), 0..0.5."""
    luma = pixels @ np.asarray([0.299, 0.587, 0.114]) / 255
    return float(luma.std())


def distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Mean absolute difference, 0..1. Raises: ValueError: if the sizes differ."""
    return float(np.abs(_apart(one, other)).mean() / 255)


def rms(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Root mean square difference, 0..255. Raises: ValueError: if the sizes differ."""
    return float(np.sqrt(np.square(_apart(one, other)).mean()))


def _apart(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    if one.shape != other.shape:
        raise ValueError(f"pictures of {one.shape} and {other.shape} cannot be compared")
    return one - other
