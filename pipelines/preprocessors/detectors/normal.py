"""Surface normals: estimates from depth which way each surface faces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.preprocessors.base import Parameter, Preprocessor
from pipelines.preprocessors.detectors.depth import WEIGHTS, nearness

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

    from pipelines.preprocessors.resize import Size

FRONT = (128, 128, 255)
"""The colour of a surface that faces the viewer."""


def normals(near: NDArray[np.float32], strength: float) -> NDArray[np.float32]:
    """Compute unit normals, (H, W, 3): to the left, up, and to the viewer.

    A surface that comes nearer to the right faces left; one that comes nearer below faces up.
    Math: n ∝ (s·∂d/∂x, s·∂d/∂y, 1), d = nearness, lengths in shares of the shorter side.
    Args:
        near: 0..1, (H, W).
        strength: how steep things look.
    """
    import cv2
    import numpy as np

    scale = strength * min(near.shape) / 8  # Sobel's filter weighs a slope eightfold
    left = scale * np.asarray(cv2.Sobel(near, cv2.CV_32F, 1, 0), np.float32)
    up = scale * np.asarray(cv2.Sobel(near, cv2.CV_32F, 0, 1), np.float32)
    facing = np.stack([left, up, np.ones_like(left)], axis=2)
    return np.asarray(facing / np.linalg.norm(facing, axis=2, keepdims=True), np.float32)


def detect(picture: Image, parameters: Mapping[str, Any], size: Size) -> Image:
    """Draw normals as ControlNet 1.1's maps: red = left, green = up, blue = to the viewer."""
    import numpy as np
    from PIL import Image

    near = nearness(picture)
    facing = normals(near, parameters["strength"])
    # What is far is noise in a depth map; it counts as facing the viewer.
    facing[near < parameters["background"]] = (0, 0, 1)
    return Image.fromarray((facing * 127.5 + 127.5).round().astype(np.uint8))


PREPROCESSOR = Preprocessor(
    name="normal",
    label="Normals",
    help="Which way each surface faces; keeps relief better than depth does.",
    detect=detect,
    cost="as depth, from which it is computed",
    source="computed from depth, in the colours of ControlNet 1.1's normal maps",
    background=FRONT,
    sized_by="picture",
    weights=WEIGHTS,
    parameters=(
        Parameter("strength", "Strength", "float", 1.0, "How steep things look.", 0.1, 10.0),
        Parameter(
            "background", "Background", "float", 0.1, "What is farther than this counts as flat.",
            low=0.0, high=1.0,
        ),
    ),
)  # fmt: skip
