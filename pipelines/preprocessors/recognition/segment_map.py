"""Segment maps: flat areas in the colours of ADE20K's classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.preprocessors.palette import ade20k
from pipelines.preprocessors.recognition.pixel_statistics import looked_at, sampled, steepness

if TYPE_CHECKING:
    from PIL.Image import Image

FLAT, FLAT_SHARE = 10, 0.6
"""Neighbours differ by less inside an area, and most pixels are inside one."""
NEAR, NEAR_SHARE = 7, 0.93
"""How far from a class's colour JPEG may have moved a pixel, and how many are so near to one."""
LEAST, COUNT = 0.01, 2
"""A class counts if it covers this share; so many are there at least."""


def recognise(picture: Image) -> Image | None:
    """Recognise segments."""
    pixels = looked_at(picture)
    if pixels is None:
        return None
    # Colours between two areas are made by resizing, and are none of any class.
    flat = steepness(pixels) < FLAT
    if float(flat.mean()) < FLAT_SHARE:
        return None
    colours = sampled(pixels[flat])
    palette = np.asarray([segment.colour for segment in ade20k()], np.float32)
    far = abs(colours[:, None] - palette[None]).max(2)
    near = far.min(1) <= NEAR
    if float(near.mean()) < NEAR_SHARE:
        return None
    classes = np.bincount(far.argmin(1)[near], minlength=len(palette))
    return picture if int((classes > LEAST * len(colours)).sum()) >= COUNT else None
