"""Real photographs that come with scikit-image."""

from __future__ import annotations

from functools import cache

from PIL import Image
from skimage import data

NAMES = ("astronaut", "camera", "coffee", "cat", "rocket")


@cache
def photograph(name: str) -> Image.Image:
    """One of `NAMES`; not to be changed."""
    return Image.fromarray(getattr(data, name)()).convert("RGB")
