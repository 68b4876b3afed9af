"""A scribble: the picture's main lines, broad and white on black, as if drawn with a marker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.preprocessors.base import Parameter, Preprocessor

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.preprocessors.resizing import Size


def detect(picture: Image, parameters: Mapping[str, Any], size: Size) -> Image:
    """White where a difference of Gaussians says that a pixel is darker than around.

    Math: min over channels of (G_σ * x − G_{σ/10} * x) > threshold/2, σ = 5 at 512 pixels.
    Source: Winnemöller 2011, "XDoG", doi:10.1145/2024676.2024700.
    """
    import cv2
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture).astype(np.float32)
    sigma = max(1.0, 5 * min(picture.size) / 512)
    fine = cv2.GaussianBlur(pixels, (0, 0), sigma / 10)
    coarse = cv2.GaussianBlur(pixels, (0, 0), sigma)
    darker = np.min(coarse - fine, axis=2)
    drawn = np.where(2 * darker > parameters["threshold"], 255, 0).astype(np.uint8)
    broad = round(parameters["thickness"] * min(picture.size) / 512)
    if broad > 1:
        brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (broad, broad))
        drawn = np.asarray(cv2.dilate(drawn, brush), np.uint8)
    return Image.fromarray(drawn)


PREPROCESSOR = Preprocessor(
    name="scribble",
    label="Scribble",
    help="A rough sketch: only the main lines, broad. Leaves the model the most freedom.",
    detect=detect,
    cost="about 20 ms",
    edited_as="edge",
    source="Winnemöller 2011, doi:10.1145/2024676.2024700",
    parameters=(
        Parameter(
            "threshold", "Threshold", "int", 32, "Lower values find more lines.", low=1, high=128
        ),
        Parameter(
            "thickness", "Thickness", "int", 3, "How far lines are broadened, in pixels of 512.",
            low=1, high=32,
        ),
    ),
)  # fmt: skip
