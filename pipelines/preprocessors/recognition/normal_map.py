"""Normal maps: unit vectors as colours, most of them towards the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipelines.preprocessors.recognition.pixel_statistics import looked_at

if TYPE_CHECKING:
    from PIL.Image import Image

LENGTH = 0.14
"""How far a vector's length may be from 1."""
SHARE = 0.9
LEAN = (0.4, 0.7)
"""How far the mean may lean to a side, and up, as a floor's does."""
VARIED = 0.04
"""How far vectors differ, at least: a blue sky is a unit vector too, but one alone."""


def recognise(picture: Image) -> Image | None:
    """Recognise normals: red to a side, green up, blue to the viewer; black where there is none."""
    pixels = looked_at(picture)
    if pixels is None:
        return None
    vectors = pixels.reshape(-1, 3) / 127.5 - 1
    there = pixels.reshape(-1, 3).max(1) > 24
    if float(there.mean()) < 0.15:
        return None
    vectors = vectors[there]
    unit = abs(np.linalg.norm(vectors, axis=1) - 1) < LENGTH
    towards = vectors[:, 2] > -0.1
    lean, spread = abs(vectors.mean(0)), vectors.std(0)
    if float((unit & towards).mean()) < SHARE or lean[0] > LEAN[0] or lean[1] > LEAN[1]:
        return None
    return picture if spread[0] > VARIED and spread[1] > VARIED else None
