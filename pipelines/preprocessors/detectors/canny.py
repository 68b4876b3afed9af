"""Canny edge detector: draws edges as thin white lines on black."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipelines.errors import InvalidRequest
from pipelines.preprocessors.base import Parameter, Preprocessor

if TYPE_CHECKING:
    from PIL.Image import Image

    from pipelines.preprocessors.resize import Size


def detect(picture: Image, parameters: Mapping[str, Any], size: Size) -> Image:
    """Detect edges: gradients above `high`, or above `low` and joined to one above `high`.

    Math: |∂x| + |∂y| of Sobel filters, of the colour channel in which it is largest.
    """
    import cv2
    import numpy as np
    from PIL import Image

    pixels = np.asarray(picture)
    if parameters["blur"] > 0:
        pixels = cv2.GaussianBlur(pixels, (0, 0), parameters["blur"])
    return Image.fromarray(cv2.Canny(pixels, parameters["low"], parameters["high"]))


def check(parameters: Mapping[str, Any]) -> None:
    """Check that the thresholds are in order. Raises: InvalidRequest."""
    low, high = parameters["low"], parameters["high"]
    if low > high:
        raise InvalidRequest(f"low is {low} and high is {high}; low must not be above high")


PREPROCESSOR = Preprocessor(
    name="canny",
    label="Canny edges",
    help="Thin outlines of everything with contrast. Lower thresholds find more of them.",
    detect=detect,
    check=check,
    cost="a few milliseconds",
    edited_as="edge",
    source="Canny 1986, doi:10.1109/TPAMI.1986.4767851",
    parameters=(
        Parameter(
            "low", "Low threshold", "int", 100, "Edges this strong count if joined to others.",
            low=0, high=1000,
        ),
        Parameter("high", "High threshold", "int", 200, "Edges this strong count.", 0, 1000),
        Parameter(
            "blur", "Blur", "float", 0.0, "Smooths the picture first, in pixels: fewer edges.",
            low=0.0, high=10.0,
        ),
    ),
)  # fmt: skip
