"""Real photographs that come with scikit-image."""

from __future__ import annotations

from functools import cache

from PIL import Image
from skimage import data

NAMES = ("astronaut", "camera", "coffee", "cat", "rocket")
MORE = (
    *("coins", "moon", "clock", "hubble_deep_field", "retina", "immunohistochemistry"),
    *("brick", "grass", "gravel", "cell"),
)
"""Textures, microscopes, telescopes: harder ones."""


@cache
def photograph(name: str) -> Image.Image:
    """One of `NAMES` or `MORE`; not to be changed."""
    return Image.fromarray(getattr(data, name)()).convert("RGB")
