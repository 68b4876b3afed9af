"""Figures and solids drawn once, with their captions, and kept in one file."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data import figures, solids
from training.data.drawings import SIZE

EACH = 4000


@dataclass(frozen=True)
class Scenes:
    """Drawn pictures of both domains, in turns.

    Args:
        pixels: (N, 128, 128, 3) uint8; may be memory-mapped.
        captions: N texts.
    """

    pixels: NDArray[np.uint8]
    captions: list[str]


def load_scenes(cache: Path, each: int = EACH) -> Scenes:
    """`each` figures and as many solids; drawn on the first call (a few minutes)."""
    pixel_file, caption_file = cache / f"scenes-{each}.npy", cache / f"scenes-{each}.json"
    if not (pixel_file.exists() and caption_file.exists()):
        cache.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        pixels = np.empty((2 * each, SIZE, SIZE, 3), np.uint8)
        captions = []
        for row in range(2 * each):
            sample = (figures, solids)[row % 2].sample(rng)
            pixels[row] = sample.pixels
            captions.append(sample.caption)
        np.save(pixel_file, pixels)
        caption_file.write_text(json.dumps(captions))
    return Scenes(np.load(pixel_file, mmap_mode="r"), json.loads(caption_file.read_text()))
