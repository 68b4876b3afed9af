"""Content shuffle: warps a picture at random, keeping colours and textures but no layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.preprocessors.base import Parameter, Preprocessor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from pipelines.preprocessors.resize import Size


def detect(picture: Image, parameters: Mapping[str, Any], size: Size) -> Image:
    """Warp by two smooth random fields, which say x and y of where each pixel is taken from.

    Source: Zhang's ControlNet 1.1, shuffle; here the seed decides everything.
    """
    import cv2
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(parameters["seed"])
    width, height = picture.size
    cell = max(2, round(min(picture.size) * parameters["patch"]))
    x = _smooth(rng, width, height, cell) * np.float32(width - 1)
    y = _smooth(rng, width, height, cell) * np.float32(height - 1)
    return Image.fromarray(cv2.remap(np.asarray(picture), x, y, cv2.INTER_LINEAR))


def _smooth(rng: np.random.Generator, width: int, height: int, cell: int) -> NDArray[np.float32]:
    """A random field that changes over `cell` pixels and fills 0..1, (height, width)."""
    import cv2
    import numpy as np

    noise = rng.random((height // cell + 3, width // cell + 3)).astype(np.float32)
    rows, columns = noise.shape
    grown = cv2.resize(noise, (columns * cell, rows * cell), interpolation=cv2.INTER_CUBIC)
    field = grown[cell : cell + height, cell : cell + width]
    low, high = float(field.min()), float(field.max())
    return np.asarray((field - low) / max(high - low, 1e-6), np.float32)


PREPROCESSOR = Preprocessor(
    name="shuffle",
    label="Shuffle",
    help="Keeps colours and textures and scatters the layout: a picture in the same mood.",
    detect=detect,
    cost="about 20 ms",
    source="Zhang's ControlNet 1.1, shuffle",
    parameters=(
        Parameter("seed", "Seed", "int", 0, "Which way things flow.", low=0, high=2**32 - 1),
        Parameter(
            "patch", "Patch", "float", 0.5, "Size of what stays together, of the shorter side.",
            low=0.05, high=1.0,
        ),
    ),
)  # fmt: skip
