"""Line art: draws dark lines of a picture in white on black, the stronger the darker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.preprocessors.base import Parameter, Preprocessor
from pipelines.preprocessors.picture_medium import medium_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.preprocessors.resize import Size


def detect(picture: Image, parameters: Mapping[str, Any], size: Size) -> Image:
    """Measure how much darker each pixel is than its surroundings, or lighter in chalk on a board.

    Math: d = min over channels of (G_σ * x − x); map = 127·d / max(16, median of d > threshold).
        σ is given for a picture whose shorter side is 512, and follows its size.
    """
    import cv2
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture).astype(np.float32)
    find = parameters["find"]
    if find == "light lines" or (find == "auto" and medium_of(picture) == "light lines"):
        pixels = 255 - pixels
    sigma = max(0.5, parameters["width"] * min(picture.size) / 512)
    darker = np.min(cv2.GaussianBlur(pixels, (0, 0), sigma) - pixels, axis=2).clip(0, 255)
    lines = darker[darker > parameters["threshold"]]
    usual = float(np.median(lines)) if lines.size else 0.0
    drawn = (darker / max(16.0, usual) * 127).clip(0, 255)
    return Image.fromarray(drawn.astype(np.uint8))


PREPROCESSOR = Preprocessor(
    name="lineart",
    label="Line art",
    help="A pencil drawing of the picture: soft lines where it is darker than around.",
    detect=detect,
    cost="about 20 ms",
    edited_as="edge",
    source="the standard line art of Zhang's ControlNet annotators",
    parameters=(
        Parameter(
            "find", "Find", "choice", "auto",
            "Dark lines, as of a pencil; light ones, as of chalk; auto looks how it is drawn.",
            choices=("auto", "dark lines", "light lines"),
        ),
        Parameter(
            "width", "Width", "float", 6.0, "Size of what counts as a line, in pixels of 512.",
            low=0.5, high=32.0,
        ),
        Parameter(
            "threshold", "Threshold", "int", 8,
            "Fainter marks do not count when the strength of the lines is set.",
            low=0, high=128,
        ),
    ),
)  # fmt: skip
